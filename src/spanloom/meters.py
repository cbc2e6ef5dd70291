"""The meter provider of a process that has none, where the environment asks for metrics (`OTEL_METRICS_EXPORTER`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics

from spanloom import environment
from spanloom.installed import make_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource


class _Made:
    """What `set_up` has made; OpenTelemetry keeps it as the process's for good, and shuts it down at exit."""

    provider: MeterProvider | None = None


def set_up(resource: Callable[[], Resource]) -> None:
    """Make and set the process's meter provider, unless it has one or nothing asks for metrics.

    Args:
        resource: makes the one that the metrics belong to.

    Raises:
        ValueError: an exporter that the environment names is not there, or cannot be made.
    """
    chosen = environment.metric_exporter_names()
    if not chosen or _Made.provider is not None:
        return
    from opentelemetry.sdk.metrics import MeterProvider

    if isinstance(metrics.get_meter_provider(), MeterProvider):
        return
    _Made.provider = MeterProvider([make_reader(name) for name in chosen], resource())
    metrics.set_meter_provider(_Made.provider)


def flush(timeout_millis: float) -> bool:
    """Hand over now what was measured; whether that was done in time."""
    return _Made.provider is None or _Made.provider.force_flush(timeout_millis)
