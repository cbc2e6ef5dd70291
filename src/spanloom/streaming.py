"""What a call of the program's own has yet to yield: streams, and coroutines that a plain function has returned.

A stream is watched by an object that passes everything through: items by identity, `send`, `throw`, `close` and their
async forms where the stream has them, its attributes, its context manager. The span it belongs to is current while
the stream works, never while its consumer does, and ends with it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.guard import guarded, swallow
from spanloom.span import Attached, Carried, current_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from typing_extensions import Self

    from spanloom.kept import Kept

_STEPS: Final = frozenset(("send", "throw"))
_ASYNC_STEPS: Final = frozenset(("asend", "athrow"))
_ENDS: Final = frozenset(("close", "aclose"))
_USED_UP: Final = (StopIteration, StopAsyncIteration)


class Keeper:
    """Keeps a span open until what it stands for has ended, or is dropped.

    Args:
        scope: whose span.
        arrived: is told each item.
        ended: is told once, before the span may end.

    Attributes:
        carried: the span, to be made current for each step that is taken elsewhere.
    """

    __slots__ = ("_arrived", "_ended", "_scope", "_token", "carried")

    def __init__(
        self, scope: Kept, arrived: Callable[[Any], None] | None = None, ended: Callable[[], None] | None = None
    ) -> None:
        self._token = object()
        self._scope: Kept | None = scope
        self._ended = ended
        self.carried: Carried | None = Carried(scope.standing())
        self._arrived = arrived
        scope.keep(self._token)

    def keeps(self, scope: Kept) -> bool:
        """Whether that scope's span waits for it."""
        mine = self._scope
        return mine is not None and (mine is scope or mine.standing() is scope)

    def took(self, item: Any) -> Any:
        """`item` has arrived; returned for convenience."""
        scope = self._scope
        if scope is not None:
            if not scope.recording:  # an exception has left the block
                self.end(None)
            elif self._arrived is not None:
                try:
                    self._arrived(item)
                except Exception as exc:
                    swallow("stream.item", "an item of a stream", exc)
        return item

    def end(self, exc: BaseException | None) -> None:
        """Once: it has ended, with `exc` or as it should."""
        scope, self._scope = self._scope, None
        if scope is not None:
            ended, self._ended, self._arrived, self.carried = self._ended, None, None, None
            if ended is not None:
                with guarded("stream.end", "what a stream has yielded"):
                    ended()
            scope.release(self._token, exc)

    def __del__(self) -> None:
        self.end(GeneratorExit())


class Step(Attached):
    """`with` it, what a `Keeper` stands for goes on, inside its span; any exception is its end."""

    __slots__ = ("_elsewhere", "_keeper")

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def __enter__(self) -> Keeper:
        keeper = self._keeper
        carried = keeper.carried
        # Within its block the span is current as it is, or something below it.
        self._elsewhere = carried is not None and current_scope() is not carried.scope
        if carried is not None and self._elsewhere:
            self._carried = carried
            Attached.__enter__(self)
        return keeper

    def __exit__(self, kind: object = None, exc: BaseException | None = None, trace: object = None) -> None:
        try:
            if exc is not None:
                self._keeper.end(None if isinstance(exc, _USED_UP) else exc)
        finally:
            if self._elsewhere:
                Attached.__exit__(self)


class Watched:
    """A stream that is watched; see the module."""

    __slots__ = ("__weakref__", "_keeper", "_source", "_stream")

    _stream: Any
    _source: Any
    _keeper: Keeper

    def __init__(self, stream: object, keeper: Keeper) -> None:
        set_own = object.__setattr__
        set_own(self, "_stream", stream)
        set_own(self, "_source", None)
        set_own(self, "_keeper", keeper)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._stream, name)
        if name in _STEPS:
            return self._stepping(value)
        if name in _ASYNC_STEPS:
            return self._async_stepping(value)
        return self._ending(value) if name in _ENDS and callable(value) else value

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._stream, name)

    def __dir__(self) -> list[str]:
        return dir(self._stream)

    def __repr__(self) -> str:
        return repr(self._stream)

    def __reduce_ex__(self, protocol: Any) -> Any:  # a copy of the stream is none of ours
        return self._stream.__reduce_ex__(protocol)

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  isinstance() asks for it
        return self._stream.__class__

    def _stepping(self, action: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            with Step(self._keeper) as keeper:
                return keeper.took(action(*args))

        return step

    def _async_stepping(self, action: Callable[..., Any]) -> Callable[..., Any]:
        async def step(*args: Any) -> Any:
            with Step(self._keeper) as keeper:
                return keeper.took(await action(*args))

        return step

    def _ending(self, action: Callable[..., Any]) -> Callable[..., Any]:
        def end(*args: Any, **kwargs: Any) -> Any:
            with Step(self._keeper):
                result = action(*args, **kwargs)
            return (
                finished(result, self._keeper, GeneratorExit()) if inspect.isawaitable(result) else self._left(result)
            )

        return end

    def _left(self, result: Any) -> Any:
        """The stream is closed; what was not used up by then never will be."""
        self._keeper.end(GeneratorExit())
        return result


class _Iterator(Watched):
    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with Step(self._keeper) as keeper:
            source = self._source
            return keeper.took(next(_own_iterator(self, "__next__", iter) if source is None else source))

    def __enter__(self) -> Any:
        entered = self._stream.__enter__()
        return self if entered is self._stream else entered

    def __exit__(self, *exc: object) -> Any:
        return self._left(self._stream.__exit__(*exc))


class _AsyncIterator(Watched):
    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        with Step(self._keeper) as keeper:
            source = self._source
            return keeper.took(await anext(_own_iterator(self, "__anext__", aiter) if source is None else source))

    async def __aenter__(self) -> Any:
        entered = await self._stream.__aenter__()
        return self if entered is self._stream else entered

    async def __aexit__(self, *exc: object) -> Any:
        return self._left(await self._stream.__aexit__(*exc))


class _Both(_Iterator, _AsyncIterator):
    """Of clients whose streams are sync and async in one."""

    __slots__ = ()


def _own_iterator(watched: Any, step: str, make: Callable[[Any], Any]) -> Any:
    stream = watched._stream  # noqa: SLF001
    source = stream if hasattr(stream, step) else make(stream)
    object.__setattr__(watched, "_source", source)
    return source


def is_stream(value: object) -> bool:
    """Whether it yields its items one after another, each once."""
    return hasattr(value, "__next__") or hasattr(value, "__anext__")


def is_watched(value: object, scope: Kept | None = None) -> bool:
    """Whether it is watched already; of a scope, whether for that one's span."""
    kind = cast("type[Any]", type(value))
    return issubclass(kind, Watched) and (scope is None or cast("Any", value)._keeper.keeps(scope))  # noqa: SLF001


def watcher(stream: object) -> Callable[[Any, Keeper], Any] | None:
    """What watches `stream`, an iterator or an iterable, sync, async or both; None for anything else.

    It is called with the stream and the keeper of the span that it belongs to.
    """
    kind = cast("type[Any]", type(stream))
    is_sync = hasattr(kind, "__iter__") or hasattr(kind, "__next__")
    is_async = hasattr(kind, "__aiter__") or hasattr(kind, "__anext__")
    if is_sync:
        return _Both if is_async else _Iterator
    return _AsyncIterator if is_async else None


async def finished(awaitable: Any, keeper: Keeper, exc: BaseException | None = None) -> Any:
    """The result of `awaitable`, which ends the keeper's span; with `exc` if it has succeeded."""
    with Step(keeper):
        result = await awaitable
    keeper.end(exc)
    return result


def coroutine(value: Coroutine[Any, Any, Any], keeper: Keeper, told: Callable[[Any], None] | None) -> Any:
    """A coroutine for the result of another one; `told` is told it first."""

    async def run(keeper: Keeper) -> Any:  # an argument: it goes with the coroutine, also where that never runs
        with Step(keeper):
            result = await value
            if told is not None:
                told(result)
        keeper.end(None)
        return result

    return run(keeper)
