"""From an exporter to the processor that feeds it: files as spans end, the network never waited for.

`spanloom_otlp` is imported where it is needed only: a program that writes files does without it, and without the
libraries that it brings.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from spanloom import config, environment
from spanloom.guard import LOG
from spanloom.installed import make_exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

# The official exporters, by the names of their entry points and by their modules; ours obey the same variables.
_OTLP: Final = {"otlp_proto_grpc": "grpc", "otlp_proto_http": "http/protobuf"}
_OFFICIAL: Final = {
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter": "grpc",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": "http/protobuf",
}


def processor(exporter: str | SpanExporter, directory: str | None = None) -> SpanProcessor:
    """Return a processor that feeds `exporter` without holding the program up.

    Files get each span as it ends, so that a killed program leaves them. What goes over the network is queued in
    memory, or, with `SPANLOOM_SPOOL_DIR`, written there first.

    Args:
        exporter: the name of an entry point, or an exporter.
        directory: where `jsonl` writes. Default: `SPANLOOM_JSONL_DIR`, else `.spanloom`.

    Raises:
        ValueError: there is no exporter of that name, or it cannot be made.
    """
    if exporter == "jsonl":
        made: Any = make_exporter("jsonl", directory=directory or config.trace_directory())
        return made.span_processor()
    if isinstance(exporter, str):
        protocol = environment.otlp_protocol() if exporter == "otlp" else _OTLP.get(exporter)
        ours = _otlp(protocol)
        return _feeding(ours or make_exporter(exporter), otlp=ours is not None)
    return _feeding(exporter, otlp=type(exporter).__module__ in _OFFICIAL)


def configured(exporter: SpanExporter) -> SpanProcessor:
    """As `processor`, for an exporter that the SDK has made as the environment says: an official one is replaced."""
    ours = _otlp(_OFFICIAL.get(type(exporter).__module__))
    if ours is not None:
        exporter.shutdown()
        return _feeding(ours, otlp=True)
    if hasattr(exporter, "running_spans"):  # writes files
        return SimpleSpanProcessor(exporter)
    return _feeding(exporter)


def _otlp(protocol: str | None) -> SpanExporter | None:
    """Our exporter for an OTLP protocol; None where there is none, for whoever knows it better or says so."""
    if protocol not in _OFFICIAL.values():
        return None
    import spanloom_otlp

    return spanloom_otlp.GrpcSpanExporter() if protocol == "grpc" else spanloom_otlp.HttpSpanExporter()


def _feeding(exporter: Any, *, otlp: bool = False) -> SpanProcessor:
    import spanloom_otlp

    name, stop_waiting = getattr(exporter, "name", "otlp"), getattr(exporter, "stop_waiting", None)
    if otlp and spanloom_otlp.compat_asked():
        exporter = spanloom_otlp.CompatSpanExporter(exporter)
    spool = spanloom_otlp.spool_directory()
    if spool is not None and hasattr(exporter, "deliver"):
        return _Spooling(spanloom_otlp.SpooledSpanExporter(exporter, spool, name))
    return QueueingProcessor(exporter, stop_waiting)


class _Spooling(SimpleSpanProcessor):
    """Hands each span to a spool as it ends; a flush waits for the spool, as the SDK's own class does not."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what has ended is delivered."""
        return self.span_exporter.force_flush(timeout_millis)


class QueueingProcessor(BatchSpanProcessor):
    """The SDK's queue, which says and counts what it has no room for, and never holds the program up.

    Args:
        exporter: gets batches.
        stop_waiting: called when the program ends: an exporter that waits for better times should not any more.

    Attributes:
        dropped_spans: how many spans it had no room for.
    """

    def __init__(self, exporter: SpanExporter, stop_waiting: Callable[[], None] | None = None) -> None:
        super().__init__(exporter)
        self._stop_waiting = stop_waiting
        self.dropped_spans = 0
        self._full = False
        self._flushing: threading.Thread | None = None
        # The SDK's own; where it has others, nothing is counted, and its queue works all the same.
        batches: Any = getattr(self, "_batch_processor", None)
        self._queue: Sized = getattr(batches, "_queue", ())
        self._room: int = getattr(batches, "_max_queue_size", 1)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue `span`."""
        if span.context and span.context.trace_flags.sampled:
            full = len(self._queue) >= self._room  # it drops the oldest
            self.dropped_spans += full
            if full and not self._full:
                LOG.warning(
                    "More spans end than can be exported: the queue of %d is full, and spans are lost. Set "
                    "SPANLOOM_SPOOL_DIR to a folder to keep them, or raise OTEL_BSP_MAX_QUEUE_SIZE.",
                    self._room,
                )
                self._full = True
        super().on_end(span)

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Export what is queued, and wait for it no longer than that; the SDK's own waits as long as it takes."""
        end = time.monotonic() + (30.0 if timeout_millis is None else timeout_millis / 1000)
        before = self._flushing
        if before is not None:
            before.join(max(end - time.monotonic(), 0.0))
            if before.is_alive():
                return False
        thread = self._flushing = threading.Thread(target=super().force_flush, name="spanloom-flush", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending
            self._flushing = None
            return super().force_flush(timeout_millis)
        thread.join(max(end - time.monotonic(), 0.0))
        return not thread.is_alive()

    def shutdown(self) -> None:
        """Export what is queued, without waiting for better times."""
        if self._stop_waiting is not None:
            self._stop_waiting()
        super().shutdown()
        if self.dropped_spans:
            LOG.warning("%d spans were lost in all, because the queue was full.", self.dropped_spans)
