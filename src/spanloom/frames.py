"""Frames of ours between two of the program's, which it shall not notice: in tracebacks, and in `stacklevel`.

`warnings.warn(..., stacklevel=2)` blames the caller's line, and Python's default filters show a DeprecationWarning
only where that is the program's main module. With a frame of ours in between it would be ours. CPython passes over
the frames of its own import machinery, which it knows by the name of their file (`_is_internal_frame` in `warnings`),
so ours carry a name that it takes for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    F = TypeVar("F", bound=Callable[..., Any])

UNSEEN: Final = "<spanloom importlib._bootstrap>"


def unseen(function: F) -> F:
    """Have the frames of a function of ours passed over by `stacklevel`, and left out of recorded stack traces.

    Args:
        function: made for this one use; its code gets the name of a file that does not exist.
    """
    function.__code__ = function.__code__.replace(co_filename=UNSEEN)
    return function


def hide_frame(exc: BaseException) -> None:
    """Take the caller's frame, which is ours, out of the traceback that the program will see.

    To be called in an `except BaseException` that raises again. Python before 3.11 raises again with the traceback it
    had saved, so the frame stays there.
    """
    trace = exc.__traceback__
    if trace is not None:
        BaseException.with_traceback(exc, trace.tb_next)


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's outermost frame on: without those of ours that lead to it."""
    while trace is not None and trace.tb_frame.f_code.co_filename == UNSEEN:
        trace = trace.tb_next
    return trace
