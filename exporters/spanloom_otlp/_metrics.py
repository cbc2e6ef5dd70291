"""The spool's own metrics, through OpenTelemetry's metrics API: of this process, by destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import ref

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spanloom_otlp._spool import SpooledSpanExporter

    Read = Callable[["SpooledSpanExporter"], dict[str, int]]

DESTINATION: Final = "spanloom.spool.destination"
REASON: Final = "spanloom.spool.reason"
WAITING: Final = "spanloom.spool.waiting"
SIZE: Final = "spanloom.spool.size"
DELIVERED: Final = "spanloom.spool.delivered"
REFUSED: Final = "spanloom.spool.refused"
LOST: Final = "spanloom.spool.lost"


def observe(spool: SpooledSpanExporter) -> None:
    """Have what `spool` counts in the process's metrics, as long as it lives."""
    meter = metrics.get_meter("spanloom_otlp")
    gauge, counter = meter.create_observable_up_down_counter, meter.create_observable_counter
    waiting = _callback(spool, _waiting)
    gauge(WAITING, [waiting], "{span}", "Spans of this process that wait in the spool.")
    size = _callback(spool, _size)
    gauge(SIZE, [size], "By", "What this process has to deliver from the spool, for processes that have ended too.")
    counter(DELIVERED, [_callback(spool, _delivered)], "{span}", "Spans that the destination has taken.")
    counter(REFUSED, [_callback(spool, _refused)], "{span}", "Spans that the destination refused; they are put aside.")
    counter(LOST, [_callback(spool, _lost)], "{span}", "Spans that were lost, by reason.")


def _callback(spool: SpooledSpanExporter, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    weak, where = ref(spool), {DESTINATION: spool.name}  # instruments live as long as the process

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        living = weak()
        if living is not None:
            for reason, value in read(living).items():
                yield Observation(value, where | ({REASON: reason} if reason else {}))

    return callback


def _waiting(spool: SpooledSpanExporter) -> dict[str, int]:
    return {"": spool.tally.exported - spool.tally.settled}


def _size(spool: SpooledSpanExporter) -> dict[str, int]:
    return {"": spool.waiting_bytes}


def _delivered(spool: SpooledSpanExporter) -> dict[str, int]:
    return {"": spool.tally.delivered}


def _refused(spool: SpooledSpanExporter) -> dict[str, int]:
    return {"": spool.tally.refused}


def _lost(spool: SpooledSpanExporter) -> dict[str, int]:
    return dict(spool.tally.lost)
