"""One test span to an exporter, and what came of it in one line."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from spanloom.doctor.finding import FAIL, OK, WARN, Said, heard
from spanloom.doctor.masking import without_secrets
from spanloom.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

SPAN_NAME: Final = "spanloom doctor"
_GRACE: Final = 1.0  # seconds; the own limit of an exporter comes first, and says more


def sent(to: str, exporter: Any, seconds: float) -> Said:
    """Send a test span.

    Args:
        to: the exporter and where it sends, for the line.
        exporter: an OpenTelemetry `SpanExporter`; its `deliver` is used where it has one, as spanloom's have.
        seconds: how long it may take.
    """
    started = time.monotonic()
    with heard() as lines:
        said = _within(seconds, lambda: _attempt(exporter, _made_span()))
    if said is None:
        return Said(FAIL, f"{to}: no answer within {seconds:g} seconds; see whether it is running and reachable")
    if said.level == OK:
        return Said(OK, f"{to}: a test span was taken in {(time.monotonic() - started) * 1000:.0f} ms")
    text = said.text or "; ".join(lines) or "the test span was not taken, and nothing said why"
    return Said(said.level, f"{to}: {without_secrets(text)}")


def _made_span() -> ReadableSpan:
    """A span of a trace of its own; made past samplers and switches, which are not what is tried."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, TraceFlags

    from spanloom.sdk import resource

    ids, now = RandomIdGenerator(), time.time_ns()
    return ReadableSpan(
        SPAN_NAME,
        SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False, trace_flags=TraceFlags(1)),
        resource=resource(None, SPAN_NAME),
        attributes={},
        start_time=now - 1_000_000,
        end_time=now,
        instrumentation_scope=InstrumentationScope("spanloom.doctor", VERSION),
    )


def _attempt(exporter: Any, span: ReadableSpan) -> Said:
    from opentelemetry.sdk.trace.export import SpanExportResult

    if not hasattr(exporter, "deliver"):
        return Said(OK if exporter.export([span]) is SpanExportResult.SUCCESS else FAIL, "")
    outcome = exporter.deliver([span])
    if outcome.verdict.name != "DELIVERED" or outcome.rejected:
        return Said(FAIL, outcome.detail)
    return Said(WARN, outcome.detail) if outcome.detail else Said(OK, "")


def _within(seconds: float, action: Callable[[], Said]) -> Said | None:
    """What `action` returns; None where it takes longer, and is left to itself then."""
    done: list[Said] = []

    def run() -> None:
        try:
            done.append(action())
        except Exception as exc:
            done.append(Said(FAIL, f"{type(exc).__name__}: {exc}"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds + _GRACE)
    return done[0] if done else None
