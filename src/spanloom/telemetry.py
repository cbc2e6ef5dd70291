"""What everything that makes spans holds: a tracer, the settings, and what turns values into attributes."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry._logs import get_logger

from spanloom.capture import Capture
from spanloom.config import Config, active
from spanloom.guard import guarded
from spanloom.lean import lean

if TYPE_CHECKING:
    from opentelemetry._logs import Logger, LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

    from spanloom.details import Details
    from spanloom.metrics import Metrics


@dataclass(frozen=True)
class Telemetry:
    """Everything decided once, at `instrument()` time.

    Attributes:
        tracer: makes the spans.
        config: the settings.
        capture: turns values into attribute texts as the settings allow.
        metrics: what measures spans while somebody reads metrics; None where nobody ever can.
        details: where the messages of model calls go besides the span; None where they go nowhere else.
    """

    tracer: Tracer
    config: Config
    capture: Capture
    metrics: Metrics | None = None
    details: Details | None = None

    @classmethod
    def create(
        cls,
        name: str,
        tracer_provider: TracerProvider | None = None,
        config: Config | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
    ) -> Telemetry:
        """For the instrumentation scope `name` (the instrumentor's package); defaults are the process's own."""
        from spanloom.metrics import Metrics
        from spanloom.version import VERSION

        settings = config or active()
        if settings.cost:
            from spanloom.cost import prices_of

            with guarded("cost.prices", "what model calls have cost"):
                prices_of(settings)
        tracer = lean(trace.get_tracer(name, VERSION, tracer_provider))
        metrics = None
        with guarded("metrics.create", "the metrics"):
            metrics = Metrics.create(name, VERSION, meter_provider, settings.metric_names)
        details = None
        if (settings.events or settings.completion_hook) and "messages" in settings.capture:
            from spanloom.details import Details

            with guarded("details.create", "the events of model calls"):
                details = Details.create(get_logger(name, VERSION, logger_provider), settings)
        return cls(tracer, settings, Capture(settings), metrics, details)

    @property
    def metrics_on(self) -> Metrics | None:
        """What measures, while somebody reads it."""
        metrics = self.metrics
        return metrics if metrics is not None and metrics.on else None

    @functools.cached_property
    def contentless(self) -> Telemetry:
        """The same for spans that are only measured: no content, no events, no messages of exceptions."""
        config = self.config.replace(content=False, exception_messages=False)
        return dataclasses.replace(self, config=config, capture=Capture(config), details=None)


class _Own:
    """Where the spans that a program opens itself go.

    Attributes:
        provider: given to `use`; None is the process's.
        config: given to `use`; None is the process's.
        meter_provider: given to `use`; None is the process's.
        logger_provider: given to `use`; None is the process's.
        made: what `own` has made last, and of which provider.
    """

    provider: TracerProvider | None = None
    config: Config | None = None
    meter_provider: MeterProvider | None = None
    logger_provider: LoggerProvider | None = None
    made: tuple[TracerProvider, Telemetry] | None = None
    capture: tuple[Config, Capture] | None = None


def use(
    tracer_provider: TracerProvider | None = None,
    config: Config | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
) -> None:
    """Where the spans go that the program opens itself (`spanloom.chat(...)` and the like).

    Args:
        tracer_provider: for programs that have no global one, and for tests; None: the process's.
        config: None: the process's settings.
        meter_provider: where their metrics go; None: the process's.
        logger_provider: where their events go; None: the process's.
    """
    _Own.provider, _Own.config = tracer_provider, config
    _Own.meter_provider, _Own.logger_provider = meter_provider, logger_provider
    _Own.made = None


def own() -> Telemetry | None:
    """For spans that the program opens itself; None while the process has no provider of traces or of metrics."""
    provider = _Own.provider or trace.get_tracer_provider()
    settings = _Own.config or active()
    made = _Own.made
    if made is not None and made[0] is provider and made[1].config is settings:
        telemetry = made[1]
    else:
        telemetry = Telemetry.create(
            "spanloom",
            provider,
            settings,
            meter_provider=_Own.meter_provider,
            logger_provider=_Own.logger_provider,
        )
        _Own.made = provider, telemetry
    if isinstance(provider, trace.ProxyTracerProvider) and telemetry.metrics_on is None:
        return None
    return telemetry


def own_logger() -> Logger:
    """Where events go that the program tells itself (evaluations); nowhere while the process has no logger provider."""
    from spanloom.version import VERSION

    return get_logger("spanloom", VERSION, _Own.logger_provider)


def own_capture() -> Capture:
    """As the settings for such spans have it, with or without a provider."""
    settings = _Own.config or active()
    made = _Own.capture
    if made is None or made[0] is not settings:
        made = _Own.capture = settings, Capture(settings)
    return made[1]
