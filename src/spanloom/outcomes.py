"""What an exception means for the span that it leaves."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

CLOSED: Final = "closed"
CANCELLED: Final = "cancelled"
EXITED: Final = "exited"


def holds(raised: deque[Callable[[], BaseException | None]] | None, exc: BaseException) -> bool:
    """Whether one of the ways leads to this exception."""
    return raised is not None and any(known() is exc for known in tuple(raised))


def way_to(exc: BaseException) -> Callable[[], BaseException | None]:
    """Weak where it can be, so that an error the program has handled is not kept alive with all its frames."""
    try:
        return weakref.ref(exc)
    except TypeError:  # Python's own exceptions cannot be held weakly
        return lambda: exc


def early_end(exc: BaseException) -> str | None:
    """The `spanloom.status` of an end that is not an error, or None."""
    if isinstance(exc, Exception):
        return None
    if isinstance(exc, GeneratorExit):
        return CLOSED
    if isinstance(exc, SystemExit):
        return EXITED
    if isinstance(exc, KeyboardInterrupt):
        return CANCELLED
    # by name, so that trio's cancellation counts without importing it
    cancelled = any(kind.__name__ in ("CancelledError", "Cancelled") for kind in type(exc).__mro__)
    return CANCELLED if cancelled else None


def error_type(exc: BaseException) -> str:
    """`error.type` of an exception: its qualified class name, without `builtins.` (as the official packages)."""
    kind = type(exc)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
