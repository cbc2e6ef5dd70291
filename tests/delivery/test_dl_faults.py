"""Everything that can go wrong on the way, over real sockets: with a spool every span arrives in the end.

In each test the program goes on exporting while the fault lasts, so none of its calls waits for the server.
"""

import shutil
import socket
import ssl
import subprocess
import threading

import grpc
import pytest
from grpc import StatusCode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spanloom_otlp import GrpcSpanExporter, HttpSpanExporter, SpooledSpanExporter, _backoff, _sender

from .conftest import PATIENCE, Answer, Backend, GrpcBackend, eventually, ids_in, ids_of


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(_sender, "_LINGER", 0.01)
    monkeypatch.setattr(_backoff, "_FIRST", 0.01)
    monkeypatch.setattr(_backoff, "LONGEST", 0.02)
    monkeypatch.setattr(_backoff, "LONGEST_ASKED", 0.02)
    monkeypatch.setattr(_backoff, "MISCONFIGURED", 0.02)


@pytest.fixture
def run(tmp_path, make_spans):
    """`run(inner, there, failing, mend)`: export while it fails, mend, and see that everything arrives.

    Args of it:
        inner: the exporter.
        there: returns the ids of what has arrived.
        failing: waits until the fault has shown.
        mend: ends it.
    """
    spools = []

    def run(inner, there, failing, mend=lambda: None, *, twice=False):
        spool = SpooledSpanExporter(inner, tmp_path, patience=2.0)
        spools.append(spool)
        before, during, after = make_spans(20), make_spans(20), make_spans(5)
        spool.export(before)
        failing()
        for span in during:
            spool.export([span])
        mend()
        spool.export(after)
        eventually(spool.force_flush)
        wanted = ids_of([*before, *during, *after])
        arrived = there()
        assert set(arrived) == set(wanted)
        if not twice:
            assert arrived == wanted
        assert spool.tally.lost == {}
        spool.shutdown()
        assert list((tmp_path / "otlp").iterdir()) == []

    yield run
    for spool in spools:
        spool._patience = 0.1
        spool.shutdown()


def test_http_refused_connections_until_the_collector_starts(run, start_backend, free_port, said):
    started = []
    run(
        HttpSpanExporter(f"http://127.0.0.1:{free_port}/v1/traces", timeout=5),
        lambda: started[0].taken,
        lambda: eventually(lambda: said.lines),
        lambda: started.append(start_backend(free_port)),
    )


def test_grpc_refused_connections_until_the_collector_starts(run, start_backend, free_port, said):
    started = []
    run(
        GrpcSpanExporter(f"http://localhost:{free_port}", timeout=5),
        lambda: started[0].taken,
        lambda: eventually(lambda: said.lines),
        lambda: started.append(start_backend(free_port, kind=GrpcBackend)),
    )


@pytest.mark.parametrize("kind", [Backend, GrpcBackend])
def test_a_collector_that_restarts(run, start_backend, kind):
    first = start_backend(kind=kind)
    servers = [first]
    exporter = HttpSpanExporter if kind is Backend else GrpcSpanExporter

    def restart():
        eventually(lambda: len(first.taken) == 20)
        first.close()

    run(
        exporter(first.url, timeout=5),
        lambda: [one for server in servers for one in server.taken],
        restart,
        lambda: servers.append(start_backend(first.port, kind=kind)),
        twice=True,
    )


def test_http_resets_in_the_middle_of_an_answer(run, backend):
    backend.answers = [Answer(cut=True)] * 6
    run(
        HttpSpanExporter(backend.url, timeout=5),
        lambda: backend.taken,
        lambda: backend.wait(lambda: len(backend.requests) >= 3),
    )


def test_http_resets_in_the_middle_of_the_request(run, start_backend, free_port):
    """The server reads a part of what is sent and goes."""
    cut = threading.Event()
    started = []
    listening = socket.create_server(("127.0.0.1", free_port))

    def serve():
        for _ in range(3):
            connection, _ = listening.accept()
            connection.recv(10)
            connection.close()
        cut.set()
        listening.close()

    thread = threading.Thread(target=serve)
    thread.start()
    run(
        HttpSpanExporter(f"http://127.0.0.1:{free_port}/v1/traces", timeout=5),
        lambda: started[0].taken,
        lambda: cut.wait(PATIENCE),
        lambda: (thread.join(), started.append(start_backend(free_port))),
    )


@pytest.mark.parametrize("kind", [Backend, GrpcBackend])
def test_a_black_hole_takes_the_connection_and_never_answers(run, start_backend, free_port, said, kind):
    started = []
    hole = socket.create_server(("127.0.0.1", free_port), backlog=50)
    if kind is Backend:
        exporter = HttpSpanExporter(f"http://127.0.0.1:{free_port}/v1/traces", timeout=0.3)
    else:
        exporter = GrpcSpanExporter(f"http://127.0.0.1:{free_port}", timeout=0.3)

    def mend():
        hole.close()
        started.append(start_backend(free_port, kind=kind))

    run(exporter, lambda: started[0].taken, lambda: eventually(lambda: said.lines), mend, twice=True)


def test_http_slow_answers(run, backend):
    over = threading.Event()
    backend.answers = [Answer(before=lambda: over.wait(PATIENCE))]
    run(
        HttpSpanExporter(backend.url, timeout=0.3),
        lambda: backend.taken,
        lambda: backend.wait(lambda: len(backend.requests) >= 2),  # the first one has timed out
        over.set,
        twice=True,
    )


def test_grpc_slow_answers(run, grpc_backend):
    over = threading.Event()

    def slow(_):
        over.wait(PATIENCE)
        return ExportTraceServiceResponse()

    grpc_backend.answers = [slow]
    run(
        GrpcSpanExporter(grpc_backend.url, timeout=0.3),
        lambda: grpc_backend.taken,
        lambda: grpc_backend.wait(lambda: len(grpc_backend.requests) >= 2),
        over.set,
        twice=True,
    )


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {}),
        (403, {}),
        (404, {}),
        (408, {}),
        (429, {"Retry-After": "1"}),
        (429, {}),
        (500, {}),
        (502, {}),
        (503, {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
        (504, {}),
        (301, {"Location": "http://127.0.0.1:1/"}),
        (307, {"Location": "/elsewhere"}),
    ],
)
def test_http_statuses(run, backend, status, headers):
    backend.always = Answer(status, headers)

    def mend():
        backend.always = None

    run(
        HttpSpanExporter(backend.url, timeout=5),
        lambda: backend.taken,
        lambda: backend.wait(lambda: len(backend.requests) >= 2),
        mend,
    )


@pytest.mark.parametrize(
    "code",
    [
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
    ],
)
def test_grpc_statuses(run, grpc_backend, code):
    grpc_backend.always = (code, "no")

    def mend():
        grpc_backend.always = None

    run(
        GrpcSpanExporter(grpc_backend.url, timeout=5),
        lambda: grpc_backend.taken,
        lambda: grpc_backend.wait(lambda: len(grpc_backend.requests) >= 2),
        mend,
    )


def test_http_too_large(run, backend):
    backend.always = lambda request: Answer(413 if len(ids_in(request)) > 3 else 200)
    run(
        HttpSpanExporter(backend.url, timeout=5),
        lambda: backend.taken,
        lambda: backend.wait(lambda: len(backend.taken) >= 20),
    )


def test_http_spans_that_are_refused_are_put_aside_and_can_be_sent_later(backend, tmp_path, make_spans, capsys):
    from spanloom import cli

    spool = SpooledSpanExporter(HttpSpanExporter(backend.url, timeout=5), tmp_path)
    spans = make_spans(20)
    bad = {spans[7].context.span_id, spans[13].context.span_id}
    backend.always = lambda request: Answer(400 if bad & set(ids_in(request)) else 200)
    spool.export(spans)
    assert spool.force_flush()
    spool.shutdown()
    assert set(backend.taken) == set(ids_of(spans)) - bad

    backend.always = None
    code = cli.main(
        ["forward", str(tmp_path / "otlp"), "--to", "otlp", "--protocol", "http", "--endpoint", backend.url]
    )

    assert code == 0
    assert sorted(backend.taken) == sorted(ids_of(spans))


def test_http_a_host_that_is_not_known_for_a_while(run, backend, monkeypatch, said):
    resolve = socket.getaddrinfo
    known = []

    def resolving(host, *args, **options):
        if host == "collector.invalid":
            if not known:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = "127.0.0.1"
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    run(
        HttpSpanExporter(f"http://collector.invalid:{backend.port}/v1/traces", timeout=5),
        lambda: backend.taken,
        lambda: eventually(lambda: said.lines),
        lambda: known.append(True),
    )
    assert "collector.invalid" in said.lines[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of its own for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem "
        "-out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_http_a_certificate_that_nobody_trusts(run, start_backend, certificate, said, make_spans, monkeypatch):
    cert, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    server = start_backend(tls=tls)
    exporter = HttpSpanExporter(server.url, timeout=5)

    def trust():
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(cert))
        exporter._official = exporter._make()  # as a restart would

    run(exporter, lambda: server.taken, lambda: eventually(lambda: said.lines), trust)
    assert "certificate" in said.lines[0].lower()
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in said.lines[0]


def test_grpc_a_certificate_that_nobody_trusts(run, start_backend, certificate, said, monkeypatch):
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    server = start_backend(kind=GrpcBackend, credentials=credentials)
    exporter = GrpcSpanExporter(server.url, timeout=5)

    def trust():
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(cert))
        exporter._made = None

    run(exporter, lambda: server.taken, lambda: eventually(lambda: said.lines), trust)
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in said.lines[0]


def test_http_tls_to_a_server_without_it(run, backend, said):
    exporter = HttpSpanExporter(backend.url.replace("http:", "https:"), timeout=5)

    def mend():
        exporter._arguments["endpoint"] = backend.url
        exporter._official = exporter._make()

    run(exporter, lambda: backend.taken, lambda: eventually(lambda: said.lines), mend)
    assert "No TLS connection" in said.lines[0]
