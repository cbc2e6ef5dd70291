"""A span to be: a context manager, sync and async, and a decorator, in one implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from spanloom.call import NO_CALL, Call, scope_of
from spanloom.decorating import decorated
from spanloom.guard import swallow
from spanloom.span import below_dropped
from spanloom.telemetry import Telemetry, own

if TYPE_CHECKING:
    from types import TracebackType

F = TypeVar("F", bound=Callable[..., Any])
# Opens the span, given the decorated function's name where there is one; None where another one stands for the call.
Opener = Callable[[Telemetry, "str | None"], "Call | None"]


class Traced:
    """A span to be: `with` it (once), `async with` it (once), or decorate functions with it (as many as you like).

    The block gets a `Call`; in a decorated function `spanloom.current()` is it. Where the span is not recording the
    call does nothing.
    """

    __slots__ = ("_call", "_capture", "_open", "_what")

    def __init__(self, what: str, open_: Opener, *, capture: bool = False) -> None:
        self._what = what
        self._open = open_
        self._capture = capture
        self._call: Call | None = None

    def __call__(self, function: F) -> F:
        """Decorate `function`; a `TypeError` tells where that cannot be."""
        return decorated(function, self._begin, capture=self._capture)

    def __enter__(self) -> Call:
        if self._call is not None:
            raise RuntimeError(
                f"this spanloom.{self._what}(...) has had its block: one block is one span. Call "
                f"spanloom.{self._what}(...) again for the next one."
            )
        call = self._call = self._begin(None) or NO_CALL
        if call is not NO_CALL:
            scope_of(call).enter()
        return call

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        if call is not None and call is not NO_CALL:
            scope_of(call).__exit__(kind, exc, trace)

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, trace)

    def _begin(self, name: str | None) -> Call | None:
        """Open the span; `name`: of the decorated function. None where there is none to open."""
        if below_dropped():
            return None
        try:
            telemetry = own()
            return None if telemetry is None else self._open(telemetry, name)
        except Exception as exc:
            swallow("manual.begin", f"the span of a spanloom.{self._what}(...)", exc)
            return None
