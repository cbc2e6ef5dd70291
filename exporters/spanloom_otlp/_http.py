"""Spans over OTLP/HTTP: OpenTelemetry's own exporter, with a session of ours that tells what the server said.

The official exporter takes a redirect for success, throws a batch away after a 500 or a 413, waits for a server inside
`export`, and merges `OTEL_EXPORTER_OTLP_HEADERS` into every request. Encoding, compression, certificates, timeouts and
every `OTEL_EXPORTER_OTLP_*` variable are its business all the same.
"""
# pyright: reportPrivateUsage=false

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http import _OTLP_HTTP_HEADERS, Compression
from opentelemetry.exporter.otlp.proto.http._common import _load_session_from_envvar
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.environment_variables import _OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER
from opentelemetry.sdk.trace import ReadableSpan

from spanloom_otlp._answers import of_error, of_response
from spanloom_otlp._exporter import DeliveringSpanExporter
from spanloom_otlp._official import Answer, make_honest
from spanloom_otlp._outcome import Outcome, Verdict
from spanloom_otlp._place import Place, without_secrets
from spanloom_otlp._settings import LOG

# Of an answer's body no more is read: it says why, and OTLP's own answer is short.
_LONGEST_BODY: Final = 64 * 1024


class HttpSpanExporter(DeliveringSpanExporter):
    """OTLP over HTTP with protobuf, as the `OTEL_EXPORTER_OTLP_*` variables and these arguments say.

    Args:
        endpoint: the whole address, path included. Default: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else
            `OTEL_EXPORTER_OTLP_ENDPOINT` and `/v1/traces`, else `http://localhost:4318/v1/traces`.
        headers: sent with each request.
        only_headers: send these headers and no others, use no client certificate, and verify the server with the
            system's certificates (`REQUESTS_CA_BUNDLE`): what `OTEL_EXPORTER_OTLP_*` says about another backend's
            credentials is not for this one.
        timeout: seconds for an attempt. Default: `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, else
            `OTEL_EXPORTER_OTLP_TIMEOUT`, else 10.
        compression: `"gzip"`, `"deflate"` or `"none"`. Default: `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION`, else
            `OTEL_EXPORTER_OTLP_COMPRESSION`, else none.
        name: what log lines call it.
        setting: the setting that the address comes from, for messages.
        credentials: the settings that the credentials come from, for messages.
        patience: for how many seconds `export` waits for better times, in all.
        log: where its lines go.

    Raises:
        ValueError: a compression, or a timeout in the environment, that is none.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        only_headers: bool = False,
        timeout: float | None = None,
        compression: str | None = None,
        name: str = "otlp",
        setting: str = "OTEL_EXPORTER_OTLP_ENDPOINT",
        credentials: str = "OTEL_EXPORTER_OTLP_HEADERS",
        patience: float = 64.0,
        log: logging.Logger = LOG,
    ) -> None:
        super().__init__(name, patience=patience, log=log)
        self._arguments: Final[dict[str, Any]] = {
            "endpoint": endpoint,
            "headers": dict(headers or {}),
            "timeout": timeout,
            "compression": None if compression is None else Compression(compression),
        }
        self._own_headers: Final = dict(headers or {}) if only_headers else None
        certificate = "REQUESTS_CA_BUNDLE" if only_headers else "OTEL_EXPORTER_OTLP_CERTIFICATE"
        self._place: Final = Place("", setting, credentials, certificate)
        self._pid = os.getpid()
        self._official = self._make()

    @property
    def endpoint(self) -> str:
        """Where spans are sent, without credentials or query."""
        return without_secrets(self._official._endpoint)  # noqa: SLF001

    def deliver(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Send `spans` once. A connection that turns out to be stale is made anew at once. Never raises."""
        if not spans:
            return Outcome(Verdict.DELIVERED)
        if self._closed:
            return Outcome(Verdict.LATER, "The exporter was shut down.")
        try:
            if self._pid != os.getpid():  # the connection is our parent's
                self._official, self._pid = self._make(), os.getpid()
            with suppress_instrumentation():
                self._official.export(spans)
        except Answer as answer:
            return answer.outcome
        except Exception as error:
            return Outcome(Verdict.REFUSED, f"Spans cannot be written as OTLP: {type(error).__name__}: {error}.")
        # It has logged why, unless it was shut down meanwhile.
        return Outcome(Verdict.LATER if self._closed else Verdict.REFUSED, "Spans cannot be written as OTLP.")

    def shutdown(self) -> None:
        """Close the connection. What is exported later is FAILURE."""
        if not self._closed:
            super().shutdown()
            self._official.shutdown()

    def _make(self) -> OTLPSpanExporter:
        made = OTLPSpanExporter(**self._arguments, session=_Session(self._place, self._own_headers))
        make_honest(made)
        return made


class _Session(requests.Session):
    """Makes one attempt and raises an `Answer`, whatever comes of it.

    Args:
        place: for the messages; its address is that of the request.
        only: the only headers to send besides those that describe the body; None for all that the exporter says.
    """

    def __init__(self, place: Place, only: Mapping[str, str] | None) -> None:
        super().__init__()
        self._place = place
        self._only = only
        provided = None if only is not None else _provided()
        self._inner: requests.Session = provided or requests.Session()

    def request(self, method: str | bytes, url: str | bytes, **given: Any) -> requests.Response:  # pyright: ignore[reportIncompatibleMethodOverride]  the rest is handed on
        """See `requests.Session.request`. What the official exporter has set on this session goes with it."""
        place = replace(self._place, url=without_secrets(str(url)))
        headers: dict[str, Any] = {key.lower(): value for key, value in self.headers.items()}
        own: Mapping[str, Any] = given.pop("headers", None) or {}
        headers |= {key.lower(): value for key, value in own.items()}
        arguments = {"verify": self.verify, "cert": self.cert, **given, "allow_redirects": False, "stream": True}
        if self._only is not None:
            headers = _describing(headers) | {key.lower(): value for key, value in self._only.items()}
            arguments |= {"verify": True, "cert": None}
        if "authorization" in headers:
            arguments["auth"] = _as_it_is  # else an entry of ~/.netrc would take its place
        try:
            with self._sent(method, url, headers, arguments) as response:
                outcome = of_response(place, response.status_code, response.headers, _body(response))
        except Exception as error:
            outcome = of_error(place, error)
        raise Answer(outcome)

    def _sent(self, method: Any, url: Any, headers: Any, arguments: dict[str, Any]) -> requests.Response:
        try:
            return self._inner.request(method, url, headers=headers, **arguments)
        except requests.exceptions.ConnectionError as error:
            if isinstance(error, (requests.exceptions.Timeout, requests.exceptions.SSLError)):
                raise
            # A server may close a connection that was kept for the next request.
            return self._inner.request(method, url, headers=headers, **arguments)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
        super().close()


def _body(response: requests.Response) -> bytes:
    """The beginning of the body; nothing if it is broken or does not come, for the status says what counts."""
    try:
        return response.raw.read(_LONGEST_BODY, decode_content=True)
    except Exception:
        return b""


def _provided() -> requests.Session | None:
    """The session of the credential provider that the environment names (an OpenTelemetry extension)."""
    return _load_session_from_envvar(_OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER)


def _describing(headers: Mapping[str, Any]) -> dict[str, Any]:
    """What the exporter says about the body, without what the environment adds."""
    described = {name.lower(): value for name, value in _OTLP_HTTP_HEADERS.items()}
    encoding = headers.get("content-encoding")
    return described | ({"content-encoding": encoding} if encoding else {})


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
