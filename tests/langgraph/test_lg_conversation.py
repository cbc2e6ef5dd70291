"""A run's `thread_id` is the conversation of every span of it; each new run of the thread is a trace of its own."""

import asyncio
import uuid

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START
from langgraph.types import Send
from opentelemetry import context as otel_context

from spanloom.instrument import STAMPS

ID = "gen_ai.conversation.id"


def thread(name, **more):
    return {"configurable": {"thread_id": name, **more}}


def ours(recorder):
    """Name and conversation of every span but the program's own, in the order of their starts."""
    return [
        (span.name, span.attributes.get(ID))
        for span in sorted(recorder.spans, key=lambda span: span.start_time)
        if not span.name.startswith("in ")
    ]


def test_is_on_every_span(spans, build, way):
    inner = build(way.steps("a"), "START > a", name="Inner")
    outer = build({"sub": inner, "b": way.step("b")}, "START > sub > b", name="Outer", checkpointer=InMemorySaver())
    way.invoke(outer, {"x": []}, thread("T"))
    way.invoke(outer, {"x": []}, thread("T"))
    one = [("invoke_workflow Outer", "T"), ("invoke_workflow Inner", "T"), ("run_step a", "T"), ("run_step b", "T")]
    assert ours(spans) == one * 2
    assert len({span.context.trace_id for span in spans.spans}) == 2


def test_of_nobody(spans, build, way):
    way.invoke(build(way.steps("a"), "START > a"), {"x": []})
    way.invoke(build(way.steps("a"), "START > a"), {"x": []}, {"configurable": {"user": "U"}})
    assert {value for _, value in ours(spans)} == {None}


def test_of_graphs_that_a_node_calls(spans, build, sync_way):
    """One inherits the thread, as LangGraph has it; one has its own."""
    inner = build(sync_way.steps("a"), "START > a", name="Inner")
    apart = build(sync_way.steps("b"), "START > b", name="Apart", checkpointer=InMemorySaver())

    def call(state):
        inner.invoke({"x": []})
        apart.invoke({"x": []}, thread("other"))
        inner.invoke({"x": []})

    build({"call": call}, "START > call", checkpointer=InMemorySaver()).invoke({"x": []}, thread("T"))
    assert ours(spans) == [
        ("invoke_workflow", "T"),
        ("run_step call", "T"),
        ("invoke_workflow Inner", "T"),
        ("run_step a", "T"),
        ("invoke_workflow Apart", "other"),
        ("run_step b", "other"),
        ("invoke_workflow Inner", "T"),
        ("run_step a", "T"),
    ]


def test_of_parallel_nodes_and_sends(spans, build, way):
    graph = build(
        {**way.steps("ab"), "work": way.step("work")},
        "START > a",
        "START > b",
        conditions=[(START, lambda state: [Send("work", state)] * 2, ["work"])],
    )
    way.invoke(graph, {"x": []}, thread("T"))
    assert [value for _, value in ours(spans)] == ["T"] * 5


def test_two_threads_at_once(spans, build, own):
    async def program():
        arrived = []

        async def meet(state):
            arrived.append(1)
            while len(arrived) < 2:
                await asyncio.sleep(0)

        graph = build({"meet": meet, "b": meet}, "START > meet > b")
        await asyncio.gather(*(graph.ainvoke({"x": []}, thread(name)) for name in ("one", "two")))

    asyncio.run(program())
    conversations = {}
    for span in spans.spans:
        conversations.setdefault(span.context.trace_id, set()).add(span.attributes[ID])
    assert sorted(conversations.values(), key=str) == [{"one"}, {"two"}]


@pytest.mark.parametrize("name", [7, uuid.UUID(int=1), ("a", 1)], ids=str)
def test_a_thread_that_is_no_text(spans, build, way, name):
    """As LangGraph saves it."""
    way.invoke(build(way.steps("a"), "START > a"), {"x": []}, thread(name))
    assert {value for _, value in ours(spans)} == {str(name)}


def test_of_the_graphs_own_configuration(spans, build, way):
    graph = build(way.steps("a"), "START > a").with_config(configurable={"thread_id": "own"})
    way.invoke(graph, {"x": []})
    way.invoke(graph, {"x": []}, thread("given"))
    way.invoke(graph, {"x": []}, {"configurable": {"user": "U"}})
    assert [value for name, value in ours(spans) if name == "run_step a"] == ["own", "given", "own"]


def test_of_the_runnable_that_a_graph_is_part_of(spans, build, sync_way):
    """LangChain hands its configuration on, explicitly in a chain and implicitly in a function."""
    graph = build(sync_way.steps("a"), "START > a")
    (RunnableLambda(lambda value: value) | graph).invoke({"x": []}, thread("chain"))
    RunnableLambda(lambda value: str(graph.invoke(value))).invoke({"x": []}, thread("function"))
    assert [value for _, value in ours(spans)] == ["chain"] * 2 + ["function"] * 2


def test_does_not_go_beyond_the_run(spans, build, way, own):
    graph = build(way.steps("a"), "START > a")
    way.invoke(graph, {"x": []}, thread("T"))
    way.invoke(graph, {"x": []})
    assert [value for _, value in ours(spans)] == ["T", "T", None, None]


def test_among_other_stamps(spans, build, way):
    """The run's thread is the nearer truth; the rest of what is carried stays."""
    token = otel_context.attach(otel_context.set_value(STAMPS, {ID: "session", "user.id": "U"}))
    try:
        way.invoke(build(way.steps("a"), "START > a"), {"x": []})
        way.invoke(build(way.steps("a"), "START > a"), {"x": []}, thread("T"))
    finally:
        otel_context.detach(token)
    assert [value for _, value in ours(spans)] == ["session", "session", "T", "T"]
    assert {span.attributes["user.id"] for span in spans.spans if not span.name.startswith("in ")} == {"U"}


def test_without_a_configuration_of_the_usual_kind(spans, build, sync_way):
    graph = build(sync_way.steps("a"), "START > a")
    for config in (None, {}, {"configurable": None}, {"configurable": {"thread_id": None}}):
        graph.invoke({"x": []}, config)
    assert {value for _, value in ours(spans)} == {None}
