"""The spans below a unit: calls of the user's `prep`, `exec`, `exec_fallback` and `post`, and what retries tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from spanloom.instrument import Scope, Telemetry, error_type, guarded, names
from spanloom_pocketflow._describe import retry_event

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from spanloom_pocketflow._unit import Unit


class Phase(Scope):
    """One call of a method of the user's: `prep`, `exec`, `exec_fallback` or `post`."""

    def __init__(self, telemetry: Telemetry, *, keeps_output: bool) -> None:
        self._telemetry = telemetry
        self._keeps_output = keeps_output

    def describe(self) -> dict[str, AttributeValue]:
        """The result, where content is captured."""
        if not self._keeps_output or self.unsampled or self.result is None:
            return {}
        text = self.capture.json(self.result)
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
