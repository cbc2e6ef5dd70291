"""How the program wants values of its own types recorded: functions that it has given, by type.

What such a function returns takes the value's place, and is bounded and redacted as ever. Types are found as Python
finds methods, the nearest class first, without running code of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.guard import swallow
from spanloom.passive import ancestors, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Written as they are, without looking for a function: nearly everything in a trace is one of these.
PLAIN: Final[tuple[type, ...]] = (str, int, float, bool, type(None), dict, list, tuple, object)


def refused(given: Mapping[Any, Any]) -> str | None:
    """Why these cannot be serializers; None where they can."""
    for kind, function in given.items():
        if not isinstance(kind, type):
            return f"{kind!r} is not a class"
        if kind in PLAIN:
            return f"{kind.__name__} is recorded as it is; a redactor= changes texts"
        if not callable(function):
            return f"{function!r} for {kind.__name__} cannot be called; give a function of one value"
    return None


class Serializers:
    """The program's functions, ready to apply.

    Args:
        given: by type; what `refused` has nothing against.
    """

    __slots__ = ("_by_id", "_kept")

    def __init__(self, given: Mapping[type, Callable[[Any], Any]]) -> None:
        # By identity: a metaclass may define what its classes are equal to, and that is code of the program's.
        self._by_id = {id(kind): function for kind, function in given.items()}
        self._kept = tuple(given)  # so that no other class gets the identity of one of these

    def of(self, kind: type) -> Callable[[Any], Any] | None:
        """The function for values of this type, of its nearest ancestor that has one."""
        by_id = self._by_id
        for base in ancestors(kind):
            function = by_id.get(id(base))
            if function is not None:
                return function
        return None

    def replaced(self, value: Any) -> Any:
        """What is to be recorded in the place of a value that has a function.

        What a function returns may be of a type with a function, too, but not with the same one again. Where that is
        so, or one raises, the name of the value's type stands for it.
        """
        replacement, applied = value, set[int]()
        try:
            while (function := self.of(kind := cast("type[Any]", type(replacement)))) is not None:
                if id(function) in applied:
                    raise TypeError(f"its serializer leads back to {type_name(kind)}")  # noqa: TRY301
                applied.add(id(function))
                replacement = function(replacement)
        except Exception as exc:
            name = type_name(cast("type[Any]", type(value)))
            swallow(f"serializer of {name}", f"values of {name}, whose serializer (serializers=) failed", exc)
            return f"<{name}>"
        return replacement
