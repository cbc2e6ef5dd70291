"""One attempt over gRPC: what each status, and the lack of one, means; what is sent, and what is not."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_otlp import GrpcSpanExporter, Verdict, _backoff

from .conftest import PATIENCE, GrpcBackend, ids_of


@pytest.fixture
def make():
    made = []

    def make(*args, **options):
        made.append(GrpcSpanExporter(*args, **{"timeout": 5, **options}))
        return made[-1]

    yield make
    for exporter in made:
        exporter.shutdown()


@pytest.fixture
def exporter(grpc_backend, make):
    return make(grpc_backend.url)


def test_spans_are_delivered(grpc_backend, exporter, make_spans, said):
    spans = make_spans(3)

    assert exporter.deliver(spans).verdict is Verdict.DELIVERED
    assert exporter.deliver([]).verdict is Verdict.DELIVERED

    assert grpc_backend.taken == ids_of(spans)
    assert len(grpc_backend.requests) == 1
    assert grpc_backend.requests[0][0]["user-agent"].startswith("OTel-OTLP-Exporter-Python/")
    assert said.lines == said.others == []


@pytest.mark.parametrize(
    ("code", "verdict", "fix"),
    [
        (StatusCode.UNAVAILABLE, Verdict.LATER, ""),
        (StatusCode.DEADLINE_EXCEEDED, Verdict.LATER, ""),
        (StatusCode.CANCELLED, Verdict.LATER, ""),
        (StatusCode.ABORTED, Verdict.LATER, ""),
        (StatusCode.OUT_OF_RANGE, Verdict.LATER, ""),
        (StatusCode.DATA_LOSS, Verdict.LATER, ""),
        (StatusCode.RESOURCE_EXHAUSTED, Verdict.LATER, ""),
        (StatusCode.INTERNAL, Verdict.LATER, ""),
        (StatusCode.UNKNOWN, Verdict.LATER, ""),
        (StatusCode.INVALID_ARGUMENT, Verdict.REFUSED, ""),
        (StatusCode.FAILED_PRECONDITION, Verdict.REFUSED, ""),
        (StatusCode.UNAUTHENTICATED, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_HEADERS"),
        (StatusCode.PERMISSION_DENIED, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_HEADERS"),
        (StatusCode.UNIMPLEMENTED, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_each_status_has_its_verdict_after_one_request(grpc_backend, exporter, make_spans, said, code, verdict, fix):
    grpc_backend.answers = [(code, "said\nthe server")]

    outcome = exporter.deliver(make_spans(2))

    assert outcome.verdict is verdict
    assert f"localhost:{grpc_backend.port}" in outcome.detail
    assert fix in outcome.detail
    assert "\n" not in outcome.detail
    assert len(grpc_backend.requests) == 1
    assert said.others == []


def test_a_message_that_is_too_large_is_to_be_split(start_backend, make, make_spans, monkeypatch):
    monkeypatch.setattr(_backoff, "_FIRST", 0.01)  # the server closes the connection now and then
    small = start_backend(kind=GrpcBackend, options=[("grpc.max_receive_message_length", 10_000)])
    exporter = make(small.url)
    spans = make_spans(40, size=1000)

    assert exporter.deliver(spans).verdict is Verdict.SPLIT
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert small.taken == ids_of(spans)


@pytest.mark.parametrize("alone", [True, False])
def test_a_retry_info_is_read(grpc_backend, exporter, make_spans, alone):
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(7500)
    packed = AnyMessage()
    packed.Pack(info)
    trailer = (
        ("google.rpc.retryinfo-bin", info.SerializeToString())
        if alone
        else ("grpc-status-details-bin", Status(code=14, details=[packed]).SerializeToString())
    )
    grpc_backend.answers = [(StatusCode.UNAVAILABLE, "busy", trailer), (StatusCode.UNAVAILABLE, "busy")]

    assert exporter.deliver(make_spans()).retry_after == 7.5
    assert exporter.deliver(make_spans()).retry_after is None


def test_partial_success_counts_the_rejected_spans(grpc_backend, exporter, make_spans, said):
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "span too old"
    grpc_backend.answers = [response]

    assert exporter.export(make_spans(3)) is SpanExportResult.FAILURE

    assert exporter.lost_spans == 2
    assert len(said.lines) == 1
    assert "span too old" in said.lines[0]


def test_nobody_listens_and_then_somebody_does(free_port, start_backend, make, make_spans, said):
    exporter = make(f"http://localhost:{free_port}", patience=0.0)
    spans = make_spans()

    outcome = exporter.deliver(spans)
    assert outcome.verdict is Verdict.LATER
    assert str(free_port) in outcome.detail
    started = start_backend(free_port, kind=GrpcBackend)
    # It connects again by itself; gRPC itself would wait for up to two minutes after a long outage.
    done = threading.Event()
    while exporter.deliver(spans).verdict is not Verdict.DELIVERED:
        assert not done.wait(0.05)

    assert set(started.taken) == set(ids_of(spans))
    assert said.others == []


def test_a_server_that_never_answers_costs_the_timeout_of_one_attempt(make, make_spans):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        outcome = make(f"http://127.0.0.1:{hole.getsockname()[1]}", timeout=0.3).deliver(make_spans())

    assert outcome.verdict is Verdict.LATER


def test_a_slow_server_costs_the_timeout_of_one_attempt(grpc_backend, make, make_spans):
    over = threading.Event()

    def slow(_):
        over.wait(PATIENCE)
        return ExportTraceServiceResponse()

    grpc_backend.answers = [slow]
    outcome = make(grpc_backend.url, timeout=0.2).deliver(make_spans())
    over.set()

    assert outcome.verdict is Verdict.LATER
    assert "in time" in outcome.detail


def test_an_unknown_host_is_named(make, make_spans):
    outcome = make("http://collector.invalid:4317").deliver(make_spans())

    assert outcome.verdict in (Verdict.LATER, Verdict.MISCONFIGURED)
    assert "collector.invalid" in outcome.detail
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in outcome.detail


@pytest.mark.parametrize(
    ("scheme", "fix"), [("http", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"), ("https", "http:// for a server")]
)
def test_a_port_that_speaks_http_is_named(make, make_spans, scheme, fix):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        outcome = make(f"{scheme}://127.0.0.1:{server.server_port}").deliver(make_spans())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert outcome.verdict is Verdict.MISCONFIGURED
    assert fix in outcome.detail


def test_the_environment_is_obeyed(grpc_backend, make, make_spans, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.invalid:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", grpc_backend.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    spans = make_spans()
    exporter = make()

    assert exporter.deliver(spans).verdict is Verdict.DELIVERED

    assert exporter.endpoint == grpc_backend.url
    assert grpc_backend.requests[0][0]["api-key"] == "k1"
    assert grpc_backend.taken == ids_of(spans)


def test_settings_that_cannot_be_right_are_named(grpc_backend, make, make_spans, monkeypatch):
    with pytest.raises(ValueError, match="deflate"):
        make(compression="deflate")
    outcome = make(grpc_backend.url, {"Bad Header": "x"}).deliver(make_spans())
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "OTEL_EXPORTER_OTLP_HEADERS" in outcome.detail

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "snappy")
    outcome = make(grpc_backend.url).deliver(make_spans())
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "snappy" in outcome.detail


def test_nothing_is_sent_after_shutdown(grpc_backend, exporter, make_spans):
    exporter.deliver(make_spans())
    exporter.shutdown()
    exporter.shutdown()

    assert exporter.deliver(make_spans()).verdict is Verdict.LATER
    assert exporter.export(make_spans()) is SpanExportResult.FAILURE
    assert len(grpc_backend.requests) == 1
