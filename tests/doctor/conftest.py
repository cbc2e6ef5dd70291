"""What the doctor's tests share: servers on loopback that are what an endpoint may be, and an empty environment."""

import contextlib
import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from spanloom import config

# For localhost, by itself, until 2126; it guards nothing.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqssTkp3WM9bGmpjk
/Fp6ATpaJ2MgGfdn5o0TotfTsK6hRANCAAT1ufYdqMDtVxfFGX08ytgD2li/liuS
OTz/BuoZM706MKmbv3jBkPpgTFmRe3KbiRYfxVCfAV0uiaZ2eAwC1xyt
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUey81uMoJ+QWjpWtgacPkmsYY/CUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE4MTQzNFoYDzIxMjYxMDI4
MTgxNDM0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT1ufYdqMDtVxfFGX08ytgD2li/liuSOTz/BuoZM706MKmbv3jBkPpg
TFmRe3KbiRYfxVCfAV0uiaZ2eAwC1xyto28wbTAdBgNVHQ4EFgQUP6vrbvP0hCCD
8amghe7+NhqiZWwwHwYDVR0jBBgwFoAUP6vrbvP0hCCD8amghe7+NhqiZWwwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgHVtzQpp09jBbOE2mzHjiWFs5FCGZDxY4wnt/uzOLmpsCIDsV
DM4DQ6KiPB0y2eLsQVmlW6SoklTTt+wmw4L9FrTs
-----END CERTIFICATE-----
"""


@pytest.fixture(autouse=True)
def env(monkeypatch):
    """The environment, with nothing of the machine's own set-up in it; settings are read anew."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "SPANLOOM_", "LANGFUSE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    config.activate(None)
    yield monkeypatch
    config.activate(None)


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """A TLS context for servers, of a certificate that nobody trusts."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class Http:
    """An OTLP/HTTP server; what a request gets is `answer`: status, headers, body.

    Attributes:
        spans: the names of the spans that have arrived.
        headers: of the last request.
    """

    def __init__(self, tls=None):
        self.answer = (200, {"Content-Type": "application/x-protobuf"}, b"")
        self.spans, self.headers = [], {}
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                here.headers = {name.lower(): value for name, value in self.headers.items()}
                here.spans += names(ExportTraceServiceRequest.FromString(body))
                status, headers, said = here.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # clients that speak otherwise

            def finish_request(self, request, client_address):
                secure = request
                if tls is not None:  # here, so that one that says nothing does not stop the others
                    request.settimeout(5)
                    secure = tls.wrap_socket(request, server_side=True)
                super().finish_request(secure, client_address)
                if secure is not request:
                    secure.close()

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self):
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def names(request):
    """The names of the spans in an OTLP request."""
    return [span.name for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


class Grpc:
    """An OTLP/gRPC server; what a call gets is `code`, or the `rejected` of a partial success."""

    def __init__(self):
        self.spans, self.code, self.rejected = [], None, 0
        here = self

        class Servicer(TraceServiceServicer):
            def Export(self, request, context):
                here.spans += names(request)
                if here.code is not None:
                    context.abort(here.code, "no")
                response = ExportTraceServiceResponse()
                response.partial_success.rejected_spans = here.rejected
                return response

        self._pool = ThreadPoolExecutor(2)
        self.server = grpc.server(self._pool)
        add_TraceServiceServicer_to_server(Servicer(), self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self.port}"
        self.server.start()

    def close(self):
        """Stop listening."""
        self.server.stop(None).wait()
        self._pool.shutdown()


@pytest.fixture
def http():
    with contextlib.closing(Http()) as server:
        yield server


@pytest.fixture
def https(tls):
    with contextlib.closing(Http(tls)) as server:
        yield server


@pytest.fixture(name="grpc")
def _grpc():
    with contextlib.closing(Grpc()) as server:
        yield server


@pytest.fixture
def silent():
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def nobody():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
