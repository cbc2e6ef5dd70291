"""What became of the spans of a spool in this process, for `force_flush`, metrics and log lines."""

from pathlib import Path
from threading import RLock
from typing import Final

from spanloom_otlp import _losses
from spanloom_otlp._settings import SPOOL_MAX_AGE, SPOOL_MAX_BYTES
from spanloom_otlp._told import Told

_SAID: Final = {
    "size": f"The spool is full, and its oldest spans are lost. Raise {SPOOL_MAX_BYTES}, or mend the connection.",
    "age": f"Spans that waited for longer than {SPOOL_MAX_AGE} are lost. Raise it, or mend the connection.",
    "memory": "More spans than memory is set aside for could not be written to the spool; the oldest are lost.",
}


class Tally:
    """Counts of spans.

    Args:
        folder: where losses are counted for later processes.
        told: for log lines.

    Attributes:
        exported: spans that this process has got.
        settled: those of them that no longer wait, whatever became of them.
        delivered: spans, of dead processes too.
        refused: likewise; they are put aside.
        lost: likewise, by reason.
    """

    def __init__(self, folder: Path, told: Told) -> None:
        self._folder = folder
        self._told = told
        self.exported = self.settled = self.delivered = self.refused = 0
        self.lost: dict[str, int] = {}
        self._lock = RLock()  # spans go in the threads that export too, and in signal handlers
        self._saved: dict[str, int] = {}

    def drop(self, reason: str, spans: int, own: bool) -> None:
        """Count spans that had to go before they were sent; `own` if this process has exported them."""
        if own:
            self.settle(spans)
        self.lose(reason, spans)

    def settle(self, spans: int) -> None:
        """Count spans of this process that no longer wait."""
        with self._lock:
            self.settled += spans

    def lose(self, reason: str, spans: int, said: str = "") -> None:
        """Count lost spans, and say so once for each reason.

        Args:
            reason: see `_losses`.
            spans: how many.
            said: the line, where the reason alone does not give it.
        """
        with self._lock:
            self.lost[reason] = self.lost.get(reason, 0) + spans
        self._told.remark(said or _SAID.get(reason, ""), key=reason)

    def save(self) -> None:
        """Have what was lost since the last time counted in the folder."""
        for reason, spans in dict(self.lost).items():
            if spans != self._saved.get(reason):
                _losses.add(self._folder, reason, spans - self._saved.get(reason, 0))
                self._saved[reason] = spans
