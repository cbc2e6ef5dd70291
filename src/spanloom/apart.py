"""The program's own spans and ours, kept apart for the program and brought together in our files.

Once a program has set a TracerProvider of its own, it sees its spans as if ours were not there: the current span,
the parents, the sampling, what propagators send and what its exporters get are what they are without us. In our
files both make one tree: its span that starts inside one of ours becomes a child of ours there, and takes our
trace id if the program saw it as the beginning of a trace.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation import get_current_span as innermost_span

from spanloom.carried import stamps
from spanloom.guard import guarded
from spanloom.nested import note
from spanloom.processor import SpanloomProcessor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span
    from opentelemetry.util.types import AttributeValue

_S = TypeVar("_S", bound=ReadableSpan)


class Apart:
    """What both sides know of each other.

    Attributes:
        on: whether the program has a provider of its own; spans that start before it has are not hidden.
        whole: whether our spans are recorded below spans of the program's that it does not sample.
    """

    def __init__(self, *, whole: bool) -> None:
        self.on = False
        self.whole = whole
        # Our spans, each with the span that the program sees as the current one while ours is.
        self._seen: WeakKeyDictionary[trace.Span, trace.Span] = WeakKeyDictionary()
        self._homes: dict[int, tuple[int, int]] = {}  # trace id of the program's -> ours, and its open spans
        self._unlock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        # Re-entrant: a signal handler or a finaliser can end a span while this thread is in here. New in a forked
        # child: a thread of the parent may have held it.
        self._lock = threading.RLock()

    def hide(self) -> None:
        """Make `get_current_span` pass over our spans; called before the program's first line."""

        @functools.wraps(innermost_span)
        def get_current_span(context: Context | None = None) -> trace.Span:
            span = innermost_span(context)
            return self._seen.get(span, span) if self.on else span

        # Samplers and propagators have it by its name; what the program imports later finds it in these modules.
        for module in list(sys.modules.values()):
            names: dict[str, Any] = getattr(module, "__dict__", {})
            if names.get("get_current_span") is innermost_span:
                names["get_current_span"] = get_current_span

    def started(self, ours: trace.Span, inside: trace.Span) -> None:
        """`ours` has started inside the span `inside`, whoever's that is."""
        self._seen[ours] = self._seen.get(inside, inside)

    def is_ours(self, span: trace.Span) -> bool:
        """Whether an instrumentor of ours has started `span`."""
        return span in self._seen

    def at_home(self, context: SpanContext) -> SpanContext:
        """`context` with the trace id that it has in our files."""
        home = self._homes.get(context.trace_id)
        return context if home is None else _in_trace(context, home[0])

    def enter(self, theirs: SpanContext, inside: SpanContext | None) -> None:
        """A span of the program's has started; `inside` is our span around it, if there is one."""
        with self._lock:
            home, spans = self._homes.get(theirs.trace_id, (None, 0))
            if home is None and inside is not None and inside.trace_id != theirs.trace_id:
                home = inside.trace_id
            if home is not None:
                self._homes[theirs.trace_id] = home, spans + 1

    def leave(self, theirs: SpanContext) -> None:
        """It has ended; a trace of which nothing is open any more is forgotten."""
        with self._lock:
            home, spans = self._homes.get(theirs.trace_id, (0, 0))
            if spans > 1:
                self._homes[theirs.trace_id] = home, spans - 1
            elif spans:
                del self._homes[theirs.trace_id]


class OurTracer(trace.Tracer):
    """A tracer of an instrumentor: its spans are inside whatever is current, and hidden from the program."""

    def __init__(self, apart: Apart, tracer: trace.Tracer) -> None:
        self._apart = apart
        self._tracer = tracer

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> trace.Span:
        """See `opentelemetry.trace.Tracer.start_span`."""
        apart = self._apart
        if not apart.on:
            return self._tracer.start_span(name, context, *args, **kwargs)
        inside = innermost_span(context)
        parent = apart.at_home(inside.get_span_context())
        if apart.whole and parent.is_valid and not parent.trace_flags.sampled:
            parent = _in_trace(parent, parent.trace_id, TraceFlags(parent.trace_flags | TraceFlags.SAMPLED))
        # In a span that is in nobody's books, so that the SDK finds it as the current one.
        context = trace.set_span_in_context(NonRecordingSpan(parent), context)
        span = self._tracer.start_span(name, context, *args, **kwargs)
        apart.started(span, inside)
        return span

    start_as_current_span = SdkTracer.start_as_current_span  # which needs `start_span` only

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer, name)


class Tap(SpanProcessor):
    """Gives another provider's spans to our processor, without letting that provider shut it down.

    Our processor gets them as our files have all spans: in their place, stamped and redacted.
    """

    def __init__(self, apart: Apart, processor: SpanProcessor) -> None:
        self._apart = apart
        self._processor = processor
        self._amending = SpanloomProcessor()
        # Span id of the program's -> our span around it, and the attributes that we carry there.
        self._around: dict[int, tuple[SpanContext | None, Mapping[str, AttributeValue]]] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note where it starts, and pass on."""
        placed = span
        with guarded("apart.start", "the place of a span of the program's own"):
            around = innermost_span(parent_context)
            theirs = span.get_span_context()
            inside = around.get_span_context() if self._apart.is_ours(around) else None
            self._apart.enter(theirs, inside)
            carried = stamps(parent_context)
            note(span, parent_context)
            if inside is not None or carried:
                self._around[theirs.span_id] = inside, carried
            placed = self._placed(span, theirs, inside)
        self._processor.on_start(placed, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on, from where it started."""
        placed = span
        with guarded("apart.end", "the place of a span of the program's own"):
            context = span.get_span_context()
            if context is not None:
                inside, carried = self._around.pop(context.span_id, (None, {}))
                placed = self._amending.amended(self._placed(span, context, inside), carried)
                self._apart.leave(context)
        self._processor.on_end(placed)

    def _placed(self, span: _S, context: SpanContext, inside: SpanContext | None) -> _S:
        at_home = self._apart.at_home
        if inside is None and at_home(context) is context:
            return span
        placed = copy.copy(span)
        placed._context = at_home(context)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        parent = inside or span.parent
        placed._parent = None if parent is None else at_home(parent)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if any(at_home(link.context) is not link.context for link in span.links):
            placed._links = [Link(at_home(link.context), link.attributes) for link in span.links]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return placed

    def shutdown(self) -> None:
        """Their provider ends; ours goes on."""
        self._processor.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        return self._processor.force_flush(timeout_millis)


def _in_trace(context: SpanContext, trace_id: int, flags: TraceFlags | None = None) -> SpanContext:
    return SpanContext(
        trace_id,
        context.span_id,
        context.is_remote,
        context.trace_flags if flags is None else flags,
        context.trace_state,
    )
