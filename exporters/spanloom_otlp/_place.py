"""Where spans are sent, and what any server says about them, in words that may stand in a log."""

import re
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spanloom_otlp._outcome import Outcome, Verdict

_LONGEST_SAID: Final = 300


@dataclass(frozen=True)
class Place:
    """Where spans are sent, as messages say it.

    Attributes:
        url: the endpoint, without credentials or query.
        setting: the setting that the address comes from.
        credentials: the settings that the credentials come from.
        certificate: the setting that the certificates come from.
    """

    url: str
    setting: str
    credentials: str
    certificate: str


def without_secrets(url: str) -> str:
    """`url` without user, password, query and fragment."""
    scheme, mark, rest = re.split("[?#]", url, maxsplit=1)[0].rpartition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"


def of_partial_success(place: str, response: ExportTraceServiceResponse) -> Outcome:
    """What OTLP's answer to a batch that was taken means: rejected spans must not be sent again (specification)."""
    partial = response.partial_success
    rejected, message = max(partial.rejected_spans, 0), one_line(partial.error_message)
    if rejected:
        detail = f"{place} has rejected {rejected} spans of a batch{after_colon(message)}."
    else:
        detail = f"{place} warns{after_colon(message)}." if message else ""
    return Outcome(Verdict.DELIVERED, detail, rejected=rejected)


def after_colon(text: str) -> str:
    return f": {text}" if text else ""


def one_line(text: str) -> str:
    """`text` on one line, and not too much of it."""
    line = re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip().rstrip(".")
    return line if len(line) <= _LONGEST_SAID else f"{line[:_LONGEST_SAID]}..."
