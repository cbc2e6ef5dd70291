"""Events of LangChain's model calls; and what is kept of calls that nobody records."""

import gc
import json
import weakref

import pytest
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_langgraph import LangGraphInstrumentor
from spanloom_langgraph._calls import StreamedCall

EVENT = "gen_ai.client.inference.operation.details"
SAID = ("gen_ai.input.messages", "gen_ai.output.messages")


class ChatAcme(BaseChatModel):
    """Answers in three chunks."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for text in ("be", "cau", "se"):
            yield ChatGenerationChunk(message=AIMessageChunk(text))

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        from langchain_core.language_models.chat_models import generate_from_stream

        return generate_from_stream(self._stream(messages))

    @property
    def _llm_type(self):
        return "acme"

    def _get_ls_params(self, stop=None, **kwargs):
        return {"ls_provider": "acme", "ls_model_name": "m-1", "ls_model_type": "chat"}


class Site:
    """LangGraph traced, with events and metrics kept."""

    def __init__(self, sampler=None, **config):
        self.recorder = Recorder(sampler=sampler)
        self._exporter = InMemoryLogRecordExporter()
        logs = LoggerProvider(shutdown_on_exit=False)
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.instrumentor = LangGraphInstrumentor()
        self.instrumentor.instrument(
            tracer_provider=self.recorder.provider,
            meter_provider=MeterProvider([self._reader], shutdown_on_exit=False),
            logger_provider=logs,
            config=Config(**config),
        )

    @property
    def events(self):
        return [one.log_record for one in self._exporter.get_finished_logs()]

    def points(self, name):
        scopes = [scope for one in self._reader.get_metrics_data().resource_metrics for scope in one.scope_metrics]
        return [
            point
            for scope in scopes
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def make():
    """Makes a `Site`."""
    made = []

    def one(**config):
        made.append(Site(**config))
        return made[-1]

    yield one
    for site in made:
        site.instrumentor.uninstrument()
        site.recorder.assert_closed()


@pytest.fixture(params=["invoke", "stream"])
def ask(request):
    """`ask(model, given)`: the answer's text."""
    if request.param == "invoke":
        return lambda model, given: model.invoke(given).content
    return lambda model, given: "".join(chunk.content for chunk in model.stream(given))


def test_a_call_in_a_node_is_an_event_in_its_spans_context(make, build, ask):
    site = make(events=True)
    graph = build({"ask": lambda state: {"x": [ask(ChatAcme(), "why?")]}}, "START > ask > END")
    assert graph.invoke({"x": []}, {"configurable": {"thread_id": "c-1"}}) == {"x": ["because"]}

    (event,) = site.events
    span = site.recorder.only("chat m-1")
    assert event.event_name == EVENT
    assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)
    assert event.attributes["gen_ai.conversation.id"] == "c-1"
    asked, answered = (event.attributes[key] for key in SAID)
    assert (asked[0]["role"], asked[0]["parts"][0]["content"]) == ("user", "why?")
    assert answered[0]["parts"][0]["content"] == "because"
    assert not [key for one in site.recorder.spans for key in one.attributes if key in SAID]


def test_with_content_on_both(make, ask):
    site = make(events=True, content=True)
    ask(ChatAcme(), "why?")

    (event,) = site.events
    attributes = site.recorder.only("chat m-1").attributes
    for key in SAID:
        assert json.loads(attributes[key])[0]["parts"][0]["content"] == event.attributes[key][0]["parts"][0]["content"]


def test_a_model_that_completes_texts(make):
    site = make(events=True)
    model = FakeListLLM(responses=["because"])
    assert model.invoke("why?") == "because"
    assert "".join(model.stream("why?")) == "because"

    for event in site.events:
        assert event.attributes["gen_ai.operation.name"] == "text_completion"
        assert event.attributes["gen_ai.input.messages"][0]["parts"][0]["content"] == "why?"
        assert event.attributes["gen_ai.output.messages"][0]["parts"][0]["content"] == "because"
    assert len(site.events) == 2


def test_tools_arguments_stay_out_of_spans(make):
    """The mode is about all content: with events only, spans have none."""
    from langchain_core.tools import tool

    @tool
    def search(query: str) -> str:
        """Search."""
        return f"found {query}"

    site = make(events=True)
    call = {"name": "search", "args": {"query": "x"}, "id": "c1", "type": "tool_call"}
    assert isinstance(search.invoke(call), ToolMessage)
    assert "found x" not in str(dict(site.recorder.only("execute_tool search").attributes))
    assert site.events == []


def test_the_time_between_chunks_is_measured(make):
    site = make()
    list(ChatAcme().stream("why?"))
    ChatAcme().invoke("why?")

    (point,) = site.points("gen_ai.client.operation.time_per_output_chunk")
    assert point.count == 1
    assert point.sum >= 0


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF], ids=["sampled", "unsampled"])
def test_chunks_are_kept_only_where_they_are_recorded(make, monkeypatch, sampler):
    """An unsampled call is measured, and has no content, so its chunks may go as they come."""
    site = make(content=True, sampler=sampler)
    kept = []
    answered = StreamedCall.collect_answer
    monkeypatch.setattr(
        StreamedCall, "collect_answer", lambda self: (kept.append(len(self._chunks or ())), answered(self))[1]
    )
    seen = []
    for chunk in ChatAcme().stream("why?"):
        seen.append(weakref.ref(chunk))
    del chunk
    gc.collect()

    assert kept == [0 if sampler else len(seen)]
    assert [ref() for ref in seen] == [None] * len(seen)
    assert len(site.points("gen_ai.client.operation.duration")) == 1


def test_nor_in_a_call_inside_one_that_nobody_records(make, monkeypatch):
    """A streamed call inside `invoke`, whose span stands for both."""

    class Outer(ChatAcme):
        inner: BaseChatModel

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            from langchain_core.outputs import ChatGeneration, ChatResult

            text = "".join(chunk.content for chunk in self.inner.stream(messages))
            return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    site = make(content=True, sampler=ALWAYS_OFF)
    kept = []
    learn = StreamedCall.learn
    monkeypatch.setattr(StreamedCall, "learn", lambda self: (kept.append(self._chunks), learn(self)))

    assert Outer(inner=ChatAcme()).invoke("why?").content == "because"
    assert kept == [None]
    assert len(site.points("gen_ai.client.operation.duration")) == 1
