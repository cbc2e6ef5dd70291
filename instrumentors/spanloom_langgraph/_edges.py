"""Which node's execution triggered which, within one run: the links between node spans.

LangGraph triggers a node by writes to channels, and a `Send` by its place in the step's queue. So the run remembers
who wrote each triggering channel until a node that listens to it starts, and the senders of the step before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.trace import Link, SpanContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom_langgraph._writes import Decision

_PUSH: Final = "__pregel_push"
_HANDLER: Final = "node_error_handler"  # in the path of an error handler's task, behind that of the failed one
_KEPT: Final = 4096  # channels whose writes are remembered; a run that never reads more of them keeps no more


class Failure(NamedTuple):
    """A task that failed.

    Attributes:
        name: its node's.
        span: its span's.
    """

    name: str
    span: SpanContext


class Edges:
    """The writes of one run that have not triggered a node yet, and the failures not handled yet."""

    __slots__ = ("_failed", "_queue", "_senders", "_writers")

    def __init__(self) -> None:
        self._failed: dict[tuple[Any, ...], Failure] = {}
        self._writers: dict[str, list[tuple[int, SpanContext]]] = {}
        self._senders: dict[int, list[tuple[tuple[Any, ...], SpanContext | None, int]]] = {}
        self._queue: tuple[int, list[SpanContext | None]] = (-1, [])

    def wrote(self, step: int, path: Sequence[Any], span: SpanContext | None, decision: Decision) -> None:
        """A task has ended.

        Args:
            step: the step it ran in.
            path: `task.path`, which orders the queue of `Send`s.
            span: its span's; None for one without (the graph's own start, a cached node), which keeps a place in
                the queue.
            decision: what it wrote.
        """
        if span is not None:
            for channel in decision.edges:
                if len(self._writers) < _KEPT:
                    self._writers.setdefault(channel, []).append((step, span))
        if decision.sends:
            self._senders.setdefault(step, []).append((_order(path), span, len(decision.sends)))

    def failed(self, name: str, path: tuple[Any, ...], span: SpanContext) -> None:
        """A task of this name has failed, whose node has an error handler."""
        if len(self._failed) < _KEPT:
            self._failed[path[:3]] = Failure(name, span)

    def handled(self, path: tuple[Any, ...]) -> Failure | None:
        """What the error handler with this path handles; None where the failure is not known (an earlier run's)."""
        return self._failed.pop(path[: path.index(_HANDLER)], None) if _HANDLER in path else None

    def into(self, step: int, triggers: Sequence[str], path: Sequence[Any]) -> list[Link]:
        """Links from a task that starts now to those that triggered it.

        Args:
            step: the step it runs in.
            triggers: the channels it listens to (`task.triggers`).
            path: `task.path`; a `Send`'s has its place in the queue.
        """
        if path[0] == _PUSH:
            sender = self._sender(step - 1, path[1])
            return [] if sender is None else [Link(sender)]
        if not self._writers:
            return []
        links: list[Link] = []
        for channel in triggers:
            for write in self._writers.pop(channel, ()):
                if write[0] < step:
                    links.append(Link(write[1]))
                else:  # by a sibling that has ended already
                    self._writers.setdefault(channel, []).append(write)
        return links

    def _sender(self, step: int, place: object) -> SpanContext | None:
        if not isinstance(place, int):  # a task of the functional API: its caller is its parent
            return None
        known, queue = self._queue
        if known != step:  # several threads may come here at once, and find the same
            queue = list[SpanContext | None]()
            for _, span, count in sorted(self._senders.get(step, ()), key=lambda sent: sent[0]):
                queue += [span] * count
            self._queue = step, queue
            self._senders.pop(step - 1, None)
        return queue[place] if place < len(queue) else None


def _order(path: Sequence[Any]) -> tuple[Any, ...]:
    """As LangGraph orders the tasks of a step (`langgraph.pregel._algo.apply_writes`, `task_path_str`)."""
    return tuple((0, part, "") if isinstance(part, int) else (1, 0, str(part)) for part in path[:3])
