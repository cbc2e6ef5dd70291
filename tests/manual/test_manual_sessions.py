"""Sessions: on every span inside, of every instrumentation, across tasks, threads and services."""

import asyncio
import contextvars
import threading

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace

import spanloom
from spanloom import telemetry
from spanloom.carried import stamps
from spanloom.config import Config

CONVERSATION = {"gen_ai.conversation.id": "c-1", "session.id": "c-1"}


@pytest.fixture
def carried(spans):
    """`carried(name)`: what the only span of that name has of a session."""

    def found(name):
        keys = ("gen_ai.conversation.id", "session.id", "user.id", "spanloom.tags")
        attributes = spans.only(name).attributes
        return {key: value for key, value in attributes.items() if key in keys or "metadata" in key}

    return found


def test_everything_inside_carries_it(spans, carried):
    session = spanloom.session(
        conversation_id="c-1",
        user_id="u-1",
        tags=["beta", "web"],
        metadata={"tenant": "acme", "seats": 5, "trial": True, "plan": {"a": 1}, "areas": ["x", "y"], "none": None},
    )
    with spanloom.workflow("outside"):
        with session, spanloom.node("inside"), spanloom.chat("m"):
            pass
        with spanloom.node("after"):
            pass

    told = {
        **CONVERSATION,
        "user.id": "u-1",
        "spanloom.tags": ("beta", "web"),
        "spanloom.metadata.tenant": "acme",
        "spanloom.metadata.seats": 5,
        "spanloom.metadata.trial": True,
        "spanloom.metadata.plan": '{"a":1}',
        "spanloom.metadata.areas": ("x", "y"),
    }
    assert carried("run_step inside") == carried("chat m") == told
    assert carried("invoke_workflow outside") == carried("run_step after") == {}
    assert stamps() == {}


def test_spans_of_other_instrumentations_carry_it(recorder, on):
    recorder.provider.add_span_processor(spanloom.SpanloomProcessor())
    on()
    tracer = recorder.provider.get_tracer("another")
    with spanloom.session(conversation_id="c-1", tags=["a"]), tracer.start_as_current_span("theirs"):
        pass

    assert recorder.only("theirs").attributes == {**CONVERSATION, "spanloom.tags": ("a",)}


def test_an_inner_session_adds_to_the_outer_one(spans, carried):
    with (
        spanloom.session(conversation_id="c-0", user_id="u-1", tags=["a", "b"], metadata={"k": 1, "l": 1}),
        spanloom.session(conversation_id="c-1", tags=["b", "c"], metadata={"l": 2}),
        spanloom.node("n"),
    ):
        pass

    assert carried("run_step n") == {
        **CONVERSATION,
        "user.id": "u-1",
        "spanloom.tags": ("a", "b", "c"),
        "spanloom.metadata.k": 1,
        "spanloom.metadata.l": 2,
    }


def test_it_decorates_functions_of_every_kind(spans, carried):
    session = spanloom.session(conversation_id="c-1")

    def step(name):
        assert stamps() == CONVERSATION
        with spanloom.node(name):
            return name

    @session
    def plain():
        return step("plain")

    @session
    async def coroutine():
        await asyncio.sleep(0)
        return step("coroutine")

    @session
    def generator():
        yield step("generator")
        yield step("generator, again")

    @session
    async def async_generator():
        yield step("async generator")
        await asyncio.sleep(0)
        yield step("async generator, again")

    async def main():
        found = [await coroutine()]
        async for name in async_generator():
            assert stamps() == {}
            found.append(name)
        return found

    found = [plain(), *asyncio.run(main())]
    for name in generator():
        assert stamps() == {}
        found.append(name)

    assert len(found) == 6
    assert all(carried(f"run_step {name}") == CONVERSATION for name in found)


def test_tasks_and_threads_that_carry_the_context_carry_it(spans, carried):
    async def step(name):
        await asyncio.sleep(0)
        with spanloom.node(name):
            pass

    async def main():
        async with spanloom.session(conversation_id="c-1"):
            task = asyncio.create_task(step("task"))
            await asyncio.to_thread(lambda: asyncio.run(step("thread")))
        await task
        await step("after")

    asyncio.run(main())
    with spanloom.session(conversation_id="c-1"):
        copied = contextvars.copy_context()
    thread = threading.Thread(target=copied.run, args=(asyncio.run, step("copied")))
    thread.start()
    thread.join()

    assert carried("run_step task") == carried("run_step thread") == carried("run_step copied") == CONVERSATION
    assert carried("run_step after") == {}


def test_sessions_at_once_are_apart(spans, carried):
    async def one(number):
        async with spanloom.session(conversation_id=f"c-{number}"):
            await asyncio.sleep(0)
            with spanloom.node(f"n-{number}"):
                await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*map(one, range(5)))

    asyncio.run(main())

    ids = [carried(f"run_step n-{number}")["session.id"] for number in range(5)]
    assert ids == ["c-0", "c-1", "c-2", "c-3", "c-4"]


def test_a_block_has_one_session():
    once = spanloom.session(user_id="u")
    with once:
        pass
    with pytest.raises(RuntimeError, match="has had its block"), once:
        pass


def test_values_are_bounded_and_free_texts_redacted(spans, carried):
    with (
        spanloom.session(
            conversation_id=5,
            user_id="u" * 1000,
            tags="of bob@example.com",
            metadata={
                "note": "from bob@example.com " + "x" * 5000,
                "api_key": "hunter2",
                **{f"k{n}": n for n in range(99)},
            },
        ),
        spanloom.node("n"),
    ):
        pass

    found = carried("run_step n")
    assert found["session.id"] == "5"
    assert len(found["user.id"]) <= 256
    assert found["spanloom.tags"] == ("of [REDACTED]",)
    assert found["spanloom.metadata.note"].startswith("from [REDACTED] xx")
    assert len(found["spanloom.metadata.note"]) <= 1024
    assert "hunter2" not in str(found)
    assert len(found) <= 4 + 64


def test_a_span_that_carries_tags_is_as_lean_as_others(spans):
    with spanloom.workflow("w"), spanloom.session(tags=["a"]), spanloom.node("n"):
        made = type(trace.get_current_span()).__mro__[0]
    with spanloom.workflow("v"), spanloom.node("m"):
        assert made is type(trace.get_current_span()).__mro__[0]
    assert spans.only("run_step n").attributes["spanloom.tags"] == ("a",)


def test_w3c_baggage_takes_it_to_another_service_where_asked(spans, carried):
    headers, quiet = {}, {}
    with spanloom.session(conversation_id="c-1", user_id="Zoë", tags=["a", "b,c"], metadata={"k": 1, "l": "x"}):
        propagate.inject(quiet)
    with spanloom.session(
        conversation_id="c-1", user_id="Zoë", tags=["a", "b,c"], metadata={"k": 1, "l": "x"}, baggage=True
    ):
        propagate.inject(headers)

    assert "baggage" not in quiet
    token = otel_context.attach(propagate.extract(headers))
    try:
        with spanloom.node("untouched"):
            pass
        with spanloom.session_from_baggage(), spanloom.node("n"):
            pass
    finally:
        otel_context.detach(token)

    assert carried("run_step untouched") == {}
    assert carried("run_step n") == {
        **CONVERSATION,
        "user.id": "Zoë",
        "spanloom.tags": ("a", "b,c"),
        "spanloom.metadata.k": "1",
        "spanloom.metadata.l": "x",
    }


@pytest.mark.parametrize(
    "sent", ["spanloom.tags=not-json", "spanloom.tags=%7B%7D", "session.id=", "other=1", "spanloom.metadata.=", "%%%"]
)
def test_baggage_of_others_is_not_trusted(spans, carried, sent):
    token = otel_context.attach(propagate.extract({"baggage": sent}))
    try:
        with spanloom.session_from_baggage(), spanloom.node("n"):
            pass
    finally:
        otel_context.detach(token)

    assert carried("run_step n") == {}


def test_metadata_that_baggage_cannot_name_stays_here(spans, log):
    with spanloom.session(metadata={"two words": "x"}, baggage=True):
        headers = {}
        propagate.inject(headers)

    assert "baggage" not in headers
    assert "two words" in log.lines[0]


def test_it_holds_before_there_is_a_provider(recorder):
    telemetry.use()
    with spanloom.session(conversation_id="c-1"):
        telemetry.use(recorder.provider, Config())
        try:
            with spanloom.node("n"):
                pass
        finally:
            telemetry.use()

    assert recorder.only("run_step n").attributes["session.id"] == "c-1"


def test_a_run_s_thread_is_its_conversation(spans, recorder, carried):
    pytest.importorskip("langgraph")
    from langgraph.graph import END, START, StateGraph

    from spanloom_langgraph import LangGraphInstrumentor

    graph = StateGraph(dict)
    graph.add_node("ask", lambda state: state)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    app = graph.compile(name="support")
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider, config=Config())
    try:
        with spanloom.session(conversation_id="c-1", user_id="u-1"):
            app.invoke({}, {"configurable": {"thread_id": "t-1"}})
            with spanloom.node("after"):
                pass
    finally:
        instrumentor.uninstrument()

    told = {"gen_ai.conversation.id": "t-1", "session.id": "c-1", "user.id": "u-1"}
    assert carried("invoke_workflow support") == carried("run_step ask") == told
    assert carried("run_step after") == {**CONVERSATION, "user.id": "u-1"}
