"""Any value -> bounded, redacted, valid JSON text.

The walk stops as soon as the room is used up, so a state of 300 MB costs what its first kilobytes cost. It never
runs code of the user's: no `repr`, no properties, no iteration of anything but the built-in containers. Poison
(NaN, infinities, lone surrogates, integers over 64 bits, bytes, cycles, generators) comes out as plain JSON.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.credentials import MARK
from spanloom.passive import fields, label, module_of, type_name
from spanloom.redact import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from spanloom.redact import Redactor
    from spanloom.serializers import Serializers

SMALLEST: Final = 64  # no element is begun in less room
KEY_BYTES: Final = 256
_CUT_MARK_BYTES: Final = 40  # room kept in each container for the note that says how much was left out
_DICT = cast("type[Any]", dict)
_CONTAINERS = cast("tuple[type[Any], ...]", (dict, list, tuple, set, frozenset, deque))
_arguments: Final = BaseException.__dict__["args"].__get__
_CHANGED: Final = "changed while it was read"
_DEPTH: Final = 24
_KEYS: Final = 1024  # keys remembered, each of at most SMALLEST bytes
_EFFORT: Final = 32  # characters shown to the redactor per byte of room: it may shrink what it reads to nothing
_INT64: Final = 1 << 63
_DIGITS: Final = 13  # of the shortest number that a built-in pattern hides
_BITS: Final = 4096  # an integer's decimal text takes time quadratic in its length
quote = json.encoder.encode_basestring  # JSON text of a str, non-ASCII kept


def clean(text: str) -> str:
    """`text` without lone surrogates, which no exporter can encode."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def cut(text: str, limit: int) -> str:
    """The longest prefix of at most `limit` UTF-8 bytes."""
    if len(text) * 4 <= limit or (text.isascii() and len(text) <= limit):
        return text
    return text.encode("utf-8")[: max(0, limit)].decode("utf-8", "ignore")


def note(length: int) -> str:
    """What stands where a text was cut: its whole length."""
    return f"… {length} chars"


def size(text: str) -> int:
    """UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


class Writer:
    """One walk over one value, with a redactor applied to every text in it.

    Args:
        redactor: takes secrets out.
        limit: bytes that the whole text may take.
        serializers: what the program wants recorded in the place of values of its own types; None: as they are.
    """

    __slots__ = ("_above", "_effort", "_redactor", "_serializers")

    def __init__(self, redactor: Redactor, limit: int, serializers: Serializers | None = None) -> None:
        self._redactor = redactor
        self._serializers = serializers
        self._effort = _EFFORT * limit
        self._above: set[int] = set()

    def write(self, value: Any, room: int, depth: int = 0) -> str:
        """JSON text of `value` in at most `room` UTF-8 bytes (`room` is at least `SMALLEST`)."""
        kind = cast("type[Any]", type(value))
        if kind is str:
            return self._string(value, room)
        if value is None:
            return "null"
        if kind is bool:
            return "true" if value else "false"
        if kind is int:
            return self._integer(value, room)
        if kind is float:
            return self._float(value, room)
        own = self._serializers is not None and self._serializers.of(kind) is not None
        if own or issubclass(kind, _CONTAINERS):
            return self._nested(value, kind, room, depth, own)
        return self._other(value, kind, room, depth)

    def _other(self, value: Any, kind: type[Any], room: int, depth: int) -> str:
        if issubclass(kind, enum.Enum):
            return self.write(object.__getattribute__(value, "_value_"), room, depth)
        if issubclass(kind, str):
            return self._string(str.__str__(value), room)
        if issubclass(kind, int):
            return self._integer(int.__index__(value), room)
        if issubclass(kind, float):
            return self._float(float.__float__(value), room)
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._string(_bytes(value), room)
        text = _standard_text(value, kind) or label(value)
        return self._nested(value, kind, room, depth) if text is None else self._string(text, room)

    def _nested(self, value: Any, kind: type[Any], room: int, depth: int, own: bool = False) -> str:
        identity = id(value)
        if identity in self._above:
            return '"<cycle>"'
        if depth >= _DEPTH:
            return '"<too deep>"'
        self._above.add(identity)
        try:
            if own and self._serializers is not None:  # the program's word for it may hold such values again
                return self.write(self._serializers.replaced(value), room, depth + 1)
            if issubclass(kind, dict):
                return self._mapping(_DICT.items(value), _DICT.__len__(value), room, depth)
            for container in _CONTAINERS:
                if issubclass(kind, container):
                    return self._sequence(container.__iter__(value), container.__len__(value), room, depth)
            return self._object(value, kind, room, depth)
        finally:
            self._above.discard(identity)

    def _object(self, value: Any, kind: type[Any], room: int, depth: int) -> str:
        name = type_name(kind)
        if issubclass(kind, BaseException):
            return self._mapping([("type", name), ("args", _arguments(value))], 2, room, depth)
        found = fields(value)
        if not found:
            return self._string(f"<{name}>", room)
        return self._mapping([("<type>", name), *found.items()], len(found) + 1, room, depth)

    def _string(self, text: str, room: int) -> str:
        is_cut = len(text) > room + MARGIN
        window = text[: room + MARGIN] if is_cut else text
        self._effort -= len(window)
        if self._effort < 0:
            return quote(note(len(text)))
        window = self._redactor.text(clean(window))
        if is_cut:  # what was cut may be half a secret, and redaction may have moved it forward
            window = window[:-MARGIN]
        else:
            quoted = quote(window)
            if size(quoted) <= room:
                return quoted
        end = note(len(text))
        space = room - 2 - size(end)
        kept = cut(window, space)
        while kept and (inner := size(quote(kept)) - 2) > space:
            # escapes made it longer: drop what is too much; each dropped character frees at least one byte
            kept = kept[: -max(1, (inner - space) // 6)]
        return quote(kept + end)

    def _integer(self, value: int, room: int) -> str:
        if value.bit_length() > _BITS:
            return f'"<integer of {value.bit_length()} bits>"'
        text = int.__repr__(value)
        return self._number(text, room) if -_INT64 <= value < _INT64 else self._string(text, room)

    def _float(self, value: float, room: int) -> str:
        if not math.isfinite(value):
            return '"NaN"' if math.isnan(value) else ('"Infinity"' if value > 0 else '"-Infinity"')
        return self._number(float.__repr__(value), room)

    def _number(self, text: str, room: int) -> str:
        # a card number stored as a number is one all the same
        if len(text) < _DIGITS and not self._redactor.own:
            return text
        digits = text.removesuffix(".0")
        return text if self._redactor.text(digits) == digits else self._string(digits, room)

    def _key(self, key: Any, room: int) -> tuple[str, bool]:
        """A key as JSON text, and whether it names a credential. The same few keys come again and again."""
        is_short = type(key) is str and len(key) <= SMALLEST
        known = self._redactor.keys.get(key) if is_short else None
        if known is None:
            known = self._string(key_text(key), room), hides(self._redactor, key)
            if is_short and size(known[0]) <= SMALLEST and len(self._redactor.keys) < _KEYS:
                self._redactor.keys[key] = known
        return known

    def _sequence(self, items: Iterator[Any], count: int, room: int, depth: int) -> str:
        parts: list[str] = []
        left = room - 2 - _CUT_MARK_BYTES
        for item in _unless_changed(items, f"… {_CHANGED}"):
            if left < SMALLEST:
                parts.append(f'"… {count - len(parts)} more"')
                break
            part = self.write(item, left, depth + 1)
            left -= size(part) + 1
            parts.append(part)
        return f"[{','.join(parts)}]"

    def _mapping(self, items: Iterable[tuple[Any, Any]], count: int, room: int, depth: int) -> str:
        parts: list[str] = []
        left = room - 2 - _CUT_MARK_BYTES
        for key, item in _unless_changed(items, ("…", _CHANGED)):
            if left < 2 * SMALLEST:
                parts.append(f'"…":"{count - len(parts)} more"')
                break
            quoted, secret = self._key(key, min(left - SMALLEST, KEY_BYTES))
            left -= size(quoted) + 1
            part = f'"{MARK}"' if secret and item is not None else self.write(item, left, depth + 1)
            left -= size(part) + 1
            parts.append(f"{quoted}:{part}")
        return f"{{{','.join(parts)}}}"


def _unless_changed(items: Iterable[Any], mark: Any) -> Iterator[Any]:
    """`items`, and `mark` at the end where another thread changed the container while we read it."""
    try:
        yield from items
    except RuntimeError:
        yield mark


def _bytes(value: bytes | bytearray | memoryview) -> str:
    for kind in (bytes, bytearray):
        if issubclass(type(value), kind):
            return f"<{kind.__len__(cast('Any', value))} bytes>"
    try:
        return f"<{cast('memoryview', value).nbytes} bytes>"
    except ValueError:
        return "<released memoryview>"


# What has a good text of its own, made without calling anything that a subclass may define. Order: subclass first.
_TEXTS: Final[tuple[tuple[type[Any], Callable[[Any], str]], ...]] = (
    (dt.datetime, lambda value: dt.datetime.isoformat(value, " ")),
    (dt.date, dt.date.isoformat),
    (dt.time, dt.time.isoformat),
    (dt.timedelta, dt.timedelta.__str__),
    (decimal.Decimal, decimal.Decimal.__str__),
    (uuid.UUID, str),
    (pathlib.PurePath, str),
    (complex, complex.__repr__),
    (range, range.__repr__),
    (type(...), repr),
    (type(NotImplemented), repr),
)
_WRITTEN_IN_PYTHON: Final = (uuid.UUID, pathlib.PurePath)  # only as the standard library has them
_STANDARD_MODULES: Final = frozenset(("uuid", "pathlib", "pathlib._local"))
_ZONES: Final = frozenset(("datetime", "zoneinfo", "pytz", "dateutil"))


def _standard_text(value: Any, kind: type[Any]) -> str | None:
    """The text of a date, path, decimal and the like; None for anything else, or where it has none."""
    for base, text in _TEXTS:
        if issubclass(kind, base):
            if base in _WRITTEN_IN_PYTHON and module_of(kind) not in _STANDARD_MODULES:
                return None
            if base in (dt.datetime, dt.time):
                zone: Any = base.__dict__["tzinfo"].__get__(value)
                if zone is not None and module_of(cast("type[Any]", type(zone))).partition(".")[0] not in _ZONES:
                    return None  # its offset would be asked of the user's code
            try:
                return text(value)
            except Exception:  # a range over integers too long to print, a UUID that was never filled
                return None
    return None


def key_text(key: Any) -> str:
    """A mapping's key as text, without running code of the user's."""
    if type(key) is tuple:
        return ",".join(_plain_key(part) for part in cast("tuple[Any, ...]", key)[:8])
    return _plain_key(key)


def hides(redactor: Redactor, key: Any) -> bool:
    """Whether the value below a mapping's key must go whole."""
    if type(key) is tuple:
        return any(redactor.hides_key(_plain_key(part)) for part in cast("tuple[Any, ...]", key)[:8])
    return redactor.hides_key(_plain_key(key))


def _plain_key(key: Any) -> str:
    kind = cast("type[Any]", type(key))
    if kind is str:
        return key
    if issubclass(kind, str):
        return str.__str__(key)
    if issubclass(kind, enum.Enum):
        name: Any = object.__getattribute__(key, "_name_")  # None for a combination of flags
        return name if type(name) is str else f"<{type_name(kind)}>"
    if issubclass(kind, bytes):
        return bytes.decode(bytes.__getitem__(key, slice(KEY_BYTES)), "utf-8", "replace")
    if key is None or kind is bool:
        return repr(key)
    if issubclass(kind, int):
        return int.__repr__(key) if int.bit_length(key) <= _BITS else "<integer>"
    if issubclass(kind, float):
        return float.__repr__(key)
    return _standard_text(key, kind) or f"<{type_name(kind)}>"
