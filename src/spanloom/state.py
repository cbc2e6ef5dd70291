"""What a node changed in the shared state: key names always, values when content is captured.

The state is the user's object. It is read without running code of theirs: a `dict` (or subclass) by the built-in
methods, any other object by its `__dict__`. Changes made in place (`shared["items"].append(x)`) are seen too, one
level below the key, by comparing small containers item by item and large ones by length.
"""

from __future__ import annotations

from collections import deque
from operator import is_
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spanloom.capture import Capture

_ITEMS: Final = 64  # containers up to this size are compared item by item
_VALUE_BYTES: Final = 2048  # captured text per value, before and after
_SCALARS: Final = frozenset((int, float, str, bool, bytes, complex))
_CONTAINERS: Final = frozenset((dict, list, set, deque, bytearray))


def _items(state: object) -> dict[str, Any] | None:
    """A shallow copy of the state's keys and values; None where it has no keys that can be read safely."""
    if type(state) is dict:
        return cast("dict[str, Any]", state).copy()
    if isinstance(state, dict):
        return dict(dict.items(cast("dict[str, Any]", state)))
    try:
        fields: Any = object.__getattribute__(state, "__dict__")
    except AttributeError:
        return None
    return cast("dict[str, Any]", fields).copy() if type(fields) is dict else None


def _shape(value: Any) -> Any:
    """What an in-place change of a container is seen by: a copy (small) or the length (large)."""
    return len(value) if len(value) > _ITEMS else value.copy()


def _same(before: Any, now: Any) -> bool:
    """Identity, or equality of plain scalars: never a `__eq__` of the user's."""
    return before is now or (type(before) is type(now) and type(now) in _SCALARS and before == now)


def _same_shape(shape: Any, now: Any) -> bool:
    if type(shape) is int:
        return shape == len(now)
    if len(shape) != len(now):
        return False
    if type(shape) is set:
        return _same_members(cast("set[Any]", shape), now)
    if type(shape) is not dict:
        return _same_items(shape, now)
    return _same_items(cast("dict[Any, Any]", shape).values(), now.values()) and _same_items(shape, now)


def _same_items(before: Iterable[Any], now: Iterable[Any]) -> bool:
    return all(map(is_, before, now)) or all(map(_same, before, now))


def _same_members(before: set[Any], now: set[Any]) -> bool:
    """As `_same_items`, whatever the order: the copy of a set may have another one than the set."""
    if set(map(id, before)) == set(map(id, now)):
        return True
    return all(type(member) in _SCALARS for member in (*before, *now)) and before == now


class Snapshot:
    """The state as it was; `changes` compares it with what it is now."""

    __slots__ = ("_capture", "_items", "_shapes", "_texts")

    def __init__(self, state: object, capture: Capture | None = None) -> None:
        """Take it.

        Args:
            state: the shared state.
            capture: given, the values are kept as text too, so that `values` can tell before and after.
        """
        self._items = items = _items(state)
        self._capture = capture
        self._texts: dict[str, str | None] = {}
        self._shapes: dict[str, Any] = {}
        if items is None:
            return
        self._shapes = {key: _shape(value) for key, value in items.items() if type(value) in _CONTAINERS}
        if capture is not None:
            self._texts = {key: capture.field(key, value, _VALUE_BYTES) for key, value in items.items()}

    def changed(self, state: object) -> tuple[list[str], list[str], list[str]]:
        """Names of the keys (added, changed, removed) since the snapshot, in the state's own order."""
        before, now = self._items, _items(state)
        if before is None or now is None:
            return [], [], []
        shapes = self._shapes
        changed = [
            key
            for key, value in now.items()
            if key in before
            and (
                (key in shapes and not _same_shape(shapes[key], value))
                if value is (old := before[key])
                else not _same(old, value)
            )
        ]
        if len(before) == len(now) and before.keys() == now.keys():  # the usual case
            return [], list(map(_name, changed)), []
        return (
            [_name(key) for key in now if key not in before],
            list(map(_name, changed)),
            [_name(key) for key in before if key not in now],
        )

    def values(self, state: object) -> str | None:
        """JSON text `{"added": {k: v}, "changed": {k: {"before": v, "after": v}}, "removed": {k: v}}`, bounded.

        Only with a `capture`; None where nothing changed. A value that differs only deep inside is found here,
        because the texts are compared.
        """
        capture, now = self._capture, _items(state)
        if capture is None or self._items is None or now is None:
            return None
        added: list[str] = []
        changed: list[str] = []
        for key, value in now.items():
            text = capture.field(key, value, _VALUE_BYTES)
            if key not in self._items:
                added.append(f"{capture.json(_name(key))}:{text or 'null'}")
            elif text != self._texts[key] or self._differs(key, value):
                pair = f'{{"before":{self._texts[key] or "null"},"after":{text or "null"}}}'
                changed.append(f"{capture.json(_name(key))}:{pair}")
        removed = [f"{capture.json(_name(k))}:{t or 'null'}" for k, t in self._texts.items() if k not in now]
        groups = (("added", added), ("changed", changed), ("removed", removed))
        return _bounded(groups, capture.limit)

    def _differs(self, key: str, value: Any) -> bool:
        before = cast("dict[str, Any]", self._items)[key]
        return not _same(before, value) or (key in self._shapes and not _same_shape(self._shapes[key], value))


def _name(key: object) -> str:
    return key if type(key) is str else str(key) if type(key) in _SCALARS else f"<{type(key).__name__}>"


def _bounded(groups: Iterable[tuple[str, list[str]]], limit: int) -> str | None:
    """The groups as one JSON object of at most `limit` bytes; entries that do not fit are counted in `omitted`."""
    room, omitted, shown = limit - 64, 0, list[str]()
    for name, entries in groups:
        kept: list[str] = []
        room -= len(name) + 6
        for entry in entries:
            size = len(entry.encode("utf-8")) + 1
            if size > room:
                omitted += 1
                continue
            room -= size
            kept.append(entry)
        if kept:
            shown.append(f'"{name}":{{{",".join(kept)}}}')
    if omitted:
        shown.append(f'"omitted":{omitted}')
    return f"{{{','.join(shown)}}}" if shown else None
