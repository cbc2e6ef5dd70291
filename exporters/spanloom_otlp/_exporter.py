"""A span exporter that makes one attempt at a time: what OTLP over HTTP and over gRPC, and others on them, share."""

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanloom_otlp._backoff import Backoff
from spanloom_otlp._outcome import Outcome, Verdict
from spanloom_otlp._parts import send
from spanloom_otlp._settings import LOG, SPOOL_DIR
from spanloom_otlp._told import Told

# How often a wait looks up: the program may end meanwhile.
_LOOK_UP: Final = 0.25


class DeliveringSpanExporter(SpanExporter):
    """What `deliver` of a subclass cannot bring there at once is tried again inside `export`, which takes its time.

    So it belongs behind a queue: a `BatchSpanProcessor`, or a spool. Nothing raises. What is not delivered in the end
    is FAILURE, counted in `lost_spans`, and logged once for each kind of trouble.

    Args:
        name: what log lines call it.
        patience: for how many seconds `export` waits for better times, in all. None of them once the program ends.
        log: where its lines go.
    """

    def __init__(self, name: str, *, patience: float = 64.0, log: logging.Logger = LOG) -> None:
        self.name: Final = name
        self.lost_spans = 0
        self._patience = patience
        self._stopping = self._given_up = self._closed = False
        self._told = Told(name, log)

    @abstractmethod
    def deliver(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Send `spans` once, without waiting for better times. Never raises."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver `spans`, again and again if need be; SUCCESS means that the backend took every one of them."""
        backoff = Backoff()
        remaining: Sequence[ReadableSpan] = spans
        end = time.monotonic() + self._patience
        lost = 0
        while remaining:
            if self._given_up:  # the program ends, and does not wait for another failure
                lost += len(remaining)
                break
            sent = send(self.deliver, remaining)
            remaining = sent.remaining
            lost += len(sent.refused) + sent.rejected
            self._told.remark(sent.rejection)
            if sent.refused:
                self._told.refused(sent.refusal, f"{len(sent.refused)} spans are lost")
            if not remaining:
                if not sent.refused:
                    self._told.well(self.lost_spans)
                break
            delay = backoff.after(sent.outcome)
            hopeless = sent.outcome.verdict is Verdict.MISCONFIGURED
            if hopeless or time.monotonic() + delay > end or not self._wait(delay):
                lost += len(remaining)
                self._given_up = self._is_ending()
                self._told.trouble(
                    sent.outcome, f"Spans are lost meanwhile; set {SPOOL_DIR} to a folder to keep them for later"
                )
                break
        self.lost_spans += lost
        return SpanExportResult.FAILURE if lost else SpanExportResult.SUCCESS

    def stop_waiting(self) -> None:
        """Give up what cannot be delivered at once: the program ends."""
        self._stopping = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Return True: `export` leaves nothing unsent."""
        return True

    def shutdown(self) -> None:
        """Let go of the connection. What is exported later is FAILURE."""
        self.stop_waiting()
        self._closed = True

    def _wait(self, seconds: float) -> bool:
        """Wait; return False if the program ends meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._is_ending():
            time.sleep(min(left, _LOOK_UP))
        return not self._is_ending()

    def _is_ending(self) -> bool:
        # At exit the SDK waits for its thread first and shuts the exporter down after that; by then the main
        # thread counts as finished.
        return self._stopping or not threading.main_thread().is_alive()
