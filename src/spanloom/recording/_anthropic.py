"""Anthropic's messages: a whole `Message`, or the events of a streamed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, is_list, plain, total, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.recording._answer import Answer, Choice

_KINDS: Final = frozenset(
    (
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "message", "error", "ping"),
    )
)


def add(answer: Answer, thing: object) -> bool:
    """Read a `Message` or a `RawMessageStreamEvent`; False if it is none.

    The client's own stream helper puts events of its own between these, which repeat them: they are left alone.
    """
    kind = field(thing, "type")
    if kind == "content_block_delta":
        if answer.content:
            _delta(answer.choice(), index(field(thing, "index")), field(thing, "delta"))
    elif kind == "message":
        if not is_list(field(thing, "content")):
            return False
        _message(answer, thing)
    elif kind == "message_start":
        _message(answer, field(thing, "message"))
    elif kind == "message_delta":
        answer.ended(within(thing, "delta", "stop_reason"))
        answer.used(_usage, *answer.told[:1], field(thing, "usage"))
    elif kind == "content_block_start":
        if answer.content:
            _start(answer.choice(), index(field(thing, "index")), field(thing, "content_block"))
    elif kind == "error":
        error = field(thing, "error")
        if field(error, "message") is None:
            return False
        answer.failed(error)
        answer.ended("error")
    return isinstance(kind, str) and kind in _KINDS


def _message(answer: Answer, message: object) -> None:
    answer.model = word(field(message, "model"))
    answer.identity = word(field(message, "id"))
    answer.used(_usage, field(message, "usage"))
    answer.ended(field(message, "stop_reason"))
    if answer.content:
        answer.choice().whole(parts.parts(plain(field(message, "content"))))


def _start(choice: Choice, place: int, block: object) -> None:
    kind = field(block, "type")
    if kind == "text":
        choice.text(field(block, "text"), place)
    elif kind == "thinking":
        choice.reasoning(field(block, "thinking"), place)
    elif kind in ("tool_use", "server_tool_use"):
        name, identity, given = word(field(block, "name")), word(field(block, "id")), plain(field(block, "input"))
        choice.call(place, name, identity, given or None, by_server=kind == "server_tool_use")
    else:
        choice.whole(parts.parts(plain(block)))


def _delta(choice: Choice, place: int, delta: object) -> None:
    kind = field(delta, "type")
    if kind == "text_delta":
        choice.text(field(delta, "text"), place)
    elif kind == "thinking_delta":
        choice.reasoning(field(delta, "thinking"), place)
    elif kind == "input_json_delta":
        choice.call(place, arguments=field(delta, "partial_json"))


def _usage(told: Sequence[object]) -> Usage:
    """Tokens of a `Usage`, with what a `MessageDeltaUsage` says later; cached ones are beside the input here."""

    def told_last(*path: str) -> int | None:
        return next((number for usage in reversed(told) if (number := count(within(usage, *path))) is not None), None)

    given, read, written = (
        told_last(key) for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    thought = told_last("output_tokens_details", "thinking_tokens")
    return Usage(total(given, read, written), told_last("output_tokens"), read, written, thought)
