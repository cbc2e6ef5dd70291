"""Streamed calls of LangChain's chat models: chunks and events untouched, first chunk, usage, ends of every kind."""

import asyncio
import contextlib
import gc
import itertools
import json
import sys

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from opentelemetry import trace
from opentelemetry.trace import StatusCode

CHUNKS = [
    AIMessageChunk("", id="msg_1", response_metadata={"model_name": "m-1-0001"}),
    AIMessageChunk("Hello "),
    AIMessageChunk("world", usage_metadata={"input_tokens": 30, "output_tokens": 0, "total_tokens": 30}),
    AIMessageChunk(
        "",
        response_metadata={"stop_reason": "end_turn"},
        usage_metadata={
            "input_tokens": 0,
            "output_tokens": 12,
            "total_tokens": 12,
            "output_token_details": {"reasoning": 5},
        },
        chunk_position="last",
    ),
]
TOOL_CHUNKS = [
    AIMessageChunk("", tool_call_chunks=[{"name": "search", "args": "", "id": "c1", "index": 0}]),
    AIMessageChunk("", tool_call_chunks=[{"name": None, "args": '{"query": ', "id": None, "index": 0}]),
    AIMessageChunk("", tool_call_chunks=[{"name": None, "args": '"x"}', "id": None, "index": 0}]),
]


class ChatAcme(BaseChatModel):
    """Streams its chunks, and then fails where it is told to."""

    chunks: list = CHUNKS
    error: type[BaseException] | None = None
    current: list = []

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for chunk in self.chunks:
            self.current.append(trace.get_current_span().name)
            yield ChatGenerationChunk(message=chunk.model_copy())
        if self.error is not None:
            raise self.error("no line")

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise AssertionError("not asked to stream")

    @property
    def _llm_type(self):
        return "acme"

    def _get_ls_params(self, stop=None, **kwargs):
        return {"ls_provider": "acme", "ls_model_name": "m-1", "ls_model_type": "chat"}


async def all_of(stream):
    return [item async for item in stream]


@pytest.fixture(params=["sync", "async"])
def read(request):
    """`read(model, ...)`: all that `stream`, or `astream`, yields."""
    if request.param == "sync":
        return lambda model, *args, **kwargs: list(model.stream(*args, **kwargs))
    return lambda model, *args, **kwargs: asyncio.run(all_of(model.astream(*args, **kwargs)))


def first_chunk(span):
    return span.attributes["gen_ai.response.time_to_first_chunk"]


def test_a_streamed_call_tells_its_first_chunk_and_the_usage_of_all_chunks(spans, read):
    model = ChatAcme()

    chunks = read(model, "Hi")

    assert "".join(chunk.content for chunk in chunks) == "Hello world"
    span = spans.only("chat m-1")
    assert first_chunk(span) > 0
    assert {key: value for key, value in span.attributes.items() if "first_chunk" not in key} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "m-1-0001",
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 12,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }
    assert model.current == ["chat m-1"] * len(CHUNKS)


def test_the_consumer_gets_the_models_chunks_and_never_sees_the_span(spans):
    seen = []

    class Model(ChatAcme):
        def _stream(self, *args, **kwargs):
            for chunk in super()._stream(*args, **kwargs):
                seen.append(chunk.message)
                yield chunk

    for chunk, made in zip(Model().stream("Hi"), seen, strict=False):
        assert chunk is made
        assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_stream_left_early_is_closed_with_what_had_arrived(content):
    stream = ChatAcme().stream("Hi")
    next(stream)
    next(stream)
    stream.close()

    span = content.only("chat m-1")
    assert span.attributes["spanloom.status"] == "closed"
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["gen_ai.response.model"] == "m-1-0001"
    assert "gen_ai.response.finish_reasons" not in span.attributes
    assert json.loads(span.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "finish_reason": "unknown", "parts": [{"type": "text", "content": "Hello "}]}
    ]


def test_a_dropped_stream_is_closed(spans):
    next(ChatAcme().stream("Hi"))
    gc.collect()

    assert spans.only("chat m-1").attributes["spanloom.status"] == "closed"


def test_an_async_stream_left_early_or_cancelled_is_closed(content):
    class Waiting(ChatAcme):
        async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
            for chunk in super()._stream(messages):
                yield chunk
            await asyncio.Event().wait()

    async def leave():
        async with contextlib.aclosing(ChatAcme().astream("Hi")) as stream:
            async for _ in stream:
                break

    async def cancel():
        arrived = asyncio.Event()

        async def read():
            async for chunk in Waiting().astream("Hi"):
                if chunk.content == "world":
                    arrived.set()

        task = asyncio.ensure_future(read())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    asyncio.run(cancel())

    left, cancelled = content.named("chat m-1")
    assert left.attributes["spanloom.status"] == "closed"
    assert cancelled.attributes["spanloom.status"] == "cancelled"
    assert cancelled.attributes["gen_ai.usage.input_tokens"] == 30
    assert "Hello world" in cancelled.attributes["gen_ai.output.messages"]


def test_an_error_in_the_middle_is_an_error_with_what_had_arrived(content, read):
    with pytest.raises(ConnectionError, match="no line"):
        read(ChatAcme(chunks=CHUNKS[:2], error=ConnectionError), "Hi")

    span = content.only("chat m-1")
    assert span.attributes["error.type"] == "ConnectionError"
    (message,) = json.loads(span.attributes["gen_ai.output.messages"])
    assert message == {
        "role": "assistant",
        "finish_reason": "error",
        "parts": [{"type": "text", "content": "Hello "}],
    }


def test_tool_calls_are_put_together(content, read):
    read(ChatAcme(chunks=TOOL_CHUNKS), "Hi")

    (message,) = json.loads(content.only("chat m-1").attributes["gen_ai.output.messages"])
    assert message["parts"] == [{"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "x"}}]


def test_errors_that_langchain_simulates_and_input_that_it_refuses(content, read):
    with pytest.raises(Exception, match=r"^$"):
        read(FakeListChatModel(responses=["abc"], error_on_chunk_number=1), "Hi")
    with pytest.raises(ValueError, match="Invalid input type"):
        read(FakeListChatModel(responses=["abc"]), 7)

    simulated, refused = content.spans
    assert simulated.attributes["error.type"].endswith("FakeListChatModelError")
    assert "gen_ai.input.messages" not in refused.attributes
    assert refused.attributes["error.type"] == "ValueError"


def test_a_model_that_cannot_stream_is_one_plain_call(spans, read):
    class Plain(FakeListChatModel):
        disable_streaming: bool = True

    assert [chunk.content for chunk in read(Plain(responses=["abc"]), "Hi")] == ["abc"]
    (span,) = spans.spans
    assert "gen_ai.request.stream" not in span.attributes


# -- streams that others listen to ----------------------------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
def graph(request, build):
    """A graph whose node asks a model: `graph(model)`."""
    if request.param == "async" and sys.version_info < (3, 11):
        pytest.skip("what listens to a run does not reach its async nodes before Python 3.11")

    def make(model):
        async def asks(state):
            return {"x": [(await model.ainvoke("Hi")).content]}

        node = asks if request.param == "async" else lambda state: {"x": [model.invoke("Hi").content]}
        return build({"a": node}, "START > a > END")

    make.is_async = request.param == "async"
    return make


def test_a_call_that_streams_inside_tells_its_first_chunk(spans, graph):
    app = graph(ChatAcme())
    arguments = {"input": {"x": []}, "stream_mode": "messages"}

    items = asyncio.run(all_of(app.astream(**arguments))) if graph.is_async else list(app.stream(**arguments))

    assert [chunk.content for chunk, _ in items if chunk.content] == ["Hello ", "world"]
    assert spans.tree() == "\ninvoke_workflow\n  run_step a\n    chat m-1\n"
    span = spans.only("chat m-1")
    assert first_chunk(span) > 0
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.usage.output_tokens"] == 12


def test_astream_events_has_one_call(spans):
    async def read():
        return [event["event"] async for event in ChatAcme().astream_events("Hi", version="v2")]

    events = asyncio.run(read())

    assert events.count("on_chat_model_stream") >= len(CHUNKS)
    assert first_chunk(spans.only("chat m-1")) > 0
    assert len(spans.spans) == 1


def test_the_first_token_is_told_once_and_nothing_stays_behind(spans):
    from langchain_core.callbacks import BaseCallbackHandler

    tokens = []

    class Listener(BaseCallbackHandler):
        def on_llm_new_token(self, token, **kwargs):
            tokens.append(token)

    class Telling(GenericFakeChatModel):
        managers: list = []

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            self.managers.append(run_manager)
            for token in "abc":
                run_manager.on_llm_new_token(token)
            return super()._generate(messages, stop, run_manager, **kwargs)

    model = Telling(messages=itertools.repeat(AIMessage("abc")))
    model.invoke("Hi", config={"callbacks": [Listener()]})

    assert tokens == ["a", "b", "c"]
    assert "on_llm_new_token" not in vars(model.managers[0])
    assert first_chunk(spans.only("chat")) > 0


@pytest.mark.parametrize("is_async", [False, True])
def test_a_token_that_is_told_after_the_run_is_nobodys(spans, is_async):
    tellers = []

    class Keeping(GenericFakeChatModel):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            tellers.append(run_manager.on_llm_new_token)
            return super()._generate(messages, stop, run_manager, **kwargs)

        async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
            return self._generate(messages, stop, run_manager, **kwargs)

    model = Keeping(messages=iter([AIMessage("abc")]))
    asyncio.run(model.ainvoke("Hi")) if is_async else model.invoke("Hi")
    gc.collect()

    late = tellers[0]("x")

    assert (asyncio.run(late) if is_async else late) is None
    assert "gen_ai.response.time_to_first_chunk" not in spans.only("chat").attributes


# -- events ---------------------------------------------------------------------------------------------------------


def has_events(test):
    """For tests of what langchain-core has since 1.4, and says is not settled."""
    warning = "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"
    missing = not hasattr(BaseChatModel, "_iter_v2_events")
    return pytest.mark.skipif(missing, reason="langchain-core before 1.4")(pytest.mark.filterwarnings(warning)(test))


@has_events
@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_of_events_ends_with_its_last_event(content, is_async):
    async def read():
        stream = await ChatAcme().astream_events("Hi", version="v3")
        return await stream.text

    if is_async:
        text = asyncio.run(read())
    else:
        stream = ChatAcme().stream_events("Hi", version="v3")
        text = str(stream.text)

    assert text == "Hello world"
    span = content.only("chat m-1")  # also where the generator is still alive
    assert "spanloom.status" not in span.attributes
    assert first_chunk(span) > 0
    assert span.attributes["gen_ai.usage.input_tokens"] == 30
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    (message,) = json.loads(span.attributes["gen_ai.output.messages"])
    assert message["parts"] == [{"type": "text", "content": "Hello world"}]


@has_events
def test_a_stream_of_events_left_early_is_closed_with_what_had_arrived(content):
    stream = ChatAcme().stream_events("Hi", version="v3")
    assert next(iter(stream.text)) == "Hello "
    del stream
    gc.collect()

    span = content.only("chat m-1")
    assert span.attributes["spanloom.status"] == "closed"
    assert "Hello " in span.attributes["gen_ai.output.messages"]


@has_events
def test_a_call_that_gives_events_inside_is_one_call(spans, graph):
    app = graph(ChatAcme())

    async def read():
        run = await app.astream_events({"x": []}, version="v3")
        return await run.output()

    output = asyncio.run(read()) if graph.is_async else app.stream_events({"x": []}, version="v3").output

    assert output["x"]
    assert spans.tree() == "\ninvoke_workflow\n  run_step a\n    chat m-1\n"
    span = spans.only("chat m-1")
    assert first_chunk(span) > 0
    assert span.attributes["gen_ai.usage.output_tokens"] == 12
