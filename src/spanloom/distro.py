"""What `opentelemetry-instrument` finds: a distro and a configurator, both thin layers over OpenTelemetry's own.

Telemetry that cannot be set up must not cost the program anything, nor fill its stderr with tracebacks: each
failure is one line that names the setting.
"""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, trace
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import (
    _initialize_components,  # pyright: ignore[reportPrivateUsage]  asked what it takes
    _OTelSDKConfigurator,  # pyright: ignore[reportPrivateUsage]  the documented base of distros
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from spanloom import config, environment, logprocessor
from spanloom.guard import LOG, guarded
from spanloom.processor import SpanloomProcessor, companions, put_first

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class SpanloomDistro(BaseDistro):
    """Defaults of the environment, and instrumentors that cannot take each other down."""

    def _configure(self, **kwargs: Any) -> None:  # noqa: ARG002  OpenTelemetry's signature
        environment.prepare_environment()

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Switch one instrumentor on.

        Raises:
            DependencyConflictError: its framework is missing or too old; the loader logs it and goes on.
            ModuleNotFoundError: likewise.
        """
        try:
            super().load_instrumentor(entry_point, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        except (DependencyConflictError, ModuleNotFoundError):
            raise
        except Exception as exc:
            LOG.warning(
                "The instrumentor %r (%s) cannot be switched on: %s: %s. Its spans are missing; "
                "leave it out with OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=%s.",
                entry_point.name,
                entry_point.value,
                type(exc).__name__,
                exc,
                entry_point.name,
            )


def _feeding() -> dict[str, Any]:
    """Have the SDK's configurator ask us how to feed its exporters, where it can (since 1.40)."""
    if "export_span_processor" in inspect.signature(_initialize_components).parameters:
        from spanloom import pipeline

        return {"export_span_processor": pipeline.configured}
    from spanloom_otlp import spool_directory

    if spool_directory() is not None:
        LOG.warning(
            "SPANLOOM_SPOOL_DIR has no effect here with this OpenTelemetry SDK: upgrade opentelemetry-sdk to 1.40 or "
            "later, or use spanloom.init()."
        )
    return {}


class SpanloomConfigurator(_OTelSDKConfigurator):
    """The SDK as the `OTEL_*` variables want it, with a `SpanloomProcessor` before its exporters."""

    def _configure(self, **kwargs: Any) -> None:
        before = trace._TRACER_PROVIDER  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  asking would set one
        log_before: object = getattr(getattr(_logs, "_internal", None), "_LOGGER_PROVIDER", None)
        attributes: dict[str, Any] = dict(kwargs.pop("resource_attributes", None) or {})
        attributes.update(environment.distro_attributes())
        try:
            super()._configure(resource_attributes=attributes, **{**_feeding(), **kwargs})  # pyright: ignore[reportUnknownMemberType]
        except Exception as exc:
            known = sorted({point.name for point in entry_points(group="opentelemetry_traces_exporter")})
            LOG.error(
                "OpenTelemetry is not set up and nothing will be exported: %s. Check OTEL_TRACES_EXPORTER "
                "(installed: %s), OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER and the OTEL_EXPORTER_* variables. "
                "The program is not affected.",
                exc,
                ", ".join(known),
            )
            return
        with guarded("distro.running", "the record of spans that run"):
            provider: Any = trace.get_tracer_provider()
            for companion in companions(provider) if before is None else ():
                provider.add_span_processor(companion)
        with guarded("distro.configure", "the redaction of spans of other instrumentations"):
            provider = trace.get_tracer_provider()
            if before is None and isinstance(provider, TracerProvider):
                put_first(provider, SpanloomProcessor())
            log_provider = _logs.get_logger_provider()
            if log_before is None and isinstance(log_provider, LoggerProvider):
                logprocessor.put_first(log_provider, logprocessor.SpanloomLogProcessor())
            settings = config.active()
            environment.announce_content(settings.content, settings.events, decided=False)  # off if redaction is broken
