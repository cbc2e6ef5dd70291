"""One attempt over HTTP: what each answer, and the lack of one, means; what is sent, and what is not."""

import socket

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_otlp import HttpSpanExporter, Verdict

from .conftest import Answer, ids_in, ids_of


@pytest.fixture
def exporter(backend):
    made = HttpSpanExporter(backend.url, timeout=5)
    yield made
    made.shutdown()


def test_spans_are_delivered_as_the_official_exporter_sends_them(backend, exporter, make_spans, said):
    spans = make_spans(3)

    outcome = exporter.deliver(spans)

    assert outcome.verdict is Verdict.DELIVERED
    assert backend.taken == ids_of(spans)
    path, headers, request = backend.requests[0]
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["user-agent"].startswith("OTel-OTLP-Exporter-Python/")
    assert request.resource_spans[0].resource.attributes[0].value.string_value == "tests"
    assert said.lines == said.others == []


@pytest.mark.parametrize(
    ("status", "verdict", "fix"),
    [
        (400, Verdict.REFUSED, ""),
        (422, Verdict.REFUSED, ""),
        (401, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_HEADERS"),
        (403, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_HEADERS"),
        (404, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (405, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (415, Verdict.MISCONFIGURED, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (408, Verdict.LATER, ""),
        (413, Verdict.SPLIT, "smaller"),
        (429, Verdict.LATER, ""),
        (500, Verdict.LATER, ""),
        (502, Verdict.LATER, ""),
        (503, Verdict.LATER, ""),
        (504, Verdict.LATER, ""),
        (599, Verdict.LATER, ""),
    ],
)
def test_each_status_has_its_verdict_after_one_request(backend, exporter, make_spans, said, status, verdict, fix):
    backend.answers = [Answer(status)]

    outcome = exporter.deliver(make_spans(2))

    assert outcome.verdict is verdict
    assert str(status) in outcome.detail
    assert backend.url in outcome.detail
    assert fix in outcome.detail
    assert len(backend.requests) == 1
    assert said.others == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_no_delivery_and_is_not_followed(backend, start_backend, exporter, make_spans, status):
    elsewhere = start_backend()
    backend.answers = [Answer(status, {"Location": f"{elsewhere.url}?token=secret"})]

    outcome = exporter.deliver(make_spans())

    assert outcome.verdict is Verdict.MISCONFIGURED
    assert elsewhere.url in outcome.detail
    assert "secret" not in outcome.detail
    assert elsewhere.requests == []


@pytest.mark.parametrize(("value", "least", "most"), [("7", 7, 7), ("1.5", 1.5, 1.5), ("soon", None, None)])
def test_retry_after_in_seconds(backend, exporter, make_spans, value, least, most):
    backend.answers = [Answer(429, {"Retry-After": value})]

    outcome = exporter.deliver(make_spans())

    assert outcome.verdict is Verdict.LATER
    assert (outcome.retry_after, outcome.retry_after) == (least, most)


def test_retry_after_as_a_date(backend, exporter, make_spans):
    backend.answers = [
        Answer(503, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}),
        Answer(503, {"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}),
    ]

    assert exporter.deliver(make_spans()).retry_after > 1e9
    assert exporter.deliver(make_spans()).retry_after == 0.0


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json", "text/plain"])
def test_what_the_server_says_is_passed_on_in_one_line(backend, exporter, make_spans, kind):
    body = b"bad\nids\x00 here." + b"x" * 100_000
    if kind == "application/x-protobuf":
        body = Status(message="bad\nids here.").SerializeToString()
    backend.answers = [Answer(400, body=body, kind=kind)]

    outcome = exporter.deliver(make_spans())

    assert "bad ids here." in outcome.detail
    assert "\n" not in outcome.detail
    assert len(outcome.detail) < 600


def test_a_web_page_is_no_delivery(backend, exporter, make_spans):
    backend.answers = [Answer(200, body=b"<html>Sign in</html>", kind="text/html; charset=utf-8")]

    outcome = exporter.deliver(make_spans())

    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in outcome.detail


@pytest.mark.parametrize("as_json", [False, True])
def test_partial_success_counts_the_rejected_spans_and_is_said_once(backend, exporter, make_spans, said, as_json):
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "span too old"
    answer = Answer(body=response.SerializeToString())
    if as_json:
        body = b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"span too old","new":1}}'
        answer = Answer(body=body, kind="application/json")
    backend.answers = [answer] * 2

    assert exporter.export(make_spans(3)) is SpanExportResult.FAILURE
    assert exporter.export(make_spans(3)) is SpanExportResult.FAILURE

    assert exporter.lost_spans == 4
    assert len(backend.requests) == 2
    assert len(said.lines) == 1
    assert "2 spans" in said.lines[0]
    assert "span too old" in said.lines[0]


def test_any_other_body_of_a_success_is_a_success(backend, exporter, make_spans):
    backend.answers = [
        Answer(202, body=b"\xff\xff\xff"),
        Answer(body=b'{"name":"otel-ingestion-job"}', kind="application/json"),
        Answer(body=b"{partialSuccess", kind="application/json"),
        Answer(204, kind="text/plain"),
    ]

    assert {exporter.deliver(make_spans()).verdict for _ in range(4)} == {Verdict.DELIVERED}


def test_the_status_counts_and_not_a_broken_body(backend, exporter, make_spans):
    spans = make_spans()
    backend.answers = [Answer(200, {"Content-Encoding": "gzip"}, b"no gzip at all", kind="text/plain")]

    assert exporter.deliver(spans).verdict is Verdict.DELIVERED
    assert len(backend.requests) == 1


def test_nobody_listens(free_port, make_spans, said):
    exporter = HttpSpanExporter(f"http://user:secret@127.0.0.1:{free_port}/v1/traces?key=secret", timeout=5)

    outcome = exporter.deliver(make_spans())

    assert outcome.verdict is Verdict.LATER
    assert f"http://127.0.0.1:{free_port}/v1/traces" in outcome.detail
    assert "refused" in outcome.detail
    assert "secret" not in outcome.detail
    assert said.others == []


def test_a_stale_connection_is_made_anew_at_once(backend, exporter, make_spans):
    spans = make_spans()
    backend.answers = [Answer(), Answer(cut=True)]

    assert exporter.deliver(make_spans()).verdict is Verdict.DELIVERED
    assert exporter.deliver(spans).verdict is Verdict.DELIVERED
    assert backend.taken[-1:] == ids_of(spans)


def test_resets_without_end_are_for_later(backend, exporter, make_spans):
    backend.always = Answer(cut=True)

    assert exporter.deliver(make_spans()).verdict is Verdict.LATER
    assert len(backend.requests) == 2


def test_a_server_that_never_answers_costs_the_timeout_of_one_attempt(make_spans):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        exporter = HttpSpanExporter(f"http://127.0.0.1:{hole.getsockname()[1]}/v1/traces", timeout=0.2)

        outcome = exporter.deliver(make_spans())

    assert outcome.verdict is Verdict.LATER
    assert "in time" in outcome.detail


def test_an_unknown_host_is_named(make_spans):
    exporter = HttpSpanExporter("http://collector.invalid:4318/v1/traces", timeout=5)

    outcome = exporter.deliver(make_spans())

    assert outcome.verdict in (Verdict.LATER, Verdict.MISCONFIGURED)
    assert "collector.invalid" in outcome.detail
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in outcome.detail


@pytest.mark.parametrize(
    ("code", "verdict"), [(socket.EAI_NONAME, Verdict.MISCONFIGURED), (socket.EAI_AGAIN, Verdict.LATER)]
)
def test_a_name_that_is_wrong_and_a_network_that_is_away_differ(make_spans, monkeypatch, code, verdict):
    def resolve(*_args, **_options):
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert HttpSpanExporter("http://collector:4318/v1/traces").deliver(make_spans()).verdict is verdict


@pytest.mark.parametrize(
    ("endpoint", "headers"),
    [("localhost:4318", {}), ("http://", {}), ("http://127.0.0.1:1/", {"x": "a\nb"}), ("ftp://127.0.0.1/", {})],
)
def test_settings_that_cannot_be_right_are_named(make_spans, endpoint, headers):
    outcome = HttpSpanExporter(endpoint, headers).deliver(make_spans())

    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in outcome.detail


@pytest.mark.parametrize(
    ("endpoint", "headers"),
    [
        ("http://me:secret@/v1/traces?key=secret", {}),
        ("me:secret@127.0.0.1:4318", {}),
        ("http://127.0.0.1:1/v1/traces", {"authorization": "Bearer secret\nx"}),
        ("http://me:secret@127.0.0.1:1/v1/traces?key=secret#secret", {"api-key": "secret"}),
        ("http://me:secret@collector.invalid/v1/traces?key=secret", {"api-key": "secret"}),
    ],
)
def test_no_message_has_a_secret_in_it(make_spans, endpoint, headers):
    exporter = HttpSpanExporter(endpoint, headers, timeout=2)

    outcome = exporter.deliver(make_spans())

    assert outcome.verdict is not Verdict.DELIVERED
    assert "secret" not in outcome.detail
    assert "secret" not in exporter.endpoint


def test_a_missing_certificate_file_is_named(make_spans, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")

    outcome = HttpSpanExporter("https://127.0.0.1:1/v1/traces").deliver(make_spans())

    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in outcome.detail


def test_a_dead_proxy_is_named(free_port, make_spans, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")

    outcome = HttpSpanExporter("http://collector.invalid/v1/traces").deliver(make_spans())

    assert outcome.verdict is Verdict.LATER
    assert "HTTP_PROXY" in outcome.detail


def test_the_environment_is_obeyed(backend, make_spans, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url.removesuffix("/v1/traces"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k%3D1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    spans = make_spans()

    assert HttpSpanExporter().deliver(spans).verdict is Verdict.DELIVERED

    path, headers, request = backend.requests[0]
    assert (path, headers["api-key"], headers["content-encoding"]) == ("/v1/traces", "k=1", "gzip")
    assert ids_in(request) == ids_of(spans)


def test_only_the_own_headers_are_sent_where_this_is_asked(backend, make_spans, monkeypatch, tmp_path):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=other,authorization=Bearer other,user-agent=other")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/nowhere/client.pem")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    exporter = HttpSpanExporter(
        backend.url, {"Authorization": "Basic mine", "X-Version": "4"}, only_headers=True, compression="gzip"
    )

    assert exporter.deliver(make_spans()).verdict is Verdict.DELIVERED

    headers = backend.requests[0][1]
    assert headers["authorization"] == "Basic mine"
    assert headers["x-version"] == "4"
    assert headers["content-encoding"] == "gzip"
    assert headers["user-agent"].startswith("OTel-OTLP-Exporter-Python/")
    assert "other" not in str(headers)


def test_a_span_that_cannot_be_encoded_is_refused_alone(backend, exporter, make_spans, said):
    before, (bad,), after = make_spans(2), make_spans(name="\ud800"), make_spans(2)

    assert exporter.export([*before, bad, *after]) is SpanExportResult.FAILURE

    assert exporter.lost_spans == 1
    assert sorted(backend.taken) == sorted(ids_of([*before, *after]))
    assert [line for line in said.lines if "cannot be written as OTLP" in line]


def test_nothing_is_sent_for_no_spans_or_after_shutdown(backend, exporter, make_spans):
    assert exporter.deliver([]).verdict is Verdict.DELIVERED
    exporter.shutdown()
    exporter.shutdown()

    assert exporter.deliver(make_spans()).verdict is not Verdict.DELIVERED
    assert exporter.export(make_spans()) is SpanExportResult.FAILURE
    assert backend.requests == []


def test_the_sdks_own_metrics_count_failures(backend, make_spans, monkeypatch):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from spanloom_otlp import _http

    if "_metrics" not in vars(OTLPSpanExporter(backend.url)):
        pytest.skip("this OpenTelemetry SDK's exporters have no metrics of their own")
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    monkeypatch.setattr(_http, "OTLPSpanExporter", lambda **given: OTLPSpanExporter(**given, meter_provider=meters))
    backend.answers = [Answer(500)]
    exporter = HttpSpanExporter(backend.url)
    exporter.deliver(make_spans(2))
    exporter.deliver(make_spans(3))

    points = {
        point.attributes.get("error.type"): point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "otel.sdk.exporter.span.exported"
        for point in metric.data.data_points
    }
    assert points == {"DeliveryError": 2, None: 3}
