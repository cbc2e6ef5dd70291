"""LangChain's messages -> the GenAI conventions' messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import messages, parts

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def prompts(texts: Iterable[str]) -> list[Message]:
    """Prompts of a model that completes texts."""
    return [messages.message("user", [messages.text(text)]) for text in texts]


def completion(text: str, finish_reason: str | None) -> Message:
    """What such a model has answered."""
    return messages.output([messages.text(text)], finish_reason)


def answer(message: Any, finish_reason: str | None) -> Message:
    """What a chat model has answered (`AIMessage`)."""
    return messages.output(_said(message), finish_reason)


def _asked(message: Any) -> Message:
    kind: str = message.type
    role = _ROLES.get(kind) or str(getattr(message, "role", kind))
    if role == "tool":
        answered = messages.tool_call_response(parts.response(message.content), getattr(message, "tool_call_id", None))
        return messages.message(role, [answered], message.name)
    return messages.message(role, _said(message), message.name)


def _said(message: Any) -> list[Part]:
    """A message's content and tool calls; those that the content has as well are recorded once."""
    calls: list[Part] = [
        messages.tool_call(call.get("name") or "", call.get("args"), call.get("id"))
        for kind in ("tool_calls", "invalid_tool_calls")
        for call in getattr(message, kind, None) or ()
    ]
    said = parts.parts(message.content, parts.TOOL_CALLS if calls else ())
    more: dict[str, Any] = message.additional_kwargs
    thought, refusal = more.get("reasoning_content"), more.get("refusal")
    if isinstance(thought, str) and thought:
        said.insert(0, messages.reasoning(thought))
    if isinstance(refusal, str) and refusal:
        said.append(messages.text(refusal))
    return said + calls
