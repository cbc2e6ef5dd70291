"""Log records of other instrumentations, without secrets: the GenAI events, in which what was said may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk._logs import LogRecordProcessor

from spanloom.guard import swallow
from spanloom.processor import CONTENT, InForce, is_ours, scrubbed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk._logs import LoggerProvider

    from spanloom.config import Config

_GENAI: Final = "gen_ai."
_OLD_NAME: Final = "event.name"  # the attribute that named an event before log records had a field for it


class SpanloomLogProcessor(LogRecordProcessor):
    """Redacts what other instrumentations log, as `SpanloomProcessor` redacts what they write on spans.

    `spanloom.init`, `spanloom run` and `opentelemetry-instrument` put it first into the logger provider that they
    make. A program that makes its own adds it itself, before its exporters, as these get a record in their order:

        provider = LoggerProvider()
        provider.add_log_record_processor(spanloom.SpanloomLogProcessor())
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))

    Redacted are the GenAI conventions' content attributes and the texts of exceptions, and of GenAI events
    (`gen_ai.*`) the body, as the process's settings say. Other attributes and bodies stay as they are: they are the
    program's own. If a redactor fails, `[REDACTED]` stands in the place of the value.

    Args:
        settings: what to redact. Default: the process's, followed where `spanloom.init` changes them.
    """

    def __init__(self, settings: Config | None = None) -> None:
        self._in_force = InForce(settings)

    def on_emit(self, log_record: Any) -> None:
        """Redact.

        Args:
            log_record: the SDK's record, whose class has had several names.
        """
        try:
            record = log_record.log_record
            if is_ours(log_record.instrumentation_scope):
                return
            attributes: Mapping[str, Any] = record.attributes or {}
            name: object = record.event_name or attributes.get(_OLD_NAME)
            body = isinstance(name, str) and name.startswith(_GENAI) and record.body is not None
            if not body and CONTENT.isdisjoint(attributes):
                return
            scrubber = self._in_force.scrubber
            if scrubber.needed:
                record.attributes = scrubbed(scrubber, record.attributes)
                if body:
                    record.body = scrubber.value(record.body)
        except Exception as exc:
            swallow("logs.redact", "the redaction of a log record of another instrumentation", exc)

    def enabled(self, **_about: Any) -> bool:
        """It alone is no reason to make a record."""
        return False

    def shutdown(self) -> None:
        """Nothing is kept here."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Nothing is kept here."""
        return True


def put_first(provider: LoggerProvider, processor: SpanloomLogProcessor) -> None:
    """Add a processor to `provider` before those that it has."""
    every: Any = provider._multi_log_record_processor  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    with every._lock:  # noqa: SLF001
        every._log_record_processors = (processor, *every._log_record_processors)  # noqa: SLF001
