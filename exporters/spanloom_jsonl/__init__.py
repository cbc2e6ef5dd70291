"""OpenTelemetry spans to files of OTLP/JSON lines: `OTEL_TRACES_EXPORTER=jsonl`, no server needed.

This package stands alone: it imports OpenTelemetry's API and SDK and nothing else of spanloom, so it works in
anybody's TracerProvider. It reads two environment variables, `SPANLOOM_JSONL_DIR` and
`SPANLOOM_JSONL_MAX_LINE_BYTES`.
"""

from spanloom_jsonl._exporter import JsonlSpanExporter
from spanloom_jsonl._lines import encode_spans

__all__ = ["JsonlSpanExporter", "encode_spans"]
