"""`ChatOpenAI` against a server: the same span with and without OpenTelemetry's instrumentation of the client below."""

import asyncio
import json
import threading

import pytest
from opentelemetry.trace import StatusCode

from spanloom.demo.replies import Failure, Reply, ToolCall
from spanloom.demo.server import ModelServer

pytest.importorskip("langchain_openai")

import httpx
import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@tool
def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


class Person(BaseModel):
    """A person."""

    name: str


def respond(request):
    """Calls the tool once, else says hello."""
    if request.get("response_format"):
        return Reply('{"name": "Ann"}')
    if request.get("tools") and request["messages"][-1]["role"] != "tool":
        return Reply(tool_calls=(ToolCall("search", {"query": "x"}),), reasoning_tokens=4)
    if "slowly" in str(request["messages"]):
        return Reply("word " * 2_000)
    return Reply("Hello to you", reasoning_tokens=7)


@pytest.fixture(scope="module")
def server():
    with ModelServer(respond) as running:
        yield running


@pytest.fixture(params=["alone", "with the client's instrumentation"])
def below(request, spans):
    """Whether an instrumentation of the client is on as well."""
    if request.param == "alone":
        yield False
        return
    module = pytest.importorskip("opentelemetry.instrumentation.genai.openai")
    from opentelemetry.util.genai import invocation

    if not hasattr(invocation, "InferenceData"):
        pytest.skip("this opentelemetry-util-genai cannot be told of our calls")
    instrumentor = module.OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=spans.provider)
    yield True
    instrumentor.uninstrument()


def chat(server, **options):
    """A model of the server's."""
    return ChatOpenAI(**{"model": "gpt-x", "base_url": server.base_url, "api_key": "none", "max_retries": 0, **options})


def as_it_is(model):
    return model


@pytest.fixture
def model(server):
    """A model of the server's, to be called synchronously."""
    with httpx.Client() as client:
        yield chat(server, http_client=client)


async def all_of(stream):
    return [item async for item in stream]


def ask(way, server, given, prepare=as_it_is, **options):
    """Ask `prepare(a model)` in one of four ways; the text of the answer."""

    async def ask_async():
        async with httpx.AsyncClient() as client:
            runnable = prepare(chat(server, http_async_client=client, **options))
            return [await runnable.ainvoke(given)] if way == "ainvoke" else await all_of(runnable.astream(given))

    if way.startswith("a"):
        answers = asyncio.run(ask_async())
    else:
        with httpx.Client() as client:
            runnable = prepare(chat(server, http_client=client, **options))
            answers = [runnable.invoke(given)] if way == "invoke" else list(runnable.stream(given))
    return "".join(answer.content for answer in answers)


WAYS = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
USED = {
    "gen_ai.usage.input_tokens": 8,
    "gen_ai.usage.output_tokens": 10,
    "gen_ai.usage.cache_read.input_tokens": 0,
    "gen_ai.usage.reasoning.output_tokens": 7,
}


def usage(span):
    return {key: value for key, value in span.attributes.items() if "usage" in key}


@WAYS
def test_one_span_with_usage_once(spans, below, server, way):
    assert ask(way, server, "Hi", temperature=0.5, stream_usage=True) == "Hello to you"

    (span,) = spans.spans
    assert span.name == "chat gpt-x"
    assert usage(span) == USED
    attributes = dict(span.attributes)
    streamed = "stream" in way
    assert attributes.pop("gen_ai.request.stream", False) is streamed
    assert (attributes.pop("gen_ai.response.time_to_first_chunk", 0) > 0) is streamed
    # LangChain does not tell the id of a streamed answer; the client's instrumentation does.
    assert attributes.pop("gen_ai.response.id", "").startswith("chatcmpl-") is (below or not streamed)
    where = {"server.address": "127.0.0.1", "server.port": int(server.base_url.rsplit(":")[-1].split("/")[0])}
    assert attributes == (where if below else {}) | USED | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "gpt-x",
        "gen_ai.response.finish_reasons": ("stop",),
    }


@WAYS
def test_unknown_usage_is_not_zero(spans, below, server, way):
    ask(way, server, "Hi", stream_usage=False)

    assert usage(spans.only("chat gpt-x")) == ({} if "stream" in way else USED)


@WAYS
def test_tool_calls_are_told(spans, below, server, way):
    ask(way, server, "Hi", lambda model: model.bind_tools([search]))

    span = spans.only("chat gpt-x")
    assert span.attributes["gen_ai.response.finish_reasons"] == ("tool_call",)
    assert "gen_ai.output.type" not in span.attributes


def test_structured_output_is_told_and_the_same_as_without_us(spans, below, model):
    structured = model.with_structured_output(Person)

    assert structured.invoke("Who?") == Person(name="Ann")
    assert spans.only("chat gpt-x").attributes["gen_ai.output.type"] == "json"


def test_an_agent_has_one_call_per_turn_and_the_cache_of_the_second(spans, below, model, build):
    from langgraph.graph import MessagesState
    from langgraph.prebuilt import ToolNode, tools_condition

    bound = model.bind_tools([search])
    graph = build(
        {"model": lambda state: {"messages": [bound.invoke(state["messages"])]}, "tools": ToolNode([search])},
        "START > model",
        "tools > model",
        conditions=[("model", tools_condition)],
        state=MessagesState,
    )

    result = graph.invoke({"messages": [("user", "word " * 100)]})

    assert result["messages"][-1].content == "Hello to you"
    first, second = spans.named("chat gpt-x")
    assert (
        usage(first)["gen_ai.usage.cache_read.input_tokens"],
        first.attributes["gen_ai.usage.reasoning.output_tokens"],
    ) == (0, 4)
    assert usage(second)["gen_ai.usage.cache_read.input_tokens"] > 0
    assert len([span for span in spans.spans if span.name.startswith("chat")]) == 2
    assert spans.only("execute_tool search").parent.span_id != first.context.span_id


def test_below_a_tool_the_client_is_a_call_of_its_own(spans, below, server):
    @tool
    def ask_directly(text: str) -> str:
        """Ask the client."""
        with openai.OpenAI(base_url=server.base_url, api_key="none") as client:
            messages = [{"role": "user", "content": text}]
            return client.chat.completions.create(model="gpt-y", messages=messages).choices[0].message.content

    class Asking(ChatOpenAI):
        def _generate(self, *args, **kwargs):
            ask_directly.invoke({"text": "Hi"})
            return super()._generate(*args, **kwargs)

    with httpx.Client() as client:
        Asking(model="gpt-x", base_url=server.base_url, api_key="none", http_client=client).invoke("Hi")

    expected = "\nchat gpt-x\n  execute_tool ask_directly\n"
    assert spans.tree() == expected + ("    chat gpt-y\n" if below else "")
    assert usage(spans.only("chat gpt-x")) == USED


def qualified(kind):
    """The name of an error's class; LangChain may have one of its own for the client's."""
    return f"{kind.__module__}.{kind.__qualname__}"


# -- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refusing():
    def respond(request):
        text = request["messages"][-1]["content"]
        if text == "too often":
            return Failure(429, "Slow down.", type="requests", code="rate_limit_exceeded")
        return Failure(400, "This is not allowed.", code="bad")

    with ModelServer(respond) as running:
        yield running


@WAYS
@pytest.mark.parametrize(
    ("said", "error", "words"),
    [("too often", openai.RateLimitError, "Slow down."), ("wrong", openai.BadRequestError, "This is not allowed.")],
)
def test_refusals_are_errors_with_the_clients_type(spans, below, refusing, way, said, error, words):
    with pytest.raises(error, match=words) as caught:
        ask(way, refusing, said)

    (span,) = spans.spans
    assert span.attributes["error.type"] == qualified(caught.type)
    assert span.status.status_code is StatusCode.ERROR
    assert words in span.status.description
    assert [event.name for event in span.events] == ["exception"]
    assert ("server.address" in span.attributes) is below


@pytest.fixture
def stuck():
    """A server that answers when the test is over, and what is set when it has been asked."""
    over, asked = threading.Event(), threading.Event()

    def respond(request):
        asked.set()
        over.wait()
        return Reply("too late")

    with ModelServer(respond) as running:
        running.asked = asked
        yield running
        over.set()


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream"])
def test_timeouts_are_errors(spans, below, stuck, way):
    with pytest.raises(openai.APITimeoutError) as caught:
        ask(way, stuck, "Hi", timeout=0.05)

    assert spans.only("chat gpt-x").attributes["error.type"] == qualified(caught.type)


def test_cancellation_is_no_error(spans, below, stuck):
    async def give_up():
        async with httpx.AsyncClient() as client:
            task = asyncio.ensure_future(chat(stuck, http_async_client=client).ainvoke("Hi"))
            await asyncio.to_thread(stuck.asked.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(give_up())

    span = spans.only("chat gpt-x")
    assert span.attributes["spanloom.status"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_left_early_is_one_closed_span(spans, below, server, model, is_async):
    async def leave():
        async with httpx.AsyncClient() as client:
            stream = chat(server, http_async_client=client).astream("slowly")
            async for chunk in stream:
                if chunk.content:
                    break
            await stream.aclose()

    if is_async:
        asyncio.run(leave())
    else:
        stream = model.stream("slowly")
        next(chunk for chunk in stream if chunk.content)
        stream.close()

    (span,) = spans.spans
    assert span.attributes["spanloom.status"] == "closed"
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0


def test_content_is_recorded_once_too(recorder, on, model):
    from spanloom.config import Config

    with on(Config(content=True)):
        model.bind_tools([search]).invoke([("system", "Be brief."), ("user", "Hi")])

    attributes = recorder.only("chat gpt-x").attributes
    assert [message["role"] for message in json.loads(attributes["gen_ai.input.messages"])] == ["system", "user"]
    (answer,) = json.loads(attributes["gen_ai.output.messages"])
    assert answer["finish_reason"] == "tool_call"
    assert answer["parts"][0]["arguments"] == {"query": "x"}
    (definition,) = json.loads(attributes["gen_ai.tool.definitions"])
    assert (definition["name"], definition["description"]) == ("search", "Search the web.")
    assert definition["parameters"]["required"] == ["query"]
