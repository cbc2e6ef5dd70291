"""A scope that outlives its block where a stream made inside it does: whoever is last to go ends the span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import names
from spanloom.span import Scope

if TYPE_CHECKING:
    from collections.abc import Hashable

_BLOCK: Final = object()
# LangGraph's exceptions that only leave a node: classes by name, as the core imports no framework.
_CONTROL_FLOW: Final = {
    "GraphInterrupt": "interrupted",
    "ParentCommand": "parent_command",
    "GraphDrained": "drained",
    "GraphBubbleUp": "bubbled_up",
}


class Kept(Scope):
    """A span of the program's own: from its block's start to the end of the block and of the block's streams.

    Attributes:
        problem: what it has failed with, although no exception has left its block.
    """

    problem: BaseException | None = None
    _last_end: BaseException | None = None  # of its streams: the last one's
    _keepers: set[Hashable] | None = None
    _claim: list[None] | None = None

    def keep(self, keeper: Hashable) -> None:
        """The span stays open until `keeper` is released."""
        if self._keepers is None:
            self._claim = [None]
            self._keepers = {_BLOCK}
        self._keepers.add(keeper)

    def standing(self) -> Scope:
        """The scope whose span stands for this one, and is current inside."""
        return self

    def release(self, keeper: Hashable, exc: BaseException | None) -> None:
        """What `keeper` stood for has ended, with `exc` or as it should; in any thread."""
        keepers = self._keepers
        if keepers is not None:
            self._last_end = exc
            self._gone(keepers, keeper)

    def finish(self) -> None:
        """The block has been left without an exception."""
        keepers = self._keepers
        if keepers is None:
            self._end()
        else:
            self._gone(keepers, _BLOCK)

    def close(self, exc: BaseException | None = None, *, end: bool = True) -> None:
        """As `Scope.close`; an exception ends the span, whatever its streams do."""
        if exc is None:
            self.finish()
        else:
            self._keepers = self.problem = self._last_end = None
            super().close(exc, end=end)

    def _gone(self, keepers: set[Hashable], keeper: Hashable) -> None:
        keepers.discard(keeper)
        if keepers or not self._claim:
            return
        try:
            self._claim.pop()
        except IndexError:  # another thread was faster
            return
        self._keepers = None
        self._end()

    def _end(self) -> None:
        problem = self._last_end if self.problem is None else self.problem
        self.problem = self._last_end = None
        if problem is None:
            super().finish()
        else:
            super().close(problem)  # which calls `finish` again

    def _fail(self, exc: BaseException) -> None:
        for kind in type(exc).__mro__:
            if kind.__name__ in _CONTROL_FLOW and kind.__module__.partition(".")[0] == "langgraph":
                self._outcome = {names.STATUS: _CONTROL_FLOW[kind.__name__]}
                return
        super()._fail(exc)
