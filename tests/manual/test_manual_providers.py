"""The official instrumentations of providers' clients beside ours: one model call is one chat span, with usage once.

Real clients against a server of ours on loopback, which speaks Anthropic's and Google's protocols.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import context as otel_context
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import spanloom
from spanloom import cost, telemetry
from spanloom.carried import OPEN_INFERENCE
from spanloom.config import Config
from spanloom.logprocessor import SpanloomLogProcessor
from spanloom.processor import SpanloomProcessor
from spanloom.testing import Recorder

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
KEY = "sk-abcdefghijklmnop1234567890"
ANSWER = "Hello to you"
PIECES = ("Hello ", "to ", "you")


class Handler(BaseHTTPRequestHandler):
    """Answers what it is asked, whole or in pieces."""

    def log_message(self, *_):
        """Quiet."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "/messages" in self.path:
            told = anthropic_events() if asked.get("stream") else anthropic_message()
        else:
            told = google_chunks() if "stream" in self.path else google_response(ANSWER, usage=True)
        streamed = isinstance(told, list)
        body = "".join(told) if streamed else json.dumps(told)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streamed else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


def anthropic_message(content=ANSWER, stop="end_turn", output=5):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1-0001",
        "content": [{"type": "text", "text": content}] if content else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "output_tokens": output,
            "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 0,
        },
    }


def anthropic_events():
    events = [
        {"type": "message_start", "message": anthropic_message("", None, 1)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in PIECES
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def google_response(text, *, usage):
    used = {"promptTokenCount": 10, "candidatesTokenCount": 5, "cachedContentTokenCount": 3, "totalTokenCount": 15}
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    return {
        "candidates": [{**candidate, **({"finishReason": "STOP"} if usage else {})}],
        "modelVersion": "m-1-0001",
        "responseId": "msg_1",
        **({"usageMetadata": used} if usage else {}),
    }


def google_chunks():
    chunks = [google_response(piece, usage=piece is PIECES[-1]) for piece in PIECES]
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Anthropic:
    provider = "anthropic"
    operation = "chat"
    module, instrumentor = "opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"

    def __init__(self, url, **options):
        anthropic = pytest.importorskip("anthropic")
        self._client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, **options)

    def ask(self, text):
        """The client's response."""
        return self._client.messages.create(**self._asked(text))

    def stream(self, text):
        """The client's stream."""
        return self._client.messages.create(**self._asked(text), stream=True)

    @staticmethod
    def _asked(text):
        return {"model": "m-1", "max_tokens": 10, "messages": [{"role": "user", "content": text}]}

    def close(self):
        self._client.close()


class Google:
    provider = "gcp.gemini"
    operation = "generate_content"
    module, instrumentor = "opentelemetry.instrumentation.google_genai", "GoogleGenAiSdkInstrumentor"

    def __init__(self, url):
        genai = pytest.importorskip("google.genai")
        self._client = genai.Client(api_key="none", http_options=genai.types.HttpOptions(base_url=url))

    def ask(self, text):
        """The client's response."""
        return self._client.models.generate_content(model="m-1", contents=text)

    def stream(self, text):
        """The client's stream."""
        return self._client.models.generate_content_stream(model="m-1", contents=text)

    def close(self):
        self._client.close()


class Site:
    """Both instrumentations on, into the same providers; metrics and log records kept."""

    def __init__(self, client, **config):
        module = pytest.importorskip(client.module)
        self.recorder = Recorder()
        settings = Config(**config)
        self.recorder.provider.add_span_processor(SpanloomProcessor(settings))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.exporter = InMemoryLogRecordExporter()
        logs = LoggerProvider(shutdown_on_exit=False) if config.get("events") else NoOpLoggerProvider()
        if config.get("events"):
            logs.add_log_record_processor(SpanloomLogProcessor(settings))
            logs.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))
        telemetry.use(self.recorder.provider, settings, self._meters, logs)
        self._theirs = getattr(module, client.instrumentor)()
        self._theirs.instrument(
            skip_dep_check=True,  # the clients' newest versions are newer than those that they know
            tracer_provider=self.recorder.provider,
            meter_provider=self._meters,
            logger_provider=logs,
        )

    def close(self):
        if self._theirs.is_instrumented_by_opentelemetry:
            self._theirs.uninstrument()
        telemetry.use()
        self.recorder.assert_closed()

    @property
    def metrics(self):
        """All that were measured."""
        scopes = [scope for one in self._reader.get_metrics_data().resource_metrics for scope in one.scope_metrics]
        return [metric for scope in scopes for metric in scope.metrics]

    @property
    def tokens(self):
        """What the metric of tokens has counted, by kind: (calls, tokens)."""
        found = {}
        for metric in self.metrics:
            if metric.name == "gen_ai.client.token.usage":
                for point in metric.data.data_points:
                    kind = point.attributes["gen_ai.token.type"]
                    calls, tokens = found.get(kind, (0, 0))
                    found[kind] = calls + point.count, tokens + point.sum
        return found


@pytest.fixture(params=[Anthropic, Google], ids=["anthropic", "google"])
def client(request, url):
    made = request.param(url)
    yield made
    made.close()


@pytest.fixture
def make(client, tmp_path, monkeypatch):
    """Makes a `Site`; a token of `m-1-0001` costs a dollar."""
    path = tmp_path / "prices.json"
    path.write_text('{"m-1-0001": {"input": 1000000, "output": 1000000}}', encoding="utf-8")
    monkeypatch.setattr(cost._Loaded, "prices", None)
    made = []

    def one(mode="NO_CONTENT", **config):
        monkeypatch.setenv(CONTENT, mode)
        made.append(Site(client, **{"cost": True, "prices": str(path), **config}))
        return made[-1]

    yield one
    for site in made:
        site.close()


@pytest.fixture(params=["whole", "streamed"])
def ask(request, client):
    """`ask(text)`: asks the client, and reads its answer to the end."""

    def streamed(text):
        for _ in client.stream(text):
            pass

    return client.ask if request.param == "whole" else streamed


USED = {
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.usage.cache_read.input_tokens": 3,
}


def check(site, span):
    """One call, with its usage, its price and who answered, each once."""
    attributes = span.attributes
    assert {key: attributes.get(key) for key in USED} == USED
    assert attributes["gen_ai.response.model"] == "m-1-0001"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes["spanloom.cost.usd"] == 15.0
    assert site.tokens == {"input": (1, 10), "output": (1, 5)}


def test_in_a_node_the_call_is_the_instrumentations(make, client, ask):
    site = make()
    with spanloom.workflow("support"), spanloom.node("answer"):
        ask("Hi")

    assert site.recorder.tree() == (f"\ninvoke_workflow support\n  run_step answer\n    {client.operation} m-1\n")
    check(site, site.recorder.only(f"{client.operation} m-1"))


def test_inside_a_chat_of_ours_it_is_ours_and_completes_it(make, client, ask):
    site = make()
    with spanloom.node("answer"), spanloom.chat("m-1", provider=client.provider):
        ask("Hi")

    assert site.recorder.tree() == "\nrun_step answer\n  chat m-1\n"
    span = site.recorder.only("chat m-1")
    check(site, span)
    assert span.attributes["server.address"] == "127.0.0.1"


def test_what_we_read_ourselves_counts_once(make, client):
    site = make()
    with spanloom.chat("m-1", provider=client.provider) as call:
        call.record(client.ask("Hi"))
    check(site, site.recorder.only("chat m-1"))


def test_a_stream_that_we_watch_is_one_call(make, client):
    site = make()
    with spanloom.chat("m-1", provider=client.provider) as call:
        stream = call.stream(client.stream("Hi"))
        assert len(list(stream)) >= len(PIECES)

    span = site.recorder.only("chat m-1")
    check(site, span)
    assert span.attributes["gen_ai.request.stream"] is True
    assert len(site.recorder.spans) == 1


@pytest.mark.parametrize("client", [Anthropic], indirect=True)
@pytest.mark.parametrize("inside", [spanloom.node, spanloom.chat], ids=["of its own", "inside ours"])
def test_what_the_client_traces_itself_is_no_second_call(make, url, client, inside):
    """Anthropic's, version 2, writes spans with usage of its own."""
    site = make()
    try:
        traced = Anthropic(url, open_telemetry={"tracer_provider": site.recorder.provider})
    except TypeError:
        pytest.skip("this version of the client does not trace itself")
    with inside("m-1"):
        traced.ask("Hi")
        for _ in traced.stream("Hi"):
            pass
    traced.close()

    requests = site.recorder.named("anthropic.messages.create")
    assert [key for span in requests for key in span.attributes if "usage" in key or "cost" in key] == []
    assert {span.attributes.get("gen_ai.operation.name") for span in requests} == {None}
    calls = site.recorder.named("chat m-1")
    assert len(calls) == (1 if inside is spanloom.chat else 2)
    assert {span.attributes["gen_ai.usage.input_tokens"] for span in calls} == {10}
    assert {span.parent.span_id for span in requests} <= {span.context.span_id for span in calls}


def test_below_a_tool_it_is_a_call_again(make, client):
    site = make()
    with spanloom.chat("m-0", provider="acme") as call:
        call.usage(input=1, output=1)
        with spanloom.tool("ask"):
            client.ask("Hi")

    assert site.recorder.tree() == f"\nchat m-0\n  execute_tool ask\n    {client.operation} m-1\n"


def test_what_it_says_is_on_our_span_redacted(make, client, ask):
    site = make("SPAN_ONLY", content=True)
    with spanloom.chat("m-1", provider=client.provider):
        ask(f"My key is {KEY}")

    attributes = site.recorder.only("chat m-1").attributes
    (asked,) = json.loads(attributes["gen_ai.input.messages"])
    (answered,) = json.loads(attributes["gen_ai.output.messages"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "My key is [REDACTED]"}]}
    assert answered == {
        "role": "assistant",
        "finish_reason": "stop",
        "parts": [{"type": "text", "content": ANSWER}],
    }


def test_nothing_of_it_is_kept_by_a_context_that_lives_on(make, client):
    make("SPAN_ONLY", content=True)
    with spanloom.chat("m-1", provider=client.provider):
        client.ask("Hi")
        data = otel_context.get_value(OPEN_INFERENCE)
        assert data.input_messages

    assert data.input_messages is data.output_messages is None
    assert data.usage_input_tokens == 10


def test_what_we_are_told_comes_before_what_it_says(make, client):
    site = make("SPAN_ONLY", content=True)
    with spanloom.chat("m-1", provider=client.provider) as call:
        call.input("As I would put it")
        call.output("As I heard it")
        client.ask("Hi")

    attributes = site.recorder.only("chat m-1").attributes
    assert "As I would put it" in attributes["gen_ai.input.messages"]
    assert "As I heard it" in attributes["gen_ai.output.messages"]


def test_without_content_there_is_none(make, client, ask):
    site = make()
    with spanloom.chat("m-1", provider=client.provider):
        ask("Hi")
    assert ANSWER not in str(dict(site.recorder.only("chat m-1").attributes))


@pytest.mark.parametrize("ours", [False, True], ids=["its own", "inside ours"])
def test_a_call_is_one_event_without_secrets(make, client, ours):
    site = make("EVENT_ONLY", events=True)
    if ours:
        with spanloom.chat("m-1", provider=client.provider):
            client.ask(f"My key is {KEY}")
    else:
        client.ask(f"My key is {KEY}")

    (record,) = [one.log_record for one in site.exporter.get_finished_logs()]
    (span,) = site.recorder.spans
    assert record.event_name == "gen_ai.client.inference.operation.details"
    assert record.span_id == span.context.span_id
    asked = record.attributes["gen_ai.input.messages"][0]
    assert asked["parts"][0]["content"] == "My key is [REDACTED]"
    assert record.attributes["gen_ai.output.messages"][0]["parts"][0]["content"] == ANSWER
    assert ANSWER not in str(dict(span.attributes))


@pytest.mark.parametrize("opt_in", ["gen_ai_latest_experimental", "gen_ai_latest_experimental,http/dup", "nonsense"])
def test_opting_in_to_conventions_changes_nothing(make, client, monkeypatch, opt_in):
    """`OTEL_SEMCONV_STABILITY_OPT_IN` has no meaning for GenAI any more, here and in the official packages."""

    def said():
        site = make("SPAN_ONLY", content=True)
        client.ask("Hi")
        with spanloom.chat("m-1", provider=client.provider):
            client.ask("Hi")
        names = sorted(metric.name for metric in site.metrics)
        made = [(span.name, dict(span.attributes)) for span in site.recorder.spans]
        site.close()
        return made, names

    without = said()
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    assert said() == without
    assert len(without[0]) == 2
