"""One run of a flow's loop: where each node stands in it, what led to it, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Link

from spanloom.instrument import names
from spanloom_pocketflow._describe import action_text, key_text

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from spanloom_pocketflow._unit import Unit

_MOST_NODES: Final = 4096  # told apart in one run; all further ones share a number


class Place:
    """Where a unit stands in its flow's run."""

    __slots__ = ("index", "links", "next_name", "orchestra", "step")

    def __init__(self, orchestra: Orchestra, step: int, index: int, links: tuple[Link, ...]) -> None:
        self.orchestra = orchestra
        self.step = step
        self.index = index
        self.links = links
        self.next_name: str | None = None


class Orchestra:
    """One run of a flow's loop over its nodes: numbers them, links each to the one before, tells each its next.

    A context manager around PocketFlow's `_orch`, so that the last node's span ends whatever happens.
    """

    __slots__ = ("_indices", "_previous", "_step", "flow", "waiting")

    def __init__(self, flow: Unit | None) -> None:
        self.flow = flow
        self.waiting: Unit | None = None
        self._step = 0
        self._indices: dict[int, tuple[int, object]] = {}  # with the object, so that no other gets its id
        self._previous: SpanContext | None = None

    def place(self, template: object) -> Place:
        """The next place, for a node of the graph (before PocketFlow copies it)."""
        self._step += 1
        index, _ = self._indices.get(id(template)) or self._number(template)
        previous = self._previous
        links = () if previous is None else (Link(previous),)
        return Place(self, self._step, index, links)

    def _number(self, template: object) -> tuple[int, object]:
        entry = len(self._indices), template
        if entry[0] < _MOST_NODES:  # a flow may make up its nodes as it goes, without end
            self._indices[id(template)] = entry
        return entry

    def decided(self, node: Any, action: object, next_node: object | None) -> None:
        """The flow has asked for the node after `node`: the span that waited for it can end."""
        unit, self.waiting = self.waiting, None
        if unit is None:
            return
        self._previous = unit.span.get_span_context()
        if next_node is not None:
            if unit.place is not None:
                unit.place.next_name = type(next_node).__name__
        elif self.flow is not None and self.flow.recording and (successors := _successors(node)):
            name = unit.telemetry.capture.name
            self.flow.span.add_event(
                names.POCKETFLOW_NO_SUCCESSOR_EVENT,
                {
                    names.NODE_NAME: unit.facts.name,
                    names.POCKETFLOW_ACTION: name(action_text(action, in_flow=True) or ""),
                    names.POCKETFLOW_SUCCESSORS: [name(successor) for successor in successors],
                },
            )
        unit.finish()

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: object, exc: object, tb: object) -> None:
        unit, self.waiting = self.waiting, None
        if unit is not None:
            unit.finish()


def _successors(node: Any) -> list[str]:
    """The actions a node has successors for. A property of the user's is not read: PocketFlow would not have."""
    successors: Any = object.__getattribute__(node, "__dict__").get("successors")
    return [key_text(action) for action in successors] if isinstance(successors, dict) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  any keys
