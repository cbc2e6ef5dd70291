"""Which run a resumed one goes on with: the span of the interrupted run, found by checkpoint.

Within a process a small table is enough. For a resume in another process the span's context must travel with the
checkpoint, as `traceparent` in its metadata (`Config.langgraph_checkpoint_context`, off unless the user allows it).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from opentelemetry.trace import Span, SpanContext

TRACEPARENT: Final = "traceparent"
_KEPT: Final = 4096  # interrupted runs remembered
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Interrupted:
    """The last interrupted runs, by the checkpoint that they stopped at."""

    __slots__ = ("_lock", "_spans")

    def __init__(self) -> None:
        self._spans: OrderedDict[Hashable, SpanContext] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, key: Hashable, span: SpanContext) -> None:
        """The run with this span stopped at the checkpoint `key`."""
        with self._lock:
            self._spans[key] = span
            self._spans.move_to_end(key)
            while len(self._spans) > _KEPT:
                self._spans.popitem(last=False)

    def at(self, key: Hashable) -> SpanContext | None:
        """The span of the run that stopped there. Kept: the same checkpoint may be resumed again."""
        return self._spans.get(key)


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
