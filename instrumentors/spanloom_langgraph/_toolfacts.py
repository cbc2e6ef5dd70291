"""What is known of a tool, and of one call of it, as the model sees them.

The model chooses the arguments that `tool.tool_call_schema` names, and reads the content of the `ToolMessage`. What
LangGraph injects (state, store, runtime), and a message's artifact, are the program's own.
"""

from __future__ import annotations

import json
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom import genai
from spanloom.instrument import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Capture

_DESCRIPTION: Final = 1024  # bytes; it is the same on every call
# A tool without a schema takes one text, under any name; `langchain_core.tools.Tool.args` has this one.
ONE_TEXT: Final = ("tool_input",)


class ToolFacts(NamedTuple):
    """What is known of one tool.

    Attributes:
        tool: the tool, held weakly.
        name: `tool.name`, `tool.description` and `tool.args_schema` as they were when this was read.
        span_name: of its spans.
        attributes: that its spans start with.
        arguments: names of the arguments that the model chooses; None where arguments are not recorded.
    """

    tool: weakref.ref[Any]
    name: Any
    description: Any
    schema: Any
    span_name: str
    attributes: dict[str, AttributeValue]
    arguments: tuple[str, ...] | None


class Tools:
    """Facts of the tools that have run, each kept as long as its tool lives.

    By identity: tools are pydantic models, which have no hash.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._facts: dict[int, ToolFacts] = {}

    def facts(self, tool: Any) -> ToolFacts:
        """Facts of `tool`, read again where its name, description or schema was changed."""
        known = self._facts.get(id(tool))
        if (
            known is None
            or known.tool() is not tool
            or known.name is not tool.name
            or known.description is not tool.description
            or known.schema is not tool.args_schema
        ):
            known = self._facts[id(tool)] = self._read(tool)
        return known

    def _read(self, tool: Any) -> ToolFacts:
        capture, facts, key = self._capture, self._facts, id(tool)
        description = tool.description
        operation = genai.tool(
            capture.name(tool.name), capture.text(description, _DESCRIPTION) if isinstance(description, str) else None
        )
        arguments = None
        if capture.tools:
            with guarded("tool_call_schema", "the arguments of a tool's calls"):
                arguments = arguments_of(tool)
        return ToolFacts(
            weakref.ref(tool, lambda _: facts.pop(key, None)),
            tool.name,
            description,
            tool.args_schema,
            operation.span_name,
            operation.attributes,
            arguments,
        )


def arguments_of(tool: Any) -> tuple[str, ...]:
    """Names of the arguments that a model may give."""
    simple = getattr(sys.modules.get("langchain_core.tools.simple"), "Tool", None)
    if tool.args_schema is None and simple is not None and isinstance(tool, simple):
        return ONE_TEXT
    if getattr(tool.args_schema, "model_fields", None) == {}:
        return ()  # langchain-core before 0.3.79 would ask pydantic in a way that warns the program
    schema: Any = tool.tool_call_schema
    if isinstance(schema, dict):  # a JSON schema
        return tuple(cast("dict[str, Any]", schema).get("properties") or ())
    fields = getattr(schema, "model_fields", None)
    return tuple(schema.__fields__ if fields is None else fields)  # the former is pydantic.v1's


def shown_arguments(given: object, allowed: tuple[str, ...]) -> dict[str, Any] | None:
    """The arguments of one call as an object, which the convention wants; None where there are none to be shown.

    Args:
        given: `tool_input` of `BaseTool.run`: a dict, or one text.
        allowed: what `arguments_of` has told.
    """
    if isinstance(given, str):
        return {(allowed or ONE_TEXT)[0]: given}  # as LangChain does
    if not isinstance(given, dict):
        return None
    arguments = cast("dict[str, Any]", given)
    if allowed is ONE_TEXT:
        return arguments if len(arguments) == 1 else None
    return {name: value for name, value in arguments.items() if name in allowed}


class Outcome(NamedTuple):
    """What a tool has given back.

    Attributes:
        shown: for `gen_ai.tool.call.result`, an object; None where the model sees nothing of it.
        failed: the message says that the call has failed.
        has_artifact: the message has an artifact beside its content.
    """

    shown: Any
    failed: bool
    has_artifact: bool


def outcome(result: Any, call_id: str | None, limit: int, is_message: Callable[[Any], bool]) -> Outcome:
    """What `BaseTool.run` has returned, as the model sees it.

    Args:
        result: a `ToolMessage`; a `Command`, which may hold one; a list of these; any value of a tool that was
            called without a call id.
        call_id: which message of a `Command` is meant.
        limit: texts longer than this are not parsed.
        is_message: whether a value is a `ToolMessage`.
    """
    if is_message(result):
        message = result
    elif _is_output(result):
        message = next(_messages(result, call_id, is_message), None)
        if message is None:  # only changes of the state, which the node tells
            return Outcome(None, failed=False, has_artifact=False)
    else:
        return Outcome(_as_object(result, limit), failed=False, has_artifact=False)
    return Outcome(_as_object(message.content, limit), message.status == "error", message.artifact is not None)


def _is_output(value: Any) -> bool:
    """Whether LangChain passes a tool's result on as it is: `Command`s, messages, lists of them."""
    mixin = getattr(sys.modules.get("langchain_core.messages.tool"), "ToolOutputMixin", None)
    if mixin is None:
        return False
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return bool(items) and all(isinstance(item, mixin) for item in items)
    return isinstance(value, mixin)


def _messages(value: Any, call_id: str | None, is_message: Callable[[Any], bool]) -> Iterator[Any]:
    """The messages for this call in what a tool returned; the last ones first, as an update may repeat a history."""
    if is_message(value):
        if call_id is None or value.tool_call_id == call_id:
            yield value
    elif isinstance(value, (list, tuple)):
        for item in reversed(cast("list[Any]", value)):
            yield from _messages(item, call_id, is_message)
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            if is_message(item) or isinstance(item, (list, tuple)):
                yield from _messages(item, call_id, is_message)
    elif _is_output(value):
        yield from _messages(getattr(value, "update", None), call_id, is_message)


def _as_object(value: Any, limit: int) -> Any:
    """`value` as the object that the convention expects: a text that holds one is parsed, anything else is wrapped.

    What LangChain returns for a tool's dict is its JSON text.
    """
    if isinstance(value, str) and value[:1] == "{" and len(value) <= limit:
        try:
            parsed: Any = json.loads(value)
        except (ValueError, RecursionError):
            pass
        else:
            return parsed
    return cast("Any", value) if isinstance(value, dict) else {"result": value}
