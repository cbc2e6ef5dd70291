"""What happens when a PocketFlow method is called: which scope opens, and with which facts."""

from __future__ import annotations

from contextlib import nullcontext
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from spanloom.instrument import Begun, Scope, Telemetry, below_dropped, current_scope, names
from spanloom_pocketflow._batch import Batch
from spanloom_pocketflow._describe import TYPE_NAMES, Facts, facts, size_of
from spanloom_pocketflow._loop import Orchestra, Place
from spanloom_pocketflow._phases import Attempt, Attempts, BatchPrep, Fallback, Phase, Post
from spanloom_pocketflow._standins import (
    AloneStandIn,
    AsyncRunStandIn,
    BatchFlowStandIn,
    ExecStandIn,
    FlowStandIn,
    RunStandIn,
    real,
)
from spanloom_pocketflow._unit import Unit, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.util.types import AttributeValue

_PASS: Final = nullcontext()

# The scope of a watched call (None: no span), what to call, and with which positional arguments.
Chosen: TypeAlias = "tuple[Scope | None, Callable[..., Any], tuple[Any, ...]]"


class _Inside:
    """PocketFlow's own `_run` executes for a unit that an outer call has opened."""

    __slots__ = ("_unit",)

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def __enter__(self) -> None:
        self._unit.inside = True

    def __exit__(self, exc_type: object, exc: object, tb: object) -> None:
        self._unit.inside = False


class Instrumentation:
    """PocketFlow's methods (of the one module they are in: the package or a copy of it) as spans."""

    def __init__(self, telemetry: Telemetry, module: ModuleType) -> None:
        self._telemetry = telemetry
        self._base: type = module.BaseNode
        self._framework = module.__name__
        self._globals = vars(module)
        self._phases = telemetry.config.pocketflow_phases
        self._facts: WeakKeyDictionary[type, Facts] = WeakKeyDictionary()
        # PocketFlow's own functions by their wrappers: called directly where nothing of the user's stands between.
        self.runs: dict[object, tuple[Callable[..., Any], type[RunStandIn]]] = {}
        self.execs: dict[object, Callable[..., Any] | None] = {}  # None: of a batch, which calls another per item
        self._empty = {
            value
            for cls in (getattr(module, name, None) for name in TYPE_NAMES)
            if isinstance(cls, type) and cls.__module__ == self._framework
            for name, value in vars(cls).items()
            if self.is_own(value) and name.removesuffix("_async") in ("prep", "exec", "exec_fallback", "post")
        }

    def is_node(self, value: object) -> bool:
        """Whether `value` is a node or flow of this PocketFlow."""
        return isinstance(value, self._base)

    def is_own(self, value: object) -> bool:
        """Whether `value` is a function that PocketFlow wrote."""
        return type(value) is FunctionType and self.owns(value.__globals__)

    def owns(self, namespace: dict[str, Any]) -> bool:
        """Whether `namespace` are the globals of PocketFlow's own code."""
        return namespace is self._globals

    # -- calls of wrapped methods: what to run them in, and with which `self` -----------------------------------

    def begin_alone(self, node: Any, *args: Any, **_: Any) -> Begun | None:
        """`BaseNode.run`, `AsyncNode.run_async`."""
        return None if below_dropped() else Begun(_PASS, (AloneStandIn(self, real(node)), *args))

    def begin_run(self, node: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`_run` of a node or flow."""
        return self._run(RunStandIn, node, args, kwargs)

    def begin_run_async(self, node: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`_run_async` of a node or flow."""
        return self._run(AsyncRunStandIn, node, args, kwargs)

    def begin_batch_flow(self, node: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`_run` or `_run_async` of a batch flow."""
        return self._run(BatchFlowStandIn, node, args, kwargs)

    def _run(
        self, stand_in: type[RunStandIn], node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Begun | None:
        if below_dropped():
            return None
        scope, node = current_scope(), real(node)
        if isinstance(scope, Unit) and scope.subject is node and not scope.inside:
            # opened where the flow or `run` called the node, before an override of the user's
            return Begun(_Inside(scope), (stand_in(self, node, scope), *args)) if scope.recording else None
        unit = self.unit(node, _first(args, kwargs), None)
        if not unit.recording:
            return Begun(unit, (node, *args))
        unit.inside = True
        return Begun(unit, (stand_in(self, node, unit), *args))

    def begin_orch(self, flow: Any, *args: Any, **_: Any) -> Begun | None:
        """`_orch` or `_orch_async` of a flow."""
        scope = current_scope()
        unit = scope if isinstance(scope, Unit) else None
        if unit is not None and not unit.recording:
            return None
        orchestra = Orchestra(unit)
        return Begun(orchestra, (FlowStandIn(self, real(flow), orchestra), *args))

    def begin_exec(self, node: Any, *args: Any, **_: Any) -> Begun | None:
        """`_exec` for one item (the only one, outside batch nodes)."""
        if below_dropped():
            return None
        node = real(node)
        unit = unit_of(node)
        if unit is not None and not unit.recording:
            return None
        batch = Batch.current.get()
        index = batch.take() if batch is not None and batch.subject is node else None
        return Begun(_PASS, (ExecStandIn(self, node, self.facts(node), Attempts(unit, index)), *args))

    def begin_batch(self, node: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`_exec` of a batch node: the items go through `begin_exec`."""
        if below_dropped():
            return None
        node, items = real(node), _first(args, kwargs)
        unit = unit_of(node)
        if unit is not None:
            if not unit.recording:
                return None
            unit.sized(items)
        return Begun(Batch(node, size_of(items)), (node, *args))

    # -- what the stand-ins choose ------------------------------------------------------------------------------

    def execution(
        self, node: Any, method: Any, place: Place | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Chosen:
        """A node's `_run`: PocketFlow's own gets its stand-in at once, one of the user's the node."""
        unit = self.unit(node, _first(args, kwargs), place)
        if unit.recording and (function := _function(method)) in self.runs:
            own, stand_in = self.runs[function]
            unit.inside = True
            return unit, own, (stand_in(self, node, unit), *args)
        return unit, method, args

    def node_exec(self, node: Any, unit: Unit, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Chosen:
        """A node's `_exec`: PocketFlow's own shows its attempts, one of the user's is one span."""
        function = _function(method)
        if function not in self.execs:
            return self.own_exec(unit, _first(args, kwargs)), method, args
        own = self.execs[function]
        if own is None:
            return None, method, args
        return None, own, (ExecStandIn(self, node, unit.facts, Attempts(unit, None)), *args)

    # -- scopes -----------------------------------------------------------------------------------------------

    def facts(self, node: object) -> Facts:
        """The facts of a node's class, worked out once and forgotten with it."""
        cls = type(node)
        found = self._facts.get(cls)
        if found is None:
            found = self._facts[cls] = facts(cls, self._framework, draft=self._telemetry.config.draft_names)
        return found

    def unit(self, node: Any, shared: object, place: Place | None) -> Unit:
        """A node or flow begins."""
        return Unit(self._telemetry, node, self.facts(node), shared, place).begin()

    def parameter_set(self, batch: Unit, index: int, shared: object = None, params: object = None) -> Unit:
        """A batch flow begins its loop for one set of parameters."""
        extra: dict[str, AttributeValue] = {names.POCKETFLOW_BATCH_INDEX: index}
        if batch.batch_size is not None:
            extra[names.POCKETFLOW_BATCH_SIZE] = batch.batch_size
        unit = Unit(self._telemetry, None, batch.facts, shared, None).begin(extra)
        if unit.recording and unit.capture.params:
            _set(unit, names.POCKETFLOW_PARAMS, unit.capture.json(params))
        return unit

    def prep(self, unit: Unit, method: Any) -> Phase | None:
        """`prep`; None where the user wrote none, or wants none."""
        if "prep" not in self._phases or _function(method) in self._empty:
            return None
        return self._open(Phase(self._telemetry, keeps_output=self._telemetry.capture.io), "prep", unit.facts)

    def post(self, unit: Unit, method: Any) -> Phase | None:
        """`post`; None where the user wrote none. Without a span of its own it still tells the node its action."""
        if _function(method) in self._empty:
            return None
        phase = Post(self._telemetry, unit)
        return self._open(phase, "post", unit.facts) if "post" in self._phases else phase

    def batch_prep(self, unit: Unit, method: Any) -> Phase | None:
        """`prep` of a batch flow."""
        if _function(method) in self._empty:
            return None
        phase = BatchPrep(self._telemetry, unit, keeps_output=self._telemetry.capture.io)
        return self._open(phase, "prep", unit.facts) if "prep" in self._phases else phase

    def own_exec(self, unit: Unit, prep_res: object) -> Phase | None:
        """An `_exec` of the user's."""
        if "exec" not in self._phases:
            return None
        phase = Phase(self._telemetry, keeps_output=self._telemetry.capture.io)
        return self._given(self._open(phase, "exec", unit.facts), prep_res)

    def attempt(self, facts: Facts, attempts: Attempts, method: Any, args: tuple[Any, ...]) -> Phase | None:
        """One `exec`."""
        attempts.next()
        if _function(method) in self._empty:
            return None
        phase = Attempt(self._telemetry, attempts, keeps_output=self._telemetry.capture.io)
        if "exec" not in self._phases:
            return phase
        attributes: dict[str, AttributeValue] = {}
        if type(attempts.maximum) is int:
            attributes[names.POCKETFLOW_RETRY_ATTEMPT] = attempts.number
            attributes[names.POCKETFLOW_RETRY_MAX] = attempts.maximum
        return self._given(self._open(phase, "exec", facts, self._item(attempts, attributes)), *args[:1])

    def fallback(self, facts: Facts, attempts: Attempts, method: Any, args: tuple[Any, ...]) -> Phase | None:
        """`exec_fallback`; PocketFlow's own only raises what it is given."""
        mine = _function(method) not in self._empty
        if mine or attempts.number > 1:
            attempts.report()
        if not mine:
            return None
        phase = Fallback(self._telemetry, attempts.unit, keeps_output=self._telemetry.capture.io)
        if "exec" not in self._phases:
            return phase
        return self._given(self._open(phase, "exec_fallback", facts, self._item(attempts, {})), *args[:1])

    def _item(self, attempts: Attempts, attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
        if attempts.index is not None:
            attributes[names.POCKETFLOW_BATCH_INDEX] = attempts.index
            batch = Batch.current.get()
            if batch is not None and batch.size is not None:
                attributes[names.POCKETFLOW_BATCH_SIZE] = batch.size
        return attributes

    def _open(
        self, phase: Phase, kind: str, facts: Facts, attributes: dict[str, AttributeValue] | None = None
    ) -> Phase:
        span_name, start = facts.phases[kind]
        phase.open(span_name, {**start, **attributes} if attributes else start)
        return phase

    def _given(self, phase: Phase, value: object = None) -> Phase:
        if value is not None and phase.recording and phase.capture.io:
            _set(phase, names.INPUT, phase.capture.json(value))
        return phase


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The first argument behind `self`: the shared state, or what `prep` returned."""
    return args[0] if args else next(iter(kwargs.values()), None)


def _function(method: Any) -> FunctionType | None:
    """The function behind a plain method; None for any other callable, none of whose code is run to ask.

    A method whose function is PocketFlow's own placeholder runs nothing of the user's, so it has no span.
    """
    if type(method) is not MethodType or type(method.__func__) is not FunctionType:
        return None
    return method.__func__


def _set(scope: Scope, attribute: str, text: str | None) -> None:
    if text is not None:
        scope.span.set_attribute(attribute, text)
