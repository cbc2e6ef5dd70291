"""What a gRPC status means for the spans that were sent.

The statuses to try again after are those of the OTLP specification ("OTLP/gRPC Response"), and those that say nothing
about the data. Whatever a changed setting would mend is kept too.
"""

import re
from typing import Any, Final

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from spanloom_otlp._outcome import Outcome, Verdict
from spanloom_otlp._place import Place, one_line

_TOO_LARGE: Final = re.compile("larger than max|too large", re.IGNORECASE)
_TLS: Final = re.compile("(?:ssl|tls) handshake|ssl_error|certificate", re.IGNORECASE)
_BAD_HEADERS: Final = re.compile("invalid metadata", re.IGNORECASE)  # said by our side
_NO_GRPC: Final = re.compile(r"parsing http/2|http1\.x|http/1", re.IGNORECASE)
_UNKNOWN_NAME: Final = re.compile("domain name not found|name or service not known|nxdomain", re.IGNORECASE)
_REFUSED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
    }
)
_SUSPECT: Final = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
_ADDRESS: Final = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND})
_CREDENTIALS: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


def of_rpc_error(place: Place, error: Any) -> Outcome:
    """What a failed call means.

    Args:
        place: where it went.
        error: what the call raised, a `grpc.RpcError` with the methods of a `grpc.Call`.
    """
    code: grpc.StatusCode = error.code()
    details = one_line(error.details() or "")
    answer = f"{place.url} answers {code.name}{f': {details}' if details else ''}."
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE.search(details):
        return Outcome(Verdict.SPLIT, f"{answer} The spans are sent in smaller parts.")
    if code in _CREDENTIALS or _BAD_HEADERS.search(details):
        return Outcome(Verdict.MISCONFIGURED, f"{answer} Check {place.credentials}.")
    if code in _ADDRESS:
        return Outcome(Verdict.MISCONFIGURED, f"{answer} No OTLP traces are taken there. Check {place.setting}.")
    if code in _REFUSED:
        return Outcome(Verdict.REFUSED, answer)
    if code is grpc.StatusCode.UNAVAILABLE:
        if _NO_GRPC.search(details):
            return Outcome(
                Verdict.MISCONFIGURED,
                f"{answer} This is no port for gRPC. Check {place.setting}, "
                "or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.",
            )
        if _UNKNOWN_NAME.search(details):
            return Outcome(Verdict.MISCONFIGURED, f"{answer} Check {place.setting} and the network.")
        if _TLS.search(details):
            return Outcome(
                Verdict.MISCONFIGURED,
                f"{answer} Check {place.setting} (http:// for a server without TLS) and {place.certificate}.",
            )
        return Outcome(Verdict.LATER, f"No connection to {place.url}: {details}. See {place.setting}.", _asked(error))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Outcome(Verdict.LATER, f"{place.url} does not answer in time.", _asked(error))
    return Outcome(Verdict.LATER, answer, _asked(error), suspect=code in _SUSPECT)


def _asked(error: Any) -> float | None:
    """The seconds that the server asks to be left alone: a `RetryInfo`, by itself or in the details of its status."""
    try:
        trailers: dict[str, Any] = dict(error.trailing_metadata() or ())
        info = RetryInfo()
        if alone := trailers.get("google.rpc.retryinfo-bin"):
            info.ParseFromString(alone)
        else:
            status = Status.FromString(trailers.get("grpc-status-details-bin") or b"")
            if not any(detail.Unpack(info) for detail in status.details):
                return None
    except Exception:  # not what it should be
        return None
    return max(info.retry_delay.seconds + info.retry_delay.nanos / 1e9, 0.0)
