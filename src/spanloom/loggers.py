"""The logger provider of a process that has none, where the environment asks for log records (`OTEL_LOGS_EXPORTER`).

GenAI events are log records. Nothing of the program's own logging becomes one by this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import _logs

from spanloom import environment
from spanloom.installed import make_log_processor

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.resources import Resource


class _Made:
    """What `set_up` has made; OpenTelemetry keeps it as the process's for good, and shuts it down at exit."""

    provider: LoggerProvider | None = None


def set_up(resource: Callable[[], Resource]) -> None:
    """Make and set the process's logger provider, unless it has one or nothing asks for log records.

    Args:
        resource: makes the one that the log records belong to.

    Raises:
        ValueError: an exporter that the environment names is not there, or cannot be made.
    """
    chosen = environment.log_exporter_names()
    if not chosen or _Made.provider is not None:
        return
    from opentelemetry.sdk._logs import LoggerProvider

    from spanloom.logprocessor import SpanloomLogProcessor

    if isinstance(_logs.get_logger_provider(), LoggerProvider):
        return
    processors = [SpanloomLogProcessor(), *[make_log_processor(name) for name in chosen]]
    provider = _Made.provider = LoggerProvider(resource())
    for processor in processors:
        provider.add_log_record_processor(processor)
    _logs.set_logger_provider(provider)


def flush(timeout_millis: int) -> bool:
    """Hand over now what was logged; whether that was done in time."""
    return _Made.provider is None or bool(_Made.provider.force_flush(timeout_millis))
