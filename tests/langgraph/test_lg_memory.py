"""Nothing is kept: of graphs, states, loops and runs as little lives on as without us, and nothing grows."""

import asyncio
import contextlib
import gc
import sys
import weakref

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Send
from opentelemetry.sdk.trace import TracerProvider

from spanloom.config import Config
from spanloom.span import Scope

CONTENT = Config(content=True)


@contextlib.contextmanager
def without_gc():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(kind):
    return [each for each in gc.get_objects() if isinstance(each, kind)]


class Thing:
    """A value in a state."""


class Keeper:
    """Makes things and knows which live."""

    def __init__(self):
        self._made = weakref.WeakSet()

    def thing(self):
        made = Thing()
        self._made.add(made)
        return made

    def left(self):
        return len(self._made)


@pytest.mark.parametrize("below", [False, True])
def test_loops_end_with_their_runs(recorder, on, build, way, below):
    """LangGraph takes care that no cycle holds them."""
    from langgraph.pregel import main

    loops = (main.SyncPregelLoop, main.AsyncPregelLoop)
    graph = build(way.steps("ab"), "START > a > b")
    if below:
        graph = build({"sub": graph, "b": way.step("b")}, "START > sub > b")
    with on(CONTENT):
        way.invoke(graph, {"x": []})
        with without_gc():
            for _ in range(5):
                way.invoke(graph, {"x": []})
            assert alive(loops) == []


@pytest.mark.parametrize("how", ["invoke", "stream", "error", "left"])
def test_states_end_with_their_runs(recorder, on, build, way, how):
    """As soon as without us, without the garbage collector's help."""

    def program(keeper):
        def node(state):
            if how == "error":
                raise ValueError
            return {"x": [keeper.thing()]}

        graph = build({"a": way.node(node), "b": way.node(node)}, "START > a > b")
        with contextlib.suppress(ValueError):
            if how == "stream":
                way.stream(graph, {"x": [keeper.thing()]})
            elif how == "left" and not way.is_async:
                for _ in graph.stream({"x": [keeper.thing()]}):
                    break
            else:
                way.invoke(graph, {"x": [keeper.thing()]})

    def left():
        keeper = Keeper()
        program(Keeper())
        with without_gc():
            program(keeper)
            return keeper.left()

    plain = left()
    with on(CONTENT):
        assert left() <= plain


def test_scopes_end_with_their_spans(recorder, on, build, way):
    inner = build(way.steps("a"), "START > a")
    graph = build({"sub": inner, "b": way.step("b")}, "START > sub > b")
    with on(CONTENT):
        way.invoke(graph, {"x": []})
        with without_gc():
            before = len(alive(Scope))  # of other tests' contexts
            for _ in range(5):
                way.invoke(graph, {"x": []})
            assert len(alive(Scope)) == before


def test_a_background_task_keeps_no_state(recorder, on, build):
    """It keeps its context and so its node's scope, which has let go of what it needed."""
    keeper = Keeper()

    async def program():
        go = asyncio.Event()
        tasks = []

        async def node(state):
            tasks.append(asyncio.create_task(go.wait()))
            return {"x": [keeper.thing()]}

        graph = build({"n": node}, "START > n")
        await graph.ainvoke({"x": [keeper.thing()]})
        held = weakref.ref(graph)
        del graph, node
        gc.collect()
        left, graph_lives = keeper.left(), held() is not None
        go.set()
        await asyncio.gather(*tasks)
        return left, graph_lives

    plain = asyncio.run(program())
    with on(CONTENT):
        assert asyncio.run(program()) <= plain


def test_graphs_are_not_held(recorder, on, build, way):
    with on(CONTENT):
        graph = build({"sub": build(way.steps("a"), "START > a")}, "START > sub", checkpointer=InMemorySaver())
        way.invoke(graph, {"x": []}, {"configurable": {"thread_id": "1"}})
        held = [weakref.ref(graph), weakref.ref(graph.nodes["sub"].bound), weakref.ref(graph.checkpointer)]
        del graph
        gc.collect()
        assert [each() for each in held] == [None] * 3


def test_what_a_long_run_remembers_is_let_go(recorder, on, build, sync_way):
    """A loop of many steps, each with `Send`s: its edges are forgotten when they are used."""
    from spanloom_langgraph import _runs

    runs = []

    class Run(_runs.Run):
        def __init__(self, *args):
            super().__init__(*args)
            runs.append(self)

    def route(state):
        return [Send("work", 1), Send("work", 2), "count"] if len(state["x"]) < 200 else "__end__"

    graph = build(
        {"count": lambda state: {"x": [1]}, "work": lambda number: None},
        "START > count",
        conditions=[("count", route, ["work", "count", "__end__"])],
    )
    with on(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_runs, "Run", Run)
        graph.invoke({"x": []}, {"recursion_limit": 999})
    (run,) = runs
    kept = [getattr(run.edges, slot) for slot in run.edges.__slots__]
    assert sum(len(each) for each in kept) < 10


def test_interrupted_runs_are_remembered_up_to_a_bound(recorder, on, build, sync_way, monkeypatch):
    monkeypatch.setattr("spanloom_langgraph._resume._KEPT", 6)
    graph = build(sync_way.steps("ab"), "START > a > b", checkpointer=InMemorySaver(), interrupt_before=["b"])
    with on():
        for number in range(5):
            graph.invoke({"x": []}, {"configurable": {"thread_id": str(number)}})
        for number in range(5):
            graph.invoke(None, {"configurable": {"thread_id": str(number)}})
    first, resumed = recorder.named("invoke_workflow")[:5], recorder.named("invoke_workflow")[5:]
    assert [[link.context for link in span.links] for span in resumed] == [
        [],
        [],
        *([span.context] for span in first[2:]),
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts the interpreter's own objects")
def test_many_runs_leave_nothing(on, build, way):
    """Each with a thread, a conversation and sends of its own."""
    inner = build({"a": way.node(lambda state: {"x": ["a"]})}, "START > a")
    graph = build(
        {"sub": inner, "work": way.node(lambda number: {"x": [number]})},
        "START > sub",
        conditions=[("sub", lambda state: [Send("work", 1), Send("work", 2)], ["work"])],
    )

    def runs(count, offset):
        for number in range(count):
            way.invoke(graph, {"x": []}, {"configurable": {"thread_id": str(offset + number)}})
        gc.collect()
        return len(gc.get_objects())

    with on(CONTENT, provider=TracerProvider(shutdown_on_exit=False)):
        runs(30, 0)
        before = runs(30, 100)
        after = runs(300, 1000)
    assert after - before < 60
