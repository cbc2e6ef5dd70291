"""The official packages' completion hook is handed what our model calls ask and answer."""

import json
import sys
import types
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from spanloom import completion, genai, messages
from spanloom.config import Config
from spanloom.credentials import MARK
from spanloom.inference import Inference
from spanloom.instrument import Telemetry
from spanloom.testing import Recorder

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK"
KEY = "sk-abcdefghijklmnop1234567890"


class Point:
    def __init__(self, name, make):
        self.name = name
        self.load = make


class Kept:
    """A hook that keeps what it gets, and writes to the span and the event."""

    def __init__(self):
        self.calls = []

    def on_completion(self, **told):
        self.calls.append(told)
        told["span"].set_attribute("ref", "s3://bucket/1")
        if told["log_record"] is not None:
            told["log_record"].attributes = {**told["log_record"].attributes, "ref": "s3://bucket/1"}


@pytest.fixture
def install(monkeypatch):
    """`install(name=function that loads the maker)`: the installed hooks are these, and none is made yet."""
    monkeypatch.setattr(completion._Loaded, "hooks", {})

    def these(**points):
        found = [Point(name, make) for name, make in points.items()]
        monkeypatch.setattr(completion, "entry_points", lambda *, group: found if "completion_hook" in group else [])

    return these


@pytest.fixture
def hook(install):
    kept = Kept()
    install(mine=lambda: lambda: kept)
    return kept


def chat(recorder, text="why?", logger_provider=None, **config):
    """A model call of which everything is known."""
    settings = Config(**{"completion_hook": "mine", **config})
    made = Telemetry.create("test", recorder.provider, settings, logger_provider=logger_provider)
    with Inference(made).begin(lambda: genai.inference("chat", "acme", "m-1")) as call:
        if not call.wants_messages:
            return call
        call.input_messages = [
            messages.message("user", [messages.text(text), messages.media("image", "image/png", byte_count=10)]),
            messages.message("tool", [messages.tool_call_response({"a": 1}, "c-1")], "search"),
            messages.message("user", [messages.generic("mine", {"b": 2})]),
        ]
        call.system_instructions = [messages.text("Be brief.")]
        call.tool_definitions = [
            messages.tool("search", parameters={"type": "object"}),
            messages.tool("web", "builtin"),
        ]
        call.output_messages = [
            messages.output([messages.reasoning("hm"), messages.tool_call("search", {"q": "x"}, "c-2")], "tool_call")
        ]
    return call


@pytest.mark.parametrize("content", [False, True])
def test_it_gets_the_official_types_and_may_write_to_the_span(recorder, hook, content):
    official = pytest.importorskip("opentelemetry.util.genai.types")
    chat(recorder, content=content)

    (told,) = hook.calls
    user, tool, other = told["inputs"]
    assert user == official.InputMessage(
        "user",
        [
            official.TextPart("why?"),
            official.BlobPart(mime_type="image/png", modality="image", content="<10 bytes>"),
        ],
    )
    assert tool == official.InputMessage("tool", [official.ToolCallResponsePart({"a": 1}, "c-1")], "search")
    (part,) = other.parts
    assert isinstance(part, official.GenericPart)
    assert (part.type, part.generic_type, part.content) == ("generic", "mine", {"b": 2})
    assert told["outputs"] == [
        official.OutputMessage(
            "assistant",
            [official.ReasoningPart("hm"), official.ToolCallRequestPart({"q": "x"}, "search", "c-2")],
            "tool_call",
        )
    ]
    assert told["system_instruction"] == [official.TextPart("Be brief.")]
    assert told["tool_definitions"] == [
        official.FunctionToolDefinition("search", None, {"type": "object"}),
        official.GenericToolDefinition("web", "builtin"),
    ]
    (span,) = recorder.spans
    assert span.attributes["ref"] == "s3://bucket/1"
    assert told["span"].get_span_context() == span.context
    assert told["log_record"] is None
    assert ("gen_ai.input.messages" in span.attributes) is content


def test_without_the_package_it_gets_dicts(recorder, hook, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.types", None)
    chat(recorder)

    (told,) = hook.calls
    assert told["inputs"][0]["parts"][0] == {"type": "text", "content": "why?"}
    assert told["outputs"][0]["finish_reason"] == "tool_call"
    assert [tool["name"] for tool in told["tool_definitions"]] == ["search", "web"]


def test_it_gets_the_event_before_that_is_emitted(recorder, hook):
    exporter = InMemoryLogRecordExporter()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    chat(recorder, events=True, logger_provider=logs)

    (event,) = exporter.get_finished_logs()
    assert event.log_record.attributes["ref"] == "s3://bucket/1"


def test_secrets_are_hidden_and_long_texts_are_whole(recorder, hook):
    chat(recorder, text=f"{KEY} " + "word " * 20_000)

    said = hook.calls[0]["inputs"][0].parts[0].content
    assert said == f"{MARK} " + "word " * 20_000


def test_a_call_without_messages_hands_over_that_there_are_none(recorder, hook):
    made = Telemetry.create("test", recorder.provider, Config(completion_hook="mine"))
    with Inference(made).begin(lambda: genai.inference("chat", "acme", "m-1")):
        pass

    (told,) = hook.calls
    assert (told["inputs"], told["outputs"], told["system_instruction"], told["tool_definitions"]) == ([], [], [], None)


@pytest.mark.parametrize("config", [{"completion_hook": ""}, {"capture": frozenset({"tools"})}])
def test_it_is_not_called_where_it_is_not_asked_for(recorder, hook, config):
    assert chat(recorder, **config).wants_messages is False
    assert hook.calls == []


def test_nor_for_calls_that_are_not_sampled(hook):
    assert chat(Recorder(sampler=ALWAYS_OFF)).wants_messages is False
    assert hook.calls == []


def test_it_is_made_once(recorder, install):
    made = []
    install(mine=lambda: lambda: made.append(Kept()) or made[-1])
    chat(recorder)
    chat(recorder)

    assert [len(one.calls) for one in made] == [2]


def boom():
    raise OSError("no such bucket")


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ({}, "there is no such hook, so no messages are handed over; installed: none (pip install"),
        ({"upload": lambda: Kept}, "installed: upload."),
        ({"mine": lambda: boom}, "the hook cannot be made, so no messages are handed over: no such bucket"),
        ({"mine": boom}, "the hook cannot be made"),
        ({"mine": lambda: dict}, "what it makes is no hook, as it has no on_completion()"),
    ],
)
def test_one_that_cannot_be_used_is_told_once(recorder, install, log, points, words):
    install(**points)
    for _ in range(2):
        assert chat(recorder).wants_messages is False

    (line,) = log.lines
    assert line.startswith(f"{VARIABLE}=mine: ")
    assert words in line


def test_one_that_does_nothing_is_none(recorder, install, log):
    nothing = type("_NoOpCompletionHook", (Kept,), {})
    install(mine=lambda: nothing)

    assert chat(recorder).wants_messages is False
    assert log.lines == []


def test_one_that_raises_costs_its_own_part(recorder, hook, lenient, monkeypatch):
    monkeypatch.setattr(hook, "on_completion", lambda **_: 1 / 0)
    chat(recorder, content=True)
    chat(recorder, content=True)

    assert len(recorder.spans) == 2
    assert "why?" in recorder.spans[0].attributes["gen_ai.input.messages"]
    (line,) = lenient.lines
    assert "what a model call has said, for the completion hook" in line


def test_the_variable_is_read_and_a_broken_pattern_switches_it_off(log):
    assert Config.from_environment({VARIABLE: " upload "}).completion_hook == "upload"
    assert Config.from_environment({VARIABLE: "upload", "SPANLOOM_REDACT_PATTERNS": "("}).completion_hook == ""


def test_the_official_hook_uploads_our_messages(recorder, install, monkeypatch, tmp_path):
    """`upload`, as it is installed with `opentelemetry-util-genai[upload]`."""
    pytest.importorskip("fsspec")
    official = pytest.importorskip("opentelemetry.util.genai._upload")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH", str(tmp_path))
    install(upload=lambda: official.upload_completion_hook)
    chat(recorder, completion_hook="upload")

    completion.hook_named("upload")._hook.shutdown()  # which waits for what was begun
    attributes = recorder.only("chat m-1").attributes
    found = {
        key: json.loads(Path(attributes[f"gen_ai.{key}_ref"].removeprefix("file://")).read_text(encoding="utf-8"))
        for key in ("input.messages", "output.messages", "system_instructions", "tool.definitions")
    }
    assert found["input.messages"][0]["parts"][0] == {"content": "why?", "type": "text"}
    assert found["input.messages"][2]["parts"] == [{"type": "generic", "generic_type": "mine", "content": {"b": 2}}]
    assert found["output.messages"][0]["finish_reason"] == "tool_call"
    assert found["system_instructions"] == [{"content": "Be brief.", "type": "text"}]
    assert [tool["name"] for tool in found["tool.definitions"]] == ["search", "web"]


def test_older_types_are_found_by_what_they_are(recorder, hook, monkeypatch):
    """Their names change from release to release."""
    import dataclasses

    text = dataclasses.make_dataclass("Text", [("content", str), ("type", str, "text")])
    asked = dataclasses.make_dataclass("InputMessage", [("role", str), ("parts", list)])
    old = types.SimpleNamespace(Text=text, InputMessage=asked, Alias=text)
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.types", old)
    chat(recorder)

    inputs = hook.calls[0]["inputs"]
    assert inputs[0] == asked("user", [text("why?"), {**inputs[0].parts[1]}])
    assert hook.calls[0]["outputs"][0]["role"] == "assistant"
