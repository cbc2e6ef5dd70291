"""Which run a resumed one goes on with: the span of the run that stopped there, found by checkpoint.

Within a process a small table is enough. For a resume in another process the span's context must travel with the
checkpoint, as `traceparent` in its metadata (`Config.langgraph_checkpoint_context`, off unless the user allows it).
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from opentelemetry.trace import Span, SpanContext

TRACEPARENT: Final = "traceparent"
_KEPT: Final = 8192  # keys remembered, two for each run
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Place(NamedTuple):
    """Where a loop stands among all that are saved.

    Attributes:
        saver: the checkpointer.
        thread: the thread and the namespace in it.
        checkpoint: the id of the checkpoint that was saved or loaded last.
        parent: the id of the one before it, if there is one.
        metadata: of the checkpoint.
    """

    saver: object
    thread: tuple[str, str]
    checkpoint: str
    parent: str | None
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, loop: Any) -> Place:
        """The place of a `PregelLoop`."""
        at: Mapping[str, Any] = loop.checkpoint_config["configurable"]
        before: Mapping[str, Any] = loop.prev_checkpoint_config["configurable"] if loop.prev_checkpoint_config else {}
        return cls(
            loop.checkpointer,
            (str(at.get("thread_id")), str(at.get("checkpoint_ns", ""))),
            loop.checkpoint["id"],
            before.get("checkpoint_id"),
            cast("Mapping[str, Any]", loop.checkpoint_metadata or {}),
        )


class Stopped:
    """The last runs that stopped before their end, by the checkpoint that they stopped at."""

    __slots__ = ("_lock", "_spans")

    def __init__(self) -> None:
        self._spans: OrderedDict[Hashable, tuple[SpanContext, Callable[[], object]]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, place: Place, span: SpanContext) -> None:
        """The run with this span stopped there."""
        kept = span, _way_to(place.saver)
        with self._lock:
            for key in (place.checkpoint, place.thread):
                self._spans[key] = kept
                self._spans.move_to_end(key)
            while len(self._spans) > _KEPT:
                self._spans.popitem(last=False)

    def forget(self, place: Place) -> None:
        """A run of the thread came to its end: what stopped before is over, but for those who go back to it."""
        with self._lock:
            self._spans.pop(place.thread, None)

    def before(self, place: Place) -> SpanContext | None:
        """The span of the run that stopped there. It is kept: the same checkpoint may be resumed again.

        The user may have changed the state since then (`update_state`), once or several times.
        """
        found = self._spans.get(place.checkpoint)
        if found is None and place.metadata.get("source") == "update":
            found = self._spans.get(place.parent) or self._spans.get(place.thread)
            if found is not None and found[1]() is not place.saver:  # another graph's thread of the same name
                found = self._spans.get(place.parent)
        return carried(place.metadata) if found is None else found[0]


def _way_to(saver: object) -> Callable[[], object]:
    try:
        return weakref.ref(saver)
    except TypeError:  # cannot be held weakly
        return lambda: None


def carried(metadata: Mapping[str, Any] | None) -> SpanContext | None:
    """The span context that a checkpoint's metadata carries, if there is a valid one."""
    text: object = (metadata or {}).get(TRACEPARENT)
    if not isinstance(text, str):
        return None
    found = trace.get_current_span(_PROPAGATOR.extract({TRACEPARENT: text})).get_span_context()
    return found if found.is_valid else None


def with_context(config: Mapping[str, Any] | None, span: Span) -> dict[str, Any]:
    """A copy of a `RunnableConfig` whose metadata carries the span's context, for the checkpoints of its run."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    found = dict(config or {})
    metadata = cast("Mapping[str, Any]", found.get("metadata") or {})
    found["metadata"] = {**metadata, TRACEPARENT: carrier[TRACEPARENT]}
    return found
