"""LangChain's messages -> the GenAI conventions' messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.instrument import messages, parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Message = messages.Message
    Part = messages.Part

_ROLES: Final = {
    "human": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "SystemMessageChunk": "system",
    "tool": "tool",
    "ToolMessageChunk": "tool",
    "function": "tool",
    "FunctionMessageChunk": "tool",
}


def asked(given: Iterable[Any]) -> list[Message]:
    """Messages to the model (`BaseMessage`)."""
    return [_asked(message) for message in given]


def prompts(given: object) -> list[Message]:
    """Prompts of a model that completes texts; none of what is no list, which LangChain refuses."""
    if not isinstance(given, (list, tuple)):
        return []
    return [messages.message("user", [messages.text(str(text))]) for text in cast("Sequence[object]", given)]


def completion(text: str, finish_reason: str | None) -> Message:
    """What such a model has answered."""
    return messages.output([messages.text(text)], finish_reason)


def answer(message: Any, finish_reason: str | None) -> Message:
    """What a chat model has answered (`AIMessage`)."""
    return messages.output(_said(message.__dict__), finish_reason)


def _asked(message: Any) -> Message:
    told: dict[str, Any] = message.__dict__  # past pydantic, which takes its time over what is not there
    kind: str = told["type"]
    role = _ROLES.get(kind) or str(told.get("role", kind))
    if role == "tool":
        answered = messages.tool_call_response(parts.response(told["content"]), told.get("tool_call_id"))
        return messages.message(role, [answered], told.get("name"))
    return messages.message(role, _said(told), told.get("name"))


def _said(told: dict[str, Any]) -> list[Part]:
    """A message's content and tool calls; those that the content has as well are recorded once."""
    calls: list[Part] = [
        messages.tool_call(call.get("name") or "", call.get("args"), call.get("id"))
        for kind in ("tool_calls", "invalid_tool_calls")
        for call in told.get(kind) or ()
    ]
    said = parts.parts(told["content"], parts.TOOL_CALLS if calls else ())
    more: dict[str, Any] = told.get("additional_kwargs") or {}
    if more:
        thought, refusal = more.get("reasoning_content"), more.get("refusal")
        if isinstance(thought, str) and thought:
            said.insert(0, messages.reasoning(thought))
        if isinstance(refusal, str) and refusal:
            said.append(messages.text(refusal))
    return said + calls
