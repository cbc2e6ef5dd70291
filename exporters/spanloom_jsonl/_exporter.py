"""The span exporter: encode a batch, cut it into lines, write them."""

import os
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanloom_jsonl import _settings
from spanloom_jsonl._lines import to_lines
from spanloom_jsonl._shrink import TRUNCATED_BYTES
from spanloom_jsonl._sink import LineSink


class JsonlSpanExporter(SpanExporter):
    """Writes spans as OTLP/JSON, one `ExportTraceServiceRequest` a line, to one file for each process.

    The format is that of the specification's OTLP file exporter, which the collector's `otlp_json_file`
    receiver reads. Files are made with mode 0600 and the directory with 0700, since spans may carry prompts.

    Nothing raises. What cannot be written is FAILURE, counted in `lost_spans`, and logged when writing begins
    to fail and when it works again; every export tries anew. FAILURE is also the answer when only the first
    lines of a batch could be written; `written_spans` tells exactly.

    Args:
        directory: where the files go; made when the first span is written. Default: `SPANLOOM_JSONL_DIR`,
            else `.spanloom` in the current directory.
        max_line_bytes: the longest line, at least 4096. A bigger batch becomes several lines; a single bigger
            span is shortened and marked with `spanloom.truncated_bytes`. Default:
            `SPANLOOM_JSONL_MAX_LINE_BYTES`, else 512 KiB.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, *, max_line_bytes: int | None = None) -> None:
        self._max_line_bytes = _settings.max_line_bytes(max_line_bytes)
        self._sink = LineSink(_settings.directory(directory), "traces")
        self._shortened_spans = 0
        self._refused_span = False

    @property
    def path(self) -> str | None:
        """The file this process writes; None before its first span."""
        return self._sink.path

    @property
    def written_spans(self) -> int:
        """How many spans this process has written."""
        return self._sink.written

    @property
    def lost_spans(self) -> int:
        """How many spans of this process could not be written."""
        return self._sink.lost

    @property
    def shortened_spans(self) -> int:
        """How many spans were too long for a line and were cut (a forked child counts on)."""
        return self._shortened_spans

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write `spans`; SUCCESS means that every one of them is in the file."""
        missing = len(spans)
        for line in to_lines(spans, self._max_line_bytes, self._tell_refused):
            if not self._sink.write(line):
                break
            missing -= line.items
            if line.shortened:
                self._tell_shortened()
                self._shortened_spans += line.items
        if not missing:
            return SpanExportResult.SUCCESS
        self._sink.lose(missing)
        return SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Return True: `export` leaves nothing unwritten."""
        return True

    def shutdown(self) -> None:
        """Close the file. Later exports are FAILURE."""
        self._sink.close()

    def _tell_refused(self, error: Exception) -> None:
        if not self._refused_span:
            self._refused_span = True
            _settings.LOG.warning(
                "A span is lost because it is no complete OpenTelemetry span: %r. This is logged once.", error
            )

    def _tell_shortened(self) -> None:
        if not self._shortened_spans:
            _settings.LOG.warning(
                "A span was longer than %d bytes; its longest values were cut, see its attribute %s. Raise "
                "%s to keep more, if what reads the files takes longer lines. This is logged once.",
                self._max_line_bytes,
                TRUNCATED_BYTES,
                _settings.MAX_LINE_BYTES,
            )
