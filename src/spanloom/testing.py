"""The public test kit: record spans in memory, with fixed ids and a fixed clock, and print them as a tree.

from spanloom.testing import Recorder

recorder = Recorder()
PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
flow.run({})
assert recorder.tree() == '''
invoke_workflow Support
  run_step Answer
    exec Answer
'''
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from spanloom.span import current_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span
    from opentelemetry.sdk.trace.sampling import Sampler

__all__ = ["Recorder", "SequentialIds", "tree"]


class SequentialIds(IdGenerator):
    """Trace and span ids 1, 2, 3, … in the order in which they are asked for."""

    def __init__(self) -> None:
        self._trace_ids = itertools.count(1)
        self._span_ids = itertools.count(1)

    def generate_trace_id(self) -> int:
        """The next trace id."""
        return next(self._trace_ids)

    def generate_span_id(self) -> int:
        """The next span id."""
        return next(self._span_ids)

    def is_trace_id_random(self) -> bool:
        """They are not (W3C trace context, level 2)."""
        return False


class _Keeper(SpanProcessor):
    """Keeps what started and what ended; with `clock`, gives spans the times 1, 2, 3, … seconds."""

    def __init__(self, *, clock: bool) -> None:
        self.started: dict[int, Span] = {}
        self.ended: list[ReadableSpan] = []
        self._ticks = itertools.count(1) if clock else None
        self._times: dict[int, int] = {}
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        span_id = span.get_span_context().span_id
        with self._lock:
            self.started[span_id] = span
            if self._ticks is not None:
                self._times[span_id] = next(self._ticks) * 1_000_000_000

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            context = span.context
            if context is None:
                return
            self.started.pop(context.span_id, None)
            if self._ticks is not None:
                start, end = self._times.pop(context.span_id), next(self._ticks) * 1_000_000_000
                span = _retimed(span, start, end)
            self.ended.append(span)


def _retimed(span: ReadableSpan, start: int, end: int) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=start,
        end_time=end,
        instrumentation_scope=span.instrumentation_scope,
    )


class Recorder:
    """A TracerProvider that keeps its spans.

    Args:
        sampler: as `TracerProvider` takes it; default: every span.
        fixed: deterministic ids and times (one second per start or end, in order). False: the SDK's own.

    Attributes:
        provider: hand it to instrumentors as `tracer_provider=`.
    """

    def __init__(self, *, sampler: Sampler | None = None, fixed: bool = True) -> None:
        self._keeper = _Keeper(clock=fixed)
        self.provider = TracerProvider(
            sampler=sampler,
            id_generator=SequentialIds() if fixed else None,
            resource=Resource({"service.name": "test"}),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self._keeper)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The ended spans, in the order in which they ended."""
        return list(self._keeper.ended)

    def named(self, name: str) -> list[ReadableSpan]:
        """The ended spans of that name."""
        return [span for span in self.spans if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        """The one ended span of that name.

        Raises:
            AssertionError: there is none, or there are several; says which names there are.
        """
        found = self.named(name)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans named {name!r}; there are:\n{self.tree()}")
        return found[0]

    def clear(self) -> None:
        """Forget the ended spans."""
        self._keeper.ended.clear()

    def tree(self, *attributes: str) -> str:
        """The ended spans as indented text; see `tree`."""
        return tree(self.spans, *attributes)

    def assert_closed(self) -> None:
        """Nothing stays open or current.

        Raises:
            AssertionError: a span was started and not ended, or one is still current here.
        """
        still_open = [span.name for span in self._keeper.started.values()]
        if still_open:
            raise AssertionError(f"spans left open: {still_open}")
        current = trace.get_current_span()
        if current is not trace.INVALID_SPAN or current_scope() is not None:
            raise AssertionError(f"a span is still current: {current}")


def tree(spans: Iterable[ReadableSpan], *attributes: str) -> str:
    """Spans as text: one a line, two spaces deeper per level, siblings in the order in which they started.

    Args:
        spans: any spans; a span whose parent is not among them is a root.
        attributes: keys to show behind the name where a span has them; `"status"` and `"events"` mean the span's
            own status code (where it is set) and the names of its events.

    Returns:
        The text, with a newline in front, so that it reads well in a triple-quoted string.
    """
    ordered = sorted(spans, key=lambda span: (span.start_time or 0, span.context.span_id if span.context else 0))
    ids = {span.context.span_id for span in ordered if span.context}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in ordered:
        parent = span.parent.span_id if span.parent and span.parent.span_id in ids else None
        below.setdefault(parent, []).append(span)
    lines: list[str] = []
    waiting = [(0, span) for span in reversed(below.get(None, []))]
    while waiting:
        depth, span = waiting.pop()
        lines.append("  " * depth + span.name + _shown(span, attributes))
        children = below.get(span.context.span_id, []) if span.context else []
        waiting += [(depth + 1, child) for child in reversed(children)]
    return "\n" + "\n".join(lines) + "\n"


def _shown(span: ReadableSpan, attributes: Sequence[str]) -> str:
    parts: list[str] = []
    for key in attributes:
        if key == "status":
            if span.status.status_code is not trace.StatusCode.UNSET:
                parts.append(span.status.status_code.name)
        elif key == "events":
            parts += [event.name for event in span.events]
        elif span.attributes and key in span.attributes:
            parts.append(f"{key.rsplit('.', 1)[-1]}={span.attributes[key]}")
    return f" [{', '.join(parts)}]" if parts else ""
