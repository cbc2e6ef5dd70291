"""Methods that the classes of a family define for themselves: there is no one place where every call passes.

They are wrapped on each class that defines them: on those there are, and on those to come through
`__init_subclass__`. Classes are held weakly, because programs make some on the fly.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

from spanloom.instrument import Begun, Switch, guarded, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spanloom.instrument import Patches

_HOOK: Final = "__init_subclass__"


def patch_family(base: type, begins: Mapping[str, Callable[..., Begun | None]], lost: str, patches: Patches) -> None:
    """Wrap methods on `base` and all its subclasses, present and future, wherever one is defined.

    Args:
        base: the family's base class. Its abstract methods are left alone.
        begins: by method name, what `spanloom.instrument.wrap` wants.
        lost: what a failing `begin` costs, for the log.
        patches: whose `restore` undoes it all.
    """
    switch = Switch()
    classes: WeakSet[type] = WeakSet()
    wrappers: WeakSet[Callable[..., Any]] = WeakSet()

    def ours(method: object) -> bool:
        # by its type too: a foreign wrapper (wrapt's) says that it equals what it wraps
        return type(method) is FunctionType and method in wrappers

    def take(kind: type) -> None:
        for name, begin in begins.items():
            method = kind.__dict__.get(name)
            if ours(method) or not inspect.isfunction(method) or getattr(method, "__isabstractmethod__", False):
                continue
            wrapper = wrap(method, begin, lost, switch, method=True)
            wrappers.add(wrapper)
            classes.add(kind)
            setattr(kind, name, wrapper)

    inherited = base.__dict__.get(_HOOK)

    def init_subclass(cls: type, **kwargs: Any) -> None:
        if inherited is None:
            super(base, cls).__init_subclass__(**kwargs)
        else:
            inherited.__get__(None, cls)(**kwargs)
        if switch.on:
            with guarded(f"take {base.__qualname__}", lost):
                take(cls)

    hook: Any = classmethod(cast("Any", init_subclass))

    def restore() -> None:
        switch.on = False
        if base.__dict__.get(_HOOK) is hook:  # else somebody has wrapped it, and it lets everything through
            if inherited is None:
                delattr(base, _HOOK)
            else:
                setattr(base, _HOOK, inherited)
        for kind in tuple(classes):
            for name in begins:
                wrapper: Any = kind.__dict__.get(name)
                if ours(wrapper):
                    setattr(kind, name, wrapper.__wrapped__)

    patches.on_restore(restore)
    setattr(base, _HOOK, hook)
    take(base)
    seen: set[type] = {base}
    waiting = base.__subclasses__()
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen.add(kind)
            waiting += kind.__subclasses__()
            take(kind)
