"""One line of OTLP/JSON to spans.

Written for what is found in the wild: the OTLP file-exporter specification (hex ids, 64-bit integers as text,
enumerations as numbers), and writers that give integers as numbers, times as text or number, or leave fields out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom.view.model import Attributes, Event, Link, Span, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import orjson

    _fast: Callable[[bytes], object] | None = orjson.loads
except ImportError:  # spanloom[fast] is not installed
    _fast = None

_DEPTH: Final = 64
_MAX_NANOS: Final = (1 << 64) - 1
_NO_PARENT: Final = ("", "0000000000000000")
# OTLP span flags: whether it is known if the parent is remote, and whether it is.
_REMOTE_PARENT: Final = 0x300


class BrokenLineError(ValueError):
    """A line that holds no trace data; the message is the reason, for the user."""


class Decoded(NamedTuple):
    """The spans of a line, and how many of its entries were not spans (no ids)."""

    spans: list[Span]
    malformed: int


def decode(line: bytes, keep: frozenset[str] | None = None) -> Decoded:
    """Read one line.

    Args:
        line: the text of an `ExportTraceServiceRequest`. Requests of other signals hold no spans, silently.
        keep: names of the attributes (of spans and events) to keep, and only links to other traces: tens of
            thousands of spans with their prompts would not fit in memory. None keeps everything.

    Raises:
        BrokenLineError: it is not such a request.
    """
    request = _parse(line)
    if type(request) is not dict:
        raise BrokenLineError("not an OTLP request: no JSON object")
    fields = cast("dict[str, Any]", request)
    if "resourceSpans" not in fields:
        if fields and not ("resourceLogs" in fields or "resourceMetrics" in fields):
            raise BrokenLineError("not an OTLP request: no resourceSpans")
        return Decoded([], 0)
    spans: list[Span] = []
    malformed = 0
    try:
        for resource_spans in _dicts(fields["resourceSpans"]):
            resource = _attributes(_dict(resource_spans.get("resource")), None)
            for scope_spans in _dicts(resource_spans.get("scopeSpans")):
                scope = _text(_dict(scope_spans.get("scope")).get("name"))
                for raw in _dicts(scope_spans.get("spans")):
                    span = _span(raw, resource, scope, keep)
                    if span is None:
                        malformed += 1
                    else:
                        spans.append(span)
    except RecursionError:
        raise BrokenLineError("its values are nested too deeply") from None
    return Decoded(spans, malformed)


def _parse(line: bytes) -> object:
    if _fast is not None:
        try:
            return _fast(line)
        except ValueError:
            pass  # the standard library takes more (NaN, lone surrogates), and its reasons do not depend on extras
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BrokenLineError(f"not UTF-8 at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise BrokenLineError(f"not JSON: {error.msg} at character {error.pos + 1} of the line") from None
    except RecursionError:
        raise BrokenLineError("its values are nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise BrokenLineError(f"not JSON: {error}") from None


def _span(raw: dict[str, Any], resource: Attributes, scope: str, keep: frozenset[str] | None) -> Span | None:
    trace_id, span_id = _text(raw.get("traceId")), _text(raw.get("spanId"))
    if not trace_id or not span_id:
        return None
    parent_id = _text(raw.get("parentSpanId"))
    if parent_id in _NO_PARENT:
        parent_id = ""
    kind, status = raw.get("kind"), _dict(raw.get("status"))
    return Span(
        trace_id.lower(),
        span_id.lower(),
        parent_id.lower(),
        not parent_id or _integer(raw.get("flags")) & _REMOTE_PARENT == _REMOTE_PARENT,
        _text(raw.get("name")),
        kind if type(kind) is int else 0,
        _integer(raw.get("startTimeUnixNano")),
        _integer(raw.get("endTimeUnixNano")),
        _attributes(raw, keep),
        tuple([_event(event, keep) for event in _dicts(raw["events"])]) if raw.get("events") else (),
        _links(raw, keep) if raw.get("links") else (),
        _integer(status.get("code")),
        _text(status.get("message")),
        resource,
        scope,
    )


def _event(raw: dict[str, Any], keep: frozenset[str] | None) -> Event:
    return Event(_text(raw.get("name")), _integer(raw.get("timeUnixNano")), _attributes(raw, keep))


def _links(raw: dict[str, Any], keep: frozenset[str] | None) -> tuple[Link, ...]:
    own = raw["traceId"]
    return tuple([_link(link, keep) for link in _dicts(raw["links"]) if keep is None or link.get("traceId") != own])


def _link(raw: dict[str, Any], keep: frozenset[str] | None) -> Link:
    return Link(_text(raw.get("traceId")).lower(), _text(raw.get("spanId")).lower(), _attributes(raw, keep))


def _attributes(raw: dict[str, Any], keep: frozenset[str] | None) -> Attributes:
    found: Attributes = {}
    for item in _dicts(raw.get("attributes")):
        key = item.get("key")
        if type(key) is str and (keep is None or key in keep):
            found[key] = _value(item.get("value"))
    return found


def _value(raw: Any, depth: int = 0) -> Value:
    """An AnyValue; of anything else, what can be shown of it."""
    if type(raw) is not dict:
        return None if raw is None else _shown(raw)
    for kind, value in cast("dict[str, Any]", raw).items():
        if kind in ("stringValue", "boolValue"):
            return value if type(value) in (str, bool) else _shown(value)
        if kind == "intValue":
            return _number(value, int)
        if kind == "doubleValue":
            return _number(value, float)
        if depth >= _DEPTH:
            return "(nested too deeply to show)"
        if kind == "arrayValue":
            return [_value(item, depth + 1) for item in _list(_dict(value).get("values"))]
        if kind == "kvlistValue":
            pairs = _dicts(_dict(value).get("values"))
            return {_text(pair.get("key")): _value(pair.get("value"), depth + 1) for pair in pairs}
        return _shown(value)  # bytesValue: base64 text, as it stands
    return None


def _number(raw: Any, kind: type[int | float]) -> Value:
    """A number that JSON can hold again; otherwise ("NaN", "Infinity", garbage) the text that was written."""
    number = raw
    if type(raw) is str:
        try:
            number = kind(raw)
        except ValueError:
            return raw
    if type(number) not in (int, float):
        return _shown(raw)
    return number if number - number == 0 else str(raw)


def _shown(raw: Any) -> str:
    return raw if type(raw) is str else json.dumps(raw, ensure_ascii=False)


def _integer(raw: Any) -> int:
    """A count or a time, 0 where it is not one."""
    if type(raw) is not int:
        if type(raw) is not str or not raw.isdecimal() or len(raw) > 20:
            return 0
        raw = int(raw)
    return raw if 0 <= raw <= _MAX_NANOS else 0


def _text(raw: Any) -> str:
    return raw if type(raw) is str else ""


def _dict(raw: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", raw) if type(raw) is dict else {}


def _list(raw: Any) -> list[Any]:
    return cast("list[Any]", raw) if type(raw) is list else []


def _dicts(raw: Any) -> Iterator[dict[str, Any]]:
    return (cast("dict[str, Any]", item) for item in _list(raw) if type(item) is dict)
