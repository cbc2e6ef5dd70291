"""Attribute values to OTLP/JSON, so that the strictest receiver takes them and no value costs a span.

The mapping is the proto3 JSON mapping with the changes of the OTLP specification ("JSON Protobuf Encoding").
Where that mapping, or a value, would make receivers refuse the whole request, the value is written as text:

- NaN and the infinities: `stringValue` "NaN", "Infinity", "-Infinity";
- integers beyond 64 bits: `stringValue`;
- None: the attribute is left out; inside an array an empty `stringValue` keeps the positions;
- anything that is no OTLP type, is nested too deep or contains itself: `stringValue` of its `repr`.
"""

from binascii import b2a_base64
from collections.abc import Callable, ItemsView, Mapping, Sequence
from math import isfinite, isnan
from typing import Any, Final, cast

from spanloom_jsonl._quote import LONE_SURROGATE, literal, quote

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
_MAX_NANOS: Final = 2**64 - 1

# Protobuf decoders stop at 100 nested messages. A nested map takes three of them for each level.
MAX_DEPTH: Final = 24

Inside = tuple[int, ...]
"""The ids of the containers around a value."""

# Most attributes repeat from span to span (operation, model, node, conversation), and nearly all keys do. Both
# are remembered as text, and forgotten when there are too many: keys and values may be made up for each span.
_MAX_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 64
_entries: dict[tuple[str, str], bytes] = {}
_openings: dict[str, bytes] = {}


def text(value: object) -> bytes:
    """Quote what should be a string but may be anything (the SDK does not refuse `start_span(42)`)."""
    return quote(value if type(value) is str else _plain_text(value))


def nanos(time: Any) -> int:
    """Return `time` as OTLP takes it; 0, which means unknown, for what is no time (users pass their own)."""
    if type(time) is int and 0 <= time <= _MAX_NANOS:
        return time
    try:
        return min(max(int(time), 0), _MAX_NANOS)
    except Exception:
        return 0


def attributes(mapping: Any) -> bytes:
    """Return the `KeyValue` list of `mapping` (or None) without brackets; empty if nothing is left."""
    try:
        return _attributes(mapping, literal)
    except LONE_SURROGATE:
        return _attributes(mapping, quote)


def _attributes(mapping: Any, quote: Callable[[str], bytes]) -> bytes:
    parts: list[bytes] = []
    for item in _items(mapping):
        key, value = item
        # The two types that nearly every attribute has are spared a call.
        if type(value) is str:
            if len(value) <= _LONGEST_REMEMBERED:
                parts.append(_entries.get(item) or _entry(key, value))
            else:
                opening = _openings.get(key) or _opening(key)
                parts.append(b'%b{"stringValue":%b}}' % (opening, quote(value)))
        elif type(value) is int and INT64_MIN <= value <= INT64_MAX:
            parts.append(b'%b{"intValue":"%d"}}' % (_openings.get(key) or _opening(key), value))
        elif value is not None:
            parts.append(b"%b%b}" % (_openings.get(key) or _opening(key), any_value(value)))
    return b",".join(parts)


def any_value(value: object, inside: Inside = ()) -> bytes:
    """Return `value` as an OTLP `AnyValue`, whatever it is."""
    try:
        encode = _ENCODERS.get(type(value))
        if encode is not None:
            return encode(value, inside)
        if id(value) in inside:
            return _string(_plain_text(value))
        return any_value(_as_otlp_type(value), (*inside, id(value)))
    except Exception:  # a foreign sequence, mapping or number whose own methods fail
        return _string(_plain_text(value))


def _string(value: str, _: Inside = ()) -> bytes:
    return b'{"stringValue":%b}' % quote(value)


def _bool(value: bool, _: Inside) -> bytes:
    return b'{"boolValue":true}' if value else b'{"boolValue":false}'


def _int(value: int, _: Inside) -> bytes:
    if INT64_MIN <= value <= INT64_MAX:
        return b'{"intValue":"%d"}' % value
    try:
        return _string(str(value))
    except ValueError:  # Python refuses decimal text of thousands of digits; hexadecimal is not limited
        return _string(hex(value))


def _float(value: float, _: Inside) -> bytes:
    if isfinite(value):
        return b'{"doubleValue":%a}' % value
    return _string("NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity")


def _bytes(value: bytes, _: Inside) -> bytes:
    return b'{"bytesValue":"%b"}' % b2a_base64(value, newline=False)


def _array(value: Sequence[object], inside: Inside) -> bytes:
    if len(inside) >= MAX_DEPTH or id(value) in inside:
        return _string(_plain_text(value))
    inside = (*inside, id(value))
    return b'{"arrayValue":{"values":[%b]}}' % b",".join([any_value(item, inside) for item in value])


def _map(value: Mapping[str, object], inside: Inside) -> bytes:
    if len(inside) >= MAX_DEPTH or id(value) in inside:
        return _string(_plain_text(value))
    inside = (*inside, id(value))
    entries = [
        b"%b%b}" % (_openings.get(key) or _opening(key), any_value(item, inside))
        for key, item in value.items()
        if item is not None
    ]
    return b'{"kvlistValue":{"values":[%b]}}' % b",".join(entries)


def _none(_value: None, _: Inside) -> bytes:
    return _string("")


_ENCODERS: Final[dict[type, Callable[[Any, Inside], bytes]]] = {
    str: _string,
    bool: _bool,
    int: _int,
    float: _float,
    bytes: _bytes,
    tuple: _array,
    list: _array,
    dict: _map,
    type(None): _none,
}


def _as_otlp_type(value: Any) -> object:
    """Return the value of one of the types above that comes closest to `value`."""
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value))
    if isinstance(value, Mapping):
        return dict(_items(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(cast("Sequence[object]", value))
    return _plain_text(value)


def _items(mapping: Any) -> ItemsView[Any, Any]:
    copied: dict[Any, Any]
    try:
        # The SDK's BoundedAttributes iterates in Python, key by key; its `copy` is a dict's.
        copied = mapping.copy()
    except AttributeError:
        copied = dict(mapping or ())
    return copied.items()


def _entry(key: object, value: str) -> bytes:
    entry = b"%b%b}" % (_opening(key), _string(value))
    if type(key) is str and len(key) <= _LONGEST_REMEMBERED:
        if len(_entries) >= _MAX_REMEMBERED:
            _entries.clear()
        _entries[key, value] = entry
    return entry


def _opening(key: object) -> bytes:
    """Return `{"key":...,"value":`, what precedes a value."""
    opening = b'{"key":%b,"value":' % text(key)
    if type(key) is str and len(key) <= _LONGEST_REMEMBERED:
        if len(_openings) >= _MAX_REMEMBERED:
            _openings.clear()
        _openings[key] = opening
    return opening


def _plain_text(value: object) -> str:
    try:
        return str.__str__(value) if isinstance(value, str) else str.__str__(repr(value))
    except Exception:
        return f"<{type(value).__name__} object whose repr failed>"
