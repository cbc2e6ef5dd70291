"""What came of one attempt to deliver spans, in words that retrying, splitting and keeping can work with."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan


class Verdict(Enum):
    """What to do with the spans that were sent.

    Attributes:
        DELIVERED: nothing; the backend has them.
        LATER: send them again; the network or the backend is in trouble.
        SPLIT: send them again in smaller parts; they were too much at once.
        REFUSED: the backend will never take them as they are.
        MISCONFIGURED: send them again once somebody has mended a setting.
    """

    DELIVERED = "delivered"
    LATER = "later"
    SPLIT = "split"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        verdict: what to do now.
        detail: one line: what happened, and which setting mends it. Never a secret.
        retry_after: how many seconds the backend asked to be left alone; None if it did not.
        rejected: how many spans of a delivered batch the backend said it has thrown away (OTLP's partial success).
        suspect: the backend failed over this request (HTTP 500, say), maybe because of what is in it.
    """

    verdict: Verdict
    detail: str = ""
    retry_after: float | None = None
    rejected: int = 0
    suspect: bool = False


class Delivering(Protocol):
    """An exporter that can say what came of one attempt: what a spool and `spanloom forward` send with."""

    def deliver(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Send `spans` once, without waiting for better times. Never raises."""
        ...

    def shutdown(self) -> None:
        """Let go of the connection."""
        ...
