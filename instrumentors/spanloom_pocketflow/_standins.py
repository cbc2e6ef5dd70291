"""What PocketFlow's own methods get as `self`: an object that is the node in every respect, and watches its hooks.

PocketFlow's loop, retry and batch code runs unchanged; only where it calls `self.prep(...)`, `self.exec(...)`,
`curr._run(...)` and the like does a stand-in step in. The user's methods are called on the real node, so `self` in
their code is always theirs. Nothing is ever set on a node, and no stand-in outlives the call it was made for.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from spanloom.instrument import hide_frame, swallow, unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom_pocketflow._describe import Facts
    from spanloom_pocketflow._instrumentation import Chosen, Instrumentation
    from spanloom_pocketflow._loop import Orchestra
    from spanloom_pocketflow._phases import Attempts
    from spanloom_pocketflow._unit import Unit


class StandIn:
    """Everything not watched goes to the node: reads, writes, deletions, truth, and PocketFlow's `isinstance`."""

    __slots__ = ("_spanloom_in", "_spanloom_node")
    _spanloom_in: Instrumentation
    _spanloom_node: Any

    def __init__(self, instrumentation: Instrumentation, node: Any) -> None:
        _set_in(self, instrumentation)
        _set_node(self, node)

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


# Writing a slot past `__setattr__`, which goes to the node.
_set_in = StandIn.__dict__["_spanloom_in"].__set__
_set_node = StandIn.__dict__["_spanloom_node"].__set__


def real(node: Any) -> Any:
    """The node behind a stand-in; any other object as it is."""
    # by exact type first: a flow asks this of two arguments for every node
    if type(node) is str or not issubclass(type(node), StandIn):
        return node
    return object.__getattribute__(node, "_spanloom_node")


def _hook(name: str, choose: Callable[..., Chosen], *, awaited: bool = False) -> Callable[..., Any]:
    """A watched method: the node's own, called inside the scope that is chosen for it.

    The scope opens when the call begins to run, so a coroutine that is made and never started opens none. While it
    runs the local `self` is the real node, for programs that look for nodes in the frames.

    Args:
        name: the method.
        choose: called as `choose(stand-in, the node's method, args, kwargs)`; returns the scope (None: no span),
            what to call, and its positional arguments.
        awaited: whether PocketFlow awaits the result, whatever kind of function the user wrote.
    """

    def lost(exc: Exception) -> None:
        swallow(f"pocketflow.{name}", f"{name} spans", exc)

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        stand_in, self = self, self._spanloom_node
        function = getattr(self, name)
        scope = None
        try:
            scope, function, args = choose(stand_in, function, args, kwargs)
        except Exception as exc:
            lost(exc)
        try:
            if scope is None:
                return function(*args, **kwargs)
            with scope:
                result = function(*args, **kwargs)
                scope.returned(result)
                return result
        except BaseException as exc:
            hide_frame(exc)
            raise

    async def watched_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        stand_in, self = self, self._spanloom_node
        function = getattr(self, name)
        scope = None
        try:
            scope, function, args = choose(stand_in, function, args, kwargs)
        except Exception as exc:
            lost(exc)
        try:
            if scope is None:
                return await function(*args, **kwargs)
            with scope:
                result = await function(*args, **kwargs)
                scope.returned(result)
                return result
        except BaseException as exc:
            hide_frame(exc)
            raise

    return unseen(watched_async if awaited else watched)


class AloneStandIn(StandIn):
    """`self` in `BaseNode.run`: the unit opens even where the node overrides `_run`."""

    __slots__ = ()

    def _spanloom_run(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Chosen:
        return self._spanloom_in.execution(self._spanloom_node, method, None, args, kwargs)

    _run = _hook("_run", _spanloom_run)
    _run_async = _hook("_run_async", _spanloom_run, awaited=True)


class RunStandIn(StandIn):
    """`self` in a framework `_run`: the phases."""

    __slots__ = ("_spanloom_unit",)
    _spanloom_unit: Unit

    def __init__(self, instrumentation: Instrumentation, node: Any, unit: Unit) -> None:
        _set_in(self, instrumentation)
        _set_node(self, node)
        _set_unit(self, unit)

    def _spanloom_prep(self, method: Any, args: tuple[Any, ...], _: dict[str, Any]) -> Chosen:
        return self._spanloom_in.prep(self._spanloom_unit, method), method, args

    def _spanloom_post(self, method: Any, args: tuple[Any, ...], _: dict[str, Any]) -> Chosen:
        return self._spanloom_in.post(self._spanloom_unit, method), method, args

    def _spanloom_exec(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Chosen:
        return self._spanloom_in.node_exec(self._spanloom_node, self._spanloom_unit, method, args, kwargs)

    prep = _hook("prep", _spanloom_prep)
    prep_async = _hook("prep_async", _spanloom_prep, awaited=True)
    post = _hook("post", _spanloom_post)
    post_async = _hook("post_async", _spanloom_post, awaited=True)
    _exec = _hook("_exec", _spanloom_exec)


_set_unit = RunStandIn.__dict__["_spanloom_unit"].__set__


class AsyncRunStandIn(RunStandIn):
    """`self` in a framework `_run_async`, where `_exec` is awaited."""

    __slots__ = ()

    _exec = _hook("_exec", RunStandIn._spanloom_exec, awaited=True)  # noqa: SLF001  the base's own


class BatchFlowStandIn(RunStandIn):
    """`self` in the `_run` or `_run_async` of a batch flow: one unit per parameter set."""

    __slots__ = ("_spanloom_count",)
    _spanloom_count: int

    def __init__(self, instrumentation: Instrumentation, node: Any, unit: Unit) -> None:
        super().__init__(instrumentation, node, unit)
        object.__setattr__(self, "_spanloom_count", 0)

    def _spanloom_prep(self, method: Any, args: tuple[Any, ...], _: dict[str, Any]) -> Chosen:
        return self._spanloom_in.batch_prep(self._spanloom_unit, method), method, args

    def _spanloom_orch(self, method: Any, args: tuple[Any, ...], _: dict[str, Any]) -> Chosen:
        index = self._spanloom_count
        object.__setattr__(self, "_spanloom_count", index + 1)
        return self._spanloom_in.parameter_set(self._spanloom_unit, index, *args[:2]), method, args

    prep = _hook("prep", _spanloom_prep)
    prep_async = _hook("prep_async", _spanloom_prep, awaited=True)
    _orch = _hook("_orch", _spanloom_orch)
    _orch_async = _hook("_orch_async", _spanloom_orch, awaited=True)


class ExecStandIn(StandIn):
    """`self` in a framework `_exec` that calls the user's `exec`: attempts, delays, fallback."""

    __slots__ = ("_spanloom_attempts", "_spanloom_facts")
    _spanloom_attempts: Attempts
    _spanloom_facts: Facts

    def __init__(self, instrumentation: Instrumentation, node: Any, facts: Facts, attempts: Attempts) -> None:
        _set_in(self, instrumentation)
        _set_node(self, node)
        _set_facts(self, facts)
        _set_attempts(self, attempts)

    def _spanloom_exec(self, method: Any, args: tuple[Any, ...], _: dict[str, Any]) -> Chosen:
        scope = self._spanloom_in.attempt(self._spanloom_facts, self._spanloom_attempts, method, args)
        return scope, method, args

    def _spanloom_fallback(self, method: Any, args: tuple[Any, ...], _: dict[str, Any]) -> Chosen:
        scope = self._spanloom_in.fallback(self._spanloom_facts, self._spanloom_attempts, method, args)
        return scope, method, args

    exec = _hook("exec", _spanloom_exec)
    exec_async = _hook("exec_async", _spanloom_exec, awaited=True)
    exec_fallback = _hook("exec_fallback", _spanloom_fallback)
    exec_fallback_async = _hook("exec_fallback_async", _spanloom_fallback, awaited=True)

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


_set_facts = ExecStandIn.__dict__["_spanloom_facts"].__set__
_set_attempts = ExecStandIn.__dict__["_spanloom_attempts"].__set__


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
        args = tuple([real(value) for value in args])
        if kwargs:
            kwargs = {key: real(value) for key, value in kwargs.items()}
        chosen = self._spanloom_node.get_next_node(*args, **kwargs)
        try:
            node, action, *_ = (*args, *kwargs.values()) if kwargs else args
            self._spanloom_orchestra.decided(node, action, chosen)
        except Exception as exc:
            swallow("pocketflow.next", "the next node of a node span", exc)
        return self._spanloom_wrap(chosen)

    def _spanloom_wrap(self, node: Any) -> Any:
        if not self._spanloom_in.is_node(node):
            return node
        return NodeStandIn(self._spanloom_in, node, self._spanloom_orchestra)


class NodeStandIn(StandIn):
    """The node that a flow's loop has in hand: its `_run` is a unit, whoever wrote it."""

    __slots__ = ("_spanloom_orchestra", "_spanloom_template")
    _spanloom_orchestra: Orchestra
    _spanloom_template: Any

    def __init__(self, instrumentation: Instrumentation, node: Any, orchestra: Orchestra) -> None:
        _set_in(self, instrumentation)
        _set_node(self, node)
        _set_template(self, node)
        _set_orchestra(self, orchestra)

    @property
    def __class__(self) -> Any:
        # PocketFlow asks `isinstance(curr, AsyncNode)`; it is no frame's `self`
        return self._spanloom_node.__class__

    def __copy__(self) -> NodeStandIn:
        # PocketFlow copies what it was just handed, and keeps only the copy: the same stand-in serves.
        _set_node(self, copy.copy(self._spanloom_node))
        return self

    def _spanloom_run(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Chosen:
        place = self._spanloom_orchestra.place(self._spanloom_template)
        return self._spanloom_in.execution(self._spanloom_node, method, place, args, kwargs)

    _run = _hook("_run", _spanloom_run)
    _run_async = _hook("_run_async", _spanloom_run, awaited=True)


_set_template = NodeStandIn.__dict__["_spanloom_template"].__set__
_set_orchestra = NodeStandIn.__dict__["_spanloom_orchestra"].__set__
