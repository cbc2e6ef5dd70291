"""Whatever runs in a node lies under its span, wherever it runs; outside nothing of ours is ever current."""

import asyncio
import contextvars
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from spanloom.span import current_scope


def test_spans_of_an_instrumentation(spans, build, way, own, monkeypatch):
    """Of an HTTP client, say; a `data:` URL needs no network."""
    plain = urllib.request.OpenerDirector.open

    def traced(self, *args, **kwargs):
        with own("GET", kind=SpanKind.CLIENT):
            return plain(self, *args, **kwargs)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", traced)

    def fetch(state):
        with urllib.request.urlopen("data:,hello") as response:
            return {"x": [response.read()]}

    inner = build({"fetch": way.node(fetch)}, "START > fetch", name="Inner")
    assert way.invoke(build({"fetch": way.node(fetch), "sub": inner}, "START > fetch > sub", name="Outer"), {"x": []})
    assert (
        spans.tree()
        == """
invoke_workflow Outer
  run_step fetch
    GET
  invoke_workflow Inner
    run_step fetch
      GET
"""
    )


def test_threads_that_carry_the_context(spans, build, way, own):
    def work(number):
        with own(f"work {number}"):
            pass

    def node(state):
        with ThreadPoolExecutor(2) as pool:
            for number in range(2):
                pool.submit(contextvars.copy_context().run, work, number).result()
            pool.submit(work, "without").result()

    way.invoke(build({"node": way.node(node)}, "START > node"), {"x": []})
    assert spans.tree() == "\ninvoke_workflow\n  run_step node\n    work 0\n    work 1\nwork without\n"


def test_tasks_and_threads_of_an_async_node(spans, build, own):
    async def work(name):
        with own(name):
            await asyncio.sleep(0)

    def plain(name):
        with own(name):
            pass

    async def node(state):
        await asyncio.gather(work("one"), work("two"))
        await asyncio.create_task(work("three"))
        await asyncio.to_thread(plain, "four")
        await asyncio.wait_for(work("five"), 60)

    asyncio.run(build({"node": node}, "START > node").ainvoke({"x": []}))
    assert (
        spans.tree()
        == """
invoke_workflow
  run_step node
    one
    two
    three
    four
    five
"""
    )


def test_nodes_of_one_step_keep_apart(spans, build, own, unordered):
    """Their tasks are interleaved; each sees its own span."""

    async def program():
        turn = asyncio.Condition()
        arrived = []

        def node(name):
            async def run(state):
                with own(f"before {name}"):
                    pass
                async with turn:
                    arrived.append(name)
                    turn.notify_all()
                    await turn.wait_for(lambda: len(arrived) == 3)
                with own(f"after {name}"):
                    await asyncio.sleep(0)

            return run

        await build({name: node(name) for name in "abc"}, "START > a", "START > b", "START > c").ainvoke({"x": []})

    asyncio.run(program())
    assert unordered(spans.tree()) == "\ninvoke_workflow\n" + "".join(
        f"  run_step {name}\n    after {name}\n    before {name}\n" for name in "abc"
    )


def test_a_background_task_that_outlives_its_node(spans, build, own):
    """It stays below the node that started it; the graph that it runs is a run of its own there."""
    tasks = []

    async def program():
        ended = asyncio.Event()
        other = build({"late": lambda state: None}, "START > late", name="Late")

        async def background():
            await ended.wait()
            with own("background"):
                await other.ainvoke({"x": []})

        async def node(state):
            tasks.append(asyncio.create_task(background()))

        await build({"node": node, "b": lambda state: None}, "START > node > b").ainvoke({"x": []})
        assert trace.get_current_span() is trace.INVALID_SPAN
        ended.set()
        await tasks[0]

    asyncio.run(program())
    assert (
        spans.tree()
        == """
invoke_workflow
  run_step node
    background
      invoke_workflow Late
        run_step late
  run_step b
"""
    )
    assert spans.only("invoke_workflow Late").attributes["langgraph.graph.nodes"] == ("late",)


def test_a_background_thread_that_outlives_its_node(spans, build, own):
    ended, threads = threading.Event(), []

    def background():
        ended.wait(60)
        with own("background"):
            pass

    def node(state):
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(background,)))
        threads[0].start()

    build({"node": node}, "START > node").invoke({"x": []})
    ended.set()
    threads[0].join(60)
    assert spans.tree() == "\ninvoke_workflow\n  run_step node\n    background\n"


@pytest.mark.parametrize("how", ["runs", "fails", "is left"])
def test_what_was_current_before_is_afterwards(spans, build, way, own, how):
    def node(state):
        if how == "fails":
            raise ValueError
        return {"x": [1]}

    graph = build({"a": way.node(node), "b": way.step("b")}, "START > a > b")

    def same(around):
        assert trace.get_current_span() is around
        assert current_scope() is None
        assert otel_context.get_current() is context

    async def arun():
        try:
            if how != "is left":
                await graph.ainvoke({"x": []})
            stream = graph.astream({"x": []})
            async for _ in stream:
                same(around)
                if how == "is left":
                    break
            await stream.aclose()
        except ValueError:
            assert how == "fails"
        same(around)

    def run():
        try:
            if how != "is left":
                graph.invoke({"x": []})
            for _ in graph.stream({"x": []}):
                same(around)
                if how == "is left":
                    break
        except ValueError:
            assert how == "fails"
        same(around)

    with own("request") as around:
        context = otel_context.get_current()
        if way.is_async:

            async def program():
                nonlocal context
                context = otel_context.get_current()
                await arun()

            asyncio.run(program())
        else:
            run()
        context = otel_context.get_current()
        same(around)
    assert {span.name for span in spans.spans if span.parent is None} == {"request"}


def test_between_two_items_the_context_is_the_consumers(spans, build, sync_way, own):
    """What the consumer makes current itself stays so, and nodes lie under the run all the same."""
    graph = build(sync_way.steps("abc"), "START > a > b > c")
    stream = graph.stream({"x": []})
    next(stream)
    with own("consumer") as mine:
        next(stream)
        assert trace.get_current_span() is mine
        next(stream)
        assert list(stream) == []
        assert trace.get_current_span() is mine
    assert (
        spans.tree()
        == """
invoke_workflow
  run_step a
    in a
  run_step b
    in b
  run_step c
    in c
consumer
"""
    )


def test_items_taken_by_different_tasks(spans, build, async_way, own):
    async def program():
        stream = build(async_way.steps("abc"), "START > a > b > c").astream({"x": []})
        for number in range(3):
            with own(f"task {number}"):
                await asyncio.create_task(anext_of(stream))
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(anext_of(stream))

    async def anext_of(stream):
        return await stream.__anext__()

    asyncio.run(program())
    assert (
        spans.tree()
        == """
task 0
  invoke_workflow
    run_step a
      in a
    run_step b
      in b
    run_step c
      in c
task 1
task 2
"""
    )


def test_items_taken_by_different_threads(spans, build, sync_way):
    stream = build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []})
    for _ in range(4):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(next, stream, None).result()
    assert spans.tree() == "\ninvoke_workflow\n  run_step a\n    in a\n  run_step b\n    in b\n  run_step c\n    in c\n"


def test_a_sync_run_inside_an_async_node(spans, build, sync_way):
    inner = build(sync_way.steps("a"), "START > a", name="Inner")

    async def node(state):
        return inner.invoke({"x": []})

    asyncio.run(build({"node": node}, "START > node", name="Outer").ainvoke({"x": []}))
    assert spans.tree() == (
        "\ninvoke_workflow Outer\n  run_step node\n    invoke_workflow Inner\n      run_step a\n        in a\n"
    )


def test_routers_and_reducers(spans, way, build, own):
    """A router runs in its node, which reduces for it what it has just written; else a reducer runs in the run."""
    from typing import Annotated

    from typing_extensions import TypedDict

    def add(old, new):
        with own(f"reduce {new}"):
            return old + new

    class Sum(TypedDict):
        x: Annotated[int, add]

    graph = build(
        {"a": way.node(lambda state: {"x": 1})},
        "START > a",
        state=Sum,
        conditions=[("a", way.step("router", lambda state: "__end__"))],
    )
    assert way.invoke(graph, {"x": 0}) == {"x": 1}
    assert (
        spans.tree()
        == """
invoke_workflow
  reduce 0
  run_step a
    reduce 1
    in router
  reduce 1
"""
    )
