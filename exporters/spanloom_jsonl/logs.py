"""OpenTelemetry log records to files of OTLP/JSON lines: `OTEL_LOGS_EXPORTER=jsonl`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import export as _sdk

from spanloom_jsonl._output import FileExporter, Output
from spanloom_jsonl._records import record_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
    from typing_extensions import Unpack

    from spanloom_jsonl._settings import FileOptions
else:  # their names before SDK 1.39
    LogRecordExporter = getattr(_sdk, "LogRecordExporter", None) or _sdk.LogExporter
    LogRecordExportResult = getattr(_sdk, "LogRecordExportResult", None) or _sdk.LogExportResult


class JsonlLogExporter(FileExporter, LogRecordExporter):
    """Writes log records as OTLP/JSON, one `ExportLogsServiceRequest` a line, to `*.logs.jsonl`.

    As `JsonlSpanExporter` in all else.

    Args:
        directory: where the files go. Default: `SPANLOOM_JSONL_DIR`, else `.spanloom` in the current directory.
        options: see `FileOptions`.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, **options: Unpack[FileOptions]) -> None:
        self._output = Output("logs", "log record", directory, **options)

    @property
    def written_records(self) -> int:
        """How many log records this process has written."""
        return self._output.sink.written

    @property
    def lost_records(self) -> int:
        """How many log records of this process could not be written."""
        return self._output.sink.lost

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        """Write `batch`; SUCCESS means that every record of it is in the file."""
        records = [item if hasattr(item, "resource") else _Older(item) for item in batch]
        whole = self._output.export(len(records), records, record_lines)
        return LogRecordExportResult.SUCCESS if whole else LogRecordExportResult.FAILURE


class _Older:
    """A record of an SDK before 1.39, where the resource is one level deeper."""

    def __init__(self, item: Any) -> None:
        self.log_record = getattr(item, "log_record", None)
        self.instrumentation_scope = getattr(item, "instrumentation_scope", None)
        self.resource = getattr(self.log_record, "resource", None)
