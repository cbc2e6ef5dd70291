"""Scores of what a model has answered, an evaluator's or a user's, as the conventions' evaluation event.

The event is a log record (`gen_ai.evaluation.result`) in the context of the span it is about. While that span is
still open here it gets a span event of the same content too, for backends that show no log records. In a process
without a `LoggerProvider` the record goes nowhere, at no cost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext

from spanloom import names
from spanloom.guard import LOG, guarded
from spanloom.jsontext import key_text
from spanloom.telemetry import own_capture, own_logger

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_FEEDBACK: Final = "user_feedback"


def evaluation(
    name: str,
    score: float | None = None,
    label: str | None = None,
    explanation: str | None = None,
    *,
    response_id: str | None = None,
    span_context: SpanContext | Span | None = None,
) -> None:
    """Record the result of an evaluation.

    It never raises; a result that says nothing, or a score that is no number, is logged and not recorded.

    Args:
        name: of what is evaluated (`relevance`).
        score: the result as a number; True and False are 1 and 0.
        label: the result in a word (`pass`).
        explanation: why. As it is given for the record, it is recorded whatever `content` says: redacted and bounded.
        response_id: the provider's id of the answer; where the span is not at hand, it tells what is meant.
        span_context: the span that is evaluated, or its context (`span.get_span_context()`); default: the current one.
    """
    with guarded("feedback", "an evaluation"):
        value = _number(score)
        if value is None and not label and not explanation:
            LOG.warning(
                "The evaluation %r is not recorded: give a finite number as score (not %r), or a label.", name, score
            )
            return
        capture = own_capture()
        told: dict[str, AttributeValue | None] = {
            names.GEN_AI_EVALUATION_NAME: capture.name(key_text(name)),
            names.GEN_AI_EVALUATION_SCORE_VALUE: value,
            names.GEN_AI_EVALUATION_SCORE_LABEL: capture.name(label) if label else None,
            names.GEN_AI_EVALUATION_EXPLANATION: capture.text(explanation) if explanation else None,
            names.GEN_AI_RESPONSE_ID: capture.identity(key_text(response_id)) if response_id else None,
        }
        _record({key: known for key, known in told.items() if known is not None}, span_context)


def feedback(
    score: float,
    comment: str | None = None,
    *,
    name: str = _FEEDBACK,
    response_id: str | None = None,
    span_context: SpanContext | Span | None = None,
) -> None:
    """Record what a user thinks of an answer: an `evaluation` of that name.

    Args:
        score: True for a thumb up (1, `positive`), False for one down (0, `negative`), or a number.
        comment: what the user says about it.
        name: of the evaluation.
        response_id: as for `evaluation`.
        span_context: as for `evaluation`; of an answer given earlier, what was kept of its span.
    """
    label = ("negative", "positive")[score] if isinstance(score, bool) else None
    evaluation(name, score, label, comment, response_id=response_id, span_context=span_context)


def _number(score: object) -> float | None:
    return float(score) if isinstance(score, (int, float)) and math.isfinite(score) else None


def _record(attributes: dict[str, AttributeValue], about: SpanContext | Span | None) -> None:
    current = trace.get_current_span()
    meant = about.get_span_context() if isinstance(about, Span) else about or current.get_span_context()
    span = about if isinstance(about, Span) else current
    if span.is_recording() and span.get_span_context() == meant:
        span.add_event(names.GEN_AI_EVALUATION_EVENT, attributes)
    own_logger().emit(
        LogRecord(
            event_name=names.GEN_AI_EVALUATION_EVENT,
            attributes=attributes,
            context=trace.set_span_in_context(NonRecordingSpan(meant), Context()) if meant.is_valid else None,
        )
    )
