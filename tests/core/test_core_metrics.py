"""The metrics: what is counted, under which names, and that nothing is measured while nobody reads them."""

import asyncio
import itertools
from contextlib import nullcontext

import pytest
from opentelemetry import context as otel_context
from opentelemetry import metrics as api
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult

from spanloom import cost, genai, inference, names, telemetry
from spanloom.config import Config
from spanloom.embedding import Embedding
from spanloom.inference import Inference, Usage
from spanloom.instrument import STAMPS, Scope, Telemetry, current_scope, wrap
from spanloom.metrics import Metrics
from spanloom.testing import Recorder
from spanloom.wrapping import Begun, Switch

SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
AGENT = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6]
WORKFLOW = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200]
USED = Usage(11, 7, 5, 3, 2)
ASKED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-x",
    "gen_ai.response.model": "gpt-x-1",
}


class Meters:
    """Telemetry whose metrics a reader keeps."""

    def __init__(self, sampler=None, meter_provider=None, **config):
        self.recorder = Recorder(sampler=sampler, fixed=False)
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False, exemplar_filter=TraceBasedExemplarFilter())
        self.telemetry = Telemetry.create(
            "test", self.recorder.provider, Config(**config), meter_provider=meter_provider or self.provider
        )

    def metrics(self):
        """By name, what the reader has."""
        data = self.reader.get_metrics_data()
        scopes = [] if data is None else [scope for one in data.resource_metrics for scope in one.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name):
        metric = self.metrics().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def only(self, name):
        (point,) = self.points(name)
        return point

    def attributes(self, name):
        return [dict(point.attributes) for point in self.points(name)]

    def scope(self, operation, scope_class=Scope):
        return scope_class(self.telemetry).open(operation.span_name, operation.attributes)

    def chat(self, failure=None, usage=USED, model="gpt-x-1", chunks=1):
        """A streamed model call."""
        call = Inference(self.telemetry).begin(lambda: genai.inference("chat", "openai", "gpt-x", streaming=True))
        with pytest.raises(type(failure)) if failure else nullcontext(), call:
            call.first_chunk()
            for _ in range(chunks - 1):
                call.next_chunk()
            call.response_model, call.usage = model, usage
            if failure:
                raise failure


@pytest.fixture
def make():
    """Makes telemetry with metrics; nothing is left open or current."""
    made = []

    def one(*args, **kwargs):
        made.append(Meters(*args, **kwargs))
        return made[-1]

    yield one
    for meters in made:
        meters.recorder.assert_closed()


@pytest.fixture(params=["sampled", "unsampled"])
def meters(request, make):
    return make(ALWAYS_OFF if request.param == "unsampled" else None)


def shape(metric):
    points = list(metric.data.data_points)
    return metric.unit, list(getattr(points[0], "explicit_bounds", ()))


def test_a_model_call(meters):
    meters.chat()

    found = meters.metrics()
    assert {name: shape(metric) for name, metric in found.items()} == {
        "gen_ai.client.operation.duration": ("s", SECONDS),
        "gen_ai.client.token.usage": ("{token}", TOKENS),
        "gen_ai.client.operation.time_to_first_chunk": ("s", SECONDS),
    }
    assert meters.attributes("gen_ai.client.operation.duration") == [ASKED]
    assert meters.attributes("gen_ai.client.operation.time_to_first_chunk") == [ASKED]
    counts = {point.attributes["gen_ai.token.type"]: point for point in meters.points("gen_ai.client.token.usage")}
    assert {kind: (point.count, point.sum) for kind, point in counts.items()} == {"input": (1, 11), "output": (1, 7)}
    assert dict(counts["input"].attributes) == {**ASKED, "gen_ai.token.type": "input"}


def test_a_model_call_under_the_newer_names(make):
    meters = make(metric_names="main")
    meters.chat()

    assert {name: shape(metric) for name, metric in meters.metrics().items()} == {
        "gen_ai.client.inference.duration": ("s", SECONDS),
        "gen_ai.client.inference.time_to_first_chunk": ("s", SECONDS),
        "gen_ai.client.inference.operation.input_tokens": ("{token}", TOKENS),
        "gen_ai.client.inference.operation.output_tokens": ("{token}", TOKENS),
        "gen_ai.client.inference.usage.input_tokens": ("{token}", []),
        "gen_ai.client.inference.usage.output_tokens": ("{token}", []),
        "gen_ai.client.inference.usage.cache_read.input_tokens": ("{token}", []),
        "gen_ai.client.inference.usage.cache_write.input_tokens": ("{token}", []),
        "gen_ai.client.inference.usage.reasoning.output_tokens": ("{token}", []),
    }
    prefix = "gen_ai.client.inference.usage."
    used = {name.removeprefix(prefix): meters.only(name) for name in meters.metrics() if name.startswith(prefix)}
    assert {name: point.value for name, point in used.items()} == {
        "input_tokens": 11,
        "output_tokens": 7,
        "cache_read.input_tokens": 5,
        "cache_write.input_tokens": 3,
        "reasoning.output_tokens": 2,
    }
    assert dict(used["input_tokens"].attributes) == {**ASKED, "gen_ai.token.modality": "unknown"}
    assert meters.attributes("gen_ai.client.inference.operation.input_tokens") == [ASKED]
    assert meters.only("gen_ai.client.inference.operation.output_tokens").sum == 7


@pytest.mark.parametrize(
    ("metric_names", "metric"),
    [
        ("legacy", "gen_ai.client.operation.time_per_output_chunk"),
        ("main", "gen_ai.client.inference.time_per_output_chunk"),
    ],
)
def test_the_time_between_chunks_once_for_each_call(make, monkeypatch, metric_names, metric):
    meters = make(metric_names=metric_names)
    ticks = itertools.count(100.0, 0.5)  # two readings less than chunks, and one for the start
    monkeypatch.setattr(inference, "perf_counter", lambda: next(ticks))
    meters.chat(chunks=5)
    meters.chat(chunks=1)

    assert shape(meters.metrics()[metric]) == ("s", SECONDS)
    point = meters.only(metric)
    assert (point.count, point.sum) == (1, 0.5)
    assert dict(point.attributes) == ASKED


@pytest.fixture
def prices(tmp_path, monkeypatch):
    """A dollar for each 1,000 input tokens of `gpt-x-1`, two for output."""
    path = tmp_path / "prices.json"
    path.write_text('{"gpt-x-1": {"input": 1000, "output": 2000}}', encoding="utf-8")
    monkeypatch.setattr(cost._Loaded, "prices", None)
    return {"cost": True, "prices": str(path)}


@pytest.mark.parametrize("metric_names", ["legacy", "main"])
@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF], ids=["sampled", "unsampled"])
def test_what_calls_have_cost(make, prices, metric_names, sampler):
    meters = make(sampler, metric_names=metric_names, **prices)
    meters.chat(usage=Usage(1000, 500))
    meters.chat(usage=Usage(1000, 0), failure=TimeoutError("late"))

    metric = meters.metrics()["spanloom.cost"]
    assert (metric.unit, metric.data.is_monotonic) == ("{USD}", True)
    point = meters.only("spanloom.cost")
    assert point.value == 3.0
    assert dict(point.attributes) == ASKED
    assert len(meters.recorder.named("chat gpt-x")) == (0 if sampler else 2)


def test_what_is_unknown_is_not_counted_as_nothing(make, prices):
    meters = make(**prices)
    meters.chat(model="another", usage=Usage(1000, 500))
    meters.chat(usage=Usage())

    assert "spanloom.cost" not in meters.metrics()
    assert meters.recorder.spans[0].attributes["spanloom.cost.unknown"] is True


def test_costs_are_not_counted_unless_they_are_asked_for(make, prices):
    meters = make(**{**prices, "cost": False})
    meters.chat(usage=Usage(1000, 500))

    assert "spanloom.cost" not in meters.metrics()


def test_a_failed_call_under_the_newer_names_has_used_nothing(make):
    meters = make(metric_names="main")
    meters.chat(TimeoutError("late"), Usage())

    counter = meters.only("gen_ai.client.inference.usage.input_tokens")
    assert counter.value == 0
    assert "error.type" not in counter.attributes
    assert meters.only("gen_ai.client.inference.operation.input_tokens").attributes["error.type"] == "TimeoutError"
    assert "gen_ai.client.inference.usage.cache_read.input_tokens" not in meters.metrics()


def test_tokens_that_are_unknown_are_not_counted(meters):
    meters.chat(usage=Usage(output=4))

    assert [point["gen_ai.token.type"] for point in meters.attributes("gen_ai.client.token.usage")] == ["output"]


def test_errors_have_their_type_and_no_words(meters):
    meters.chat(TimeoutError("sk-secret"))

    assert meters.attributes("gen_ai.client.operation.duration") == [{**ASKED, "error.type": "TimeoutError"}]
    assert "error.type" not in meters.attributes("gen_ai.client.operation.time_to_first_chunk")[0]
    assert "sk-secret" not in str(meters.metrics())


def test_an_error_told_as_data(meters):
    with Inference(meters.telemetry).start(genai.inference("chat", "openai", "gpt-x")) as call:
        call.failed("rate_limit_exceeded", "slow down")

    assert meters.attributes("gen_ai.client.operation.duration")[0]["error.type"] == "rate_limit_exceeded"


def test_an_early_end_is_no_error(meters):
    with pytest.raises(asyncio.CancelledError), meters.scope(genai.workflow("Support")):
        raise asyncio.CancelledError

    assert meters.attributes("gen_ai.invoke_workflow.duration") == [{"gen_ai.workflow.name": "Support"}]


OPERATIONS = {
    "gen_ai.invoke_workflow.duration": (genai.workflow("Support"), WORKFLOW, {"gen_ai.workflow.name": "Support"}),
    "gen_ai.invoke_agent.duration": (genai.agent("Helper"), AGENT, {"gen_ai.agent.name": "Helper"}),
    "gen_ai.execute_tool.duration": (
        genai.tool("search", "a description"),
        SECONDS,
        {"gen_ai.tool.name": "search", "gen_ai.tool.type": "function"},
    ),
    "spanloom.node.duration": (genai.step("Answer"), SECONDS, {"spanloom.node.name": "Answer"}),
    "gen_ai.client.operation.duration": (
        genai.retrieval("my-index", 3),
        SECONDS,
        {"gen_ai.operation.name": "retrieval"},
    ),
}


@pytest.mark.parametrize("names_", ["legacy", "main"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation(make, name, names_):
    meters = make(metric_names=names_)
    operation, boundaries, attributes = OPERATIONS[name]
    with meters.scope(operation):
        pass

    assert set(meters.metrics()) == {name}
    assert shape(meters.metrics()[name]) == ("s", boundaries)
    assert meters.attributes(name) == [attributes]


def test_the_duration_is_the_spans_own(make):
    meters = make()
    with meters.scope(genai.step("Answer")):
        pass

    (span,) = meters.recorder.spans
    assert meters.only("spanloom.node.duration").sum == (span.end_time - span.start_time) / 1e9


def test_the_duration_ends_where_the_call_did(meters, monkeypatch):
    scope = meters.scope(genai.step("Answer"))
    start = scope.measure._start
    monkeypatch.setattr("spanloom.span.time.time_ns", lambda: start + 3_000_000_000)
    scope.close(end=False)
    monkeypatch.undo()
    scope.finish()

    assert meters.only("spanloom.node.duration").sum == 3.0


@pytest.mark.parametrize("names_", ["legacy", "main"])
def test_embeddings(make, names_):
    class Call(Embedding):
        def describe(self):
            return {**super().describe(), **Usage(input=9).attributes()}

    meters = make(metric_names=names_)
    with Call(meters.telemetry).begin(genai.embeddings("embed-1", "openai")):
        pass

    asked = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "embed-1",
    }
    assert meters.attributes("gen_ai.client.operation.duration") == [asked]
    tokens = {**asked, "gen_ai.token.type": "input"}
    assert meters.attributes("gen_ai.client.token.usage") == ([tokens] if names_ == "legacy" else [])


def test_a_node_knows_its_workflow(meters):
    phase = genai.Operation("phase", {})
    with meters.scope(genai.workflow("Support")), meters.scope(phase), meters.scope(genai.step("Answer")):
        pass

    assert meters.attributes("spanloom.node.duration") == [
        {"spanloom.node.name": "Answer", "gen_ai.workflow.name": "Support"}
    ]


def test_a_node_belongs_to_the_innermost_run_only(meters):
    with meters.scope(genai.workflow("Outer")), meters.scope(genai.workflow(None)), meters.scope(genai.step("Answer")):
        pass

    assert meters.attributes("spanloom.node.duration") == [{"spanloom.node.name": "Answer"}]


def test_what_is_carried_to_spans_is_not_on_metrics(meters):
    class Run(Scope):
        stamps = {names.GEN_AI_CONVERSATION_ID: "thread-1", names.USER_ID: "u"}

    with meters.scope(genai.workflow("Support"), Run), meters.scope(genai.tool("search")):
        assert otel_context.get_value(STAMPS) == Run.stamps

    assert "thread-1" not in str(meters.metrics())
    assert len(meters.points("gen_ai.execute_tool.duration")) == 1


def test_a_call_inside_a_call_is_one(meters):
    asked = lambda: genai.inference("chat", "openai", "gpt-x")
    outer = Inference(meters.telemetry)
    with outer.begin(asked):
        inner = Inference(meters.telemetry)
        with inner.begin(asked):
            inner.usage = Usage(5, 6)

    assert meters.only("gen_ai.client.operation.duration").count == 1
    assert sorted(point.sum for point in meters.points("gen_ai.client.token.usage")) == [5, 6]


def test_a_stream_is_measured_to_its_end(meters):
    def numbers():
        yield from range(3)

    def begin():
        return Begun(meters.scope(genai.step("Answer")), ())

    stream = wrap(numbers, begin, "a span", Switch())()
    next(stream)
    assert meters.points("spanloom.node.duration") == []
    assert list(stream) == [1, 2]
    assert meters.only("spanloom.node.duration").count == 1


def test_exemplars_lead_to_the_span(make):
    meters = make()
    with meters.scope(genai.step("Answer")):
        pass

    (span,) = meters.recorder.spans
    (exemplar,) = meters.only("spanloom.node.duration").exemplars
    assert (exemplar.trace_id, exemplar.span_id) == (span.context.trace_id, span.context.span_id)


def test_names_and_buckets_are_the_official_packages(make):
    pytest.importorskip("opentelemetry.util.genai._instruments", reason="opentelemetry-util-genai 1.3b0 or newer")
    from opentelemetry.util.genai._instruments import _Instruments

    ours, theirs = make(), Meters()
    ours.chat()
    for operation in (genai.workflow("Support"), genai.agent("Helper"), genai.tool("search")):
        with ours.scope(operation):
            pass
    for instrument in vars(_Instruments(theirs.provider.get_meter("theirs"))).values():
        instrument.record(1)

    official = {name: shape(metric) for name, metric in theirs.metrics().items()}
    found = {name: shape(metric) for name, metric in ours.metrics().items()}
    assert {name: official.get(name) for name in found} == found
    assert set(official) - set(found) == {"gen_ai.client.operation.time_per_output_chunk"}


def handler_of(meters):
    handlers = pytest.importorskip("opentelemetry.util.genai.handler", reason="opentelemetry-util-genai")
    return handlers.TelemetryHandler(tracer_provider=meters.recorder.provider, meter_provider=meters.provider)


def test_an_official_instrumentation_below_adds_no_second_count(meters):
    handler = handler_of(meters)
    mine = Inference(meters.telemetry).begin(lambda: genai.inference("chat", "openai", "gpt-x"))
    with mine, handler.inference("openai", request_model="gpt-x") as call:
        call.input_tokens, call.output_tokens = 11, 7

    assert meters.only("gen_ai.client.operation.duration").count == 1
    assert sorted((point.count, point.sum) for point in meters.points("gen_ai.client.token.usage")) == [(1, 7), (1, 11)]


def test_inside_a_call_of_an_official_instrumentation_nothing_is_counted(meters):
    handler = handler_of(meters)
    with handler.inference("openai", request_model="gpt-x"):
        assert Inference(meters.telemetry).begin(lambda: genai.inference("chat", "openai", "gpt-x")) is None

    assert meters.only("gen_ai.client.operation.duration").count == 1


# -- what the sampler does not want ------------------------------------------------------------------------------


def test_unsampled_spans_build_no_content(make):
    meters = make(ALWAYS_OFF, content=True)

    class Call(Inference):
        def collect(self):
            assert not self._telemetry.capture.messages

    with Call(meters.telemetry).begin(lambda: genai.inference("chat", "openai", "gpt-x")) as call:
        assert call.recording
        assert not call.wants_messages
    assert meters.recorder.spans == []
    assert meters.telemetry.capture.messages  # of the sampled ones


class Drops(Sampler):
    """Drops the nodes; remembers what it was asked about."""

    def __init__(self):
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, *args, **kwargs):
        self.asked.append(name)
        return SamplingResult(Decision.DROP if name.startswith("run_step") else Decision.RECORD_AND_SAMPLE)

    def get_description(self):
        return "test"


def test_below_what_was_not_wanted_the_sampler_is_not_asked(make):
    sampler = Drops()
    meters = make(sampler)
    with meters.scope(genai.step("Answer")), meters.scope(genai.tool("search")):
        pass

    assert sampler.asked == ["run_step Answer"]
    assert meters.recorder.spans == []
    assert meters.only("gen_ai.execute_tool.duration").count == 1


def test_a_span_that_is_only_measured_keeps_no_exception_from_the_one_above(make):
    meters = make(Drops())
    with pytest.raises(ValueError), meters.scope(genai.workflow("Support")), meters.scope(genai.step("Answer")):
        raise ValueError("words")

    (span,) = meters.recorder.spans
    assert [event.name for event in span.events] == ["exception"]
    assert meters.only("spanloom.node.duration").attributes["error.type"] == "ValueError"


def test_a_node_that_is_only_measured_is_not_described(make):
    class Node(Scope):
        def describe(self):
            raise AssertionError("described")

    meters = make(ALWAYS_OFF)
    with meters.scope(genai.step("Answer"), Node):
        pass

    assert meters.only("spanloom.node.duration").count == 1


def test_a_span_that_is_only_measured_may_hold_no_content(make):
    meters = make(ALWAYS_OFF, content=True)
    with meters.scope(genai.tool("search")) as scope:
        assert not scope.capture.tools
        assert meters.telemetry.capture.tools


def test_unsampled_and_unread_is_dropped_as_ever(make):
    meters = make(ALWAYS_OFF, meter_provider=NoOpMeterProvider())
    with meters.scope(genai.workflow("Support")) as scope:
        assert scope.dropped
        assert not scope.recording


def test_without_a_tracer_the_programs_own_span_stays_current(make, recorder):
    meters = make()
    telemetry_ = Telemetry.create("test", trace.NoOpTracerProvider(), Config(), meter_provider=meters.provider)
    with (
        recorder.provider.get_tracer("program").start_as_current_span("mine") as mine,
        Scope(telemetry_).open(*genai.step("Answer")) as scope,
    ):
        assert trace.get_current_span() is mine
        assert current_scope() is scope

    assert meters.only("spanloom.node.duration").count == 1


def test_spans_of_the_programs_own_are_measured_without_any_tracer(make, monkeypatch):
    import spanloom

    meters = make()
    proxy = trace.ProxyTracerProvider()
    monkeypatch.setattr(telemetry.trace, "get_tracer_provider", lambda: proxy)
    telemetry.use(meter_provider=meters.provider, config=Config())
    try:
        with spanloom.tool("search"):
            pass
        telemetry.use(config=Config(), meter_provider=NoOpMeterProvider())
        assert telemetry.own() is None
    finally:
        telemetry.use()

    assert meters.only("gen_ai.execute_tool.duration").count == 1


# -- on and off --------------------------------------------------------------------------------------------------


@pytest.fixture
def unmeasured(monkeypatch):
    """Fails where something is measured."""

    def begin(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(Metrics, "begin", begin)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    "provider",
    [NoOpMeterProvider(), _ProxyMeterProvider(), MeterProvider(shutdown_on_exit=False)],
    ids=["no-op", "none yet", "without readers"],
)
def test_off_nothing_is_measured(make, provider):
    meters = make(meter_provider=provider)
    with meters.scope(genai.workflow("Support")) as scope:
        assert scope.measure is None

    assert [span.name for span in meters.recorder.spans] == ["invoke_workflow Support"]


def test_off_costs_one_look_at_an_attribute(make):
    assert make(meter_provider=NoOpMeterProvider()).telemetry.metrics is None


def test_a_disabled_sdk_is_off(make, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    proxy = _ProxyMeterProvider()
    meters = make(meter_provider=proxy)
    proxy.on_set_meter_provider(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))

    assert not meters.telemetry.metrics.on
    assert not meters.telemetry.metrics.on  # nor the second time


def test_a_provider_that_is_set_later_counts_from_then_on(make):
    proxy = _ProxyMeterProvider()
    meters = make(meter_provider=proxy)
    with meters.scope(genai.step("Before")):
        proxy.on_set_meter_provider(meters.provider)
    with meters.scope(genai.step("After")):
        pass

    assert meters.attributes("spanloom.node.duration") == [{"spanloom.node.name": "After"}]


def test_a_meter_of_another_sdk_is_used(make):
    recorded = []

    class Histogram(api.Histogram):
        def __init__(self, name, *_, **__):
            self._name = name

        def record(self, amount, attributes=None, context=None):
            recorded.append((self._name, dict(attributes), trace.get_current_span(context).get_span_context().span_id))

    class Meter(api.NoOpMeter.__bases__[0]):
        create_up_down_counter = create_observable_counter = create_observable_gauge = None
        create_observable_up_down_counter = create_gauge = None

        def create_histogram(self, name, *_, **__):
            return Histogram(name)

        def create_counter(self, name, *_, **__):
            return api.NoOpCounter(name)

    class Provider(api.MeterProvider):
        def get_meter(self, name, version=None, schema_url=None, attributes=None):
            return Meter(name)

    meters = make(meter_provider=Provider())
    with meters.scope(genai.step("Answer")):
        pass

    (span,) = meters.recorder.spans
    assert recorded == [("spanloom.node.duration", {"spanloom.node.name": "Answer"}, span.context.span_id)]


def test_a_failing_instrument_costs_metrics_only(make, lenient, monkeypatch):
    meters = make()
    monkeypatch.setattr("spanloom.metrics.Measure.ended", lambda *_: 1 / 0)
    with meters.scope(genai.step("Answer")):
        pass

    assert [span.name for span in meters.recorder.spans] == ["run_step Answer"]
    assert len(lenient.lines) == 1


def test_a_meter_that_makes_no_instruments_costs_metrics_only(make, lenient):
    class Provider(api.MeterProvider):
        def get_meter(self, name, version=None, schema_url=None, attributes=None):
            return object()

    meters = make(meter_provider=Provider())
    for _ in range(2):
        with meters.scope(genai.step("Answer")):
            pass

    assert [span.name for span in meters.recorder.spans] == ["run_step Answer"] * 2
    assert len(lenient.lines) == 1


def test_the_setting_is_read():
    assert Config.from_environment({"SPANLOOM_METRIC_NAMES": " MAIN "}).metric_names == "main"
    assert Config.from_environment({}).metric_names == "legacy"


def test_a_wrong_setting_is_told(log):
    assert Config.from_environment({"SPANLOOM_METRIC_NAMES": "new"}).metric_names == "legacy"
    assert log.lines == ["SPANLOOM_METRIC_NAMES=new is not understood; accepted: legacy, main. Using legacy."]
