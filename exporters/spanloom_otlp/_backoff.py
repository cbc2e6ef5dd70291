"""How long to wait before the next attempt."""

import random
from typing import Final

from spanloom_otlp._outcome import Outcome, Verdict

LONGEST: Final = 30.0
# A backend may ask for more, but not for ever.
LONGEST_ASKED: Final = 600.0
# A setting is mended by a person.
MISCONFIGURED: Final = 60.0
_FIRST: Final = 1.0


class Backoff:
    """Ever longer delays with jitter, so that many processes do not come back at once."""

    def __init__(self) -> None:
        self._next = _FIRST

    def after(self, outcome: Outcome) -> float:
        """Return how many seconds to wait after a failed attempt.

        Args:
            outcome: of the attempt; a `retry_after` in it goes before ours.
        """
        if outcome.retry_after is not None:
            return min(outcome.retry_after, LONGEST_ASKED) * random.uniform(1.0, 1.1)  # noqa: S311  no secret
        if outcome.verdict is Verdict.MISCONFIGURED:
            return MISCONFIGURED
        delay, self._next = self._next, min(self._next * 2, LONGEST)
        return delay * random.uniform(0.7, 1.0)  # noqa: S311  no secret

    def reset(self) -> None:
        """Begin with short delays again: an attempt succeeded."""
        self._next = _FIRST
