"""Between a batch of spans and an OTLP backend: one attempt at a time, with a verdict; what fails is kept and retried.

This package stands alone: it imports OpenTelemetry's API, SDK and OTLP exporters, and the JSON encoder of
`spanloom_jsonl`, so it works in anybody's TracerProvider.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spanloom_otlp._backoff import Backoff
from spanloom_otlp._compat import CompatSpanExporter
from spanloom_otlp._copy import event_with_attributes, with_attributes
from spanloom_otlp._decode import decode_spans
from spanloom_otlp._exporter import DeliveringSpanExporter
from spanloom_otlp._outcome import Delivering, Outcome, Verdict
from spanloom_otlp._parts import Sent, send
from spanloom_otlp._settings import compat_asked, spool_directory
from spanloom_otlp._spool import SpooledSpanExporter
from spanloom_otlp._state import SpoolState, spool_state

if TYPE_CHECKING:
    from spanloom_otlp._grpc import GrpcSpanExporter
    from spanloom_otlp._http import HttpSpanExporter

__all__ = [
    "Backoff",
    "CompatSpanExporter",
    "Delivering",
    "DeliveringSpanExporter",
    "GrpcSpanExporter",
    "HttpSpanExporter",
    "Outcome",
    "Sent",
    "SpoolState",
    "SpooledSpanExporter",
    "Verdict",
    "compat_asked",
    "decode_spans",
    "event_with_attributes",
    "send",
    "spool_directory",
    "spool_state",
    "with_attributes",
]

# Each protocol brings a library that takes its time to import.
_LATE = {"GrpcSpanExporter": "_grpc", "HttpSpanExporter": "_http"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
