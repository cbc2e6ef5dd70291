"""Spans to OTLP/JSON text: each span once, and what surrounds it (resource, scope) once for its lifetime.

The text is put together from bytes instead of dumping dictionaries: measured about twice as fast with the
standard library, and faster than orjson on the same dictionaries.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, SpanKind, StatusCode

from spanloom_jsonl._values import attributes, text


class Frame(NamedTuple):
    """The text before and after what a resource or a scope holds."""

    head: bytes
    tail: bytes


# By identity: hashing an Enum member runs Python code, and a wrong value here must not cost the span.
_KINDS: Final = {id(kind): kind.value + 1 for kind in SpanKind}
_CODES: Final = {id(code): code.value for code in StatusCode}
_MAX_NANOS: Final = 2**64 - 1

# opentelemetry-proto `SpanFlags`: whether the parent is remote is known, and it is.
_REMOTE_KNOWN: Final = 0x100
_REMOTE: Final = 0x300


def encode_span(span: ReadableSpan) -> bytes:
    """Return `span` as a JSON object. Only what is no span at all raises."""
    context = span.context or INVALID_SPAN_CONTEXT
    parent = span.parent
    parts = [
        b'{"traceId":"%032x","spanId":"%016x","flags":%d,"name":%b,"kind":%d,'
        b'"startTimeUnixNano":"%d","endTimeUnixNano":"%d"'
        % (
            context.trace_id,
            context.span_id,
            _flags(parent),
            text(span.name),
            _KINDS.get(id(span.kind), 0),
            _nanos(span.start_time),
            _nanos(span.end_time),
        )
    ]
    if parent is not None:
        parts.append(b',"parentSpanId":"%016x"' % parent.span_id)
    if context.trace_state:
        parts.append(_trace_state(context))
    parts.append(_described(span))
    if events := span.events:
        encoded = [
            b'{"timeUnixNano":"%d","name":%b%b}' % (_nanos(event.timestamp), text(event.name), _described(event))
            for event in events
        ]
        parts.append(b',"events":[%b]' % b",".join(encoded))
    if dropped := span.dropped_events:
        parts.append(b',"droppedEventsCount":%d' % dropped)
    if links := span.links:
        parts.append(b',"links":[%b]' % b",".join([_encode_link(link) for link in links]))
    if dropped := span.dropped_links:
        parts.append(b',"droppedLinksCount":%d' % dropped)
    parts.append(_status(span))
    return b"".join(parts)


def _encode_link(link: Link) -> bytes:
    context = link.context
    return b'{"traceId":"%032x","spanId":"%016x","flags":%d%b%b}' % (
        context.trace_id,
        context.span_id,
        _flags(context),
        _trace_state(context) if context.trace_state else b"",
        _described(link),
    )


def _described(item: Any) -> bytes:
    """Return the attributes and the drop counter that a span, an event or a link carries."""
    encoded = attributes(item.attributes)
    fields = b',"attributes":[%b]' % encoded if encoded else b""
    if dropped := item.dropped_attributes:
        fields += b',"droppedAttributesCount":%d' % dropped
    return fields


def _status(span: ReadableSpan) -> bytes:
    """Return the status and the end of the span; an unset status is `{}`, as other encoders write it."""
    status: Any = span.status
    if status is None:
        return b"}"
    code = _CODES.get(id(status.status_code), 0)
    fields = b'"code":%d' % code if code else b""
    if status.description:
        fields += b'%b"message":%b' % (b"," if fields else b"", text(status.description))
    return b',"status":{%b}}' % fields


def _flags(other: SpanContext | None) -> int:
    return _REMOTE if other is not None and other.is_remote else _REMOTE_KNOWN


def _trace_state(context: SpanContext) -> bytes:
    return b',"traceState":%b' % text(context.trace_state.to_header())


def _nanos(time: Any) -> int:
    """Return `time` as OTLP takes it; 0, which means unknown, for what is no time (users pass their own)."""
    if type(time) is int and 0 <= time <= _MAX_NANOS:
        return time
    try:
        return min(max(int(time), 0), _MAX_NANOS)
    except Exception:
        return 0


_MAX_FRAMES: Final = 256
_T = TypeVar("_T")


def _cached(build: Callable[[_T], Frame]) -> Callable[[_T], Frame]:
    """Remember by identity: a Resource hashes by dumping itself to JSON; both kinds never change."""
    seen: dict[int, tuple[_T, Frame]] = {}

    def frame(item: _T) -> Frame:
        # The entry holds the object, so its id cannot go to another one while the entry stands.
        entry = seen.get(id(item))
        if entry is None:
            if len(seen) >= _MAX_FRAMES:
                seen.clear()
            entry = seen[id(item)] = (item, build(item))
        return entry[1]

    return frame


@_cached
def resource_frame(resource: Resource) -> Frame:
    """Return what surrounds the scopes of `resource` in a request."""
    return Frame(
        b'{"resource":{%b},"scopeSpans":[' % _field(b"attributes", attributes(resource.attributes)),
        b"]%b}" % _schema_url(resource.schema_url),
    )


@_cached
def scope_frame(scope: InstrumentationScope | None) -> Frame:
    """Return what surrounds the spans of `scope` in a request."""
    if scope is None:
        return Frame(b'{"scope":{},"spans":[', b"]}")
    fields = [b'"name":%b' % text(scope.name or "")]
    if scope.version:
        fields.append(b'"version":%b' % text(scope.version))
    if encoded := attributes(scope.attributes):
        fields.append(_field(b"attributes", encoded))
    return Frame(b'{"scope":{%b},"spans":[' % b",".join(fields), b"]%b}" % _schema_url(scope.schema_url))


def _field(name: bytes, encoded: bytes) -> bytes:
    return b'"%b":[%b]' % (name, encoded) if encoded else b""


def _schema_url(url: str | None) -> bytes:
    return b',"schemaUrl":%b' % text(url) if url else b""
