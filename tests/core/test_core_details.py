"""The event of a model call: what it has, when it is emitted, and what it costs where nobody takes it."""

import contextlib
import json

import pytest
from opentelemetry import _logs
from opentelemetry._logs import NoOpLoggerProvider, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.util._once import Once

import spanloom
from spanloom import details, genai, messages, telemetry
from spanloom.config import Config
from spanloom.credentials import MARK
from spanloom.inference import Inference, Usage
from spanloom.instrument import Telemetry
from spanloom.testing import Recorder

KEY = "sk-abcdefghijklmnop1234567890"
EVENT = "gen_ai.client.inference.operation.details"
SAID = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions")


class Site:
    """Model calls whose spans and events are kept."""

    def __init__(self, recorder=None, **config):
        self.recorder = recorder or Recorder()
        self.exporter = InMemoryLogRecordExporter()
        self.logs = LoggerProvider(shutdown_on_exit=False)
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))
        self.config = Config(**{"events": True, **config})
        self.telemetry = Telemetry.create("test", self.recorder.provider, self.config, logger_provider=self.logs)

    @property
    def events(self):
        return [one.log_record for one in self.exporter.get_finished_logs()]

    def chat(self, failure=None, text="why?"):
        """A model call in which everything is known."""
        call = Inference(self.telemetry).begin(lambda: genai.inference("chat", "acme", "m-1", streaming=True))
        with contextlib.suppress(TimeoutError), call:
            if call.wants_messages:
                call.input_messages = [messages.message("user", [messages.text(text)])]
                call.system_instructions = [messages.text("Be brief.")]
                call.tool_definitions = [messages.tool("search", description="Search.")]
                call.output_messages = [messages.output([messages.text("because")], "stop")]
            call.usage, call.response_model, call.finish_reasons = Usage(3, 2), "m-1-0001", ["stop"]
            if failure:
                raise failure
        return call


@pytest.mark.parametrize("content", [False, True], ids=["EVENT_ONLY", "SPAN_AND_EVENT"])
def test_an_event_has_what_the_span_has_and_the_messages_as_structures(content):
    site = Site(content=content)
    site.chat()

    (span,), (event,) = site.recorder.spans, site.events
    assert (event.event_name, event.severity_number, event.body) == (EVENT, SeverityNumber.DEBUG, None)
    assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)
    assert event.timestamp > 0
    on_span = dict(span.attributes)
    texts = {key: on_span.pop(key) for key in SAID if key in on_span}
    told = dict(event.attributes)
    structures = {key: told.pop(key) for key in SAID}
    assert told == on_span
    assert told["gen_ai.usage.input_tokens"] == 3
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert len(texts) == (4 if content else 0)
    assert {key: json.loads(text) for key, text in texts.items()} in ({}, plain(structures))
    assert plain(structures) == {
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "why?"}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "because"}]}
        ],
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
        "gen_ai.tool.definitions": [{"type": "function", "name": "search", "description": "Search."}],
    }


def plain(value):
    """Tuples and the SDK's mappings as lists and dicts."""
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_secrets_are_hidden_and_long_texts_are_cut_in_it():
    site = Site(max_value_bytes=1_000)
    site.chat(text=f"my key is {KEY} " + "word " * 10_000)

    (event,) = site.events
    kept = json.dumps(plain(event.attributes["gen_ai.input.messages"]))
    assert KEY not in kept
    assert MARK in kept
    assert len(kept) < 1_100


def test_a_failed_call_has_an_event_too():
    site = Site()
    site.chat(TimeoutError("late"))

    (event,) = site.events
    assert event.attributes["error.type"] == "TimeoutError"
    assert site.recorder.spans[0].attributes["error.type"] == "TimeoutError"


def test_a_call_of_which_nothing_is_known_has_one():
    site = Site()
    with Inference(site.telemetry).begin(lambda: genai.inference("chat", "acme", "m-1")):
        pass

    (event,) = site.events
    assert dict(event.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "m-1",
    }


def test_the_conversation_is_in_it():
    site = Site()
    with spanloom.session(conversation_id="c-1", user_id="u-1", tags=["beta"]):
        site.chat()

    told = site.events[0].attributes
    assert (told["gen_ai.conversation.id"], told["user.id"], told["spanloom.tags"]) == ("c-1", "u-1", ("beta",))


@pytest.mark.parametrize(
    "config", [{"events": False}, {"events": False, "content": True}, {"capture": frozenset({"io"})}]
)
def test_none_unless_it_is_asked_for(config):
    site = Site(**config)
    site.chat()

    assert site.events == []
    assert len(site.recorder.spans) == 1


def test_none_of_a_call_that_is_not_sampled():
    site = Site(Recorder(sampler=ALWAYS_OFF))
    assert site.chat().wants_messages is False
    assert site.events == []


def test_a_call_inside_another_one_is_one_event():
    site = Site()
    with Inference(site.telemetry).begin(lambda: genai.inference("chat", "acme", "outer")):
        inner = Inference(site.telemetry)
        with inner.begin(lambda: genai.inference("chat", "acme", "inner")):
            assert inner.wants_messages
            inner.output_messages = [messages.output([messages.text("from inside")])]

    (event,) = site.events
    assert event.attributes["gen_ai.request.model"] == "outer"
    assert "from inside" in str(event.attributes["gen_ai.output.messages"])


@pytest.fixture
def nobody(monkeypatch):
    """A process without a logger provider."""
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", None)
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER_SET_ONCE", Once())


@pytest.mark.parametrize("provider", [None, NoOpLoggerProvider(), LoggerProvider(shutdown_on_exit=False)])
def test_nothing_is_built_where_nobody_takes_events(nobody, recorder, provider):
    made = Telemetry.create("test", recorder.provider, Config(events=True), logger_provider=provider)
    with Inference(made).begin(lambda: genai.inference("chat", "acme", "m-1")) as call:
        assert call.wants_messages is False
    assert dict(recorder.spans[0].attributes).keys() & set(SAID) == set()


def test_a_provider_that_is_set_later_gets_events(nobody, recorder):
    made = Telemetry.create("test", recorder.provider, Config(events=True))
    site = Site(recorder)
    site.telemetry = made
    site.chat()
    _logs.set_logger_provider(site.logs)
    site.chat()

    assert len(site.events) == 1


def test_an_api_that_cannot_be_asked_is_looked_at(recorder, monkeypatch):
    """Loggers of older ones have no `enabled`."""

    class Old:
        def __init__(self, inner=None):
            self.records = []
            if inner is not None:
                self._logger = inner

        def emit(self, record):
            self.records.append(record)

    silent = Old(_logs.NoOpLogger("x"))
    assert details.Details(silent, None).wanted is False
    taking = Old()
    assert details.Details(taking, None).wanted is True


def test_a_failure_of_the_events_is_none_of_the_call(lenient, monkeypatch):
    site = Site()
    monkeypatch.setattr(details, "_record", lambda *_: 1 / 0)
    site.chat()
    monkeypatch.undo()
    monkeypatch.setattr(site.telemetry.details._logger, "emit", lambda *_: 1 / 0)
    site.chat()

    assert len(site.recorder.spans) == 2
    assert site.events == []
    assert [line.partition(" (")[0] for line in lenient.lines] == ["spanloom lost the event of a model call"] * 2


def test_the_programs_own_calls_have_events(recorder):
    site = Site(recorder)
    telemetry.use(recorder.provider, Config(events=True), logger_provider=site.logs)
    chunks = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "be"}}]},
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "cause"}, "finish_reason": "stop"}]},
    ]
    try:
        with spanloom.chat("m-1", provider="acme") as call:
            call.input("why?")
            assert list(call.stream(iter(chunks))) == chunks
        with spanloom.tool("t") as call:  # no model call
            call.arguments({"x": 1})
    finally:
        telemetry.use()

    (event,) = site.events
    told = plain(event.attributes)
    assert told["gen_ai.input.messages"] == [{"role": "user", "parts": [{"type": "text", "content": "why?"}]}]
    assert told["gen_ai.output.messages"][0]["parts"] == [{"type": "text", "content": "because"}]
    assert set(SAID) & set(recorder.only("chat m-1").attributes) == set()
