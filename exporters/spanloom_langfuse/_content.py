"""What went into an operation and what came out of it, wherever the span says so."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_langfuse import _names as names
from spanloom_langfuse._chat import chat_input, chat_output
from spanloom_langfuse._states import with_chat
from spanloom_langfuse._text import as_text, parsed, written

_ASKED: Final = (names.INPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS, names.TOOL_DEFINITIONS)
_ANSWERED: Final = (names.OUTPUT_MESSAGES,)
# Where to look first, by Langfuse's word for the observation; spanloom's own values and messages come next.
_INPUTS: Final = {"tool": (names.TOOL_ARGUMENTS,), "retriever": (names.QUERY_TEXT,), "generation": _ASKED}
_OUTPUTS: Final = {"tool": (names.TOOL_RESULT,), "retriever": (names.DOCUMENTS,), "generation": _ANSWERED}
# What is given to these, and what they make, may be the state of a graph.
_STATES: Final = frozenset({"chain", "agent"})


class Content(NamedTuple):
    """What a span has handled.

    Attributes:
        input: text, JSON as a rule; None if there is none.
        output: likewise.
        state: what a node changed, where its output does not say all of it; JSON text.
        moved: the attributes that say nothing else. If they stayed, the server would store it all a second time.
    """

    input: str | None = None
    output: str | None = None
    state: str | None = None
    moved: frozenset[str] = frozenset()


def content(span: ReadableSpan, kind: str) -> Content:
    """Read it.

    Args:
        span: an ended span.
        kind: Langfuse's word for the observation that it becomes.
    """
    own: Mapping[str, Any] = span.attributes or {}
    said = _conversation(span, own)
    given, asked = _found(own, said, _INPUTS.get(kind), (names.INPUT,), _ASKED, (names.POCKETFLOW_PARAMS,))
    made, answered = _found(own, said, _OUTPUTS.get(kind), (names.OUTPUT,), _ANSWERED)
    state = as_text(own.get(names.STATE_CHANGES)) if names.STATE_CHANGES in own else None
    moved = {*asked, *answered, *((names.STATE_CHANGES,) if state is not None else ())}
    if made is None and state is not None:
        made, state = _update(state)
    if kind in _STATES:
        given, made = given and with_chat(given), made and with_chat(made)
    return Content(given, made, state, frozenset(moved & own.keys()))


def _found(
    own: Mapping[str, Any], said: Mapping[str, Any], *places: tuple[str, ...] | None
) -> tuple[str | None, tuple[str, ...]]:
    """The first of `places` where something stands, as text, and the attributes that it consists of."""
    for place in places:
        if place is _ASKED:
            messages, instructions, tools = (said.get(name) for name in _ASKED)
            text = chat_input(messages, instructions, tools)
        elif place is _ANSWERED:
            text = chat_output(said.get(names.OUTPUT_MESSAGES))
        else:
            text = as_text(own[place[0]]) if place and own.get(place[0]) is not None else None
        if place and text is not None:
            return text, place
    return None, ()


def _update(changes: str) -> tuple[str, str | None]:
    """What a node wrote, as plain values by key, and the changes themselves if there is more to them."""
    groups = _object(parsed(changes))
    values = dict(_object(groups.get("added")))
    before = bool(groups.get("removed"))
    for key, change in _object(groups.get("changed")).items():
        about = _object(change)
        values[key] = about.get("update", about.get("after", change))
        before = before or "before" in about
    text = written(values) if values else None
    return (changes, None) if text is None else (text, changes if before else None)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _conversation(span: ReadableSpan, own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the messages stand: on the span, or on an event of it."""
    if names.INPUT_MESSAGES not in own and names.OUTPUT_MESSAGES not in own:
        for event in span.events:
            if event.name == names.DETAILS_EVENT:
                return event.attributes or {}
    return own
