"""The SDK's spans, made in less than half of the time, where that can be done without a difference.

A span costs the SDK about 16 µs, most of it for asking a sampler whose answer is known (a sampled local parent),
for cleaning attributes that are clean, and for lists of events and links that stay empty. `lean(tracer)` starts a
child of a recording span without these, as an instance of the SDK's own span class that behaves the same: same
processors, ids, limits, locks and `ReadableSpan` at the end. Whatever is not exactly the usual case (a root span,
another sampler, limits on values, a tracer that is not the SDK's) goes the SDK's own way.

The private parts this stands on are checked once per tracer, against a span that the SDK itself has made; where they
are others than those known here, the tracer is used as it is.
"""

from __future__ import annotations

import threading
from collections import deque
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind, Tracer

from spanloom.guard import LOG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span
    from opentelemetry.util.types import Attributes

# What an instance of the SDK's span holds. Of its own is what changes from span to span; the rest is the tracer's.
_OWN: Final = frozenset(
    {"_name", "_context", "_parent", "_kind", "_start_time", "_end_time", "_attributes", "_events", "_links", "_lock"}
)
_OF_TRACER: Final = frozenset(
    {
        "_resource", "_instrumentation_info", "_instrumentation_scope", "_sampler", "_trace_config", "_status",
        "_record_exception", "_set_status_on_exception", "_span_processor", "_limits", "_record_end_metrics",
    }
)  # fmt: skip
_BOUNDED_ATTRIBUTES: Final = frozenset({"_dict", "maxlen", "dropped", "max_value_len", "_lock", "_immutable"})
_SOMETIMES: Final = frozenset({"_extended_attributes", "_record_end_metrics", "_instrumentation_info"})
_BOUNDED_LIST: Final = frozenset({"dropped", "_dq", "_lock"})
_SCALARS: Final = frozenset({str, int, bool, float})
_ROWS: Final = frozenset({tuple, list})
_ROOM: Final = 128  # attributes; a tracer that allows fewer is used as it is
_SAMPLED: Final = 1
_Lock = threading.Lock
_new = object.__new__


def lean(tracer: Tracer) -> Tracer:
    """A tracer that starts children of recording spans in less than half of the time.

    Args:
        tracer: any; what is not the SDK's own is asked for every span, as without us.
    """
    return LeanTracer(tracer)


class LeanTracer(Tracer):
    """See `lean`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._shape: _Shape | None = None
        self._seen: object = None

    def start_span(  # noqa: PLR0917  the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """As the SDK's `Tracer.start_span`."""
        shape = self._shape
        if shape is None and self._seen is None:
            shape = self._look()
        if shape is not None and start_time is None and record_exception and set_status_on_exception:
            span = shape.child(name, context, kind, attributes, links)
            if span is not None:
                return span
        return self._tracer.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """As the SDK's, of the tracer itself."""
        return self._tracer.start_as_current_span(*args, **kwargs)

    def _look(self) -> _Shape | None:
        """Find out once what the tracer is; the API's proxy is none until a provider is set."""
        real: Any = self._tracer
        if isinstance(real, trace.ProxyTracer):
            real = real._tracer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            if isinstance(real, trace.NoOpTracer):
                return None
        self._shape = _shape_of(real)
        self._seen = real
        return self._shape


def _shape_of(tracer: Any) -> _Shape | None:
    try:
        from opentelemetry.sdk import trace as sdk

        return _Shape(tracer) if type(tracer) is sdk.Tracer else None
    except Exception as exc:
        LOG.debug("spans of this OpenTelemetry SDK are made its own way: %r", exc)
        return None


class _Shape:
    """How the spans of one SDK tracer are made. Raises where that is not known."""

    def __init__(self, tracer: Any) -> None:
        from opentelemetry.attributes import BoundedAttributes
        from opentelemetry.sdk import trace as sdk
        from opentelemetry.sdk.trace import sampling
        from opentelemetry.sdk.util import BoundedList

        self._tracer = tracer
        self._sampling = sampling
        self._sampled = sampling.Decision.RECORD_AND_SAMPLE
        self._sampler: object = None
        self._keeps = False
        self._span_class = _lean_class(sdk._Span)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._sdk_class = sdk.Span
        limits = tracer._span_limits  # noqa: SLF001
        if limits.max_span_attribute_length is not None or (limits.max_span_attributes or _ROOM) < _ROOM:
            raise ValueError("limits on attributes")
        model: Any = sdk._Span(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            name="",
            context=trace.INVALID_SPAN_CONTEXT,
            resource=tracer.resource,
            sampler=tracer.sampler,
            span_processor=tracer.span_processor,
            instrumentation_info=tracer.instrumentation_info,
            limits=limits,
            instrumentation_scope=tracer._instrumentation_scope,  # noqa: SLF001
        )
        fields = cast("dict[str, Any]", vars(model))
        _expect(set(fields) - _SOMETIMES, (_OWN | _OF_TRACER) - _SOMETIMES)
        attributes, events = (cast("dict[str, Any]", vars(fields[name])) for name in ("_attributes", "_events"))
        _expect(set(attributes) - _SOMETIMES, _BOUNDED_ATTRIBUTES)
        _expect(set(events), _BOUNDED_LIST)
        self._template = {name: value for name, value in fields.items() if name not in _OWN}
        self._attributes: type[Any] = BoundedAttributes
        self._attributes_template = attributes
        # Never written to: a span that gets its first event or link makes lists of its own (`_lean_class`).
        self._nothing: Any = BoundedList(limits.max_events)
        self._list: type[Any] = BoundedList
        self._most_links: int | None = limits.max_links
        self._no_attributes: Any = BoundedAttributes(limits.max_link_attributes, immutable=True)
        self._metrics: Any = getattr(tracer, "_tracer_metrics", None)

    def child(
        self, name: str, context: Context | None, kind: SpanKind, attributes: Attributes, links: Sequence[Link] | None
    ) -> Span | None:
        """A started span below the recording one in `context`; None where this is not the usual case."""
        parent = trace.get_current_span(context)
        if type(parent) is not self._span_class and not isinstance(parent, self._sdk_class):
            return None
        tracer = self._tracer
        above = parent.get_span_context()
        if tracer.sampler is not self._sampler:
            self._keeps = self._keeps_children(tracer.sampler)
            self._sampler = tracer.sampler
        flags = above.trace_flags
        if not self._keeps or not flags & _SAMPLED or above.is_remote or not _enabled(tracer):
            return None
        _reach()
        kept: dict[str, Any] = {}
        if attributes:
            if len(attributes) > _ROOM:
                return None
            for key, value in attributes.items():
                if type(value) not in _SCALARS and not (type(value) is tuple and _all_text(value)):  # pyright: ignore[reportUnknownArgumentType]
                    return None
                kept[key] = value
        linked = self._linked(links) if links else self._nothing
        if linked is None:
            return None
        bounded: Any = _new(self._attributes)
        bounded.__dict__ = {**self._attributes_template, "_dict": kept, "_lock": _Lock()}
        span: Any = _new(self._span_class)
        processor = tracer.span_processor
        own = {
            **self._template,
            "_name": name,
            "_context": SpanContext(
                above.trace_id, tracer.id_generator.generate_span_id(), False, flags, above.trace_state
            ),
            "_parent": above,
            "_kind": kind,
            "_lock": _Lock(),
            "_resource": tracer.resource,
            "_span_processor": processor,
            "_attributes": bounded,
            "_events": self._nothing,
            "_links": linked,
            "_start_time": time_ns(),
            "_end_time": None,
        }
        if self._metrics is not None:
            own["_record_end_metrics"] = self._metrics.start_span(above, self._sampled)
        span.__dict__ = own
        processor.on_start(span, parent_context=context)
        return span

    def _linked(self, links: Sequence[Link]) -> Any:
        """As the SDK's `Span._new_links`, for links without attributes; None where there are others."""
        for link in links:
            if link.attributes or not link.context.is_valid:
                return None
            link._attributes = self._no_attributes  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        most = self._most_links
        if most is not None and len(links) > most:
            return None
        found = _new(self._list)
        found.__dict__ = {"dropped": 0, "_dq": deque(links, most), "_lock": _Lock()}
        return found

    def _keeps_children(self, sampler: Any) -> bool:
        """Whether the sampler says yes to every child of a sampled local span, and adds nothing."""
        sampling: Any = self._sampling
        if type(sampler) is sampling.ParentBased:
            sampler = sampler._local_parent_sampled  # noqa: SLF001
        return (
            type(sampler) is sampling.StaticSampler and sampler._decision is sampling.Decision.RECORD_AND_SAMPLE  # noqa: SLF001
        )


def _reach(depth: int = 5) -> None:
    """Go as deep into Python's stack as the end of a span will.

    Where a recursion has used up the stack, a span must fail to start: one that starts and cannot end stays open.
    """
    if depth:
        _reach(depth - 1)


def _expect(found: set[str], known: set[str] | frozenset[str]) -> None:
    if found != known:
        raise ValueError(f"other fields than known: {sorted(found ^ known)}")


def _all_text(values: Sequence[Any]) -> bool:
    for value in values:  # noqa: SIM110  a generator expression costs twice as much, and every node comes here
        if type(value) is not str:
            return False
    return True


def _enabled(tracer: Any) -> bool:
    config = getattr(tracer, "_tracer_config", None)  # since 1.39
    return config is None or config.is_enabled


def _lean_class(base: type[Any]) -> type[Any]:
    """A subclass of the SDK's span whose lists are shared until they are written to, and that takes clean values."""
    known = _CLASSES.get(base)
    if known is not None:
        return known

    sdk_span: Any = base

    class LeanSpan(base):
        def set_attributes(self, attributes: Mapping[str, Any]) -> None:
            values = self._attributes._dict  # noqa: SLF001
            if len(values) + len(attributes) > _ROOM:
                sdk_span.set_attributes(self, attributes)
                return
            clean: dict[str, Any] = {}
            for key, value in attributes.items():
                if type(value) in _SCALARS:
                    clean[key] = value
                elif type(value) in _ROWS and _all_text(value):
                    clean[key] = tuple(value)
                else:
                    sdk_span.set_attributes(self, attributes)
                    return
            with self._lock:
                if self._end_time is None:
                    for key in clean.keys() & values.keys():  # written anew, an attribute stands last
                        del values[key]
                    values.update(clean)
                    return
            sdk_span.set_attributes(self, attributes)  # which says that the span has ended

        def _add_event(self, event: Any) -> None:
            self._own("_events", self._limits.max_events)
            sdk_span._add_event(self, event)  # noqa: SLF001

        def _add_link(self, link: Any) -> None:
            self._own("_links", self._limits.max_links)
            sdk_span._add_link(self, link)  # noqa: SLF001

        def _own(self, name: str, room: int | None) -> None:
            with self._lock:
                found = getattr(self, name)
                if not found and self._end_time is None:
                    setattr(self, name, type(found)(room))

    LeanSpan.__name__, LeanSpan.__qualname__, LeanSpan.__module__ = base.__name__, base.__qualname__, base.__module__
    _CLASSES[base] = LeanSpan
    return LeanSpan


_CLASSES: Final[dict[type[Any], type[Any]]] = {}
