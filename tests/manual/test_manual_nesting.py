"""Spans of the program's own under and over instrumented frameworks: right parents, one span for one model call."""

import asyncio

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

import spanloom
from spanloom import telemetry
from spanloom.config import Config
from spanloom.demo.replies import Reply
from spanloom.demo.server import ModelServer
from spanloom.testing import Recorder


@pytest.fixture
def langgraph(spans):
    pytest.importorskip("langgraph")
    from spanloom_langgraph import LangGraphInstrumentor

    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    yield
    instrumentor.uninstrument()


@pytest.fixture
def pocketflow(spans):
    module = pytest.importorskip("pocketflow")
    from spanloom_pocketflow import PocketFlowInstrumentor

    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config(pocketflow_phases=frozenset({"exec"})))
    yield module
    instrumentor.uninstrument()


@pytest.fixture
def openai(spans):
    """The client, and an instrumentation of it that is not ours."""
    module = pytest.importorskip("opentelemetry.instrumentation.genai.openai")
    client = pytest.importorskip("openai")
    instrumentor = module.OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=spans.provider)
    yield client
    instrumentor.uninstrument()


@pytest.fixture(scope="module")
def server():
    with ModelServer(lambda _: Reply("Hello to you", reasoning_tokens=7)) as running:
        yield running


USED = {
    "gen_ai.usage.input_tokens": 8,
    "gen_ai.usage.output_tokens": 10,
    "gen_ai.usage.cache_read.input_tokens": 0,
    "gen_ai.usage.reasoning.output_tokens": 7,
}
ASKED = {"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}]}


def usage(span):
    return {key: value for key, value in span.attributes.items() if "usage" in key}


def graph(node):
    from langgraph.graph import END, START, StateGraph

    builder = StateGraph(dict)
    builder.add_node("ask", node)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(name="support")


def test_a_workflow_around_a_graph_around_a_call(spans, langgraph):
    def ask(state):
        with spanloom.chat("m-1"):
            return state

    with spanloom.workflow("mine"):
        graph(ask).invoke({})

    assert (
        spans.tree()
        == """
invoke_workflow mine
  invoke_workflow support
    run_step ask
      chat m-1
"""
    )


def test_the_same_with_coroutines(spans, langgraph):
    @spanloom.chat("m-1")
    async def model():
        await asyncio.sleep(0)
        return {}

    @spanloom.workflow
    async def mine():
        async def ask(state):
            return await model()

        return await graph(ask).ainvoke({})

    asyncio.run(mine())

    assert (
        spans.tree()
        == """
invoke_workflow mine
  invoke_workflow support
    run_step ask
      chat m-1
"""
    )


def test_nodes_inside_nodes_say_where_they_lie(spans, langgraph):
    from langgraph.graph import START, StateGraph

    @spanloom.node
    def look(state):
        with spanloom.tool("search"), spanloom.node("rank"):
            return {"x": 1}

    graph = StateGraph(dict).add_node("research", look).add_edge(START, "research").compile()
    with spanloom.workflow("desk"):
        with spanloom.node("plan"):
            pass
        with spanloom.node("work"):
            graph.invoke({})

    assert {
        span.attributes["spanloom.node.name"]: span.attributes.get("spanloom.node.path")
        for span in spans.spans
        if "spanloom.node.name" in span.attributes
    } == {
        "plan": None,
        "work": None,
        "research": "work:research",
        "look": "work:research:look",
        "rank": "work:research:look:rank",
    }


def test_an_interrupt_that_passes_through_is_no_error(spans, langgraph):
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import interrupt

    @spanloom.tool
    def approve():
        return interrupt("ok?")

    app = graph(lambda state: approve())
    app.checkpointer = InMemorySaver()
    app.invoke({}, {"configurable": {"thread_id": "t"}})

    span = spans.only("execute_tool approve")
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["spanloom.status"] == "interrupted"
    assert not span.events
    assert span.attributes["gen_ai.conversation.id"] == "t"


def test_the_current_call_in_a_node_takes_attributes(spans, langgraph, facts):
    def ask(state):
        spanloom.current().set("shop.order", 7)
        spanloom.current().usage(input=5)
        spanloom.current().error(ValueError())
        return state

    graph(ask).invoke({})

    assert spans.only("run_step ask").attributes["shop.order"] == 7
    assert all(not usage(span) for span in spans.spans)


def test_a_call_in_a_pocketflow_node(spans, pocketflow):
    class Ask(pocketflow.Node):
        def exec(self, prep_res):
            with spanloom.chat("m-1") as call:
                call.usage(input=1)

    class Support(pocketflow.Flow):
        pass

    with spanloom.agent("mine"):
        Support(start=Ask()).run({})

    assert (
        spans.tree()
        == """
invoke_agent mine
  invoke_workflow Support
    run_step Ask
      exec Ask
        chat m-1
"""
    )


def test_a_langchain_tool_that_is_traced_below_its_own_span(spans, langgraph):
    from langchain_core.tools import tool

    @spanloom.node("look up")
    def look_up(query):
        return query.upper()

    @tool
    def search(query: str) -> str:
        """Search."""
        return look_up(query)

    assert search.invoke({"query": "x"}) == "X"
    assert spans.tree() == "\nexecute_tool search\n  run_step look up\n"


def test_a_decorated_function_may_become_a_langchain_tool(spans, langgraph):
    from langchain_core.tools import tool

    @tool
    @spanloom.node
    def search(query: str) -> str:
        """Search."""
        return query.upper()

    assert search.args.keys() == {"query"}
    assert search.invoke({"query": "x"}) == "X"
    assert spans.tree() == "\nexecute_tool search\n  run_step search\n"


def test_a_client_s_own_instrumentation_below_is_the_same_call(spans, openai, server):
    with openai.OpenAI(base_url=server.base_url, api_key="none") as client:
        with spanloom.chat("gpt-x", provider="openai"):
            client.chat.completions.create(**ASKED)
        with spanloom.chat("gpt-x", provider="openai") as call:
            call.record(client.chat.completions.create(**ASKED))

    assert spans.tree() == "\nchat gpt-x\nchat gpt-x\n"
    assert [usage(span) for span in spans.spans] == [USED, USED]


def test_a_client_s_stream_is_the_same_call(spans, openai, server):
    options = {"stream": True, "stream_options": {"include_usage": True}}

    @spanloom.chat("gpt-x", provider="openai")
    def ask(client):
        return client.chat.completions.create(**ASKED, **options)

    with openai.OpenAI(base_url=server.base_url, api_key="none") as client:
        stream = ask(client)
        assert not spans.spans
        said = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]

    assert "".join(said) == "Hello to you"
    span = spans.only("chat gpt-x")
    assert usage(span) == USED
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0


def test_an_async_client_s_stream_is_the_same_call(spans, openai, server):
    async def main():
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:
            async with spanloom.chat("gpt-x", provider="openai") as call:
                stream = call.stream(
                    await client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
                )
            assert not spans.spans
            async with stream:
                return [chunk async for chunk in stream]

    assert asyncio.run(main())
    assert usage(spans.only("chat gpt-x")) == USED


def test_calls_beside_each_other_and_below_tools_are_their_own(spans, openai, server):
    @spanloom.tool
    def look_up(client):
        return client.chat.completions.create(**{**ASKED, "model": "gpt-y"})

    with openai.OpenAI(base_url=server.base_url, api_key="none") as client, spanloom.chat("gpt-x") as call:
        look_up(client)
        call.usage(input=1)

    assert spans.tree() == "\nchat gpt-x\n  execute_tool look_up\n    chat gpt-y\n"
    assert usage(spans.only("chat gpt-x")) == {"gen_ai.usage.input_tokens": 1}


def test_a_langchain_model_below_is_the_same_call(spans, langgraph):
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    answer = AIMessage("Hello", usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5})
    model = GenericFakeChatModel(messages=iter([answer]))
    with spanloom.chat("gpt-x", provider="acme") as call:
        model.invoke("Hi")
        call.response(id="mine")

    span = spans.only("chat gpt-x")
    assert len(spans.spans) == 1
    assert usage(span) == {"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2}
    assert span.attributes["gen_ai.response.id"] == "mine"


def test_a_call_that_is_told_twice_is_one(content, chunks):
    @spanloom.chat("outer")
    def ask():
        with spanloom.chat("inner") as call:
            assert call.recording
            return call.stream(chunks.sync())

    assert list(ask()) == chunks.given

    span = content.only("chat outer")
    assert len(content.spans) == 1
    assert span.attributes["gen_ai.usage.input_tokens"] == 7
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert "Hello" in span.attributes["gen_ai.output.messages"]


def test_embeddings_that_are_told_twice_are_one(spans):
    with spanloom.embeddings("outer"), spanloom.embeddings("inner") as call:
        assert not call.recording

    assert spans.tree() == "\nembeddings outer\n"


def test_what_is_not_sampled_costs_no_payload_and_leaves_nothing(on):
    class Unread:
        def __getattr__(self, name):
            raise AssertionError("it was looked at")

    dropping = Recorder(sampler=ALWAYS_OFF)
    on(Config(content=True), dropping.provider)
    with spanloom.workflow("w") as outer, spanloom.chat("m") as call:
        assert not outer.recording
        assert not call.recording
        call.input(Unread())
        call.record(Unread())
        call.output(Unread())
        call.set("a.b", Unread())
        stream = iter([Unread()])
        assert call.stream(stream) is stream

    dropping.assert_closed()
    assert not dropping.spans


def test_settings_that_change_are_followed(spans, on):
    with spanloom.node("a") as call:
        call.input("x")
    on(Config(content=True))
    with spanloom.node("b") as call:
        call.input("x")
    telemetry.use()
    with spanloom.node("c") as call:
        call.input("x")

    assert [span.attributes.get("spanloom.input") for span in spans.spans] == [None, '"x"']


def test_a_function_that_is_a_tool_of_both_is_two_spans(spans, langgraph):
    from langchain_core.tools import tool

    @spanloom.tool("look_up", capture=True)
    async def look_up(query):
        return query.upper()

    @tool
    async def search(query: str) -> str:
        """Search."""
        return await look_up(query)

    assert asyncio.run(search.ainvoke({"query": "x"})) == "X"
    assert spans.tree() == "\nexecute_tool search\n  execute_tool look_up\n"
