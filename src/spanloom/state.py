"""What a node changed in the shared state: key names always, values when content is captured.

The state is the user's object. It is read without running code of theirs (but the hash of a key of their own class):
a `dict` (or subclass) by the built-in methods, any other object by its `__dict__`. Changes made in place
(`shared["items"].append(x)`) are seen too, one level below the key, by comparing small containers item by item and
large ones by length.
"""

from __future__ import annotations

from collections import deque
from operator import is_
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.guard import swallow
from spanloom.jsontext import KEY_BYTES, clean, cut, key_text, quote, size
from spanloom.passive import instance_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spanloom.capture import Capture

_ITEMS: Final = 64  # containers up to this size are compared item by item
_VALUE_BYTES: Final = 2048  # captured text per value, before and after
_TEXTS: Final = 4  # text kept of a whole state, in limits of what is shown of it
_NAMES: Final = 128  # names told of each kind of change
_LEFT_OUT: Final = '"…"'  # a value that was not kept, in a state too large for that
# Types by identity: a set of them would ask a type's own type for its hash.
_SCALARS: Final = frozenset(map(id, (int, float, str, bool, bytes, complex)))
_CONTAINERS: Final = frozenset(map(id, (dict, list, set, deque, bytearray)))
_ABSENT: Final = object()
_DICT = cast("type[Any]", dict)
_type = cast("Callable[[Any], type[Any]]", type)


def _items(state: object) -> dict[Any, Any] | None:
    """A shallow copy of the state's keys and values; None where it has no keys that can be read safely."""
    if type(state) is dict:
        return state.copy()  # pyright: ignore[reportUnknownVariableType]  a dict of anything
    if not issubclass(type(state), dict):
        return instance_dict(state)
    try:
        return dict(_DICT.items(state))
    except RuntimeError:  # another thread is changing it
        return None


def _shape(value: Any) -> Any:
    """What an in-place change of a container is seen by: a copy (small) or the length (large)."""
    size = len(value)
    return size if size > _ITEMS else value.copy()


def _same(before: Any, now: Any) -> bool:
    """Identity, or equality of plain scalars: never a `__eq__` of the user's."""
    return before is now or (type(before) is type(now) and id(_type(now)) in _SCALARS and before == now)


def _same_shape(shape: Any, now: Any) -> bool:
    if type(shape) is int:
        return shape == len(now)
    if len(shape) != len(now):
        return False
    try:
        if type(shape) is set:  # a copy may have another order
            return set(map(id, shape)) == set(map(id, now))  # pyright: ignore[reportUnknownArgumentType]
        if type(shape) is dict:
            return _same_items(_DICT.values(shape), now.values()) and _same_items(_DICT.keys(shape), now)
        return _same_items(shape, now)
    except RuntimeError:  # another thread is changing it
        return False


def _same_items(before: Iterable[Any], now: Iterable[Any]) -> bool:
    return all(map(is_, before, now)) or all(map(_same, before, now))


class Snapshot:
    """The state as it was; `changed` and `values` compare it with what it is now."""

    __slots__ = ("_capture", "_items", "_keeps_values", "_shapes", "_texts")

    def __init__(self, state: object, capture: Capture | None = None, *, values: bool = True) -> None:
        """Take it.

        Args:
            state: the shared state.
            capture: redacts the names of keys, and turns values into text.
            values: with `capture`, keep the values as text too, so that `values` can tell before and after.
        """
        self._capture = capture
        self._keeps_values = values and capture is not None
        self._items: dict[Any, Any] | None = None
        self._texts: dict[Any, str | None] = {}
        self._shapes: dict[Any, Any] = {}
        try:
            items = _items(state)
            if items is None:
                return
            self._shapes = {key: _shape(value) for key, value in items.items() if id(_type(value)) in _CONTAINERS}
            if capture is not None and values:
                self._keep_texts(items, capture)
            self._items = items
        except Exception as exc:
            swallow("state", "what a node changed in the shared state", exc)

    def _keep_texts(self, items: dict[Any, Any], capture: Capture) -> None:
        room = _TEXTS * capture.limit
        for key, value in items.items():
            if room <= 0:
                break
            text = self._texts[key] = capture.field(key, value, _VALUE_BYTES)
            room -= len(text or "")

    def changed(self, state: object) -> tuple[list[str], list[str], list[str]]:
        """Names of the keys (added, changed, removed) since the snapshot, in the state's own order.

        Of each, the first 128, and then one entry that says how many more there are.
        """
        before, now = self._items, _items(state)
        if before is None or now is None:
            return [], [], []
        shapes, changed = self._shapes, list[Any]()
        for key, value in now.items():
            old = before.get(key, _ABSENT)
            if value is old:
                if key in shapes and not _same_shape(shapes[key], value):
                    changed.append(key)
            elif old is not _ABSENT and not _same(old, value):
                changed.append(key)
        if len(before) == len(now) and before.keys() == now.keys():  # the usual case
            return [], self._names(changed), []
        return (
            self._names([key for key in now if key not in before]),
            self._names(changed),
            self._names([key for key in before if key not in now]),
        )

    def values(self, state: object) -> str | None:
        """JSON text `{"added": {k: v}, "changed": {k: {"before": v, "after": v}}, "removed": {k: v}}`, bounded.

        None where nothing changed, or no values are kept. A value that differs only deep inside is found here,
        because the texts are compared. `"omitted"` counts what there was no room for.
        """
        capture, before = self._capture, self._items
        if capture is None or not self._keeps_values or before is None or (now := _items(state)) is None:
            return None
        report = _Report(capture.limit)
        for key, value in now.items():
            is_new, had = key not in before, self._texts.get(key, _LEFT_OUT)
            differs = is_new or self._differs(before[key], key, value)
            if (report.full or key not in self._texts) and not differs:
                continue
            text = _LEFT_OUT if report.full else capture.field(key, value, _VALUE_BYTES) or "null"
            if is_new:
                report.add("added", self._name(key), text)
            elif differs or text != (had or "null"):
                report.add("changed", self._name(key), f'{{"before":{had or "null"},"after":{text}}}')
        for key in before:
            if key not in now:
                report.add("removed", self._name(key), self._texts.get(key, _LEFT_OUT) or "null")
        return report.text()

    def _differs(self, before: Any, key: Any, value: Any) -> bool:
        return not _same(before, value) or (key in self._shapes and not _same_shape(self._shapes[key], value))

    def _names(self, keys: list[Any]) -> list[str]:
        found = [self._name(key) for key in keys[:_NAMES]]
        return found if len(keys) <= _NAMES else [*found, f"… {len(keys) - _NAMES} more"]

    def _name(self, key: object) -> str:
        text = key_text(key)
        return cut(clean(text), KEY_BYTES) if self._capture is None else self._capture.name(text)


def updates(before: object, written: Iterable[tuple[str, Any, bool]], capture: Capture) -> str | None:
    """JSON text `{"changed": {key: {"before": v, "update": v}}}`, bounded, for a framework that reports its writes.

    Args:
        before: the state that the writer was given; read as `Snapshot` reads it. A key it lacks has no `before`.
        written: key and value of each write, in order, and whether to tell what was there before; how they become the
            new state is the framework's business.
        capture: turns values into text.
    """
    had = _items(before) or {}
    report = _Report(capture.limit)
    for key, value, tells_before in written:
        text = _LEFT_OUT if report.full else capture.field(key, value, _VALUE_BYTES) or "null"
        old = capture.field(key, had[key], _VALUE_BYTES) if tells_before and key in had and not report.full else None
        entry = f'{{"before":{old},"update":{text}}}' if old else f'{{"update":{text}}}'
        report.add("changed", capture.name(key), entry)
    return report.text()


class _Report:
    """Groups of `name: JSON text`, as one JSON object of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._room = limit - 80  # for the groups' names and what was omitted
        self._groups: dict[str, list[str]] = {}
        self._omitted = 0

    @property
    def full(self) -> bool:
        """Whether something had to be left out."""
        return self._omitted > 0

    def add(self, group: str, name: str, text: str) -> None:
        """One entry, where there is room for it."""
        entry = f"{quote(name)}:{text}"
        if self.full or size(entry) + 1 > self._room:
            self._omitted += 1
            return
        self._room -= size(entry) + 1
        self._groups.setdefault(group, []).append(entry)

    def text(self) -> str | None:
        """The object; None where nothing was added."""
        shown = [f'"{group}":{{{",".join(entries)}}}' for group, entries in self._groups.items()]
        if self._omitted:
            shown.append(f'"omitted":{self._omitted}')
        return f"{{{','.join(shown)}}}" if shown else None
