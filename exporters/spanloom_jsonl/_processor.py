"""One line for programs that set OpenTelemetry up themselves: spans to the files as they end, and while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from spanloom_jsonl._exporter import JsonlSpanExporter

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span


class JsonlSpanProcessor(SimpleSpanProcessor):
    """Writes each span when it ends, so that a program that is killed leaves what had ended.

        provider.add_span_processor(JsonlSpanProcessor())

    With `SPANLOOM_JSONL_RUNNING=true`, or an exporter made with `running=True`, spans that have begun and not ended
    stand in a file beside (`*.traces.running`): `spanloom view` shows them in their place, of a program that runs
    and of one that was killed.

    Args:
        exporter: what writes the files. Default: one made from the environment.
    """

    def __init__(self, exporter: JsonlSpanExporter | None = None) -> None:
        exporter = exporter or JsonlSpanExporter()
        super().__init__(exporter)
        self._running = exporter.running_spans()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Record that `span` runs, where that is on."""
        if self._running is not None:
            self._running.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Write `span`, then take its record back."""
        super().on_end(span)
        if self._running is not None:
            self._running.on_end(span)

    def shutdown(self) -> None:
        """Close the files."""
        super().shutdown()
        if self._running is not None:
            self._running.shutdown()
