"""A real OpenTelemetry agent (Rotel) between the program and a server of the test, which keeps what arrives."""

import contextlib
import gzip
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 30  # seconds, for things that take milliseconds


class Backend:
    """An OTLP/HTTP server that keeps the spans of each service; `address` is where it listens."""

    def __init__(self):
        self._arrived = threading.Condition()
        self._requests = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                backend._keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def _keep(self, request):
        with self._arrived:
            self._requests.append(request)
            self._arrived.notify_all()

    def spans(self, service, at_least):
        """The spans of a service, as plain values, once so many have arrived.

        Raises:
            AssertionError: they have not, within the time allowed.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._of(service)) >= at_least, PATIENCE)
            found = self._of(service)
        assert len(found) >= at_least, f"{len(found)} of {at_least} spans of {service} have arrived"
        return found

    def _of(self, service):
        found = []
        for request in self._requests:
            for resource in request.resource_spans:
                about = from_attributes(resource.resource.attributes)
                if about.get("service.name") == service:
                    found += [
                        from_protobuf(span) | {"scope": scope.scope.name, "resource": about}
                        for scope in resource.scope_spans
                        for span in scope.spans
                    ]
        return found


def from_value(value):
    """A protobuf AnyValue as a plain value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [from_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return from_attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def from_attributes(pairs):
    return {pair.key: from_value(pair.value) for pair in pairs}


def from_protobuf(span):
    """A protobuf span as a plain dict, ids as hex."""
    return {
        "name": span.name,
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "kind": span.kind,
        "flags": span.flags,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": from_attributes(span.attributes),
        "events": [(event.name, event.time_unix_nano, from_attributes(event.attributes)) for event in span.events],
        "links": [(link.trace_id.hex(), link.span_id.hex(), from_attributes(link.attributes)) for link in span.links],
        "status": (span.status.code, span.status.message),
    }


@pytest.fixture(scope="session")
def backend():
    """Where the agent sends everything to."""
    kept = Backend()
    thread = threading.Thread(target=kept.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield kept
    kept.server.shutdown()
    thread.join()
    kept.server.server_close()


class Agent:
    """The addresses of a running agent."""

    def __init__(self, grpc, http):
        self.grpc = f"http://127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"

    def answers(self):
        """Whether both of its doors are open."""
        for address in (self.grpc, self.http):
            host, port = address.removeprefix("http://").split(":")
            with contextlib.closing(socket.socket()) as probe:
                probe.settimeout(1)
                if probe.connect_ex((host, int(port))):
                    return False
        return True

    def post_json(self, line):
        """Send one line of OTLP/JSON as it is; returns the HTTP status."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.http}/v1/traces", line, headers, method="POST")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code


def _free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="session")
def agent(backend, rotel, tmp_path_factory):
    """A running Rotel that forwards to `backend`."""
    program, env = rotel
    log = tmp_path_factory.mktemp("rotel") / "log"
    for _ in range(3):  # another process may take a port between our finding it free and Rotel's opening it
        grpc, http = _free_ports(2)
        command = [
            *(program, "start"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"),
            *("--exporter", "otlp", "--otlp-exporter-endpoint", backend.address, "--otlp-exporter-protocol", "http"),
            *("--batch-timeout", "50ms", "--otlp-exporter-retry-initial-backoff", "100ms"),
        ]
        with log.open("ab") as out:
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            running, deadline = Agent(grpc, http), time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < deadline:
                if running.answers():
                    yield running
                    return
                time.sleep(0.02)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    pytest.fail(f"Rotel did not start:\n{log.read_text(errors='replace')}")
