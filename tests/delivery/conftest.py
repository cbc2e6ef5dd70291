"""What the delivery tests share: a loopback server that misbehaves on demand, and real SDK spans."""

import contextlib
import gzip
import logging
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PATIENCE = 30  # seconds, for things that take milliseconds


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """Nothing of the machine's own set-up."""
    import os

    for name in list(os.environ):
        if name.startswith(("OTEL_", "SPANLOOM_", "LANGFUSE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Answer:
    """How the server treats one request; the default takes the spans."""

    def __init__(self, status=200, headers=None, body=b"", *, kind="application/x-protobuf", before=None, cut=False):
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.kind = kind
        self.before = before  # called when the request is there, before the answer
        self.cut = cut  # reset the connection after half of the body


class Backend:
    """An OTLP/HTTP server on loopback; `answers` are used up one by one, then every request is taken.

    Attributes:
        requests: (path, headers, request) of each, as protobuf.
        taken: the ids of the spans of requests that got a 2xx, in their order.
    """

    def __init__(self, port=0, *, always=None, tls=None):
        self.answers = []
        self.always = always
        self.requests = []
        self.taken = []
        self._changed = threading.Condition()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                backend._serve(self)

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # clients that went away

        self.server = Server(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/v1/traces"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        encoding = handler.headers.get("Content-Encoding")
        plain = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body) if encoding else body
        request = ExportTraceServiceRequest.FromString(plain)
        with self._changed:
            answer = self.answers.pop(0) if self.answers else self.always or Answer()
            if callable(answer):
                answer = answer(request)
            self.requests.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}, request))
            self._changed.notify_all()
        if answer.before is not None:
            answer.before()
        if 200 <= answer.status < 300 and not answer.cut:
            with self._changed:
                self.taken += ids_in(request)
                self._changed.notify_all()
        if answer.cut:
            handler.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Le")
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
            return
        with contextlib.suppress(OSError):
            handler.send_response(answer.status)
            handler.send_header("Content-Type", answer.kind)
            handler.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(answer.body)

    def wait(self, condition, patience=PATIENCE):
        """Wait until `condition()` is true; it is asked each time something arrives.

        Raises:
            AssertionError: it is not, within the time allowed.
        """
        with self._changed:
            assert self._changed.wait_for(condition, patience), (
                f"{len(self.requests)} requests, {len(self.taken)} taken"
            )

    def close(self):
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class GrpcBackend:
    """An OTLP/gRPC server on loopback; `answers` are used up one by one, then every request is taken.

    An answer is a status code with details and trailing metadata, or a response. `options` are the server's.
    """

    def __init__(self, port=0, *, always=None, credentials=None, options=()):
        self.answers = []
        self.always = always
        self.requests = []
        self.taken = []
        self._changed = threading.Condition()
        backend = self

        class Service(trace_service_pb2_grpc.TraceServiceServicer):
            def Export(self, request, context):
                return backend._serve(request, context)

        self.server = grpc.server(ThreadPoolExecutor(4), options=options)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), self.server)
        address = f"localhost:{port}"
        if credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, credentials)
        self.url = f"{'http' if credentials is None else 'https'}://localhost:{self.port}"
        self.server.start()

    def _serve(self, request, context):
        with self._changed:
            answer = self.answers.pop(0) if self.answers else self.always or ExportTraceServiceResponse()
            self.requests.append((dict(context.invocation_metadata()), request))
            self._changed.notify_all()
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, ExportTraceServiceResponse):
            with self._changed:
                self.taken += ids_in(request)
                self._changed.notify_all()
            return answer
        code, details, *trailers = answer
        context.set_trailing_metadata(tuple(trailers))
        return context.abort(code, details)

    wait = Backend.wait

    def close(self):
        """Stop listening."""
        self.server.stop(None).wait()


def eventually(condition, patience=PATIENCE):
    """Wait until `condition()` is true, for what tells nobody when it happens."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.005)


def ids_in(request):
    """The span ids of a protobuf request, as numbers."""
    return [
        int.from_bytes(span.span_id, "big")
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def ids_of(spans):
    """The ids of SDK spans."""
    return [span.context.span_id for span in spans]


@pytest.fixture
def start_backend():
    """A function that starts a `Backend`; all are closed at the end."""
    started = []

    def start(*args, kind=Backend, **options):
        started.append(kind(*args, **options))
        return started[-1]

    yield start
    for backend in started:
        with contextlib.suppress(OSError):
            backend.close()


@pytest.fixture
def backend(start_backend):
    """An OTLP/HTTP server."""
    return start_backend()


@pytest.fixture
def grpc_backend(start_backend):
    """An OTLP/gRPC server."""
    return start_backend(kind=GrpcBackend)


@pytest.fixture
def make_spans():
    """`make_spans(3, size=1000)`: ended SDK spans with a text attribute of that many characters."""
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("tests", "1.0")

    def make(count=1, *, name="span", size=10, **attributes):
        for number in range(count):
            tracer.start_span(name, attributes={"n": number, "text": "x" * size, **attributes}).end()
        spans = kept.get_finished_spans()
        kept.clear()
        return spans

    return make


@pytest.fixture
def said(caplog):
    """The lines that the package has logged, and those of the official exporters, which should be none."""

    class Said:
        @property
        def lines(self):
            return [r.getMessage() for r in caplog.records if r.name in ("spanloom_otlp", "spanloom")]

        @property
        def others(self):
            return [r.getMessage() for r in caplog.records if r.name.startswith("opentelemetry")]

    with caplog.at_level(logging.INFO):
        yield Said()


@pytest.fixture
def free_port():
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
