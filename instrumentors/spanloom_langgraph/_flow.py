"""LangGraph's control flow: exceptions that are no errors, and what each tells.

Everything below `GraphBubbleUp` only leaves a node: an interrupt, a `Command` to a parent graph, a drained run.
Tested by class, as LangGraph itself does; the class is looked up when it is needed, because a program may use
LangChain's core alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom.instrument import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Capture

INTERRUPTED: Final = "interrupted"
PARENT_COMMAND: Final = "parent_command"
DRAINED: Final = "drained"
_BUBBLED: Final = "bubbled_up"


def bubble_up() -> tuple[type[BaseException], ...]:
    """`(GraphBubbleUp,)`; nothing while LangGraph is not imported."""
    kind = getattr(sys.modules.get("langgraph.errors"), "GraphBubbleUp", None)
    return (kind,) if isinstance(kind, type) else ()


class Event(NamedTuple):
    """A span event to be added."""

    name: str
    attributes: dict[str, AttributeValue]


def status_of(exc: BaseException) -> str:
    """The `spanloom.status` of a span that `exc` (of `bubble_up()`) has left."""
    errors = sys.modules["langgraph.errors"]
    for name, status in (
        ("GraphInterrupt", INTERRUPTED),
        ("ParentCommand", PARENT_COMMAND),
        ("GraphDrained", DRAINED),  # since LangGraph 1.2
    ):
        kind = getattr(errors, name, None)
        if kind is not None and isinstance(exc, kind):
            return status
    return _BUBBLED


def interrupts(exc: BaseException, capture: Capture) -> list[Event]:
    """One event for each `Interrupt` that a `GraphInterrupt` carries: its id, and with content its value.

    Args:
        exc: the exception; its first argument is the sequence of `langgraph.types.Interrupt`.
        capture: decides on the value (kind `io`).
    """
    carried: Any = exc.args[0] if exc.args else ()
    if not isinstance(carried, (tuple, list)):
        return []
    events: list[Event] = []
    for interrupt in cast("Sequence[Any]", carried):
        attributes: dict[str, AttributeValue] = {}
        known = getattr(interrupt, "id", None) or getattr(interrupt, "interrupt_id", None)  # until LangGraph 0.6
        if isinstance(known, str):
            attributes[names.LANGGRAPH_INTERRUPT_ID] = known
        if capture.io:
            value = capture.json(getattr(interrupt, "value", None))
            if value is not None:
                attributes[names.LANGGRAPH_INTERRUPT_VALUE] = value
        events.append(Event(names.LANGGRAPH_INTERRUPT_EVENT, attributes))
    return events


def goto(command: object) -> list[str]:
    """Names of the nodes that a `Command` goes to, in its order."""
    target: Any = getattr(command, "goto", None) or ()
    if isinstance(target, (str, bytes)) or not isinstance(target, (tuple, list)):
        target = (target,)
    found = [one if isinstance(one, str) else getattr(one, "node", None) for one in cast("Sequence[Any]", target)]
    return [one for one in found if isinstance(one, str)]
