"""Google's interactions: a whole `Interaction`, or the events of a streamed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, is_list, items, plain, total, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.recording._answer import Answer, Choice

_CREATED: Final = ("interaction.created", "interaction.completed")
_UPDATED: Final = "interaction.status_update"
_STARTED: Final = "step.start"
_DELTA: Final = "step.delta"
_EVENTS: Final = frozenset((*_CREATED, _UPDATED, _STARTED, _DELTA, "step.stop"))
# Why it is in a state in which nothing more comes of itself.
_ENDED: Final = {
    "completed": "stop",
    "requires_action": "tool_call",
    "budget_exceeded": "length",
    "incomplete": "incomplete",
    "failed": "error",
    "cancelled": "cancelled",
}


def add(answer: Answer, thing: object) -> bool:
    """Read an `Interaction` or an `InteractionSSEEvent`; False if it is none."""
    kind = field(thing, "event_type")
    if isinstance(kind, str):
        if kind not in _EVENTS:
            return False
        _event(answer, kind, thing)
        return True
    if not is_list(field(thing, "steps")) or count(within(thing, "usage", "total_tokens")) is None:
        return False
    _whole(answer, thing)
    return True


def _event(answer: Answer, kind: str, event: object) -> None:
    if kind in _CREATED:
        _whole(answer, field(event, "interaction"))
    elif kind == _UPDATED:
        _state(answer, event)
    elif answer.content and kind == _STARTED:
        _step(answer.choice(), index(field(event, "index")), field(event, "step"))
    elif answer.content and kind == _DELTA:
        _delta(answer.choice(), index(field(event, "index")), field(event, "delta"))


def _whole(answer: Answer, interaction: object) -> None:
    answer.model = word(field(interaction, "model")) or answer.model
    answer.identity = word(field(interaction, "id")) or answer.identity
    _state(answer, interaction)
    for error in items(field(interaction, "errors")):
        answer.failed(error)
    steps = items(field(interaction, "steps"))
    if answer.content and steps:
        choice = answer.choice()
        choice.clear()
        for place, step in enumerate(steps):
            _step(choice, place, step)


def _state(answer: Answer, told: object) -> None:
    status = word(field(told, "status"))
    if status in _ENDED:
        answer.ended(_ENDED[status])
    usage = field(told, "usage")
    if usage is not None:
        answer.used(_usage, usage)


def _step(choice: Choice, place: int, step: object) -> None:
    kind = word(field(step, "type"))
    if kind == "function_call":
        arguments = plain(field(step, "arguments"))
        choice.call(place, word(field(step, "name")), word(field(step, "id")), arguments or None)
    elif kind == "thought":
        for said in items(field(step, "summary")):
            choice.reasoning(field(said, "text"), place)
    elif kind == "model_output":
        for said in items(field(step, "content")):
            _content(choice, place, said)
    elif kind != "user_input":
        choice.whole(parts.parts(plain(step)))


def _content(choice: Choice, place: int, said: object) -> None:
    if field(said, "type") == "text":
        choice.text(field(said, "text"), place)
    else:
        choice.whole(parts.parts(plain(said)))


def _delta(choice: Choice, place: int, delta: object) -> None:
    kind = word(field(delta, "type"))
    if kind == "arguments_delta":
        choice.call(place, arguments=field(delta, "arguments"))
    elif kind == "thought_summary":
        choice.reasoning(within(delta, "content", "text"), place)
    elif kind not in ("thought_signature", "text_annotation_delta"):
        _content(choice, place, delta)


def _usage(told: Sequence[object]) -> Usage:
    """Tokens of a `Usage`: results of tools are beside the input, thoughts beside the output, as the total tells."""
    (usage,) = told
    given, used = count(field(usage, "total_input_tokens")), count(field(usage, "total_tool_use_tokens"))
    made, thought = count(field(usage, "total_output_tokens")), count(field(usage, "total_thought_tokens"))
    among = count(field(usage, "total_tokens")) == total(given, used, made)
    cached = count(field(usage, "total_cached_tokens"))
    return Usage(total(given, used), made if among else total(made, thought), cached, None, thought)
