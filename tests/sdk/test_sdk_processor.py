"""The official OpenAI instrumentation under `spanloom.init`: nothing secret that it writes reaches an exporter."""

import asyncio
import json

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import spanloom
from spanloom.carried import STAMPS
from spanloom.demo.replies import Failure, Reply, ToolCall
from spanloom.demo.server import ModelServer

openai = pytest.importorskip("openai")
genai_openai = pytest.importorskip("opentelemetry.instrumentation.genai.openai")

KEY = "sk-abcdefghijklmnop1234567890"
QUESTION = {"model": "loopback-chat", "messages": [{"role": "user", "content": f"I use {KEY}, is it safe?"}]}


def answer(request):
    """Repeats what it got, in words, a tool's arguments or an error."""
    said = request["messages"][-1]["content"]
    if "fail" in said:
        return Failure(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key")
    if request.get("tools"):
        return Reply(tool_calls=(ToolCall("check", {"text": said, "apiKey": "plain"}),))
    return Reply(f"You said: {said}")


@pytest.fixture
def client():
    """A client of the loopback server."""
    with ModelServer(answer) as server, openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def official():
    """The official instrumentor, switched on by the test."""
    instrumentor = genai_openai.OpenAIInstrumentor()
    yield instrumentor
    instrumentor.uninstrument()


@pytest.fixture
def sent(official):
    """What an exporter gets, as one text per span; the spans themselves are `sent.spans`."""

    class Sent(InMemorySpanExporter):
        @property
        def texts(self):
            spanloom.flush()
            return [span.to_json() for span in self.get_finished_spans()]

        @property
        def only(self):
            (text,) = self.texts
            return json.loads(text)

    exporter = Sent()
    provider = spanloom.init(exporters=[exporter], content=True)
    official.instrument(tracer_provider=provider)
    return exporter


def test_a_prompt_and_an_answer(sent, client):
    reply = client.chat.completions.create(**QUESTION).choices[0].message.content

    attributes = sent.only["attributes"]
    assert KEY in reply  # the program's own
    assert KEY not in sent.texts[0]
    (asked,) = json.loads(attributes["gen_ai.input.messages"])
    (said,) = json.loads(attributes["gen_ai.output.messages"])
    assert asked["parts"][0]["content"] == "I use [REDACTED], is it safe?"
    assert said["parts"][0]["content"] == "You said: I use [REDACTED], is it safe?"
    assert attributes["gen_ai.usage.input_tokens"] > 0


def test_a_stream(sent, client):
    text = "".join(
        chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**QUESTION, stream=True)
    )

    assert KEY in text
    assert KEY not in sent.texts[0]
    assert "You said: I use [REDACTED]" in sent.texts[0]


def test_the_arguments_of_a_tool(sent, client):
    tool = {"type": "function", "function": {"name": "check", "parameters": {"type": "object", "properties": {}}}}
    call = client.chat.completions.create(**QUESTION, tools=[tool]).choices[0].message.tool_calls[0]

    assert json.loads(call.function.arguments)["apiKey"] == "plain"
    ((part,),) = [said["parts"] for said in json.loads(sent.only["attributes"]["gen_ai.output.messages"])]
    assert part["name"] == "check"
    assert "plain" not in json.dumps(part)
    assert KEY not in sent.texts[0]


def test_an_error(sent, client):
    with pytest.raises(openai.AuthenticationError, match=KEY):
        client.chat.completions.create(model="loopback-chat", messages=[{"role": "user", "content": "fail"}])

    assert sent.only["attributes"]["error.type"].endswith("AuthenticationError")
    assert "Incorrect API key provided: [REDACTED]" in sent.only["status"]["description"]
    assert KEY not in sent.texts[0]


def test_the_conversation(sent, client):
    token = otel_context.attach(otel_context.set_value(STAMPS, {"gen_ai.conversation.id": "c-1"}))
    try:
        client.chat.completions.create(**QUESTION)
    finally:
        otel_context.detach(token)

    assert sent.only["attributes"]["gen_ai.conversation.id"] == "c-1"


def test_a_pattern_of_the_users(official, client):
    exporter = InMemorySpanExporter()
    provider = spanloom.init(exporters=[exporter], content=True, redact_patterns=["is it [a-z]+"])
    official.instrument(tracer_provider=provider)
    client.chat.completions.create(**QUESTION)
    spanloom.flush()

    assert "is it safe" not in exporter.get_finished_spans()[0].to_json()


def test_a_provider_of_the_programs_own_with_our_processor(official, client):
    spanloom.init(exporters=[], content=True)  # the settings
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(spanloom.SpanloomProcessor())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    official.instrument(tracer_provider=provider)

    async def ask():
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key="none") as asynchronous:
            return await asynchronous.chat.completions.create(**QUESTION)

    assert KEY in asyncio.run(ask()).choices[0].message.content
    (span,) = exporter.get_finished_spans()
    assert "I use [REDACTED]" in span.to_json()
    assert KEY not in span.to_json()


def test_a_provider_that_the_program_has_made_stays_as_it_is():
    provider = TracerProvider(shutdown_on_exit=False)
    spanloom.sdk.trace.set_tracer_provider(provider)
    spanloom.init(exporters=[])

    assert provider._active_span_processor._span_processors == ()


def test_after_a_second_init_too(sent, official, client):
    official.uninstrument()
    spanloom.shutdown()
    second = type(sent)()
    official.instrument(tracer_provider=spanloom.init(exporters=[second], content=True))
    client.chat.completions.create(**QUESTION)

    assert KEY not in second.texts[0]
    assert "[REDACTED]" in second.texts[0]
