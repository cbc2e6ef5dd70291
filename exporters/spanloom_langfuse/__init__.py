"""OpenTelemetry spans to Langfuse, so that it looks right there: `OTEL_TRACES_EXPORTER=langfuse`.

This package stands alone: it imports OpenTelemetry's API and SDK, and the delivery over OTLP of `spanloom_otlp`, so it
works in anybody's TracerProvider. It reads `LANGFUSE_PUBLIC_KEY`, `LANGFUSE_SECRET_KEY`, `LANGFUSE_BASE_URL` (or
`LANGFUSE_HOST`), `LANGFUSE_TRACING_ENVIRONMENT` and `LANGFUSE_RELEASE`.
"""

from spanloom_langfuse._exporter import LangfuseSpanExporter

__all__ = ["LangfuseSpanExporter"]
