"""The span exporter: encode a batch, cut it into lines, write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanloom_jsonl import _settings
from spanloom_jsonl._lines import to_lines
from spanloom_jsonl._output import FileExporter, Output

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from typing_extensions import Unpack

    from spanloom_jsonl._settings import FileOptions


class JsonlSpanExporter(FileExporter, SpanExporter):
    """Writes spans as OTLP/JSON, one `ExportTraceServiceRequest` a line, to files of this process's own.

    The format is that of the specification's OTLP file exporter, which the collector's `otlp_json_file`
    receiver reads. Files are made with mode 0600 and the directory with 0700, since spans may carry prompts.

    Nothing raises. What cannot be written is FAILURE, counted in `lost_spans`, and logged when writing begins
    to fail and when it works again; every export tries anew. FAILURE is also the answer when only the first
    lines of a batch could be written; `written_spans` tells exactly.

    Args:
        directory: where the files go; made when the first span is written. Default: `SPANLOOM_JSONL_DIR`,
            else `.spanloom` in the current directory.
        running: keep a record of each span that runs, see `JsonlSpanProcessor`. Default:
            `SPANLOOM_JSONL_RUNNING`, else no.
        options: see `FileOptions`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        running: bool | None = None,
        **options: Unpack[FileOptions],
    ) -> None:
        self._output = Output("traces", "span", directory, **options)
        self._running = _settings.running(running)

    @property
    def written_spans(self) -> int:
        """How many spans this process has written."""
        return self._output.sink.written

    @property
    def lost_spans(self) -> int:
        """How many spans of this process could not be written."""
        return self._output.sink.lost

    @property
    def shortened_spans(self) -> int:
        """How many spans were too long for a line and were cut (a forked child counts on)."""
        return self._output.shortened

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write `spans`; SUCCESS means that every one of them is in the file."""
        whole = self._output.export(len(spans), spans, to_lines)
        return SpanExportResult.SUCCESS if whole else SpanExportResult.FAILURE

    def running_spans(self) -> SpanProcessor | None:
        """Return what keeps the record of running spans, to be added to a provider; None where that is off."""
        if not self._running:
            return None
        from spanloom_jsonl._running import RunningSpans

        return RunningSpans(self._output.settings.directory)

    def span_processor(self) -> SpanProcessor:
        """Return a processor that writes each span as it ends, and keeps the record of running ones."""
        from spanloom_jsonl._processor import JsonlSpanProcessor

        return JsonlSpanProcessor(self)
