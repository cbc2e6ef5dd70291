"""What one span of a trace says about another one: the name, the graph, and what a web request was about.

Spans come when they end, those inside before those around them, and in several batches. What is remembered for those
that are still to come is bounded.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_langfuse import _names as names
from spanloom_langfuse._content import content
from spanloom_langfuse._kinds import display_name, is_root, kind_of
from spanloom_langfuse._steps import Steps
from spanloom_langfuse._translate import About

_TRACES: Final = 512
_SPANS: Final = 256
# What can be the work of a request: the runs, or the model call where there is none.
_WORK: Final = frozenset({"chain", "agent", "generation"})


class _Work(NamedTuple):
    """The first and the last thing that was done inside a span that says nothing itself."""

    first: ReadableSpan
    last: ReadableSpan

    def with_(self, other: "_Work") -> "_Work":
        return _Work(
            min(self.first, other.first, key=lambda span: span.start_time or 0),
            max(self.last, other.last, key=lambda span: span.end_time or 0),
        )


class Traces:
    """Remembers what it takes. Not for several threads at once.

    Args:
        environment: goes to every span.
        release: likewise.
    """

    def __init__(self, environment: str | None, release: str | None) -> None:
        self._common = About(environment=environment, release=release)
        self._names: OrderedDict[int, str] = OrderedDict()
        self._work: OrderedDict[int, _Work] = OrderedDict()
        self._steps = Steps()

    def about(self, spans: Sequence[ReadableSpan]) -> Iterator[tuple[ReadableSpan, About]]:
        """Take note of the next spans that have ended, in that order; yield each with what is known about it."""
        for span in spans:
            self._note_name(span)
        for span in spans:
            place = self._steps.place(span)
            work = self._inside(span)
            yield (
                span,
                self._common._replace(
                    trace_name=self._names.get(span.context.trace_id) if span.context else None,
                    node=place.node if place else None,
                    step=place.step if place else None,
                    input=content(work.first, kind_of(work.first) or "").input if work else None,
                    output=content(work.last, kind_of(work.last) or "").output if work else None,
                ),
            )

    def _note_name(self, span: ReadableSpan) -> None:
        """A trace is called as its program says, else as its root is: the real one, not one with a parent elsewhere."""
        if span.context is None:
            return
        own: Mapping[str, Any] = span.attributes or {}
        said = own.get(names.TRACE_NAME)
        if said:
            self._names[span.context.trace_id] = str(said)
        elif span.parent is None:
            self._names.setdefault(span.context.trace_id, display_name(span))
        while len(self._names) > _TRACES:
            self._names.popitem(last=False)

    def _inside(self, span: ReadableSpan) -> _Work | None:
        """What a trace's outermost span was about, where that is a web request or the like.

        Langfuse shows as a trace's input and output those of its root.
        """
        if span.context is None:
            return None
        work = self._work.pop(span.context.span_id, None)
        kind = kind_of(span)
        if kind is not None:
            work = _Work(span, span) if kind in _WORK else None
        elif is_root(span):
            return work
        if work is not None and span.parent is not None and not span.parent.is_remote:
            beside = self._work.get(span.parent.span_id)
            self._work[span.parent.span_id] = beside.with_(work) if beside else work
            if len(self._work) > _SPANS:
                self._work.popitem(last=False)
        return None
