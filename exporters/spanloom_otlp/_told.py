"""Log lines about one destination: one for each kind of trouble, and one when it is over."""

import logging
import time
from typing import Final

from spanloom_otlp._outcome import Outcome, Verdict

# A backend that is in trouble now and then, one that limits rates, say, is not worth two lines each time.
_QUIET: Final = 600.0
# Remarks and refusals may carry something new each time; a log is not the place for all of them.
_MOST_REMARKS: Final = 16


class Told:
    """Remembers what was said.

    Without a lock, which a fork could leave closed: at worst a line is said twice.

    Args:
        name: the destination's, for the lines.
        log: where they go.
    """

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name = name
        self._log = log
        self._verdict: Verdict | None = None  # of the trouble there is
        self._told: dict[Verdict, float] = {}  # when it was said last
        self._is_said = False  # whether it was, this time
        self._remarks: set[str] = set()

    def trouble(self, outcome: Outcome, consequence: str) -> None:
        """Say what is wrong, if that is news: for the first time, or the first time for ten minutes.

        Args:
            outcome: of an attempt.
            consequence: what it means for the spans, as a sentence without its full stop.
        """
        if self._verdict is outcome.verdict:
            return
        self._verdict = outcome.verdict
        now = time.monotonic()
        if now - self._told.get(outcome.verdict, -_QUIET) >= _QUIET:
            self._told[outcome.verdict] = now
            self._is_said = True
            self._log.warning("%s: %s %s.", self._name, outcome.detail, consequence)

    def well(self, lost: int = 0) -> None:
        """Say that trouble is over, if there was any and that was said.

        Args:
            lost: how many spans it has cost so far.
        """
        said, self._is_said, self._verdict = self._is_said, False, None
        if said:
            self._log.warning(
                "%s: spans are delivered again; %s.", self._name, f"{lost} are lost" if lost else "none were lost"
            )

    def refused(self, detail: str, consequence: str) -> None:
        """Say that spans were refused for good, once for each reason."""
        self.remark(f"{detail} {consequence}.".lstrip(), key=detail)

    def remark(self, text: str, *, key: str | None = None) -> None:
        """Say something that concerns no trouble, once.

        Args:
            text: the line; nothing is said if it is empty.
            key: what makes it the same as another; default: itself.
        """
        seen = key or text
        if not text or seen in self._remarks or len(self._remarks) >= _MOST_REMARKS:
            return
        self._remarks.add(seen)
        self._log.warning("%s: %s", self._name, text)
