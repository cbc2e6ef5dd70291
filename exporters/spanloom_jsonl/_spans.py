"""Spans to OTLP/JSON text.

The text is put together from bytes instead of dumping dictionaries: measured about twice as fast with the
standard library, and faster than orjson on the same dictionaries.
"""

from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, SpanKind, StatusCode

from spanloom_jsonl._values import attributes, nanos, text

# By identity: hashing an Enum member runs Python code, and a wrong value here must not cost the span.
_KINDS: Final = {id(kind): kind.value + 1 for kind in SpanKind}
_CODES: Final = {id(code): code.value for code in StatusCode}

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
            nanos(span.start_time),
            nanos(span.end_time),
        )
    ]
    if parent is not None:
        parts.append(b',"parentSpanId":"%016x"' % parent.span_id)
    if context.trace_state:
        parts.append(_trace_state(context))
    parts.append(_described(span))
    if events := span.events:
        encoded = [
            b'{"timeUnixNano":"%d","name":%b%b}' % (nanos(event.timestamp), text(event.name), _described(event))
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


def encode_start(span: Any, longest_name: int) -> bytes:
    """Return what is known of a span when it begins as a JSON object, with so many characters of its name."""
    parent = span.parent
    return b'{"traceId":"%032x","spanId":"%016x","flags":%d,"name":%b,"kind":%d,"startTimeUnixNano":"%d"%b}' % (
        span.context.trace_id,
        span.context.span_id,
        _flags(parent),
        text(span.name if len(span.name) <= longest_name else span.name[:longest_name]),
        _KINDS.get(id(span.kind), 0),
        nanos(span.start_time),
        b"" if parent is None else b',"parentSpanId":"%016x"' % parent.span_id,
    )


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
