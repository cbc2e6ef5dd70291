"""The span of one execution of a node, a flow, or one parameter set of a batch flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spanloom.instrument import Scope, Snapshot, Telemetry, current_scope, names, path_below, path_of
from spanloom_pocketflow._describe import TYPE_NAMES, Facts, action_text, size_of

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from spanloom_pocketflow._loop import Place


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
        name = facts.name
        if place is None:
            attributes = {**facts.root, **extra} if extra else {**facts.root}
        else:
            attributes = {
                **facts.node,
                names.POCKETFLOW_STEP: place.step,
                names.POCKETFLOW_NODE_INDEX: place.index,
            }
            if name in TYPE_NAMES:  # all of them would have one path
                name = f"{name}#{place.index}"
        self.path = path_of(current_scope())
        if names.NODE_NAME in attributes:
            self.path = path_below(self.path, name)
            if self.path != facts.name:
                attributes[names.NODE_PATH] = self.path
        self.open(facts.span_name, attributes, links=() if place is None else place.links)
        if self.recording and not self.unsampled:
            capture = self._telemetry.capture
            # A run of its own shows the whole state it got and left; inside one, the changes say more.
            self._shows_state = capture.state and place is None and not extra and current_scope() is None
            if self._shows_state:
                self._show_state(names.INPUT)
            self._snapshot = Snapshot(self._shared, capture, values=capture.state and not self._shows_state)
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
            found[names.POCKETFLOW_ACTION] = self._telemetry.capture.name(action)  # may be a model's own words
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


def unit_of(subject: object) -> Unit | None:
    """The running unit of a node object, from the scopes that are current here."""
    scope = current_scope()
    while scope is not None:
        if isinstance(scope, Unit) and scope.subject is subject:
            return scope
        scope = scope.parent
    return None
