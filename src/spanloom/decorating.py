"""A function of any kind -> the same function, each call of it in a span of its own."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.call import adopted, called, scope_of
from spanloom.guard import guarded
from spanloom.wrapping import Begun, Switch, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spanloom.call import Call

_ALWAYS: Final = Switch()
_BOUND: Final = (staticmethod, classmethod)
_INSTANCES: Final = frozenset(("self", "cls"))


def is_function(value: object) -> bool:
    """Whether it is what a decorator without parentheses is given."""
    return callable(value) or isinstance(value, _BOUND)


def decorated(function: Any, begin: Callable[[str | None], Call | None], *, capture: bool) -> Any:
    """`function` with its kind, its signature and everything it does, each call in a span.

    Args:
        function: plain, a coroutine function, a generator or async generator function, a method, a static or class
            method, a partial, an object that can be called.
        begin: opens the span of one call, given the function's name; None: this call goes without.
        capture: record the arguments and the result.

    Raises:
        TypeError: it is a class, or nothing that can be called.
    """
    if isinstance(function, _BOUND):
        bound = cast("Any", function)
        return type(bound)(decorated(bound.__func__, begin, capture=capture))
    if isinstance(function, functools.partial):
        given = cast("functools.partial[Any]", function)
        return functools.partial(decorated(given.func, begin, capture=capture), *given.args, **given.keywords)
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"spanloom decorates functions and methods, not {function!r}: decorate the method that runs")
    name = getattr(function, "__name__", None) or type(function).__name__
    if not hasattr(function, "__qualname__"):  # an object: what runs is its method
        function = cast("Any", function).__call__
    arguments = _arguments_of(function) if capture else None

    def begin_call(*args: Any, **kwargs: Any) -> Begun | None:
        call = begin(name)
        if call is None:
            return None
        if not call.recording:
            return Begun(scope_of(call), args)
        if arguments is not None:
            with guarded("capture", "the arguments of a decorated function"):
                called(call, arguments(args, kwargs))
        return Begun(scope_of(call), args, adopt=functools.partial(adopted, call, capture=capture))

    return wrap(function, begin_call, "the span of a decorated function", _ALWAYS)


def _arguments_of(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], dict[str, Any]]:
    """What a call was given, by the parameters' names, without the instance of a method."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some builtins have none
        return lambda args, kwargs: {**{str(place): value for place, value in enumerate(args)}, **kwargs}
    first = next(iter(signature.parameters), None)

    def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
            if name == first and name in _INSTANCES:
                continue
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                found.update(value)
            else:
                found[name] = value
        return found

    return given
