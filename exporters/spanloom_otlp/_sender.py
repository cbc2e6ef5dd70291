"""The thread that delivers what a spool holds: one for each process, which never ends a program's wait."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_otlp._backoff import Backoff
from spanloom_otlp._decode import decode_spans
from spanloom_otlp._outcome import Delivering, Outcome, Verdict
from spanloom_otlp._parts import send
from spanloom_otlp._segment import BATCH_SPANS, Segment, count_spans
from spanloom_otlp._settings import LOG
from spanloom_otlp._store import Store
from spanloom_otlp._tally import Tally
from spanloom_otlp._told import Told

# Spans that end within this many seconds travel together.
_LINGER: Final = 1.0
# How often to look for what dead processes have left.
_ADOPT_EVERY: Final = 15.0
# After so many failures of a backend over the same spans, a few minutes, it may be because of one of them.
_MOST_SUSPICIONS: Final = 10
_DELIVERED: Final = Outcome(Verdict.DELIVERED)


@dataclass
class _Batch:
    """Spans on their way, and the segment they are from: up to `end`; None for those that are kept in memory."""

    spans: Sequence[ReadableSpan]
    count: int
    segment: Segment | None = None
    end: int = 0


class Sender:
    """Delivers the spans of a store, and those in `memory`, in a thread of its own.

    Args:
        inner: makes the attempts.
        store: the segments.
        memory: spans that could not be written to disk.
        told: for log lines.
        tally: what became of the spans.
    """

    def __init__(self, inner: Delivering, store: Store, memory: deque[ReadableSpan], told: Told, tally: Tally) -> None:
        self._inner = inner
        self._store = store
        self._memory = memory
        self._told = told
        self._tally = tally
        self._backoff = Backoff()
        self._batch: _Batch | None = None
        self._adopted: float | None = None
        self._suspicions = 0  # attempts in a row over which the backend has failed itself
        # Its `put` may be interrupted by another one, as an event's `set` may not: spans end in signal handlers too.
        self._signals: SimpleQueue[None] = SimpleQueue()
        self._changed = threading.Condition()
        self._begun = self._failed = 0  # numbers of attempts
        self._hurrying = self._finishing = self._held_off = False
        self._thread = threading.Thread(target=self._run, name="spanloom-spool", daemon=True)

    def start(self) -> None:
        """Start the thread; where none can be started, what is on disk stays there for a later process."""
        try:
            self._thread.start()
        except RuntimeError as error:
            LOG.debug("No thread delivers the spool: %s", error)

    def wake(self) -> None:
        """Tell the thread that there is a batch."""
        self._signals.put(None)

    def flush(self, seconds: float) -> bool:
        """Wait until everything exported so far is settled; return whether it is.

        An attempt that begins meanwhile and fails ends the wait: what is on disk is safe.
        """
        target = self._tally.exported
        with self._changed:
            begun = self._begun
            self._hurrying = True
            self.wake()
            self._changed.wait_for(
                lambda: self._tally.settled >= target or self._failed > begun or self._held_off or not self._is_alive(),
                seconds,
            )
        return self._tally.settled >= target

    def finish(self, seconds: float) -> bool:
        """Deliver what is left, no longer than that and until an attempt fails; return whether the thread has ended."""
        self._finishing = True
        self.wake()
        if self._is_alive():
            self._thread.join(seconds)
        return not self._is_alive()

    def _is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                outcome = self._step()
            except Exception as error:  # ours; the thread must not die of it
                LOG.debug("The spool's sender failed", exc_info=True)
                outcome = Outcome(Verdict.LATER, f"The spool failed: {type(error).__name__}: {error}.")
            if outcome is _DELIVERED:
                self._backoff.reset()
                self._told.well(sum(self._tally.lost.values()))
                continue
            if outcome is not None:
                self._told.trouble(outcome, f"Spans wait in {self._store.folder} and are sent again by themselves")
                self._store.drop_old()
            if self._finishing or not self._pause(outcome):
                return

    def _pause(self, outcome: Outcome | None) -> bool:
        """Wait for spans, or for better times; return False if these are not there when the program ends."""
        seconds = _LINGER if outcome is None else self._backoff.after(outcome)
        asked = outcome is not None and outcome.retry_after is not None
        self._tally.save()
        with self._changed:
            if outcome is not None:
                self._failed = self._begun
            self._held_off = asked
            self._changed.notify_all()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._finishing and not (self._hurrying and not asked):
            try:
                self._signals.get(timeout=left)
            except Empty:
                break
            if outcome is None:
                break
        self._hurrying = self._held_off = False
        return not (asked and self._finishing)

    def _step(self) -> Outcome | None:
        """Make one attempt; return what came of it, or None if there is nothing to send."""
        batch = self._batch
        if batch is None or (batch.segment is not None and batch.segment.gone):
            batch = self._batch = self._next()
        if batch is None:
            return None
        self._begun += 1
        sent = send(self._inner.deliver, batch.spans, sift=self._is_suspicious())
        done = len(batch.spans) - len(sent.remaining)
        self._tally.delivered += done - len(sent.refused) - sent.rejected
        self._told.remark(sent.rejection)
        if sent.rejected:
            self._tally.lose("rejected", sent.rejected)
        if sent.refused:
            self._refuse(sent.refused, sent.refusal)
        batch.spans = sent.remaining
        if sent.remaining:
            if batch.segment is not None:
                batch.segment.tried = True
            self._suspicions = self._suspicions + 1 if sent.outcome.suspect else 0
            if self._is_suspicious() and len(batch.spans) == batch.count == 1:
                self._batch = None  # read again, with what has come since: alone it shows nothing
            return sent.outcome
        self._suspicions = 0
        self._batch = None
        self._settle(batch)
        return _DELIVERED

    def _is_suspicious(self) -> bool:
        # Not each time: it takes many requests, and the backend may just be down.
        return self._suspicions > 0 and self._suspicions % _MOST_SUSPICIONS == 0

    def _settle(self, batch: _Batch) -> None:
        if batch.segment is not None:
            batch.segment.advance(batch.end)
        if batch.segment is None or (batch.segment.own and not batch.segment.gone):
            self._tally.settle(batch.count)
            with self._changed:
                self._changed.notify_all()

    def _refuse(self, spans: Sequence[ReadableSpan], detail: str) -> None:
        if self._store.refuse(spans):
            self._tally.refused += len(spans)
            where = f"{len(spans)} spans are put aside in {self._store.folder}; send them with spanloom forward"
            self._told.refused(detail, where)
        else:
            self._tally.lose("refused", len(spans))
            self._told.refused(detail, f"{len(spans)} spans are lost, because nothing can be written to the spool")

    def _next(self) -> _Batch | None:
        kept: list[ReadableSpan] = []
        while self._memory and len(kept) < BATCH_SPANS:
            kept.append(self._memory.popleft())
        if kept:
            return _Batch(kept, len(kept))
        while True:
            segment = self._store.next() or self._adopt()
            if segment is None:
                return None
            try:
                lines, end = segment.read()
            except FileNotFoundError:
                self._store.discard(segment)
                continue
            if not lines:
                if not segment.written:  # half a line, which is being written
                    return None
                self._store.discard(segment)
                self._tally.lose("broken", 1, "The last span of a process that was killed is incomplete and is lost.")
                continue
            spans: list[ReadableSpan] = []
            for line in lines:
                try:
                    spans += decode_spans(line) if line.strip() else []
                except ValueError:
                    self._tally.lose(
                        "broken", max(count_spans(line), 1), f"A line of {segment.path} is broken and is left out."
                    )
            batch = _Batch(spans, sum(map(count_spans, lines)), segment, end)
            if spans:
                return batch
            self._settle(batch)

    def _adopt(self) -> Segment | None:
        now = time.monotonic()
        if self._adopted is not None and now - self._adopted < _ADOPT_EVERY:
            return None
        self._adopted = now
        self._store.adopt()
        self._store.shrink()
        return self._store.next()
