"""AWS Bedrock's `converse`, and the events of `converse_stream`: dicts, as boto3 has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom import parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, is_list, plain, total, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.recording._answer import Answer, Choice

_EVENTS: Final = frozenset(
    ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")
)
_ERROR: Final = "Exception"


def add(answer: Answer, thing: object) -> bool:
    """Read a response of `converse` or an event of `converse_stream`; False if it is none."""
    if not isinstance(thing, dict):
        return False
    told = cast("dict[object, Any]", thing)
    if len(told) == 1:
        return _single(answer, *next(iter(told.items())))
    content = within(told, "output", "message", "content")
    if not is_list(content) or "stopReason" not in told:
        return False
    _ended(answer, told["stopReason"], told)
    if answer.content:
        answer.choice().whole(parts.parts(plain(content)))
    return True


def _single(answer: Answer, kind: object, event: object) -> bool:
    """An event is a dict with its kind as the only key."""
    if not isinstance(kind, str):
        return False
    if kind in _EVENTS:
        _event(answer, kind, event)
        return True
    message = word(field(event, "message")) if kind.endswith(_ERROR) else None
    if message is None:
        return False
    answer.failed({"code": kind, "message": message})
    answer.ended("error")
    return True


def _event(answer: Answer, kind: str, event: object) -> None:
    if kind == "messageStop":
        answer.ended(field(event, "stopReason"))
    elif kind == "metadata":
        _ended(answer, None, event)
    elif answer.content:
        place = index(field(event, "contentBlockIndex"))
        if kind == "contentBlockStart":
            tool = within(event, "start", "toolUse")
            if tool is not None:
                answer.choice().call(place, word(field(tool, "name")), word(field(tool, "toolUseId")))
        elif kind == "contentBlockDelta":
            _delta(answer.choice(), place, field(event, "delta"))


def _delta(choice: Choice, place: int, delta: object) -> None:
    choice.text(field(delta, "text"), place)
    choice.reasoning(within(delta, "reasoningContent", "text"), place)
    tool = field(delta, "toolUse")
    if tool is not None:
        choice.call(place, arguments=field(tool, "input"))


def _ended(answer: Answer, reason: object, told: object) -> None:
    answer.ended(reason)
    answer.model = word(within(told, "trace", "promptRouter", "invokedModelId")) or answer.model
    usage = field(told, "usage")
    if usage is not None:
        answer.used(_usage, usage)


def _usage(told: Sequence[object]) -> Usage:
    """Tokens of a `TokenUsage`: cached ones are beside the input."""
    (usage,) = told
    read, written = count(field(usage, "cacheReadInputTokens")), count(field(usage, "cacheWriteInputTokens"))
    return Usage(
        total(count(field(usage, "inputTokens")), read, written), count(field(usage, "outputTokens")), read, written
    )
