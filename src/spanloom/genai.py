"""GenAI operations as span names and start attributes: pure functions, one per operation.

Names and attributes follow the GenAI semantic conventions (`docs/gen-ai`, commit in `spanloom.names`). What is
sampling-relevant there is returned here, so that it stands on the span from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from spanloom import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue


# Operations that are a model call.
INFERENCES: Final = (names.OP_CHAT, names.OP_TEXT_COMPLETION, names.OP_GENERATE_CONTENT)


class Operation(NamedTuple):
    """A span's name and the attributes it starts with."""

    span_name: str
    attributes: dict[str, AttributeValue]


def _operation(operation: str, subject: str | None) -> Operation:
    """`{operation} {subject}`; the operation alone where there is no meaningful subject."""
    return Operation(f"{operation} {subject}" if subject else operation, {names.GEN_AI_OPERATION_NAME: operation})


def workflow(name: str | None) -> Operation:
    """`invoke_workflow {gen_ai.workflow.name}`.

    Args:
        name: the user's own name for it. None where there is only a type name such as `Flow`: the convention
            then wants no name at all.
    """
    operation = _operation(names.OP_INVOKE_WORKFLOW, name)
    if name:
        operation.attributes[names.GEN_AI_WORKFLOW_NAME] = name
    return operation


def agent(name: str | None) -> Operation:
    """`invoke_agent {gen_ai.agent.name}`, in this process.

    Args:
        name: the user's own name for it, None where there is none.
    """
    operation = _operation(names.OP_INVOKE_AGENT, name)
    if name:
        operation.attributes[names.GEN_AI_AGENT_NAME] = name
    return operation


def step(name: str, *, draft: bool = True) -> Operation:
    """`run_step {gen_ai.step.name}` (draft, semantic-conventions-genai PR 188), with `spanloom.node.name` always.

    Args:
        name: the node's name.
        draft: whether names that are still drafts are written.
    """
    operation = _operation(names.OP_RUN_STEP, name)
    operation.attributes[names.NODE_NAME] = name
    if draft:
        operation.attributes[names.GEN_AI_STEP_NAME] = name
    return operation


def tool(name: str, description: str | None = None) -> Operation:
    """`execute_tool {gen_ai.tool.name}`, for a function that runs in this process (`gen_ai.tool.type` `function`).

    Args:
        name: what the model calls it.
        description: what the model is told about it.
    """
    operation = _operation(names.OP_EXECUTE_TOOL, name)
    operation.attributes[names.GEN_AI_TOOL_NAME] = name
    operation.attributes[names.GEN_AI_TOOL_TYPE] = "function"
    if description:
        operation.attributes[names.GEN_AI_TOOL_DESCRIPTION] = description
    return operation


def embeddings(model: str | None, provider: str) -> Operation:
    """`embeddings {gen_ai.request.model}`.

    Args:
        model: the model asked for, where it is known.
        provider: `gen_ai.provider.name`, which the convention requires.
    """
    operation = _operation(names.OP_EMBEDDINGS, model)
    operation.attributes[names.GEN_AI_PROVIDER_NAME] = provider
    if model:
        operation.attributes[names.GEN_AI_REQUEST_MODEL] = model
    return operation


def retrieval(source: str | None, top_k: int | None = None) -> Operation:
    """`retrieval {gen_ai.data_source.id}`.

    Args:
        source: what is searched, as the program or its framework names it.
        top_k: how many documents are asked for, where that is known.
    """
    operation = _operation(names.OP_RETRIEVAL, source)
    if source:
        operation.attributes[names.GEN_AI_DATA_SOURCE_ID] = source
    if top_k is not None:
        operation.attributes[names.GEN_AI_RETRIEVAL_TOP_K] = top_k
    return operation


def rerank(model: str | None, provider: str, top_k: int | None = None) -> Operation:
    """`rerank {gen_ai.request.model}`: documents put into a better order by a model.

    The convention has no such operation, and allows values of one's own; the attributes are those it has.

    Args:
        model: the model asked for, where it is known.
        provider: `gen_ai.provider.name`.
        top_k: how many documents are to be left, where that is known.
    """
    operation = _operation(names.OP_RERANK, model)
    operation.attributes[names.GEN_AI_PROVIDER_NAME] = provider
    if model:
        operation.attributes[names.GEN_AI_REQUEST_MODEL] = model
    if top_k is not None:
        operation.attributes[names.GEN_AI_RETRIEVAL_TOP_K] = top_k
    return operation


def inference(
    operation: str,
    provider: str,
    model: str | None,
    *,
    streaming: bool = False,
    parameters: Mapping[str, AttributeValue] | None = None,
) -> Operation:
    """`{operation} {gen_ai.request.model}`, a model call.

    Args:
        operation: `chat`, `text_completion` or `generate_content`.
        provider: `gen_ai.provider.name`, which the convention requires.
        model: the model asked for, where it is known.
        streaming: whether the answer is asked for as a stream.
        parameters: of the request, see `request_parameters`.
    """
    made = _operation(operation, model)
    made.attributes[names.GEN_AI_PROVIDER_NAME] = provider
    if model:
        made.attributes[names.GEN_AI_REQUEST_MODEL] = model
    if streaming:  # the convention: unset means that it is not
        made.attributes[names.GEN_AI_REQUEST_STREAM] = True
    if parameters:
        made.attributes.update(parameters)
    return made


def _double(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: object) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)):
        return [text for text in cast("Sequence[object]", value) if isinstance(text, str)] or None
    return None


def _level(value: object) -> str | None:
    if isinstance(value, Mapping):  # OpenAI's responses: {"effort": "low"}
        value = cast("Mapping[str, object]", value).get("effort")
    return value if isinstance(value, str) else None


# Names that clients have for a parameter -> the convention's, and what makes its value. Of two in one place the later.
_PARAMETERS: Final[dict[str, tuple[str, Callable[[object], AttributeValue | None]]]] = {
    "temperature": (names.GEN_AI_REQUEST_TEMPERATURE, _double),
    "top_p": (names.GEN_AI_REQUEST_TOP_P, _double),
    "top_k": (names.GEN_AI_REQUEST_TOP_K, _integer),
    "num_predict": (names.GEN_AI_REQUEST_MAX_TOKENS, _integer),
    "max_output_tokens": (names.GEN_AI_REQUEST_MAX_TOKENS, _integer),
    "max_tokens": (names.GEN_AI_REQUEST_MAX_TOKENS, _integer),
    "max_completion_tokens": (names.GEN_AI_REQUEST_MAX_TOKENS, _integer),
    "seed": (names.GEN_AI_REQUEST_SEED, _integer),
    "candidate_count": (names.GEN_AI_REQUEST_CHOICE_COUNT, _integer),
    "n": (names.GEN_AI_REQUEST_CHOICE_COUNT, _integer),
    "stop_sequences": (names.GEN_AI_REQUEST_STOP_SEQUENCES, _texts),
    "stop": (names.GEN_AI_REQUEST_STOP_SEQUENCES, _texts),
    "frequency_penalty": (names.GEN_AI_REQUEST_FREQUENCY_PENALTY, _double),
    "presence_penalty": (names.GEN_AI_REQUEST_PRESENCE_PENALTY, _double),
    "reasoning": (names.GEN_AI_REQUEST_REASONING_LEVEL, _level),
    "reasoning_effort": (names.GEN_AI_REQUEST_REASONING_LEVEL, _level),
}


def request_parameters(*given: Mapping[str, object]) -> dict[str, AttributeValue]:
    """The convention's attributes of a request's parameters.

    Args:
        *given: parameters by the names that clients have for them (`temperature`, `max_tokens`, `stop`, ...), from
            what counts least (the model's defaults) to what counts most (the call's own arguments). Anything else in
            there is ignored, and so is a value of a wrong type.
    """
    found: dict[str, AttributeValue] = {}
    for source in given:
        shorter, longer = (source, _PARAMETERS) if len(source) < len(_PARAMETERS) else (_PARAMETERS, source)
        for name in [name for name in shorter if name in longer]:
            attribute, converted = _PARAMETERS[name]
            value = converted(source[name])
            if value is not None:
                found[attribute] = value
    if found.get(names.GEN_AI_REQUEST_CHOICE_COUNT) == 1:  # the convention: only where it is not one
        del found[names.GEN_AI_REQUEST_CHOICE_COUNT]
    return found


# What providers say, in lower case, and the convention's word for it (`FinishReason` of its message schemas).
_FINISH_REASONS: Final = {
    **{word: word for word in ("stop", "length", "content_filter", "tool_call", "compaction", "error")},
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "finished": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "failed": "error",
    "malformed_function_call": "error",
}


def finish_reason(told: str) -> str:
    """The convention's word for a provider's finish reason; the provider's own, as it was told, where it has none.

    `Capture.word` makes the latter one case, once it has been redacted.
    """
    return _FINISH_REASONS.get(told.lower(), told)
