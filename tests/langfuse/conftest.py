"""A server that answers as Langfuse's OTLP endpoint does, and a reader of what it stores, made from its source's rules.

Both follow Langfuse 4.16.0: `web/src/pages/api/public/otel/v1/traces`, `packages/shared/src/server/otel`,
`packages/shared/src/server/ingestion/types.ts` and `web/src/features/trace-graph-view`.
"""

import base64
import gzip
import json
import re
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanloom_langfuse import LangfuseSpanExporter

PATIENCE = 30  # seconds, for things that take milliseconds
PUBLIC, SECRET = "pk-lf-tests", "sk-lf-tests"
PATH = "/api/public/otel/v1/traces"

TYPES = {"span", "generation", "event", "embedding", "agent", "tool", "chain", "retriever", "guardrail", "evaluator"}
OPERATIONS = {
    **dict.fromkeys(("chat", "completion", "text_completion", "generate_content", "generate"), "generation"),
    **dict.fromkeys(("invoke_agent", "create_agent"), "agent"),
    "embeddings": "embedding",
    "execute_tool": "tool",
}
MODELS = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "model")
LEVELS = {"DEBUG": "DEBUG", "INFO": "DEFAULT", "DEFAULT": "DEFAULT", "WARNING": "WARNING", "ERROR": "ERROR"}


class Langfuse:
    """The endpoint.

    Attributes:
        address: its base URL.
        requests: path, headers and body (decompressed) of each request.
        answers: what the next requests are answered, as (status, headers), in place of what they deserve.
        observations: what was taken, one `Observation` for each span.
    """

    def __init__(self):
        self.requests = []
        self.answers = []
        self.observations = []
        self._arrived = threading.Condition()
        langfuse = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, answer = langfuse.answer(self.path, self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path, headers, body):
        with self._arrived:
            self.requests.append((path, headers, body))
            if self.answers:
                status, more = self.answers.pop(0)
                return status, {"Content-Type": "application/json", **more}, b'{"message":"made up"}'
            status, answer = self._take(path, headers, body)
            self._arrived.notify_all()
        kind = "text/html" if status == 404 else "application/json"
        return status, {"Content-Type": kind}, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def _take(self, path, headers, body):
        if path != PATH:
            return 404, b"<!DOCTYPE html><title>404</title>"
        scheme, _, credentials = headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            return 403, {"message": "Access denied: Bearer auth and org api keys are not allowed to access"}
        # The secret key alone is looked up.
        if scheme != "Basic" or base64.b64decode(credentials).decode().partition(":")[2] != SECRET:
            return 401, {"message": "Invalid credentials. Confirm that you've configured the correct host."}
        version = headers.get("x-langfuse-ingestion-version", "4")
        if not version.isdigit() or int(version) > 4:
            return 400, {"error": "Invalid ingestion version"}
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if "application/x-protobuf" not in headers.get("Content-Type", ""):
            return 400, {"error": "Invalid content type"}
        try:
            request = ExportTraceServiceRequest.FromString(body)
        except Exception:
            return 400, {"error": "Failed to parse OTel Protobuf Trace"}
        spans = list(each_span(request))
        if not all(span.trace_id and span.span_id for _, _, span in spans):
            return 400, {"error": "Invalid span: absent id"}
        self.observations += [Observation(resource, scope, span) for resource, scope, span in spans]
        return 200, {"id": "1", "name": "otel-ingestion-job", "data": {}}

    def wait_for(self, number):
        """The observations, once there are so many.

        Raises:
            AssertionError: there are not, within the time allowed.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.observations) >= number, PATIENCE)
        assert len(self.observations) >= number, f"{len(self.observations)} of {number} spans have arrived"
        return self.observations

    def called(self, name):
        """The one observation of that name."""
        (found,) = (one for one in self.observations if one.name == name)
        return found


def each_span(request):
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield resource.resource, scope.scope, span


def plain(value):
    """A protobuf AnyValue as the server sees it: what it does not know becomes JSON text of the wire's form."""
    kind = value.WhichOneof("value")
    if kind == "array_value" and value.array_value.values:
        return [plain(item) for item in value.array_value.values]
    if kind in ("array_value", "kvlist_value", "bytes_value", None):
        return json.dumps({"arrayValue": {}} if kind == "array_value" else {str(kind): "?"})
    return getattr(value, kind)


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


class Observation:
    """What the server makes of a span: `OtelIngestionProcessor.processToEvent`, as far as it concerns ours."""

    def __init__(self, resource, scope, span):
        self.raw = own = attributes(span.attributes)
        about = attributes(resource.attributes)
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex() or None
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.type = self._type(own)
        self.name = own.get("gen_ai.tool.name") or span.name
        self.input, self.output = self._io(own)
        self.level = LEVELS.get(own.get("langfuse.observation.level"), "ERROR" if span.status.code == 2 else "DEFAULT")
        self.status_message = own.get("langfuse.observation.status_message", span.status.message or None)
        self.model = next((own[key] for key in MODELS if own.get(key)), None)
        self.parameters = json.loads(own.get("langfuse.observation.model.parameters", "null"))
        self.usage, self.cost = (self._buckets(own, key) for key in ("usage_details", "cost_details"))
        self.first_token = own.get("langfuse.observation.completion_start_time")
        self.user = own.get("user.id")
        self.session = own.get("session.id") or str(own.get("gen_ai.conversation.id") or "") or None
        self.tags = own.get("langfuse.trace.tags") or []
        self.trace_name = own.get("langfuse.trace.name")
        self.environment = own.get("langfuse.environment") or about.get("deployment.environment.name", "default")
        self.release = own.get("langfuse.release")
        self.version = own.get("langfuse.version") or about.get("service.version")
        self.prompt = own.get("langfuse.observation.prompt.name"), own.get("langfuse.observation.prompt.version")
        self.app_root = own.get("langfuse.internal.is_app_root") is True
        self.metadata = {
            key.partition("metadata.")[2]: value
            for key, value in own.items()
            if key.startswith(("langfuse.observation.metadata.", "langfuse.trace.metadata."))
        }
        self._check_types()

    @staticmethod
    def _type(own):
        given = own.get("langfuse.observation.type")
        if given in TYPES:
            return given
        known = OPERATIONS.get(own.get("gen_ai.operation.name"))
        if known:
            return known
        if own.get("gen_ai.tool.name") or own.get("gen_ai.tool.call.id"):
            return "tool"
        return "generation" if any(own.get(key) for key in MODELS) else "span"

    @staticmethod
    def _io(own):
        """The pairs in which the server looks for input and output; whichever has one of the two is taken for both."""
        prompts = {key: value for key, value in own.items() if key.startswith("gen_ai.prompt")}
        completions = {key: value for key, value in own.items() if key.startswith("gen_ai.completion")}
        for given, made in (
            (own.get("langfuse.observation.input"), own.get("langfuse.observation.output")),
            (own.get("prompt"), own.get("all_messages_events")),
            (own.get("events"), None),
            (own.get("input.value"), own.get("output.value")),
            (own.get("input"), own.get("output")),
            (prompts or None, completions or None),
            (own.get("gen_ai.input.messages"), own.get("gen_ai.output.messages")),
            (own.get("gen_ai.tool.call.arguments"), own.get("gen_ai.tool.call.result")),
        ):
            if given is not None or made is not None:
                return given, made
        return None, None

    @staticmethod
    def _buckets(own, name):
        given = own.get(f"langfuse.observation.{name}")
        if given is not None:
            found = json.loads(given)
            assert all(type(value) in (int, float) and value >= 0 for value in found.values())
            return found
        return {key: value for key, value in own.items() if key.startswith("gen_ai.usage.")} if "usage" in name else {}

    def _check_types(self):
        """What older servers drop an observation for (the zod schemas of the ingestion events)."""
        own = self.raw
        name, version = self.prompt
        assert (name is None) == (version is None)
        assert version is None or type(version) is int
        assert self.first_token is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", self.first_token)
        for value in (self.status_message, self.version, self.release, self.user, self.session, self.trace_name):
            assert value is None or type(value) is str
        assert len(self.name) <= 1000
        for value in (self.parameters or {}).values():
            assert type(value) in (str, int, float)
        for key in ("input", "output"):
            assert type(own.get(f"langfuse.observation.{key}", "")) is str

    @property
    def messages(self):
        """The conversation as the chat view shows it: who, what, and the names of the tools that are called."""
        asked = json.loads(self.input) if self.input else []
        asked = asked["messages"] if isinstance(asked, dict) else asked
        answered = json.loads(self.output) if self.output else []
        answered = [answered] if isinstance(answered, dict) else answered
        # Where one message does not fit, all of them are shown as JSON.
        for message in (*asked, *answered):
            assert message["role"] in {"system", "user", "assistant", "tool", "function"}
            assert "parts" not in message
            assert all(
                type(call["id"]) is str and type(call["function"]["arguments"]) is str
                for call in message.get("tool_calls", ())
            )
        return [
            (
                message["role"],
                message["content"] or [call["function"]["name"] for call in message.get("tool_calls", ())],
            )
            for message in (*asked, *answered)
        ]

    @property
    def tools(self):
        """The names of the tools that the model was offered."""
        asked = json.loads(self.input)
        return [tool["function"]["name"] for tool in asked["tools"]] if isinstance(asked, dict) else []

    @property
    def first_token_after(self):
        """Seconds from the start to the first token."""
        return datetime.fromisoformat(self.first_token.replace("Z", "+00:00")).timestamp() - self.start / 1e9


def graph(observations):
    """The edges that the graph view draws of a trace (`buildGraphFromStepData`), as `a -> b`, sorted."""
    steps = {}
    for one in observations:
        if "langgraph_node" in one.metadata:
            step = one.metadata["langgraph_step"]
            assert type(step) in (int, float)
            assert step > 0  # 0 is where it begins
            steps.setdefault(step, set()).add(one.metadata["langgraph_node"])
    groups = [{"__start__"}, *(steps[step] for step in sorted(steps)), {"__end__"}]
    return sorted({f"{a} -> {b}" for before, after in pairwise(groups) for a in before for b in after})


@pytest.fixture(scope="session", name="graph")
def _graph():
    """`graph(observations)`: the edges that Langfuse draws of a trace."""
    return graph


@pytest.fixture(scope="session")
def observations_of():
    """`observations_of(request)`: what the server makes of an `ExportTraceServiceRequest`."""
    return lambda request: [Observation(*found) for found in each_span(request)]


@pytest.fixture(scope="session")
def path():
    """`path("a b c")`: the edges of one walk from the start to the end, as `graph` has them."""

    def edges(text):
        return sorted({f"{a} -> {b}" for a, b in pairwise(["__start__", *text.split(), "__end__"])})

    return edges


@pytest.fixture
def langfuse():
    """A running endpoint."""
    endpoint = Langfuse()
    thread = threading.Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield endpoint
    endpoint.server.shutdown()
    thread.join()
    endpoint.server.server_close()


@pytest.fixture
def keys(langfuse, monkeypatch):
    """The environment of a program that sends to the endpoint; set here, and returned for others."""
    found = {"LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET, "LANGFUSE_BASE_URL": langfuse.address}
    for name in ("LANGFUSE_HOST", "LANGFUSE_TRACING_ENVIRONMENT", "LANGFUSE_RELEASE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def exporter(keys):
    """An exporter that sends to the endpoint."""
    made = LangfuseSpanExporter()
    yield made
    made.shutdown()


@pytest.fixture
def provider(exporter):
    """A provider that sends each span to the endpoint when it ends."""
    made = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("tests")


@pytest.fixture
def ended():
    """`ended(name, attributes, ...)`: an ended SDK span that nobody has exported."""
    kept = InMemorySpanExporter()
    made = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(kept))

    def make(name="work", attributes=None, *, scope="tests", prepare=None, **options):
        with made.get_tracer(scope).start_as_current_span(name, attributes=attributes, **options) as span:
            if prepare is not None:
                prepare(span)
        return kept.get_finished_spans()[-1]

    return make
