"""What a run saves and loads lies under it: checkpoints, writes of parallel nodes, caches and stores, in any thread."""

import asyncio
import threading

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import CachePolicy, Command, interrupt

THREAD = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def saver(own):
    """A checkpointer whose database is instrumented."""

    class Saver(InMemorySaver):
        def get_tuple(self, *args, **kwargs):
            with own("db get"):
                return super().get_tuple(*args, **kwargs)

        def put(self, *args, **kwargs):
            with own("db put"):
                return super().put(*args, **kwargs)

        def put_writes(self, *args, **kwargs):
            with own("db put_writes"):
                return super().put_writes(*args, **kwargs)

    return Saver()


def parents(recorder):
    """Names of a database's spans and of those they lie under, without repetitions."""
    names = {span.context.span_id: span.name for span in recorder.spans}
    return sorted(
        {
            (span.name, names[span.parent.span_id] if span.parent else None)
            for span in recorder.spans
            if span.name.startswith("db ")
        }
    )


DURABILITIES = ["sync", "async", "exit"]


@pytest.mark.parametrize("durability", DURABILITIES)
def test_of_a_chain(spans, build, way, saver, durability):
    graph = build(way.steps("ab"), "START > a > b", checkpointer=saver)
    way.invoke(graph, {"x": []}, THREAD, durability=durability)
    kinds = [("db get", "invoke_workflow"), ("db put", "invoke_workflow")]
    if durability != "exit":
        kinds.append(("db put_writes", "invoke_workflow"))
    assert parents(spans) == kinds


@pytest.mark.parametrize("durability", DURABILITIES)
def test_of_parallel_nodes(spans, build, way, saver, durability):
    """In sync runs the nodes' own worker threads save what they wrote, outside of any context."""
    together = threading.Barrier(3) if not way.is_async else None

    def meet(state):
        if together is not None:
            together.wait(60)
        return {"x": [threading.get_ident()]}

    graph = build(
        {name: way.step(name, meet) for name in "abc"}, "START > a", "START > b", "START > c", checkpointer=saver
    )
    way.invoke(graph, {"x": []}, THREAD, durability=durability)
    assert {parent for _, parent in parents(spans)} == {"invoke_workflow"}
    saved = len(spans.named("db put_writes"))
    assert saved == 0 if durability == "exit" else saved >= 3


def test_of_graphs_below(spans, build, way, saver):
    inner = build(way.steps("ab"), "START > a", "START > b", name="Inner")
    outer = build({"one": inner, "two": inner}, "START > one", "START > two", checkpointer=saver, name="Outer")
    way.invoke(outer, {"x": []}, THREAD)
    assert parents(spans) == [
        ("db get", "invoke_workflow Inner"),
        ("db get", "invoke_workflow Outer"),
        ("db put", "invoke_workflow Inner"),
        ("db put", "invoke_workflow Outer"),
        ("db put_writes", "invoke_workflow Inner"),
        ("db put_writes", "invoke_workflow Outer"),
    ]
    assert {span.name for span in spans.spans if span.parent is None} == {"invoke_workflow Outer"}


def test_of_interrupts_and_errors(spans, build, asking, saver):
    def fail(state):
        raise ValueError

    graph = build(
        {
            "ask": asking.node(lambda state: {"x": [interrupt("?")]}),
            "a": asking.step("a"),
            "fail": asking.node(fail),
        },
        "START > ask > fail",
        "START > a",
        checkpointer=saver,
    )
    asking.invoke(graph, {"x": []}, THREAD)
    with pytest.raises(ValueError):
        asking.invoke(graph, Command(resume=1), THREAD)
    assert {parent for _, parent in parents(spans)} == {"invoke_workflow"}
    assert len({span.context.trace_id for span in spans.spans}) == 2


def test_of_streams(spans, build, way, saver):
    graph = build(way.steps("ab"), "START > a", "START > b", checkpointer=saver)
    way.stream(graph, {"x": []}, THREAD, stream_mode=["messages", "custom", "updates"])
    assert {parent for _, parent in parents(spans)} == {"invoke_workflow"}


def test_of_a_stream_that_is_left(spans, build, sync_way, saver):
    graph = build(sync_way.steps("ab"), "START > a > b", checkpointer=saver)
    for _ in graph.stream({"x": []}, THREAD):
        break
    assert {parent for _, parent in parents(spans)} == {"invoke_workflow"}


def test_of_tasks(spans, saver):
    @task
    def square(value):
        return value * value

    @entrypoint(checkpointer=saver)
    def squares(values):
        return [future.result() for future in [square(value) for value in values]]

    assert squares.invoke([1, 2, 3], THREAD) == [1, 4, 9]
    assert all(parent is not None for _, parent in parents(spans))
    assert {span.name for span in spans.spans if span.parent is None} == {"invoke_workflow squares"}


def test_of_an_async_database(spans, build, async_way, own):
    class Saver(InMemorySaver):
        async def aget_tuple(self, *args, **kwargs):
            with own("db get"):
                await asyncio.sleep(0)
                return await super().aget_tuple(*args, **kwargs)

        async def aput(self, *args, **kwargs):
            with own("db put"):
                await asyncio.sleep(0)
                return await super().aput(*args, **kwargs)

        async def aput_writes(self, *args, **kwargs):
            with own("db put_writes"):
                await asyncio.sleep(0)
                return await super().aput_writes(*args, **kwargs)

    graph = build(async_way.steps("abc"), "START > a > c", "START > b", checkpointer=Saver())
    asyncio.run(graph.ainvoke({"x": []}, THREAD))
    assert parents(spans) == [
        ("db get", "invoke_workflow"),
        ("db put", "invoke_workflow"),
        ("db put_writes", "invoke_workflow"),
    ]


def test_of_a_cache(spans, build, way, own):
    class Cache(InMemoryCache):
        def get(self, keys):
            with own("db cache get"):
                return super().get(keys)

        def set(self, keys):
            with own("db cache set"):
                return super().set(keys)

    cached = {"cache_policy": CachePolicy()}
    graph = build(
        {"a": (way.step("a"), cached), "b": (way.step("b"), cached), "c": way.step("c")},
        "START > a",
        "START > b",
        "a + b > c",
        cache=Cache(),
    )
    way.invoke(graph, {"x": []})
    assert way.invoke(graph, {"x": []})["x"] == ["a", "b", "c"]
    assert parents(spans) == [("db cache get", "invoke_workflow"), ("db cache set", "invoke_workflow")]
    first, second = spans.named("invoke_workflow")
    assert "langgraph.cached" not in first.attributes
    assert sorted(second.attributes["langgraph.cached"]) == ["a", "b"]
    assert sum(span.parent is None for span in spans.spans) == 2


def test_state_that_is_asked_for_or_changed_outside_of_runs(spans, build, sync_way, saver):
    """No run, no span of ours."""
    graph = build(sync_way.steps("a"), "START > a", checkpointer=saver)
    graph.update_state(THREAD, {"x": [1]})
    list(graph.get_state_history(THREAD))
    assert not any(span.name.startswith(("invoke", "run")) for span in spans.spans)
