"""Whether an endpoint takes a test span: every way in which it may not, with the one line that says what to do."""

import os

import grpc as grpc_library
import pytest

from spanloom.doctor import otlp, wire
from spanloom.doctor.finding import FAIL, OK, WARN

SECONDS = 5


def tried(protocol="http/protobuf", seconds=SECONDS):
    """What the doctor says about the endpoint of the environment."""
    said = otlp.tried(otlp.endpoint(os.environ, protocol), seconds)
    assert "\n" not in said.text
    return said


def test_http_that_takes_it(env, http):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)
    said = tried()

    assert said.level == OK
    assert said.text.startswith(f"otlp (http/protobuf) to {http.url}/v1/traces: a test span was taken in ")
    assert http.spans == ["spanloom doctor"]


def test_grpc_that_takes_it(env, grpc):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.url)
    said = tried("grpc")

    assert said.level == OK
    assert grpc.spans == ["spanloom doctor"]


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (401, {}, b"", "401 Unauthorized. Check OTEL_EXPORTER_OTLP_HEADERS"),
        (403, {}, b"", "403 Forbidden. Check OTEL_EXPORTER_OTLP_HEADERS"),
        (404, {}, b"", "404 Not Found: no OTLP traces are taken there. Check OTEL_EXPORTER_OTLP_ENDPOINT"),
        (302, {"Location": "https://x.example/login?token=t"}, b"", "a redirect to https://x.example/login"),
        (415, {}, b"", "415 Unsupported Media Type"),
        (400, {"Content-Type": "text/plain"}, b"bad\nspan", "400 Bad Request: bad span."),
        (503, {}, b"", "503 Service Unavailable."),
        (200, {"Content-Type": "text/html"}, b"<html>", "answers with a web page"),
    ],
)
def test_http_that_does_not(env, http, status, headers, body, said):
    http.answer = (status, headers, body)
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)
    found = tried()

    assert found.level == FAIL
    assert said in found.text
    assert "set " not in found.text.lower().replace("set otel_exporter_otlp_endpoint to the final", "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc_library.StatusCode.UNAUTHENTICATED, "Check OTEL_EXPORTER_OTLP_HEADERS"),
        (grpc_library.StatusCode.UNIMPLEMENTED, "No OTLP traces are taken there"),
        (grpc_library.StatusCode.UNAVAILABLE, "No connection"),
    ],
)
def test_grpc_that_does_not(env, grpc, code, said):
    grpc.code = code
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.url)
    found = tried("grpc")

    assert found.level == FAIL
    assert said in found.text


def test_one_that_throws_it_away(env, grpc):
    grpc.rejected = 1
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.url)
    found = tried("grpc")

    assert found.level == FAIL
    assert "has rejected 1 spans" in found.text


def test_http_at_a_port_for_grpc(env, grpc):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.url)
    found = tried()

    assert found.level == FAIL
    assert found.text.endswith("gRPC is spoken there: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc.")


def test_grpc_at_a_port_for_http(env, http):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)
    found = tried("grpc")

    assert found.level == FAIL
    assert found.text.endswith("HTTP is spoken there: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.")


def test_tls_where_there_is_none(env, http):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url.replace("http:", "https:"))
    found = tried()

    assert found.level == FAIL
    assert found.text.endswith(f"No TLS is spoken there: set OTEL_EXPORTER_OTLP_ENDPOINT={http.url}.")


def test_no_tls_where_there_is_some(env, https):
    env.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", https.url.replace("https:", "http:") + "/v1/traces")
    found = tried()

    assert found.level == FAIL
    assert found.text.endswith(f"TLS is spoken there: set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={https.url}/v1/traces.")


def test_a_certificate_that_nobody_trusts(env, https):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", https.url)
    found = tried()

    assert found.level == FAIL
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in found.text
    assert "spoken there" not in found.text


@pytest.mark.parametrize("given", ["127.0.0.1:{port}", "https://127.0.0.1:{port}"])
def test_grpc_without_a_scheme_is_tls(env, grpc, given):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", given.format(port=grpc.port))
    found = tried("grpc")

    assert found.level == FAIL
    assert f"No TLS is spoken there: set OTEL_EXPORTER_OTLP_ENDPOINT={grpc.url}." in found.text


def test_what_has_decided_about_tls_is_named(env, grpc):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"127.0.0.1:{grpc.port}")
    env.setenv("OTEL_EXPORTER_OTLP_INSECURE", "false")
    assert "set OTEL_EXPORTER_OTLP_INSECURE=true." in tried("grpc").text

    env.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    assert tried("grpc").level == OK


def test_nobody_is_there(env, nobody):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody}")
    for protocol in ("http/protobuf", "grpc"):
        found = tried(protocol)

        assert found.level == FAIL
        assert "No connection to " in found.text
        assert "spoken there" not in found.text


def test_a_host_that_is_not_known(env):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://nowhere.invalid:4318")
    found = tried()

    assert found.level == FAIL
    assert "nowhere.invalid" in found.text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in found.text


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_one_that_says_nothing(env, silent, protocol):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent}")
    found = tried(protocol, seconds=0.1)

    assert found.level == FAIL
    assert "answer" in found.text or "No connection" in found.text


def test_the_own_endpoint_of_traces_is_taken_as_it_is(env, http):
    http.answer = (404, {}, b"")
    env.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", http.url)
    assert tried().text.endswith(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is taken as it is: its path is usually /v1/traces."
    )

    http.answer = (401, {}, b"")
    assert "taken as it is" not in tried().text

    http.answer = (404, {}, b"")
    env.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{http.url}/v1/traces")
    assert tried().text.endswith("/v1/traces is added to OTEL_EXPORTER_OTLP_ENDPOINT: leave it out there.")


def test_addresses_are_shown_without_credentials(env, http):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url.replace("//", "//user:hunter2@"))
    http.answer = (401, {}, b"")

    assert "hunter2" not in tried().text
    assert "hunter2" not in tried("grpc", seconds=1).text


def test_a_warning_of_the_backends_is_one(env, http):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    response.partial_success.error_message = "this endpoint goes away"
    http.answer = (200, {"Content-Type": "application/x-protobuf"}, response.SerializeToString())
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)
    found = tried()

    assert found.level == WARN
    assert "this endpoint goes away" in found.text


def test_what_a_port_speaks(http, https, grpc, silent, nobody):
    assert wire.spoken("127.0.0.1", http.port, 5) == wire.Spoken(tls=False, protocols=frozenset({wire.HTTP1}))
    assert wire.spoken("127.0.0.1", https.port, 5) == wire.Spoken(tls=True, protocols=frozenset({wire.HTTP1}))
    assert wire.spoken("127.0.0.1", grpc.port, 5) == wire.Spoken(tls=False, protocols=frozenset({wire.HTTP2}))
    assert wire.spoken("127.0.0.1", silent, 0.05) is None
    assert wire.spoken("127.0.0.1", nobody, 5) is None
