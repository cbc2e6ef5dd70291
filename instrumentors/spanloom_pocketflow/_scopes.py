"""The spans of PocketFlow: one unit per execution of a node or flow, phases below it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link

from spanloom.instrument import Scope, Snapshot, Telemetry, current_scope, error_type, guarded, names
from spanloom_pocketflow._describe import Facts, action_text, key_text, retry_event, size_of

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self


class Unit(Scope):
    """One execution of a node, a flow, or one parameter set of a batch flow.

    Attributes:
        subject: the node object that runs (PocketFlow runs a copy); None for a parameter set.
        inside: PocketFlow's own `_run` is executing for it, so a further `_run` is a further execution.
        facts: of the subject's class.
        place: where it stands in a flow; None for a run of its own.
    """

    inside = False
    _shows_state = False
    _snapshot: Snapshot | None = None
    _retries = 0
    _fallback = False
    _batch_size: int | None = None

    def __init__(
        self, telemetry: Telemetry, subject: object, facts: Facts, shared: object, place: Place | None
    ) -> None:
        super().__init__(telemetry)
        self.subject = subject
        self.facts = facts
        self.place = place
        self._shared = shared

    def begin(self, extra: dict[str, AttributeValue] | None = None) -> Self:
        """Open the span, with the state as it is now remembered."""
        facts, place = self.facts, self.place
        if place is None:
            attributes = {**facts.root, **extra} if extra else facts.root
            self.open(facts.span_name, attributes)
        else:
            attributes = {
                **facts.node,
                names.POCKETFLOW_STEP: place.step,
                names.POCKETFLOW_NODE_INDEX: place.index,
            }
            self.open(facts.span_name, attributes, links=place.links)
        if self.recording:
            capture = self._telemetry.capture
            # A run of its own shows the whole state it got and left; inside one, the changes say more.
            self._shows_state = capture.state and place is None and not extra and current_scope() is None
            if self._shows_state:
                self._show_state(names.INPUT)
            self._snapshot = Snapshot(self._shared, capture if capture.state and not self._shows_state else None)
        return self

    def _show_state(self, attribute: str) -> None:
        text = self._telemetry.capture.json(self._shared)
        if text is not None:
            self.span.set_attribute(attribute, text)

    @property
    def telemetry(self) -> Telemetry:
        """For the phases below."""
        return self._telemetry

    def attempt_failed(self, event: dict[str, AttributeValue], at: int) -> None:
        """An attempt failed at `at` (ns since the epoch)."""
        if self.recording:
            self.span.add_event(names.RETRY_EVENT, event, at)

    def retried(self) -> None:
        """One more attempt is made."""
        self._retries += 1

    def fell_back(self) -> None:
        """A fallback of the user's answered."""
        self._fallback = True

    def sized(self, items: object) -> None:
        """The items of a batch are known."""
        self._batch_size = size_of(items)

    @property
    def batch_size(self) -> int | None:
        """How many items or parameter sets there are, where that can be asked without consuming them."""
        return self._batch_size

    def describe(self) -> dict[str, AttributeValue]:
        """What is known at the end: the decision, the changes, the attempts."""
        found: dict[str, AttributeValue] = {}
        place = self.place
        action = None if self._outcome is not None else action_text(self.result, in_flow=place is not None)
        if action is not None:
            found[names.POCKETFLOW_ACTION] = action
        if place is not None and place.next_name is not None:
            found[names.POCKETFLOW_NEXT] = place.next_name
        if self._retries:
            found[names.POCKETFLOW_RETRY_COUNT] = self._retries
        if self._fallback:
            found[names.POCKETFLOW_FALLBACK] = True
        if self._batch_size is not None:
            found[names.POCKETFLOW_BATCH_SIZE] = self._batch_size
        if self._snapshot is not None:
            added, changed, removed = self._snapshot.changed(self._shared)
            if added or changed or removed:
                found[names.STATE_CHANGED_KEYS] = added + changed + removed
            values = self._snapshot.values(self._shared)
            if values is not None:
                found[names.STATE_CHANGES] = values
        if self._shows_state:
            self._show_state(names.OUTPUT)
        return found

    def finish(self) -> None:
        """As `Scope.finish`; of the run nothing is kept, as a background task keeps its context and so this scope."""
        super().finish()
        self.subject = self.place = self._shared = self._snapshot = None

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # In a flow the next node is known only after this one has returned: the span waits for it, not the clock.
        place = self.place
        waits = exc is None and place is not None
        try:
            self.close(exc, end=not waits)
            if waits and place is not None:
                place.orchestra.waiting = self
        finally:
            self.leave()


class Phase(Scope):
    """One call of a method of the user's: `prep`, `exec`, `exec_fallback` or `post`."""

    def __init__(self, telemetry: Telemetry, *, keeps_output: bool) -> None:
        self._telemetry = telemetry
        self._keeps_output = keeps_output

    def describe(self) -> dict[str, AttributeValue]:
        """The result, where content is captured."""
        if not self._keeps_output or self.result is None:
            return {}
        text = self._telemetry.capture.json(self.result)
        return {} if text is None else {names.OUTPUT: text}


class Post(Phase):
    """One call of `post`: what it returns is the node's decision, also where a loop of the user's calls `_run`."""

    def __init__(self, telemetry: Telemetry, unit: Unit) -> None:
        super().__init__(telemetry, keeps_output=False)
        self._unit = unit

    def returned(self, result: object) -> None:
        """Tell the node."""
        self._unit.returned(result)


class BatchPrep(Phase):
    """The `prep` of a batch flow: what it returns are the parameter sets."""

    def __init__(self, telemetry: Telemetry, unit: Unit, *, keeps_output: bool) -> None:
        super().__init__(telemetry, keeps_output=keeps_output)
        self._unit = unit

    def returned(self, result: object) -> None:
        """Tell the batch how many there are."""
        self._unit.sized(result)
        super().returned(result)


class Attempt(Phase):
    """One call of `exec`, watched for its node's retries."""

    def __init__(self, telemetry: Telemetry, attempts: Attempts, *, keeps_output: bool) -> None:
        super().__init__(telemetry, keeps_output=keeps_output)
        self._attempts = attempts

    def close(self, exc: BaseException | None = None, *, end: bool = True) -> None:
        """As `Scope.close`; a failure is noted for the event on the node."""
        if exc is not None:
            with guarded("pocketflow.attempt", "the event of a failed attempt"):
                self._attempts.failed(exc)
        super().close(exc, end=end)


class Fallback(Phase):
    """One call of a user's `exec_fallback`; where it returns, it has answered."""

    def __init__(self, telemetry: Telemetry, unit: Unit | None, *, keeps_output: bool) -> None:
        super().__init__(telemetry, keeps_output=keeps_output)
        self._unit = unit

    def returned(self, result: object) -> None:
        """The failed attempts are forgiven."""
        if self._unit is not None:
            self._unit.fell_back()
        super().returned(result)


class Place:
    """Where a unit stands in its flow's run."""

    __slots__ = ("index", "links", "next_name", "orchestra", "step")

    def __init__(self, orchestra: Orchestra, step: int, index: int, links: tuple[Link, ...]) -> None:
        self.orchestra = orchestra
        self.step = step
        self.index = index
        self.links = links
        self.next_name: str | None = None


class Orchestra:
    """One run of a flow's loop over its nodes: numbers them, links each to the one before, tells each its next.

    A context manager around PocketFlow's `_orch`, so that the last node's span ends whatever happens.
    """

    __slots__ = ("_indices", "_previous", "_step", "flow", "waiting")

    def __init__(self, flow: Unit | None) -> None:
        self.flow = flow
        self.waiting: Unit | None = None
        self._step = 0
        self._indices: dict[int, tuple[int, object]] = {}  # with the object, so that no other gets its id
        self._previous: SpanContext | None = None

    def place(self, template: object) -> Place:
        """The next place, for a node of the graph (before PocketFlow copies it)."""
        self._step += 1
        index, _ = self._indices.setdefault(id(template), (len(self._indices), template))
        previous = self._previous
        links = () if previous is None else (Link(previous),)
        return Place(self, self._step, index, links)

    def decided(self, node: Any, action: object, next_node: object | None) -> None:
        """The flow has asked for the node after `node`: the span that waited for it can end."""
        unit, self.waiting = self.waiting, None
        if unit is None:
            return
        self._previous = unit.span.get_span_context()
        if next_node is not None:
            if unit.place is not None:
                unit.place.next_name = type(next_node).__name__
        elif self.flow is not None and self.flow.recording and (successors := _successors(node)):
            self.flow.span.add_event(
                names.POCKETFLOW_NO_SUCCESSOR_EVENT,
                {
                    names.NODE_NAME: unit.facts.name,
                    names.POCKETFLOW_ACTION: action_text(action, in_flow=True) or "",
                    names.POCKETFLOW_SUCCESSORS: successors,
                },
            )
        unit.finish()

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: object, exc: object, tb: object) -> None:
        unit, self.waiting = self.waiting, None
        if unit is not None:
            unit.finish()


class Attempts:
    """The attempts of one `_exec` call: which one runs, what failed, how long PocketFlow waited."""

    __slots__ = ("_delay", "_failed", "index", "maximum", "number", "unit")

    def __init__(self, unit: Unit | None, index: int | None) -> None:
        self.unit = unit
        self.index = index
        self.number = 0
        self.maximum: object = None
        self._failed: tuple[dict[str, AttributeValue], int] | None = None
        self._delay: float | None = None

    def next(self) -> None:
        """A further attempt begins."""
        self.number += 1
        if self.number > 1:
            self.report()
            if self.unit is not None:
                self.unit.retried()

    def waits(self, seconds: object) -> None:
        """PocketFlow has read the delay."""
        if isinstance(seconds, (int, float)) and seconds > 0:
            self._delay = float(seconds)

    def failed(self, exc: BaseException) -> None:
        """The running attempt ended with `exc`; written once the delay is known."""
        unit = self.unit
        if isinstance(exc, Exception) and unit is not None and unit.recording:
            message = unit.telemetry.capture.message(exc)
            self._failed = retry_event(self.number, error_type(exc), message, self.index), time.time_ns()

    def report(self) -> None:
        """Write the event of the last failed attempt, if there is one that has not been written."""
        failed, self._failed = self._failed, None
        delay, self._delay = self._delay, None
        if failed is not None and self.unit is not None:
            event, at = failed
            if delay is not None:
                event[names.RETRY_DELAY] = delay
            self.unit.attempt_failed(event, at)


def _successors(node: Any) -> list[str]:
    """The actions a node has successors for. A property of the user's is not read: PocketFlow would not have."""
    successors: Any = object.__getattribute__(node, "__dict__").get("successors")
    return [key_text(action) for action in successors] if isinstance(successors, dict) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  any keys


def unit_of(subject: object) -> Unit | None:
    """The running unit of a node object, from the scopes that are current here."""
    scope = current_scope()
    while scope is not None:
        if isinstance(scope, Unit) and scope.subject is subject:
            return scope
        scope = scope.parent
    return None
