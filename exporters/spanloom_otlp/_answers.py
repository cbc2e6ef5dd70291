"""What an HTTP answer, or the lack of one, means for the spans that were sent.

The codes to try again after are those of the OTLP specification ("OTLP/HTTP Response"), and 408, 425 and every other
5xx besides: a server's own trouble says nothing about the data. Whatever a changed setting would mend is kept too.
"""

import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spanloom_otlp._outcome import Outcome, Verdict
from spanloom_otlp._place import Place, after_colon, of_partial_success, one_line, without_secrets

_LATER: Final = frozenset({408, 425, 429})
_CREDENTIALS: Final = frozenset({401, 402, 403, 407})
# What a server answers that is none for OTLP, or not at this address.
_ADDRESS: Final = frozenset({404, 405, 406, 410, 411, 415, 421, 426, 501, 505})
_SENDING_LESS: Final = "The spans are sent in smaller parts."


def of_response(place: Place, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """What an HTTP answer means.

    Args:
        place: where it came from.
        status: its code.
        headers: its headers, by name in any case.
        body: its beginning.
    """
    answer = f"{place.url} answers {status} {_phrase(status)}".rstrip()
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    said = _said(kind, body)
    if 200 <= status < 300:
        if kind == "text/html":
            return Outcome(
                Verdict.MISCONFIGURED,
                f"{place.url} answers with a web page: no OTLP is taken there. Check {place.setting}.",
            )
        return _partial(place, kind, body)
    if 300 <= status < 400:
        target = without_secrets(headers.get("location", "")) if headers.get("location") else "elsewhere"
        return Outcome(
            Verdict.MISCONFIGURED,
            f"{answer}, a redirect to {target}, which is not followed. Set {place.setting} to the final address.",
        )
    if status in _LATER or (status >= 500 and status not in _ADDRESS):
        asked = retry_after(headers.get("retry-after"))
        return Outcome(Verdict.LATER, f"{answer}{said}.", asked, suspect=status == 500)
    if status == 413:
        return Outcome(Verdict.SPLIT, f"{answer}: too much in one request. {_SENDING_LESS}")
    if status in _CREDENTIALS:
        return Outcome(Verdict.MISCONFIGURED, f"{answer}{said}. Check {place.credentials}.")
    if status in _ADDRESS:
        return Outcome(Verdict.MISCONFIGURED, f"{answer}{said}: no OTLP traces are taken there. Check {place.setting}.")
    return Outcome(Verdict.REFUSED, f"{answer}{said}.")


def of_error(place: Place, error: BaseException) -> Outcome:
    """What it means that there was no answer.

    Args:
        place: where the spans should have gone.
        error: what was raised instead.
    """
    causes = list(_causes(error))
    if isinstance(error, requests.exceptions.ProxyError):
        return Outcome(
            Verdict.LATER,
            f"The proxy on the way to {place.url} does not work. Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
        )
    unknown = next((cause for cause in causes if isinstance(cause, socket.gaierror)), None)
    if unknown is not None:
        # EAI_AGAIN is what a machine without a network says of every name.
        verdict = Verdict.LATER if unknown.errno == socket.EAI_AGAIN else Verdict.MISCONFIGURED
        host = urlsplit(place.url).hostname
        return Outcome(verdict, f"The host {host} is not known here. Check {place.setting} and the network.")
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or isinstance(error, requests.exceptions.SSLError):
        if any(isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for cause in causes):
            return Outcome(Verdict.LATER, f"{place.url} has closed the connection during TLS.")
        return Outcome(
            Verdict.MISCONFIGURED,
            f"No TLS connection to {place.url}: {_reason(causes)}. Check {place.setting} and {place.certificate}.",
        )
    if isinstance(error, requests.exceptions.Timeout):
        return Outcome(Verdict.LATER, f"{place.url} does not answer in time.")
    if isinstance(error, requests.exceptions.ConnectionError):
        return Outcome(
            Verdict.LATER, f"No connection to {place.url}: {_reason(causes)}. Is it running? See {place.setting}."
        )
    if isinstance(error, (OSError, ValueError)) and not isinstance(error, requests.exceptions.ChunkedEncodingError):
        # An address that is none, a header that is none, a certificate that is not there.
        return Outcome(
            Verdict.MISCONFIGURED,
            f"Nothing can be sent to {place.url}: {_reason(causes)}. "
            f"Check {place.setting}, {place.credentials} and {place.certificate}.",
        )
    return Outcome(Verdict.LATER, f"Nothing could be sent to {place.url}: {_reason(causes)}.")


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3: a number or a date)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        moment = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        seconds = (moment - datetime.now(timezone.utc)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _partial(place: Place, kind: str, body: bytes) -> Outcome:
    """Read OTLP's `partial_success`, if that is what the body is."""
    response = ExportTraceServiceResponse()
    try:
        if kind == "application/x-protobuf":
            response.ParseFromString(body)
        elif kind == "application/json" and b"partialSuccess" in body:
            from google.protobuf import json_format

            json_format.Parse(body, response, ignore_unknown_fields=True)
    except Exception:  # whatever the body is, the status says that the spans were taken
        return Outcome(Verdict.DELIVERED)
    return of_partial_success(place.url, response)


def _said(kind: str, body: bytes) -> str:
    """What the server says about it, as the end of a sentence."""
    if kind == "application/x-protobuf":
        try:
            from google.rpc.status_pb2 import Status

            return after_colon(one_line(Status.FromString(body).message))
        except Exception:
            return ""
    if kind in ("application/json", "text/plain"):
        return after_colon(one_line(body.decode("utf-8", "replace")))
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what is behind it; urllib3 and requests wrap in arguments and attributes as well."""
    seen: set[int] = set()
    open_: list[Any] = [error]
    while open_:
        one = open_.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        open_ += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]


def _reason(causes: list[BaseException]) -> str:
    """What is wrong, without the address and the headers, which the texts of most errors repeat."""
    for cause in causes:
        if isinstance(cause, requests.exceptions.InvalidHeader):
            return "a header is not valid"
        if isinstance(cause, requests.exceptions.RequestException) and isinstance(cause, ValueError):
            return "the address is not valid"
        if isinstance(cause, OSError) and cause.strerror:
            return one_line(cause.strerror)
        if type(cause) is OSError:  # requests says so what file is not there
            return one_line(str(cause))
    return type(causes[-1]).__name__
