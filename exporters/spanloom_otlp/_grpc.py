"""Spans over OTLP/gRPC: OpenTelemetry's own exporter, with a stub of ours that tells what the server said.

The connection is made with the first batch, in the thread that sends: a process that forks workers before it has
recorded anything (as servers with a preloaded application do) leaves them a gRPC that works.
"""
# pyright: reportPrivateUsage=false

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

from spanloom_otlp._exporter import DeliveringSpanExporter
from spanloom_otlp._official import Answer, make_honest
from spanloom_otlp._outcome import Outcome, Verdict
from spanloom_otlp._place import Place, of_partial_success, without_secrets
from spanloom_otlp._settings import LOG, grpc_endpoint
from spanloom_otlp._statuses import of_rpc_error

# gRPC itself waits up to two minutes before it connects again, and every attempt fails meanwhile.
_CHANNEL: Final = (("grpc.initial_reconnect_backoff_ms", 500), ("grpc.max_reconnect_backoff_ms", 5_000))
_COMPRESSIONS: Final = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}


class GrpcSpanExporter(DeliveringSpanExporter):
    """OTLP over gRPC, as the `OTEL_EXPORTER_OTLP_*` variables and these arguments say.

    Args:
        endpoint: host and port, or an `http://` (no TLS) or `https://` address. Default:
            `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://localhost:4317`.
        headers: sent with each request, in place of those of the environment.
        insecure: no TLS. Default: as the address and `OTEL_EXPORTER_OTLP_TRACES_INSECURE` or
            `OTEL_EXPORTER_OTLP_INSECURE` say.
        timeout: seconds for an attempt. Default: `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, else
            `OTEL_EXPORTER_OTLP_TIMEOUT`, else 10.
        compression: `"gzip"` or `"none"`. Default: `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION`, else
            `OTEL_EXPORTER_OTLP_COMPRESSION`, else none.
        name: what log lines call it.
        patience: for how many seconds `export` waits for better times, in all.
        log: where its lines go.

    Raises:
        ValueError: a compression that gRPC does not have.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        insecure: bool | None = None,
        timeout: float | None = None,
        compression: str | None = None,
        name: str = "otlp",
        patience: float = 64.0,
        log: logging.Logger = LOG,
    ) -> None:
        super().__init__(name, patience=patience, log=log)
        if compression is not None and compression not in _COMPRESSIONS:
            raise ValueError(f"compression={compression!r}: give one of {', '.join(_COMPRESSIONS)}")
        self._arguments: Final[dict[str, Any]] = {
            "endpoint": endpoint,
            "headers": {key.lower(): value for key, value in (headers or {}).items()} or None,
            "insecure": insecure,
            "timeout": timeout,
            "compression": None if compression is None else _COMPRESSIONS[compression],
            "channel_options": _CHANNEL,
        }
        self._made: tuple[int, OTLPSpanExporter] | None = None  # with the process that made it

    @property
    def endpoint(self) -> str:
        """Where spans are sent, without credentials."""
        return without_secrets(grpc_endpoint(self._arguments["endpoint"]))

    def deliver(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Send `spans` once. Never raises."""
        if not spans:
            return Outcome(Verdict.DELIVERED)
        try:
            with suppress_instrumentation():
                try:
                    exporter = self._exporter()
                except Exception as error:
                    return Outcome(
                        Verdict.MISCONFIGURED,
                        f"OTLP over gRPC cannot be set up: {error}. Check the OTEL_EXPORTER_OTLP_* variables.",
                    )
                if exporter is None:
                    return Outcome(Verdict.LATER, "The exporter was shut down.")
                exporter.export(spans)
        except Answer as answer:
            return answer.outcome
        except Exception as error:
            return Outcome(Verdict.REFUSED, f"Spans cannot be written as OTLP: {type(error).__name__}: {error}.")
        return Outcome(Verdict.LATER, "The exporter was shut down.")

    def shutdown(self) -> None:
        """Close the connection. What is exported later is FAILURE."""
        if not self._closed:
            super().shutdown()
            made, self._made = self._made, None
            if made is not None and made[0] == os.getpid():
                made[1].shutdown()  # pyright: ignore[reportUnknownMemberType]

    def _exporter(self) -> OTLPSpanExporter | None:
        if self._closed:
            return None
        made = self._made  # without a lock, which a fork could leave closed; batches come one by one
        if made is None or made[0] != os.getpid():
            exporter: Any = OTLPSpanExporter(**self._arguments)
            make_honest(exporter)
            exporter._client = _Stub(exporter._client, exporter._endpoint.rpartition("@")[2])  # noqa: SLF001
            made = self._made = os.getpid(), exporter
        return made[1]


class _Stub:
    """Makes one attempt and raises an `Answer`, whatever comes of it.

    Args:
        stub: the official one.
        endpoint: its host and port, for messages.
    """

    def __init__(self, stub: Any, endpoint: str) -> None:
        self._stub = stub
        self._place = Place(
            endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_CERTIFICATE"
        )

    def Export(self, request: ExportTraceServiceRequest, **given: Any) -> None:  # noqa: N802  gRPC's name
        """See `TraceServiceStub.Export`."""
        place = self._place
        try:
            outcome = of_partial_success(place.url, self._stub.Export(request=request, **given))
        except grpc.RpcError as error:
            outcome = of_rpc_error(place, error)
        except ValueError as error:
            if "closed channel" in str(error):
                outcome = Outcome(Verdict.LATER, "The exporter was shut down.")
            else:
                outcome = Outcome(
                    Verdict.MISCONFIGURED, f"Nothing can be sent to {place.url}: {error}. Check {place.credentials}."
                )
        raise Answer(outcome)
