"""What PocketFlow's own methods get as `self`: an object that is the node in every respect, and watches its hooks.

PocketFlow's loop, retry and batch code runs unchanged; only where it calls `self.prep(...)`, `self.exec(...)`,
`curr._run(...)` and the like does a stand-in step in. The user's methods are called on the real node, so `self` in
their code is always theirs. Nothing is ever set on a node, and no stand-in outlives the call it was made for.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from spanloom.instrument import guarded, swallow

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom.instrument import Scope
    from spanloom_pocketflow._instrumentation import Instrumentation
    from spanloom_pocketflow._scopes import Attempts, Orchestra, Unit


class StandIn:
    """Everything not watched goes to the node: reads, writes, deletions, truth, and PocketFlow's `isinstance`."""

    __slots__ = ("_spanloom_in", "_spanloom_node")
    _spanloom_in: Instrumentation
    _spanloom_node: Any

    def __init__(self, instrumentation: Instrumentation, node: Any) -> None:
        object.__setattr__(self, "_spanloom_in", instrumentation)
        object.__setattr__(self, "_spanloom_node", node)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spanloom_node, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._spanloom_node, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._spanloom_node, name)

    def __bool__(self) -> bool:
        return bool(self._spanloom_node)

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  read-only is enough
        # PocketFlow's own code takes it for the node. Nobody else does: programs that look for nodes in the frames'
        # `self`, as PocketFlow's guide shows, must find each real node, and once.
        frame = inspect.currentframe()
        if frame is not None and frame.f_back is not None and self._spanloom_in.owns(frame.f_back.f_globals):
            return self._spanloom_node.__class__
        return type(self)

    def _spanloom_scope(self, hook: str, method: Any, args: tuple[Any, ...], /) -> Scope | None:
        """The scope for a call of `hook` (without `_async`); None lets it pass."""
        raise NotImplementedError


def real(node: Any) -> Any:
    """The node behind a stand-in; any other object as it is."""
    return object.__getattribute__(node, "_spanloom_node") if issubclass(type(node), StandIn) else node


def _hook(name: str, *, awaited: bool) -> Callable[..., Any]:
    """A watched method: the node's own, called inside the scope that the stand-in chooses.

    `awaited` says what PocketFlow does with the result, whatever kind of function the user wrote. The scope opens
    when the call begins to run, so a coroutine that is made and never started opens none. While it runs the local
    `self` is the real node, for programs that look for nodes in the frames.
    """
    kind = name.removesuffix("_async")

    def opened(
        choose: Callable[..., Scope | None], method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Scope | None:
        try:
            return choose(kind, method, (*args, *kwargs.values()) if kwargs else args)
        except Exception as exc:
            swallow(f"pocketflow.{kind}", f"{kind} spans", exc)
            return None

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        choose, self = self._spanloom_scope, self._spanloom_node
        method = getattr(self, name)
        scope = opened(choose, method, args, kwargs)
        if scope is None:
            return method(*args, **kwargs)
        with scope:
            result = method(*args, **kwargs)
            scope.returned(result)
            return result

    async def watched_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        choose, self = self._spanloom_scope, self._spanloom_node
        method = getattr(self, name)
        scope = opened(choose, method, args, kwargs)
        if scope is None:
            return await method(*args, **kwargs)
        with scope:
            result = await method(*args, **kwargs)
            scope.returned(result)
            return result

    return watched_async if awaited else watched


class AloneStandIn(StandIn):
    """`self` in `BaseNode.run`: the unit opens even where the node overrides `_run`."""

    __slots__ = ()

    _run = _hook("_run", awaited=False)
    _run_async = _hook("_run_async", awaited=True)

    def _spanloom_scope(self, _hook: str, _method: Any, args: tuple[Any, ...], /) -> Scope | None:
        return self._spanloom_in.unit(self._spanloom_node, args[0], None)


class RunStandIn(StandIn):
    """`self` in a framework `_run`: the phases."""

    __slots__ = ("_spanloom_unit",)
    _spanloom_unit: Unit

    def __init__(self, instrumentation: Instrumentation, node: Any, unit: Unit) -> None:
        super().__init__(instrumentation, node)
        object.__setattr__(self, "_spanloom_unit", unit)

    prep = _hook("prep", awaited=False)
    prep_async = _hook("prep_async", awaited=True)
    post = _hook("post", awaited=False)
    post_async = _hook("post_async", awaited=True)
    _exec = _hook("_exec", awaited=False)

    def _spanloom_scope(self, hook: str, method: Any, args: tuple[Any, ...], /) -> Scope | None:
        if hook == "_exec":
            return self._spanloom_in.own_exec(self._spanloom_unit, method, args[0])
        return self._spanloom_in.phase(self._spanloom_unit, hook, method)


class AsyncRunStandIn(RunStandIn):
    """`self` in a framework `_run_async`, where `_exec` is awaited."""

    __slots__ = ()

    _exec = _hook("_exec", awaited=True)


class BatchFlowStandIn(RunStandIn):
    """`self` in the `_run` or `_run_async` of a batch flow: one unit per parameter set."""

    __slots__ = ("_spanloom_count",)
    _spanloom_count: int

    def __init__(self, instrumentation: Instrumentation, node: Any, unit: Unit) -> None:
        super().__init__(instrumentation, node, unit)
        object.__setattr__(self, "_spanloom_count", 0)

    _orch = _hook("_orch", awaited=False)
    _orch_async = _hook("_orch_async", awaited=True)

    def _spanloom_scope(self, hook: str, method: Any, args: tuple[Any, ...], /) -> Scope | None:
        if hook == "prep":
            return self._spanloom_in.batch_prep(self._spanloom_unit, method)
        if hook != "_orch":
            return super()._spanloom_scope(hook, method, args)
        index = self._spanloom_count
        object.__setattr__(self, "_spanloom_count", index + 1)
        return self._spanloom_in.parameter_set(self._spanloom_unit, index, *args[:2])


class ExecStandIn(StandIn):
    """`self` in a framework `_exec` that calls the user's `exec`: attempts, delays, fallback."""

    __slots__ = ("_spanloom_attempts", "_spanloom_name")
    _spanloom_attempts: Attempts
    _spanloom_name: str

    def __init__(self, instrumentation: Instrumentation, node: Any, name: str, attempts: Attempts) -> None:
        super().__init__(instrumentation, node)
        object.__setattr__(self, "_spanloom_name", name)
        object.__setattr__(self, "_spanloom_attempts", attempts)

    exec = _hook("exec", awaited=False)
    exec_async = _hook("exec_async", awaited=True)
    exec_fallback = _hook("exec_fallback", awaited=False)
    exec_fallback_async = _hook("exec_fallback_async", awaited=True)

    @property
    def max_retries(self) -> Any:
        """Passed through; PocketFlow reads it before the first attempt."""
        value = self._spanloom_attempts.maximum = self._spanloom_node.max_retries
        return value

    @property
    def wait(self) -> Any:
        """Passed through; PocketFlow reads it before it sleeps."""
        value = self._spanloom_node.wait
        self._spanloom_attempts.waits(value)
        return value

    def _spanloom_scope(self, hook: str, method: Any, args: tuple[Any, ...], /) -> Scope | None:
        if hook == "exec":
            return self._spanloom_in.attempt(self._spanloom_name, self._spanloom_attempts, method, args[0])
        return self._spanloom_in.fallback(self._spanloom_name, self._spanloom_attempts, method, args[0])


class FlowStandIn(StandIn):
    """`self` in a framework `_orch`: hands out the graph's nodes as stand-ins, and watches the choice of the next."""

    __slots__ = ("_spanloom_orchestra",)
    _spanloom_orchestra: Orchestra

    def __init__(self, instrumentation: Instrumentation, node: Any, orchestra: Orchestra) -> None:
        super().__init__(instrumentation, node)
        object.__setattr__(self, "_spanloom_orchestra", orchestra)

    @property
    def start_node(self) -> Any:
        """The first node (pocketflow >= 0.0.2)."""
        return self._spanloom_wrap(self._spanloom_node.start_node)

    @property
    def start(self) -> Any:
        """The first node (pocketflow 0.0.1; later a method, which its `_orch` does not use)."""
        return self._spanloom_wrap(self._spanloom_node.start)

    def get_next_node(self, *args: Any, **kwargs: Any) -> Any:
        """The flow's own choice, which may be the user's override; it ends the span of the node that ran."""
        args, kwargs = tuple(map(real, args)), {key: real(value) for key, value in kwargs.items()}
        chosen = self._spanloom_node.get_next_node(*args, **kwargs)
        with guarded("pocketflow.next", "the next node of a node span"):
            node, action, *_ = (*args, *kwargs.values())
            self._spanloom_orchestra.decided(node, action, chosen)
        return self._spanloom_wrap(chosen)

    def _spanloom_wrap(self, node: Any) -> Any:
        if not self._spanloom_in.is_node(node):
            return node
        return NodeStandIn(self._spanloom_in, node, node, self._spanloom_orchestra)


class NodeStandIn(StandIn):
    """The node that a flow's loop has in hand: its `_run` is a unit, whoever wrote it."""

    __slots__ = ("_spanloom_orchestra", "_spanloom_template")
    _spanloom_orchestra: Orchestra
    _spanloom_template: Any

    def __init__(self, instrumentation: Instrumentation, node: Any, template: Any, orchestra: Orchestra) -> None:
        super().__init__(instrumentation, node)
        object.__setattr__(self, "_spanloom_template", template)
        object.__setattr__(self, "_spanloom_orchestra", orchestra)

    @property
    def __class__(self) -> Any:
        # PocketFlow asks `isinstance(curr, AsyncNode)`; it is no frame's `self`
        return self._spanloom_node.__class__

    def __copy__(self) -> NodeStandIn:
        return NodeStandIn(
            self._spanloom_in,
            copy.copy(self._spanloom_node),
            self._spanloom_template,
            self._spanloom_orchestra,
        )

    _run = _hook("_run", awaited=False)
    _run_async = _hook("_run_async", awaited=True)

    def _spanloom_scope(self, _hook: str, _method: Any, args: tuple[Any, ...], /) -> Scope | None:
        place = self._spanloom_orchestra.place(self._spanloom_template)
        return self._spanloom_in.unit(self._spanloom_node, args[0], place)
