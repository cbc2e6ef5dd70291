"""Any value -> bounded, redacted, valid JSON text.

The walk stops as soon as the room is used up, so a state of 300 MB costs what its first kilobytes cost. It never
runs code of the user's: no `repr`, no properties, no iteration of anything but the built-in containers. Poison
(NaN, infinities, lone surrogates, integers over 64 bits, bytes, cycles, generators) comes out as plain JSON.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import traceback
import types
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.guard import swallow
from spanloom.redact import MARGIN, MARK, Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spanloom.config import Config

_CUT_MARK_BYTES: Final = 40  # room kept in each container for the note that says how much was left out
_SMALLEST: Final = 64  # no element is begun in less
_KEY_BYTES: Final = 256
_DEPTH: Final = 24
_INT64: Final = 1 << 63
_quote = json.encoder.encode_basestring  # JSON text of a str, non-ASCII kept

_STDLIB_TEXT: Final = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    pathlib.PurePath,
)


class Capture:
    """Turns values and exceptions into attribute values as `config` allows."""

    __slots__ = ("_exception_messages", "_redactor", "io", "limit", "params", "state")

    def __init__(self, config: Config) -> None:
        self.limit = config.max_value_bytes
        self._redactor = Redactor(config)
        self._exception_messages = config.exception_messages
        self.io = config.captures("io")
        self.params = config.captures("params")
        self.state = config.captures("state")

    def json(self, value: object, limit: int | None = None) -> str | None:
        """JSON text of `value`, at most `limit` (default: the configured bound) UTF-8 bytes.

        Returns None if a redactor failed: the value is dropped then, not sent.
        """
        try:
            return _Writer(self._redactor).write(value, max(limit or self.limit, _SMALLEST), 0)
        except Exception as exc:
            swallow("capture", "a captured value (a redactor or a value failed; nothing of it was kept)", exc)
            return None

    def field(self, key: object, value: object, limit: int) -> str | None:
        """As `json`, for the value below a mapping's key: a credential's is hidden whole."""
        if type(key) is str and value is not None and self._redactor.hides_key(key):
            return f'"{MARK}"'
        return self.json(value, limit)

    def message(self, exc: BaseException) -> str | None:
        """`str(exc)`, redacted and bounded; None if messages are off or there is none to be had."""
        if not self._exception_messages:
            return None
        try:
            text = str(exc)
        except Exception:
            text = f"<{type(exc).__name__} without a printable message>"
        return self._plain(text)

    def stacktrace(self, exc: BaseException) -> str | None:
        """The formatted traceback, redacted; cut at the front, because its end tells most. None if off."""
        if not self._exception_messages:
            return None
        try:
            lines = traceback.format_exception(type(exc), exc, exc.__traceback__, chain=False)
        except Exception:
            return None
        text = self._plain("".join(lines), keep_end=True)
        return text or None

    def _plain(self, text: str, *, keep_end: bool = False) -> str | None:
        try:
            if keep_end:
                text = text[-(self.limit + MARGIN) :]
                return _cut(self._redactor.text(_clean(text))[::-1], self.limit)[::-1]
            return _cut(self._redactor.text(_clean(text[: self.limit + MARGIN])), self.limit)
        except Exception as exc:
            swallow("redact", "an exception's message (a redactor failed)", exc)
            return None


def _clean(text: str) -> str:
    """`text` without lone surrogates, which no exporter can encode."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def _cut(text: str, limit: int) -> str:
    """The longest prefix of at most `limit` UTF-8 bytes."""
    if len(text) * 4 <= limit or (text.isascii() and len(text) <= limit):
        return text
    return text.encode("utf-8")[:limit].decode("utf-8", "ignore")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


class _Writer:
    """One walk over one value."""

    __slots__ = ("_above", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._above: set[int] = set()

    def write(self, value: Any, room: int, depth: int) -> str:
        """JSON text of `value` in at most `room` UTF-8 bytes (`room` is at least `_SMALLEST`)."""
        kind: type[Any] = type(value)
        if kind is str:
            return self._string(value, room)
        if value is None:
            return "null"
        if kind is bool:
            return "true" if value else "false"
        if kind is int:
            return self._integer(value, room)
        if kind is float:
            return float.__repr__(value) if math.isfinite(value) else f'"{_non_finite(value)}"'
        return self._composite(value, kind, room, depth)

    def _composite(self, value: Any, kind: type[Any], room: int, depth: int) -> str:
        if issubclass(kind, enum.Enum):
            return self.write(object.__getattribute__(value, "_value_"), room, depth)
        if issubclass(kind, str):
            return self._string(str.__str__(value)[:], room)
        if issubclass(kind, int):
            return self._integer(int.__index__(value), room)
        if issubclass(kind, float):
            return self.write(float.__float__(value), room, depth)
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._string(f"<{value.nbytes if kind is memoryview else len(value)} bytes>", room)
        if kind in _TEXT_TYPES or (issubclass(kind, _STDLIB_TEXT) and kind.__module__ in _TEXT_MODULES):
            return self._string(str(value), room)
        identity = id(value)
        if identity in self._above:
            return '"<cycle>"'
        if depth >= _DEPTH:
            return '"<too deep>"'
        self._above.add(identity)
        try:
            if issubclass(kind, dict):
                return self._mapping(dict.items(value), dict.__len__(value), room, depth)
            for container in (list, tuple, set, frozenset, deque):
                if issubclass(kind, container):
                    return self._sequence(container.__iter__(value), container.__len__(value), room, depth)
            return self._object(value, kind, room, depth)
        finally:
            self._above.discard(identity)

    def _object(self, value: Any, kind: type[Any], room: int, depth: int) -> str:
        name = f"<{kind.__module__}.{kind.__qualname__}>"
        if issubclass(
            kind, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
        ):
            own = type.__getattribute__(value, "__name__") if issubclass(kind, type) else ""
            return self._string(f"<{kind.__name__} {own or getattr(value, '__name__', '')}>", room)
        if issubclass(kind, BaseException):
            return self._mapping(
                [("type", name[1:-1]), ("args", BaseException.args.__get__(value))], 2, room, depth
            )
        fields = _fields(value)
        if not fields:
            return self._string(name, room)
        return self._mapping([("<type>", name[1:-1]), *fields.items()], len(fields) + 1, room, depth)

    def _string(self, text: str, room: int) -> str:
        cut = len(text) > room
        window = _clean(text[: room + MARGIN] if cut else text)
        window = self._redactor.text(window)
        quoted = _quote(window)
        if not cut and _size(quoted) <= room:
            return quoted
        note = f"… {len(text)} chars"
        space = room - 2 - len(note.encode("utf-8"))
        kept = _cut(window, space)
        while kept and _size(inner := _quote(kept)[1:-1]) > space:
            # escapes made it longer: drop what is too much; each dropped character frees at least one byte
            kept = kept[: max(0, len(kept) - max(1, (_size(inner) - space) // 6))]
        return _quote(kept + note)

    def _integer(self, value: int, room: int) -> str:
        if -_INT64 <= value < _INT64:
            text = int.__repr__(value)
            if len(text) < 13:
                return text
            redacted = self._redactor.text(text)  # a card number stored as a number is one all the same
            return text if redacted == text else _quote(redacted)
        if value.bit_length() > 4096:  # its decimal text would take time quadratic in its length
            return f'"<integer of {value.bit_length()} bits>"'
        return self._string(int.__repr__(value), room)

    def _sequence(self, items: Iterator[Any], count: int, room: int, depth: int) -> str:
        parts: list[str] = []
        left = room - 2 - _CUT_MARK_BYTES
        try:
            for item in items:
                if left < _SMALLEST:
                    parts.append(f'"… {count - len(parts)} more"')
                    break
                part = self.write(item, left, depth + 1)
                left -= _size(part) + 1
                parts.append(part)
        except RuntimeError:  # another thread changed it while we read
            parts.append('"… changed while it was read"')
        return f"[{','.join(parts)}]"

    def _mapping(self, items: Iterable[tuple[Any, Any]], count: int, room: int, depth: int) -> str:
        parts: list[str] = []
        left = room - 2 - _CUT_MARK_BYTES
        try:
            for key, item in items:
                if left < 2 * _SMALLEST:
                    parts.append(f'"…":"{count - len(parts)} more"')
                    break
                name = _key(key)
                quoted = self._string(name, min(left - _SMALLEST, _KEY_BYTES))
                left -= _size(quoted) + 1
                hidden = item is not None and self._redactor.hides_key(name)
                part = f'"{MARK}"' if hidden else self.write(item, left, depth + 1)
                left -= _size(part) + 1
                parts.append(f"{quoted}:{part}")
        except RuntimeError:
            parts.append('"…":"changed while it was read"')
        return f"{{{','.join(parts)}}}"


_TEXT_TYPES: Final = frozenset(
    (*_STDLIB_TEXT, datetime.datetime, complex, range, type(...), type(NotImplemented))
)
_TEXT_MODULES: Final = frozenset(("pathlib", "datetime", "uuid", "decimal", "pathlib._local"))


def _non_finite(value: float) -> str:
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")  # noqa: PLR0124  the NaN test


def _key(key: Any) -> str:
    """A mapping's key as text, without running code of the user's."""
    kind: type[Any] = type(key)
    if kind is str:
        return key
    if issubclass(kind, enum.Enum):
        return str.__str__(object.__getattribute__(key, "_name_"))
    if issubclass(kind, str):
        return str.__str__(key)
    if key is None or kind in (bool, int, float):
        return repr(key) if kind is not int or key.bit_length() < 4096 else "<integer>"
    if kind is tuple:
        return ",".join(_key(part) for part in cast("tuple[Any, ...]", key)[:8])
    if kind in _TEXT_TYPES:
        return str(key)
    return f"<{kind.__name__}>"


def _fields(value: object) -> dict[str, Any]:
    """The plain attributes of an object (a dataclass, a pydantic model, a namespace), read without properties."""
    try:
        fields: Any = object.__getattribute__(value, "__dict__")
    except AttributeError:
        fields = {}
    found: dict[str, Any] = dict(fields) if type(fields) is dict else {}
    for base in type(value).__mro__:
        slots: Any = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            member = base.__dict__.get(slot)
            if isinstance(member, types.MemberDescriptorType):
                try:
                    found.setdefault(slot, member.__get__(value))
                except AttributeError:  # a slot that was never filled
                    continue
    return {key: item for key, item in found.items() if type(key) is str and not key.startswith("_")}
