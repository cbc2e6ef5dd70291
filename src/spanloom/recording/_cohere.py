"""Cohere's chat, version 2: a whole response, or the events of a streamed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, items, plain, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.recording._answer import Answer, Choice

_EVENTS: Final = frozenset(
    (
        *("message-start", "content-start", "content-delta", "content-end", "tool-plan-delta"),
        *("tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "citation-end", "message-end"),
    )
)


def add(answer: Answer, thing: object) -> bool:
    """Read a `V2ChatResponse` or an event of `chat_stream`; False if it is none."""
    kind = field(thing, "type")
    if isinstance(kind, str) and kind in _EVENTS:
        _event(answer, kind, thing)
        return True
    reason, message = field(thing, "finish_reason"), field(thing, "message")
    if word(reason) is None or field(message, "role") != "assistant":
        return False
    answer.identity = word(field(thing, "id"))
    _ended(answer, thing)
    if answer.content:
        _message(answer.choice(), message)
    return True


def _event(answer: Answer, kind: str, event: object) -> None:
    if kind == "message-start":
        answer.identity = word(field(event, "id"))
    elif kind == "message-end":
        _ended(answer, field(event, "delta"))
    elif answer.content:
        choice, place = answer.choice(), index(field(event, "index"))
        told = within(event, "delta", "message")
        choice.reasoning(field(told, "tool_plan"), "plan")
        content = field(told, "content")
        choice.reasoning(field(content, "thinking"), place)
        choice.text(field(content, "text"), place)
        call = field(told, "tool_calls")
        if call is not None:
            _call(choice, place, call)


def _ended(answer: Answer, told: object) -> None:
    answer.ended(field(told, "finish_reason"))
    usage = field(told, "usage")
    if usage is not None:
        answer.used(_usage, usage)
    error = word(field(told, "error"))
    if error is not None:
        answer.failed({"message": error})


def _message(choice: Choice, message: object) -> None:
    choice.reasoning(field(message, "tool_plan"))
    choice.whole(parts.parts(plain(items(field(message, "content")))))
    for place, call in enumerate(items(field(message, "tool_calls"))):
        _call(choice, place, call)


def _call(choice: Choice, place: int, call: object) -> None:
    function = field(call, "function")
    arguments = field(function, "arguments")
    choice.call(place, word(field(function, "name")), word(field(call, "id")), arguments)


def _usage(told: Sequence[object]) -> Usage:
    """The tokens that are billed, as the convention wants; those that were processed where nobody tells them."""
    (usage,) = told

    def tokens(key: str) -> int | None:
        billed = count(within(usage, "billed_units", key))
        return count(within(usage, "tokens", key)) if billed is None else billed

    return Usage(tokens("input_tokens"), tokens("output_tokens"), count(field(usage, "cached_tokens")))
