"""Spans of a program's own: `with spanloom.chat(...) as call:`, `@spanloom.tool`.

Each function here returns a `Traced`, for a block or for functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

from opentelemetry.trace import SpanKind

from spanloom import genai, names
from spanloom.call import Call
from spanloom.decorating import is_function
from spanloom.guard import LOG
from spanloom.modelcalls import ModelCall
from spanloom.operations import EmbeddingCall, Plain, Search, ToolCall
from spanloom.span import current_scope, path_below, path_of
from spanloom.traced import Opener, Traced

if TYPE_CHECKING:
    from spanloom.genai import Operation
    from spanloom.telemetry import Telemetry
    from spanloom.told import Told

F = TypeVar("F", bound=Callable[..., Any])
_UNKNOWN: Final = "unknown"
_DESCRIPTION: Final = 1024  # bytes; it is the same on every call


@overload
def workflow(name: F, /) -> F: ...
@overload
def workflow(name: str | None = None, *, capture: bool = False) -> Traced: ...
def workflow(name: Any = None, *, capture: bool = False) -> Any:
    """`invoke_workflow {name}`: a run whose steps the program decides on.

    Args:
        name: its name, one of few; default: the decorated function's.
        capture: of decorated functions, record the arguments and the result (where content is recorded).
    """

    def open_(telemetry: Telemetry, default: str | None) -> Call:
        return _plain(telemetry, genai.workflow(_clean(telemetry, _or(name, default))))

    return _traced("workflow", name, open_, capture)


@overload
def agent(name: F, /) -> F: ...
@overload
def agent(name: str | None = None, *, capture: bool = False) -> Traced: ...
def agent(name: Any = None, *, capture: bool = False) -> Any:
    """`invoke_agent {name}`: a run in which a model decides what is next.

    Args:
        name: the agent's, default: the decorated function's. Tools that run inside carry it too.
        capture: as `workflow`.
    """

    def open_(telemetry: Telemetry, default: str | None) -> Call:
        return _plain(telemetry, genai.agent(_clean(telemetry, _or(name, default))))

    return _traced("agent", name, open_, capture)


@overload
def node(name: F, /) -> F: ...
@overload
def node(name: str | None = None, *, capture: bool = False) -> Traced: ...
def node(name: Any = None, *, capture: bool = False) -> Any:
    """`run_step {name}`: a step of a workflow.

    Args:
        name: the step's, default: the decorated function's.
        capture: as `workflow`.
    """

    def open_(telemetry: Telemetry, default: str | None) -> Call:
        step = _clean(telemetry, _or(name, default)) or _unnamed("node")
        operation = genai.step(step, draft=telemetry.config.draft_names)
        outer = path_of(current_scope())
        path = path_below(outer, step)
        if outer is not None:
            operation.attributes[names.NODE_PATH] = path
        return _plain(telemetry, operation, path)

    return _traced("node", name, open_, capture)


@overload
def chat(model: F, /) -> F: ...
@overload
def chat(
    model: str | None = None,
    *,
    provider: str = ...,
    operation: str = ...,
    stream: bool = False,
    capture: bool = False,
    **parameters: object,
) -> Traced: ...
def chat(
    model: Any = None,
    *,
    provider: str = _UNKNOWN,
    operation: str = names.OP_CHAT,
    stream: bool = False,
    capture: bool = False,
    **parameters: object,
) -> Any:
    """`chat {model}`: a call of a model, of any kind.

    One call is one span: inside a call that is recorded already (by LangChain's instrumentor, by a provider's
    official one, by another `chat`) there is no second span, and what is told here completes the first one.

    A decorated function's response is read as by `Call.record` where the function has told nothing of it; what a
    decorated generator yields, as by `Call.stream`, where it has not used that itself.

    Args:
        model: the model asked for.
        provider: `gen_ai.provider.name`: `openai`, `anthropic`, `gcp.gemini`, `aws.bedrock`, ..., or a name of one's
            own for a model of one's own.
        operation: `chat`, `text_completion` or `generate_content`.
        stream: the answer is asked for as a stream. (`Call.stream` tells so too.)
        capture: of decorated functions, record the arguments as the input, and a result of one's own as the answer.
        **parameters: of the request, by the names that clients have for them: `temperature`, `max_tokens`, `top_p`,
            `seed`, `stop`, `reasoning_effort`, ... Others are ignored, so a client's keywords can be given whole.
    """

    def open_(telemetry: Telemetry, _: str | None) -> Call | None:
        def asked() -> Operation:
            return genai.inference(
                operation,
                _clean(telemetry, provider) or _UNKNOWN,
                _clean(telemetry, _or(model, None)),
                streaming=stream,
                parameters=genai.request_parameters(parameters),
            )

        facts = ModelCall(telemetry)
        scope = facts.begin(asked)
        return None if scope is None else Call(scope, facts)

    return _traced("chat", model, open_, capture)


@overload
def embeddings(model: F, /) -> F: ...
@overload
def embeddings(model: str | None = None, *, provider: str = ..., capture: bool = False) -> Traced: ...
def embeddings(model: Any = None, *, provider: str = _UNKNOWN, capture: bool = False) -> Any:
    """`embeddings {model}`: a call of an embedding model.

    Args:
        model: the model asked for.
        provider: as of `chat`.
        capture: of decorated functions, record the arguments as the input and how long the vectors are.
    """

    def open_(telemetry: Telemetry, _: str | None) -> Call | None:
        asked = genai.embeddings(_clean(telemetry, _or(model, None)), _clean(telemetry, provider) or _UNKNOWN)
        scope = EmbeddingCall(telemetry).begin(asked)
        return None if scope is None else Call(scope, scope)

    return _traced("embeddings", model, open_, capture)


@overload
def retrieval(source: F, /) -> F: ...
@overload
def retrieval(source: str | None = None, *, top_k: int | None = None, capture: bool = False) -> Traced: ...
def retrieval(source: Any = None, *, top_k: int | None = None, capture: bool = False) -> Any:
    """`retrieval {source}`: a search for documents.

    Args:
        source: what is searched (an index, a collection), default: the decorated function's name.
        top_k: how many documents are asked for.
        capture: of decorated functions, record the arguments as the query and the result as the documents.
    """

    def open_(telemetry: Telemetry, default: str | None) -> Call:
        searched = _clean(telemetry, _or(source, default))
        return _search(telemetry, genai.retrieval(searched, _number(top_k)))

    return _traced("retrieval", source, open_, capture)


@overload
def rerank(model: F, /) -> F: ...
@overload
def rerank(
    model: str | None = None, *, provider: str = ..., top_k: int | None = None, capture: bool = False
) -> Traced: ...
def rerank(model: Any = None, *, provider: str = _UNKNOWN, top_k: int | None = None, capture: bool = False) -> Any:
    """`rerank {model}`: documents put into a better order by a model.

    Args:
        model: the model asked for.
        provider: as of `chat`.
        top_k: how many documents are to be left.
        capture: as `retrieval`.
    """

    def open_(telemetry: Telemetry, _: str | None) -> Call:
        asked = _clean(telemetry, _or(model, None))
        return _search(telemetry, genai.rerank(asked, _clean(telemetry, provider) or _UNKNOWN, _number(top_k)))

    return _traced("rerank", model, open_, capture)


@overload
def tool(name: F, /) -> F: ...
@overload
def tool(
    name: str | None = None, *, call_id: str | None = None, description: str | None = None, capture: bool = False
) -> Traced: ...
def tool(name: Any = None, *, call_id: str | None = None, description: str | None = None, capture: bool = False) -> Any:
    """`execute_tool {name}`: an execution of a tool.

    Args:
        name: what the model calls it, default: the decorated function's name.
        call_id: of the model's call that asked for it.
        description: what the model is told about it.
        capture: of decorated functions, record the arguments and the result (where content is recorded).
    """

    def open_(telemetry: Telemetry, default: str | None) -> Call:
        known = _clean(telemetry, _or(name, default)) or _unnamed("tool")
        about = telemetry.capture.text(description, _DESCRIPTION) if description else None
        operation = genai.tool(known, about)
        if call_id:
            operation.attributes[names.GEN_AI_TOOL_CALL_ID] = telemetry.capture.name(str(call_id))
        agent_name = _agent_here()
        if agent_name is not None:
            operation.attributes[names.GEN_AI_AGENT_NAME] = agent_name
        return _opened(ToolCall(telemetry), operation)

    return _traced("tool", name, open_, capture)


def _traced(what: str, first: object, open_: Opener, capture: bool) -> Any:
    """A `Traced`; or, where the decorator was used without parentheses, the decorated function."""
    made = Traced(what, open_, capture=capture)
    return made(cast("Callable[..., Any]", first)) if is_function(first) else made


def _opened(facts: Told, operation: Operation, kind: SpanKind = SpanKind.INTERNAL) -> Call:
    return Call(facts.open(operation.span_name, operation.attributes, kind=kind), facts)


def _plain(telemetry: Telemetry, operation: Operation, path: str | None = None) -> Call:
    facts = Plain(telemetry)
    facts.path = path
    agent_name = operation.attributes.get(names.GEN_AI_AGENT_NAME)
    facts.agent = agent_name if isinstance(agent_name, str) else None
    return _opened(facts, operation)


def _search(telemetry: Telemetry, operation: Operation) -> Call:
    return _opened(Search(telemetry), operation, SpanKind.CLIENT)


def _agent_here() -> str | None:
    """The agent of the program's own whose run this is inside of."""
    scope = current_scope()
    while scope is not None:
        if isinstance(scope, Plain) and scope.agent is not None:
            return scope.agent
        scope = scope.parent
    return None


def _or(given: object, default: str | None) -> object:
    return default if given is None or is_function(given) else given


def _clean(telemetry: Telemetry, given: object) -> str | None:
    """A name as it may stand in a trace."""
    if given is None or given == "":
        return None
    return telemetry.capture.name(given if isinstance(given, str) else str(given))


def _number(given: object) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _unnamed(what: str) -> str:
    LOG.warning("spanloom.%s() around a block needs a name: spanloom.%s('...'). It is recorded as unnamed.", what, what)
    return "unnamed"
