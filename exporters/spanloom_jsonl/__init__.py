"""OpenTelemetry data to files of OTLP/JSON lines: `OTEL_TRACES_EXPORTER=jsonl`, no server needed.

This package stands alone: it imports OpenTelemetry's API and SDK and nothing else of spanloom, so it works in
anybody's TracerProvider. It reads a few environment variables (see `FileOptions`). The exporters of
the other signals are `spanloom_jsonl.logs.JsonlLogExporter` and `spanloom_jsonl.metrics.JsonlMetricExporter`.
"""

from spanloom_jsonl._exporter import JsonlSpanExporter
from spanloom_jsonl._lines import encode_spans
from spanloom_jsonl._processor import JsonlSpanProcessor
from spanloom_jsonl._settings import FileOptions

__all__ = ["FileOptions", "JsonlSpanExporter", "JsonlSpanProcessor", "encode_spans"]
