"""Lines of OTLP/JSON back to spans, as any exporter takes them: the inverse of `spanloom_jsonl.encode_spans`.

Lines of other writers are read too (the collector's file exporter, OpenTelemetry's own), with enums by name or number
and 64-bit integers as numbers or texts.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from spanloom_otlp._copy import bounded, counted

try:
    from orjson import loads as _loads
except ImportError:
    _loads = json.loads

_REMOTE: Final = 0x200  # opentelemetry-proto `SpanFlags`: the parent is remote
_KINDS: Final = {kind.value + 1: kind for kind in SpanKind}
_CODES: Final = {code.value: code for code in StatusCode}
# A file repeats the same few for ever.
_REMEMBERED: Final = 64


def decode_spans(line: bytes | str) -> list[ReadableSpan]:
    """Return the spans in one OTLP/JSON `ExportTraceServiceRequest`, in their order.

    A span without an end has not ended yet: its `end_time` is None. Fields that OTLP does not have are ignored.

    Raises:
        ValueError: the line is no such request.
    """
    try:
        request: Any = _parsed(line)
        return [
            _span(span, resource, scope)
            for of_resource in request["resourceSpans"]
            for resource in (_resource(_text(of_resource.get("resource")), of_resource.get("schemaUrl") or ""),)
            for of_scope in of_resource.get("scopeSpans", ())
            for scope in (_scope(_text(of_scope.get("scope")), of_scope.get("schemaUrl") or ""),)
            for span in of_scope.get("spans", ())
        ]
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"this is no OTLP/JSON trace request: {type(error).__name__}: {error}") from error


def _parsed(line: bytes | str) -> Any:
    try:
        return _loads(line)
    except ValueError:
        return json.loads(line)  # takes longer integers and nests deeper


def _text(fields: Any) -> str:
    return json.dumps(fields or {})


@lru_cache(_REMEMBERED)
def _resource(text: str, schema_url: str) -> Resource:
    return Resource(_attributes(json.loads(text)), schema_url)


@lru_cache(_REMEMBERED)
def _scope(text: str, schema_url: str) -> InstrumentationScope | None:
    fields = json.loads(text)
    if not fields and not schema_url:
        return None
    return InstrumentationScope(
        fields.get("name", ""), fields.get("version") or None, schema_url or None, _attributes(fields)
    )


def _span(fields: dict[str, Any], resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    trace_id = _id(fields["traceId"], 32)
    parent = fields.get("parentSpanId") or ""
    remote = bool(_int(fields.get("flags")) & _REMOTE)
    status: dict[str, Any] = fields.get("status") or {}
    code = _enum(status.get("code"), _CODES, "STATUS_CODE_", StatusCode.UNSET)
    return ReadableSpan(
        name=fields.get("name", ""),
        context=_context(trace_id, _id(fields["spanId"], 16), fields.get("traceState"), remote=False),
        parent=_context(trace_id, _id(parent, 16), None, remote=remote) if parent else None,
        resource=resource,
        attributes=_described(fields),
        events=bounded([_event(event) for event in fields.get("events", ())], _int(fields.get("droppedEventsCount"))),
        links=bounded([_link(link) for link in fields.get("links", ())], _int(fields.get("droppedLinksCount"))),
        kind=_enum(fields.get("kind"), _KINDS, "SPAN_KIND_", SpanKind.INTERNAL),
        # The SDK's class takes a description of errors only, and logs any other.
        status=Status(code, status.get("message") if code is StatusCode.ERROR else None),
        start_time=_int(fields.get("startTimeUnixNano")) or None,
        end_time=_int(fields.get("endTimeUnixNano")) or None,
        instrumentation_scope=scope,
    )


def _event(fields: dict[str, Any]) -> Event:
    return Event(fields.get("name", ""), _described(fields), _int(fields.get("timeUnixNano")))


def _link(fields: dict[str, Any]) -> Link:
    remote = bool(_int(fields.get("flags")) & _REMOTE)
    context = _context(_id(fields["traceId"], 32), _id(fields["spanId"], 16), fields.get("traceState"), remote=remote)
    return Link(context, _described(fields))


def _context(trace_id: int, span_id: int, state: str | None, *, remote: bool) -> SpanContext:
    # What is exported was sampled.
    parsed = TraceState.from_header([state]) if state else None
    return SpanContext(trace_id, span_id, remote, TraceFlags(TraceFlags.SAMPLED), parsed)


def _id(text: str, digits: int) -> int:
    if len(text) != digits:
        raise ValueError(f"{text!r} is no id of {digits} hexadecimal digits")
    return int(text, 16)


def _int(value: Any) -> int:
    return int(value or 0)


def _enum(value: Any, known: Mapping[int, Any], prefix: str, default: Any) -> Any:
    if isinstance(value, str) and not value.isdigit():
        return next((one for one in known.values() if f"{prefix}{one.name}" == value), default)
    return known.get(_int(value), default)


def _described(fields: dict[str, Any]) -> Any:
    return counted(_attributes(fields), _int(fields.get("droppedAttributesCount")))


def _attributes(fields: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value") or {}) for pair in fields.get("attributes", ())}


def _value(wrapped: dict[str, Any]) -> Any:
    for kind, value in wrapped.items():
        if kind in _VALUES:
            return _VALUES[kind](value)
    return None


def _array(value: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(_value(item) for item in value.get("values", ()))


def _map(value: dict[str, Any]) -> dict[str, Any]:
    return _attributes({"attributes": value.get("values", ())})


def _same(value: Any) -> Any:
    return value


_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "stringValue": _same,
    "boolValue": _same,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": cast("Callable[[Any], Any]", b64decode),
    "arrayValue": _array,
    "kvlistValue": _map,
}
