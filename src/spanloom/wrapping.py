"""One wrapper for every kind of function, around one scope.

`wrap(function, begin)` returns a function of the same kind (plain, coroutine, generator, async generator) that runs
`function` inside the scope that `begin` opened for the call. The four shells differ only in how Python calls them.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom.frames import hide_frame, unseen
from spanloom.guard import swallow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    from spanloom.span import Scope

    Starter = Callable[[tuple[Any, ...], dict[str, Any]], "Begun | None"]


class Begun(NamedTuple):
    """What `begin` made of a call: the scope to run it in, and the arguments to call with.

    Without `kwargs` the call keeps its own. `returned` is told the result, inside the scope; what it raises is
    swallowed. Streams tell each item to their scope instead (`Scope.item`). `adopt` makes of the result what the
    program gets: one that has yet to happen (a stream, say) is watched until it has.
    """

    scope: AbstractContextManager[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] | None = None
    returned: Callable[[Any], object] | None = None
    adopt: Callable[[Any], Any] | None = None


class Switch:
    """On while an instrumentor is; an off switch lets every call through unobserved."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = True


def wrap(
    function: Callable[..., Any], begin: Callable[..., Begun | None], lost: str, switch: Switch, *, method: bool = False
) -> Callable[..., Any]:
    """A function that behaves as `function` and is observed.

    Args:
        function: a plain or coroutine function, a generator or async generator function.
        begin: called as `begin(*args, **kwargs)` when the call's body starts; returns the scope and the
            arguments, or None to let the call pass unobserved. What it raises is swallowed. For streams the
            scope must be a `Scope`.
        lost: what a failing `begin` costs, for the log.
        switch: while off, `begin` is not called.
        method: `function` stands on a class; its first argument is the instance.
    """
    site = f"begin {function.__qualname__}"
    called = as_method(function) if method else function

    def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun | None:
        if not switch.on:
            return None
        try:
            return begin(*args, **kwargs)
        except Exception as exc:
            swallow(site, lost, exc)
            return None

    if inspect.isasyncgenfunction(function):
        shell = _async_stream_shell(called, start)
    elif inspect.isgeneratorfunction(function):
        shell = _stream_shell(called, start)
    elif inspect.iscoroutinefunction(function):
        shell = _coroutine_shell(called, start)
    else:
        shell = _plain_shell(called, start)
    return functools.wraps(function)(unseen(shell))


def as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands on a class as a plain function of its instance.

    A foreign wrapper (wrapt's, for one) has to be bound, as Python does it: called with the instance among its
    arguments it would not know the instance.
    """
    if type(function) is types.FunctionType:
        return function

    def call(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return cast("Any", function).__get__(instance, type(instance))(*args, **kwargs)

    return call


def call_in(scope: Scope, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call `function(*args)` inside `scope`, which is told the result."""
    with scope:
        result = function(*args)
        scope.returned(result)
        return result


async def await_in(scope: Scope, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """As `call_in`, for a function whose result is awaited."""
    with scope:
        result = await function(*args)
        scope.returned(result)
        return result


def drive(scope: Scope, stream: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a generator inside `scope`, which opens no earlier than the caller did and closes with the stream."""
    return _stream_shell(lambda: stream, lambda _args, _kwargs: Begun(scope, ()))()


def drive_async(scope: Scope, stream: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """As `drive`, for an async generator."""
    return _async_stream_shell(lambda: stream, lambda _args, _kwargs: Begun(scope, ()))()


class _Step:
    """The scope is current for one step of a stream, so the consumer never sees it between two items.

    A stream ends by an exception out of a step; the span ends first, then the context is restored.

    Attributes:
        closing: the consumer has closed the stream; one that takes this well ends as if it were used up.
        item: is told every item, within the step; None where nobody wants to know.
        enter: before a step.
        leave: after it, in any case.
    """

    __slots__ = ("_scope", "closing", "enter", "item", "leave")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.closing = False
        self.item = scope.item if scope.recording else None
        self.enter = scope.enter
        self.leave = scope.leave

    def ended(self) -> None:
        """The stream is used up, or closed."""
        self._scope.close(GeneratorExit() if self.closing else None)

    def failed(self, exc: BaseException) -> None:
        """The stream raised `exc`; one that yields on instead of closing has not ended."""
        self._scope.close(exc)

    def __del__(self) -> None:
        # The stream's frame went without an end: a generator that yields to its finaliser, or an async one that
        # has no event loop to finish it.
        self._scope.close(GeneratorExit())
        self._scope.leave()


class _Unobserved:
    """The same without a scope."""

    closing = False
    item = None

    def enter(self) -> None:
        """Nothing."""

    leave = ended = enter

    def failed(self, exc: BaseException) -> None:
        """Nothing."""


_UNOBSERVED: Final = _Unobserved()


def _tell(listener: Callable[[Any], object], value: Any) -> None:
    try:
        listener(value)
    except Exception as exc:
        swallow(f"tell {getattr(listener, '__qualname__', listener)}", "facts about a result", exc)


def _plain_shell(function: Callable[..., Any], start: Starter) -> Callable[..., Any]:
    def shell(*args: Any, **kwargs: Any) -> Any:
        begun = start(args, kwargs)
        try:
            if begun is None:
                return function(*args, **kwargs)
            with begun.scope:
                result = function(*begun.args, **(kwargs if begun.kwargs is None else begun.kwargs))
                if begun.returned is not None:
                    _tell(begun.returned, result)
                return result if begun.adopt is None else begun.adopt(result)
        except BaseException as exc:
            hide_frame(exc)
            raise

    return shell


def _coroutine_shell(function: Callable[..., Any], start: Starter) -> Callable[..., Any]:
    async def shell(*args: Any, **kwargs: Any) -> Any:
        begun = start(args, kwargs)
        try:
            if begun is None:
                return await function(*args, **kwargs)
            with begun.scope:
                result = await function(*begun.args, **(kwargs if begun.kwargs is None else begun.kwargs))
                if begun.returned is not None:
                    _tell(begun.returned, result)
                return result if begun.adopt is None else begun.adopt(result)
        except BaseException as exc:
            hide_frame(exc)
            raise

    return shell


def _stream_of(function: Callable[..., Any], begun: Begun, kwargs: dict[str, Any]) -> Any:
    """The stream that runs in the scope of `begun`."""
    try:
        return function(*begun.args, **(kwargs if begun.kwargs is None else begun.kwargs))
    except BaseException as exc:  # arguments that the function does not take
        scope: Any = begun.scope  # a Scope, see `wrap`
        scope.close(exc)
        raise


def _unseen(stream: AsyncGenerator[Any, Any]) -> Callable[[Any], Any]:
    """The first `asend` of a stream, unseen by the event loop.

    The loop closes the async generators it has seen when it shuts down. It has seen ours, which closes this one; if
    it closed both at once, they would get in each other's way.
    """

    def asend(argument: Any) -> Any:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        try:
            return stream.asend(argument)
        finally:
            sys.set_asyncgen_hooks(*hooks)

    return asend


def _as_thrown(exc: BaseException, step: _Step | _Unobserved) -> BaseException:
    """What the consumer has thrown into a stream, without the mark that our frame has left in its traceback."""
    step.closing = isinstance(exc, GeneratorExit)
    trace = exc.__traceback__
    return BaseException.with_traceback(exc, trace.tb_next if trace is not None else None)


def _stream_shell(function: Callable[..., Any], start: Starter) -> Callable[..., Any]:
    """`send`, `throw`, `close`, the return value and every exception as without us."""

    def shell(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        begun = start(args, kwargs)
        if begun is None:
            try:
                return (yield from function(*args, **kwargs))  # pyright: ignore[reportUnknownVariableType]
            except BaseException as exc:
                hide_frame(exc)
                raise
        stream = _stream_of(function, begun, kwargs)
        step = _Step(cast("Scope", begun.scope))
        enter, leave, item = step.enter, step.leave, step.item
        action: Callable[[Any], Any] = stream.send
        argument: Any = None
        while True:
            try:
                enter()
                items = [action(argument)]
                step.closing = False
                if item is not None:
                    _tell(item, items[0])
            except StopIteration as stop:
                step.ended()
                return stop.value
            except BaseException as exc:
                step.failed(exc)
                hide_frame(exc)
                raise
            finally:
                leave()
                argument = None  # a thrown exception must not live on here, nor hold itself by its traceback
            try:
                argument = yield items.pop()  # nor an item that the consumer lets go
                action = stream.send
            except BaseException as exc:
                action, argument = stream.throw, _as_thrown(exc, step)

    awaitable = function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE  # made so by `types.coroutine`
    return types.coroutine(shell) if awaitable else shell


def _async_stream_shell(function: Callable[..., Any], start: Starter) -> Callable[..., AsyncGenerator[Any, Any]]:
    """The same for `asend`, `athrow` and `aclose`: `await` and the name of the end are all that differs."""

    async def shell(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        begun = start(args, kwargs)
        stream = function(*args, **kwargs) if begun is None else _stream_of(function, begun, kwargs)
        step = _UNOBSERVED if begun is None else _Step(cast("Scope", begun.scope))
        enter, leave, item = step.enter, step.leave, step.item
        action = _unseen(stream)
        argument: Any = None
        while True:
            try:
                enter()
                items = [await action(argument)]
                step.closing = False
                if item is not None:
                    _tell(item, items[0])
            except StopAsyncIteration:
                step.ended()
                return
            except BaseException as exc:
                step.failed(exc)
                hide_frame(exc)
                raise
            finally:
                leave()
                argument = None
            try:
                argument = yield items.pop()
                action = stream.asend
            except BaseException as exc:
                action, argument = stream.athrow, _as_thrown(exc, step)

    return shell
