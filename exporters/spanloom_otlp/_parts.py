"""A batch, halved where a backend will not have it whole: one bad span does not cost the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_otlp._outcome import Outcome, Verdict

# When so many spans in a row are refused one by one, and none was taken, it is not them.
_MOST_ALONE: Final = 16


@dataclass
class Sent:
    """What came of a batch.

    Attributes:
        outcome: of the last attempt; `LATER` or `MISCONFIGURED` if something remains.
        remaining: spans to send again, in their order.
        refused: spans that will never be taken.
        refusal: what was said about the last one of these.
        rejected: how many spans a backend took and threw away, as it said.
        rejection: what it said about them, or any other remark of its.
    """

    outcome: Outcome
    remaining: list[ReadableSpan] = field(default_factory=list[ReadableSpan])
    refused: list[ReadableSpan] = field(default_factory=list[ReadableSpan])
    refusal: str = ""
    rejected: int = 0
    rejection: str = ""


def send(
    deliver: Callable[[Sequence[ReadableSpan]], Outcome], spans: Sequence[ReadableSpan], *, sift: bool = False
) -> Sent:
    """Send a batch, in parts where it must be.

    Args:
        deliver: makes one attempt.
        spans: the batch.
        sift: spans over which the backend fails itself are refused too, if it takes others meanwhile.
    """
    sent = Sent(Outcome(Verdict.DELIVERED))
    parts = [list(spans)]  # the next one last
    alone = 0  # how many were refused one by one
    taken = False
    suspects: list[ReadableSpan] = []
    while parts and (taken or alone < _MOST_ALONE):
        part = parts.pop()
        sent.outcome = outcome = deliver(part)
        suspect = sift and outcome.suspect
        if outcome.verdict is Verdict.DELIVERED:
            taken = True
            sent.rejected += outcome.rejected
            sent.rejection = outcome.detail or sent.rejection
        elif outcome.verdict in (Verdict.LATER, Verdict.MISCONFIGURED) and not suspect:
            parts.append(part)
            break
        elif len(part) > 1:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
        else:
            (suspects if suspect else sent.refused).extend(part)
            sent.refusal = outcome.detail
            alone += outcome.verdict is not Verdict.SPLIT
    rest = [span for part in reversed(parts) for span in part]
    if taken:
        sent.refused += suspects
    else:
        rest = suspects + rest
    if sent.outcome.verdict is Verdict.REFUSED:
        sent.refused += rest
    else:
        sent.remaining = rest
    return sent
