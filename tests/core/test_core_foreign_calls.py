"""What `SpanloomProcessor` does with model calls of other instrumentations: their cost, and that each counts once."""

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanloom import config, cost, genai
from spanloom.config import Config
from spanloom.inference import Inference, Usage
from spanloom.instrument import Scope, Telemetry
from spanloom.processor import SpanloomProcessor
from spanloom.version import VERSION

ASKED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "acme",
    "gen_ai.request.model": "m-1",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 500,
}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    path = tmp_path / "prices.json"
    path.write_text('{"acme/m-1": {"input": 1000, "output": 2000, "cache_read": 0}}', encoding="utf-8")
    monkeypatch.setattr(cost._Loaded, "prices", None)
    return Config(cost=True, prices=str(path))


class Site:
    """A provider in which another instrumentation makes spans."""

    def __init__(self, settings):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SpanloomProcessor(settings))
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def cost(self, attributes, scope=("theirs", "1")):
        """What is added to a span with these attributes."""
        span = self.provider.get_tracer(*scope).start_span("chat m-1")
        span.set_attributes(attributes)
        span.end()
        sent = self.exporter.get_finished_spans()[-1].attributes
        assert {key: sent[key] for key in attributes} == attributes
        return {key: value for key, value in sent.items() if key not in attributes}


@pytest.fixture
def site(settings):
    return Site(settings)


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content"])
def test_a_model_call_gets_its_cost(site, operation):
    assert site.cost({**ASKED, "gen_ai.operation.name": operation}) == {"spanloom.cost.usd": 2.0}


def test_cached_tokens_and_the_model_that_answered_count(site):
    told = {"gen_ai.usage.cache_read.input_tokens": 1000, "gen_ai.response.model": "m-1-0001"}
    assert site.cost(ASKED | told) == {"spanloom.cost.usd": 1.0}


def test_a_model_without_a_price_is_said_to_be_unknown(site):
    assert site.cost({**ASKED, "gen_ai.request.model": "m-2"}) == {"spanloom.cost.unknown": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"gen_ai.operation.name": "invoke_agent"},  # its usage is that of its calls
        {"gen_ai.operation.name": "embeddings"},
        {"spanloom.cost.usd": 7.0},
    ],
)
def test_what_is_no_model_call_or_has_its_cost_stays(site, changes):
    assert site.cost(ASKED | changes) == {}


def test_without_usage_nothing_is_said(site):
    asked = {key: value for key, value in ASKED.items() if "usage" not in key}
    assert site.cost(asked) == {}
    assert site.cost({}) == {}


def test_spans_of_ours_have_it_already_and_once(site, settings):
    assert site.cost(ASKED, scope=("spanloom", VERSION)) == {}
    call = Inference(Telemetry.create("spanloom", site.provider, settings))
    call.start(genai.inference("chat", "acme", "m-1"))
    call.usage = Usage(1000, 500)
    call.finish()

    assert site.exporter.get_finished_spans()[-1].attributes["spanloom.cost.usd"] == 2.0


def test_off_unless_it_is_asked_for(settings):
    assert Site(settings.replace(cost=False)).cost(ASKED) == {}


def test_the_processs_settings_are_followed(settings):
    site = Site(None)
    config.activate(settings)
    try:
        assert site.cost(ASKED) == {"spanloom.cost.usd": 2.0}
    finally:
        config.activate(None)
    assert site.cost(ASKED) == {}


def test_a_failure_costs_the_cost_only(site, lenient, monkeypatch):
    monkeypatch.setattr("spanloom.processor.cost_of_call", lambda *_: 1 / 0)

    key = "sk-abcdefghijklmnop1234567890"
    span = site.provider.get_tracer("theirs").start_span("chat", attributes={**ASKED, "gen_ai.input.messages": key})
    span.end()

    (sent,) = site.exporter.get_finished_spans()
    assert sent.attributes["gen_ai.input.messages"] == "[REDACTED]"
    assert "the usage or the cost of a model call of another instrumentation" in lenient.lines[0]


# -- a client's own tracing ---------------------------------------------------------------------------------------


def request(site, context=None):
    """What is sent of a span that a client makes of its request."""
    span = site.provider.get_tracer("client").start_span("messages.create", context)
    span.set_attributes({**ASKED, "http.route": "/v1/messages"})
    span.end()
    return dict(site.exporter.get_finished_spans()[-1].attributes)


REQUEST = {"gen_ai.provider.name": "acme", "gen_ai.request.model": "m-1", "http.route": "/v1/messages"}


@pytest.fixture
def call(site, settings):
    """A model call of ours, to be made current."""
    return lambda: Inference(Telemetry.create("spanloom", site.provider, settings)).begin(
        lambda: genai.inference("chat", "acme", "m-1")
    )


def test_inside_a_call_of_ours_it_is_a_request_of_that(site, call):
    with call() as mine:
        assert request(site) == REQUEST
        with site.provider.get_tracer("theirs").start_as_current_span("between"):
            assert request(site) == REQUEST
        mine.usage = Usage(1000, 500)

    spans = site.exporter.get_finished_spans()
    assert spans[-1].attributes["gen_ai.usage.input_tokens"] == 1000
    assert sum(span.attributes.get("spanloom.cost.usd", 0) for span in spans) == 2.0


def test_inside_an_official_one_too(site):
    handler = pytest.importorskip("opentelemetry.util.genai.handler")
    with handler.TelemetryHandler(tracer_provider=site.provider).inference("acme", request_model="m-1"):
        assert request(site) == REQUEST


def test_elsewhere_it_is_a_call(site, call, settings):
    alone = {**ASKED, "http.route": "/v1/messages", "spanloom.cost.usd": 2.0}
    assert request(site) == alone
    with call():
        with Scope(Telemetry.create("spanloom", site.provider, settings)).open("execute_tool t"):
            assert request(site) == alone
        assert request(site, Context()) == alone  # in a trace of its own
    assert request(site) == alone


def test_limits_and_other_spans_stay(site, call):
    with call():
        span = site.provider.get_tracer("client").start_span("GET", attributes={"gen_ai.usage.input_tokens": 1})
        span.end()
    assert dict(site.exporter.get_finished_spans()[0].attributes) == {"gen_ai.usage.input_tokens": 1}
