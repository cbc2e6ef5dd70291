"""Using OpenTelemetry's own OTLP exporters for one attempt: without their retries, and knowing what came of it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from spanloom_otlp._outcome import Outcome, Verdict


class Answer(BaseException):
    """Carries what came of an attempt out of an official exporter, past its retries and its log lines.

    Not an `Exception`, because those are what it retries and logs. It never leaves this package.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


class DeliveryError(Exception):
    """What the official exporters' own metrics call a failed attempt (`error.type`)."""


class _HonestMetrics:
    """An official exporter's own metrics, told about failures that it does not see."""

    def __init__(self, metrics: Any) -> None:
        self._metrics = metrics

    @contextmanager
    def export_operation(self, num_items: int) -> Generator[Any]:
        with self._metrics.export_operation(num_items) as result:
            try:
                yield result
            except Answer as answer:
                if answer.outcome.verdict is not Verdict.DELIVERED:
                    result.error = DeliveryError(answer.outcome.detail)
                raise


def make_honest(exporter: Any) -> None:
    """Let `exporter`, an official one, count attempts that end in an `Answer` for what they are."""
    metrics = getattr(exporter, "_metrics", None)  # since 1.43
    if metrics is not None:
        exporter._metrics = _HonestMetrics(metrics)  # noqa: SLF001
