"""Reading what clients return: fields of dicts and of objects alike, and values only if they are what they should be.

Nothing here raises, whatever a field is or is not, and nothing but fields that were asked for is touched: of an
unknown object a property might read a whole response from the network.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_DEEP: Final = 12  # levels of objects in a part; a response has five at most
_MANY: Final = 20_000  # dicts, lists and objects in one
_LARGEST: Final = 2**63
_PLAIN: Final = (str, bytes, int, float, bool, type(None))


def field(thing: Any, *keys: str) -> Any:
    """What a dict or an object has below the first of `keys` that is set; None where none is."""
    own: Any = thing
    more: Any = None
    if not isinstance(thing, dict):
        try:
            own, more = thing.__dict__, thing.__pydantic_extra__  # a miss of `getattr` takes pydantic 20 times as long
        except Exception:  # none of pydantic's, or one that objects
            return _attribute(thing, keys)
    for key in keys:
        value = own.get(key)
        if value is not None:
            return value
        if more and (value := more.get(key)) is not None:
            return value
    return None


def one(thing: Any, key: str) -> Any:
    """As `field`, of one key, in less time: chunks come by the thousand."""
    if isinstance(thing, dict):
        return cast("dict[str, Any]", thing).get(key)
    try:
        own, more = thing.__dict__, thing.__pydantic_extra__
    except Exception:
        return _attribute(thing, (key,))
    value = own.get(key)
    return more.get(key) if value is None and more else value


def _attribute(thing: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        try:
            value = getattr(thing, key, None)
        except Exception:  # a property's own
            value = None
        if value is not None:
            return value
    return None


def within(thing: object, *path: str) -> Any:
    """What lies at the end of a path of keys."""
    for key in path:
        thing = field(thing, key)
    return thing


def word(value: object) -> str | None:
    """A text that is not empty; of an enumeration's member its value, or its name if that is a number."""
    if isinstance(value, str):
        return str.__str__(value) or None
    return value.name if isinstance(value, Enum) else None


def count(value: object) -> int | None:
    """A number of tokens; some clients have them as floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST else None


def total(*counts: int | None) -> int | None:
    """The sum of what is known."""
    known = [number for number in counts if number is not None]
    return sum(known) if known else None


def index(value: object) -> int:
    """A position; 0 where there is none."""
    return value if isinstance(value, int) else 0


def is_list(value: object) -> bool:
    """Whether it is a sequence of things, not of characters."""
    if value is None or isinstance(value, (str, bytes, bytearray)):
        return False
    return isinstance(value, (list, Sequence))


def items(value: object) -> Sequence[Any]:
    """A sequence's items; none where it is no sequence."""
    return cast("Sequence[Any]", value) if is_list(value) else ()


def plain(value: object, replaced: Callable[[object], object] | None = None) -> Any:
    """A copy in dicts and lists of what a response consists of; of an object, what is set.

    The program may change its own before the span ends. What is deeper or more than any response stays as it is.

    Args:
        value: to be copied.
        replaced: what to copy in the place of a value (`Capture.replaced`).
    """
    return _Copier(replaced).copy(value, _DEEP)


class _Copier:
    """Copies so many dicts, lists and objects at most."""

    __slots__ = ("_left", "_replaced")

    def __init__(self, replaced: Callable[[object], object] | None) -> None:
        self._left = _MANY
        self._replaced = replaced

    def copy(self, value: object, depth: int) -> Any:
        if self._replaced is not None:
            value = self._replaced(value)
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, _PLAIN):
            return value
        self._left -= 1
        if not depth or self._left < 0:
            return value
        if isinstance(value, dict):
            return {key: self.copy(item, depth - 1) for key, item in cast("dict[object, object]", value).items()}
        if is_list(value):
            return [self.copy(item, depth - 1) for item in items(value)]
        fields = _fields(value)
        if fields is None:
            return value
        told = {key: made for key, item in fields.items() if (made := self.copy(item, depth - 1)) is not None}
        return told or None  # clients have objects that mean "not given"


def _fields(thing: Any) -> dict[str, object] | None:
    """The public fields of an object; None where it has none that can be told apart."""
    if dataclasses.is_dataclass(thing):
        return {known.name: field(thing, known.name) for known in dataclasses.fields(thing)}
    own = getattr(thing, "__dict__", None)
    if not isinstance(own, dict) or callable(thing):
        return None
    more = getattr(thing, "__pydantic_extra__", None)
    known = {**cast("dict[str, object]", own), **(cast("dict[str, object]", more) if isinstance(more, dict) else {})}
    return {key: value for key, value in known.items() if not key.startswith("_")}


def parsed(arguments: object) -> object:
    """A tool's arguments: what their JSON text says, or the text if it is none."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments) if arguments else {}
    except (ValueError, RecursionError):
        return arguments
