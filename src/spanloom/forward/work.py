"""The work of `spanloom forward`: read, put together in batches, deliver, remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from spanloom.forward.cursor import Cursor
    from spanloom.forward.reading import Piece, Reader
    from spanloom_otlp import Delivering

BATCH_BYTES: Final = 1024**2
BATCH_SPANS: Final = 512
# Without `--follow`, so long is waited for a backend that is in trouble.
_PATIENCE: Final = 60.0
_LOOK_EVERY: Final = 1.0


@dataclass
class Batch:
    """Spans to send at once.

    Attributes:
        spans: the spans.
        size: the bytes of their lines.
        offsets: what is done, by fingerprint, when they are delivered.
    """

    spans: list[ReadableSpan] = field(default_factory=list["ReadableSpan"])
    size: int = 0
    offsets: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class Summary:
    """What came of it.

    Attributes:
        delivered: spans that the backend has.
        refused: spans that it will never take.
        stopped: why not everything was sent; empty if it was.
    """

    delivered: int = 0
    refused: int = 0
    stopped: str = ""


class Forwarder:
    """Sends what a reader finds.

    Args:
        exporter: makes the attempts.
        cursor: remembers what was done.
        batch_bytes: the most bytes of lines in a batch; a longer line goes in parts.
        say: takes a line about trouble.
    """

    def __init__(
        self,
        exporter: Delivering,
        cursor: Cursor,
        *,
        batch_bytes: int = BATCH_BYTES,
        say: Callable[[str], None],
    ) -> None:
        from spanloom_otlp import Backoff

        self._exporter = exporter
        self._cursor = cursor
        self._batch_bytes = batch_bytes
        self._say = say
        self._backoff = Backoff()
        self._said: set[str] = set()
        self.summary = Summary()

    def once(self, reader: Reader) -> None:
        """Forward what there is."""
        self._all(reader.pieces(last=True), follow=False)

    def follow(self, reader: Reader) -> None:
        """Forward what there is and what comes, until interrupted or told that a setting is wrong."""
        self._all(reader.pieces(last=False), follow=True)
        while not self.summary.stopped:
            sleep(_LOOK_EVERY)
            self._all(reader.pieces(last=False), follow=True)

    def _all(self, pieces: Iterable[Piece], *, follow: bool) -> None:
        for batch in self._batches(pieces):
            self._send(batch, follow=follow)
            if self.summary.stopped:
                return

    def _batches(self, pieces: Iterable[Piece]) -> Iterator[Batch]:
        batch = Batch()
        for piece in pieces:
            for spans in self._parts(piece):
                if batch.spans and (
                    len(batch.spans) + len(spans) > BATCH_SPANS or batch.size + piece.size > self._batch_bytes
                ):
                    yield batch
                    batch = Batch()
                batch.spans += spans
                batch.size += piece.size
            batch.offsets[piece.file] = piece.end  # only now: the parts before are only a part of the line
        if batch.offsets:
            yield batch

    def _parts(self, piece: Piece) -> Iterator[list[ReadableSpan]]:
        spans = piece.spans
        most = BATCH_SPANS
        if piece.size > self._batch_bytes:
            most = max(min(len(spans) * self._batch_bytes // piece.size, most), 1)
        for start in range(0, len(spans), most):
            yield spans[start : start + most]

    def _send(self, batch: Batch, *, follow: bool) -> None:
        from spanloom_otlp import Verdict, send

        end = monotonic() + _PATIENCE
        remaining = batch.spans
        while remaining:
            sent = send(self._exporter.deliver, remaining)
            self.summary.delivered += len(remaining) - len(sent.remaining) - len(sent.refused) - sent.rejected
            self.summary.refused += len(sent.refused) + sent.rejected
            for text in (sent.refusal, sent.rejection):
                self._tell(text)
            remaining = sent.remaining
            if not remaining:
                break
            delay = self._backoff.after(sent.outcome)
            wrong = sent.outcome.verdict is Verdict.MISCONFIGURED
            if not follow and (wrong or monotonic() + delay > end):
                self.summary.stopped = sent.outcome.detail
                return
            if follow and wrong and not self.summary.delivered:
                self.summary.stopped = sent.outcome.detail
                return
            self._tell(f"{sent.outcome.detail} It is tried again.")
            sleep(delay)
        self._backoff.reset()
        if batch.offsets:
            self._cursor.advance(batch.offsets)

    def _tell(self, text: str) -> None:
        if text and text not in self._said:
            self._said.add(text)
            self._say(text)
