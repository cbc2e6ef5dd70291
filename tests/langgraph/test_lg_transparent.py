"""Programs cannot tell: kinds and signatures of functions, copies, log lines, warnings, results of every call."""

import asyncio
import copy
import functools
import inspect
import itertools
import logging
import pickle
import sys
import warnings

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, RetryPolicy, Send
from typing_extensions import TypedDict

from spanloom.config import Config

CONTENT = Config(content=True)


def module(name):
    return sys.modules.get(f"langgraph.pregel._{name}") or sys.modules[f"langgraph.pregel.{name}"]


def wrapped():
    loop = module("loop")
    found = {f"Pregel.{name}": vars(Pregel)[name] for name in ("stream", "astream", "invoke", "ainvoke")}
    found |= {name: vars(module("runner"))[name] for name in ("run_with_retry", "arun_with_retry")}
    found |= {name: vars(module("retry"))[name] for name in ("_should_retry_on",)}
    found |= {name: vars(loop.PregelLoop)[name] for name in ("_first", "_suppress_interrupt", "output_writes")}
    found["put_writes"] = loop.SyncPregelLoop.put_writes
    found["should_interrupt"] = loop.should_interrupt
    return found


def looks(function):
    return (
        function.__module__,
        function.__qualname__,
        function.__doc__,
        inspect.signature(function),
        inspect.iscoroutinefunction(function),
        inspect.isgeneratorfunction(function),
        inspect.isasyncgenfunction(function),
        inspect.isfunction(function),
        inspect.getsource(function),
    )


def test_functions_look_the_same(recorder, on):
    before = wrapped()
    with on():
        within = wrapped()
        assert {name for name in before if before[name] is not within[name]} == set(before)
        assert {name: looks(function) for name, function in within.items()} == {
            name: looks(function) for name, function in before.items()
        }


def test_functions_can_be_pickled(recorder, on):
    with on():
        for name in ("run_with_retry", "arun_with_retry", "_should_retry_on"):
            assert pickle.loads(pickle.dumps(wrapped()[name])) is wrapped()[name]


class Given(TypedDict):
    x: int


def add(state):
    return {"x": state["x"] + 1}


def simple():
    builder = StateGraph(Given)
    builder.add_node("add", add)
    builder.add_edge(START, "add")
    return builder.compile(name="Simple")


@pytest.mark.parametrize("how", [copy.copy, lambda graph: graph.copy(), lambda graph: graph.with_config(tags=["t"])])
def test_copies_of_graphs(spans, how):
    graph = simple()
    assert graph.invoke({"x": 1}) == {"x": 2}
    assert how(graph).invoke({"x": 2}) == {"x": 3}
    assert spans.tree() == "\n" + 2 * "invoke_workflow Simple\n  run_step add\n"


@pytest.mark.parametrize("library", ["pickle", "cloudpickle"])
def test_pickles_of_graphs(recorder, on, library):
    """What can be pickled still can, and holds nothing of ours."""
    dumps = pytest.importorskip(library).dumps

    def outcome():
        graph = simple()
        graph.invoke({"x": 1})
        try:
            return b"spanloom" in dumps(graph)
        except Exception as exc:
            return type(exc)

    without = outcome()
    assert without is not True
    with on():
        assert outcome() is without


# -- one program, both ways ---------------------------------------------------------------------------------------


class Tried(Exception):
    pass


def parts(build, way):
    """A graph with a part of everything."""
    tries = []

    def flaky(state):
        tries.append(1)
        if len(tries) % 2:
            raise Tried(len(tries))
        return {"x": ["flaky"]}

    def route(state):
        return [Send("work", {"x": [n]}) for n in range(2)]

    inner = build(
        {"a": way.node(lambda state: {"x": ["a"]}), "up": way.node(lambda state: Command(goto=END))},
        "START > a > up",
    )
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=Tried)
    return build(
        {
            "sub": inner,
            "flaky": (way.node(flaky), {"retry_policy": policy}),
            "work": way.node(lambda state: {"x": [state["x"]]}),
            "last": (way.node(lambda state: Command(update={"x": ["last"]})), {"defer": True}),
        },
        "START > sub > flaky",
        "work > last",
        "flaky > last",
        conditions=[("sub", way.node(route), ["work"])],
        checkpointer=InMemorySaver(),
        interrupt_before=["last"],
    )


def plain(value):
    """Without what differs from run to run."""
    if isinstance(value, dict):
        return {
            key: plain(item)
            for key, item in value.items()
            if key not in ("id", "timestamp", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "parents")
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value if not isinstance(item, str) or len(item) < 30]
    return value if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__


MODES = ["values", "updates", "tasks", "checkpoints", "debug", "custom", "messages", ["updates", "values"]]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("below", [False, True])
def test_items_of_streams(recorder, on, build, way, mode, below):
    def run():
        graph, config = parts(build, way), {"configurable": {"thread_id": "1"}}
        first = way.stream(graph, {"x": ["given"]}, config, stream_mode=mode, subgraphs=below)
        return plain([first, way.stream(graph, None, config, stream_mode=mode, subgraphs=below)])

    without = run()
    with on(CONTENT):
        within = run()
    # parallel nodes end in any order
    assert sorted(map(str, itertools.chain(*within))) == sorted(map(str, itertools.chain(*without)))
    assert recorder.spans


def test_what_is_saved(recorder, on, build, way):
    def run():
        graph, config = parts(build, way), {"configurable": {"thread_id": "1"}}
        way.invoke(graph, {"x": ["given"]}, config)
        way.invoke(graph, None, config)
        return [
            (state.values, state.next, plain(state.metadata), len(state.tasks))
            for state in graph.get_state_history(config)
        ]

    without = run()
    with on(CONTENT):
        assert run() == without


@pytest.mark.parametrize(
    "call",
    [
        lambda graph: graph.invoke({"x": 1}),
        lambda graph: graph.invoke(input={"x": 1}, config=None),
        lambda graph: graph.invoke({"x": 1}, {"recursion_limit": 9}, stream_mode="updates"),
        lambda graph: graph.invoke({"x": 1}, output_keys="x"),
        lambda graph: [item["type"] for item in graph.stream({"x": 1}, None, stream_mode="debug")],
        lambda graph: list(graph.stream(input={"x": 1}, config={"tags": ["t"]})),
        lambda graph: list(graph.transform(iter([{"x": 1}]))),
        lambda graph: graph.batch([{"x": 1}, {"y": 1}], return_exceptions=True)[0],
        lambda graph: next(graph.batch_as_completed([{"x": 1}])),
        lambda graph: asyncio.run(graph.ainvoke(input={"x": 1})),
        lambda graph: asyncio.run(graph.abatch([{"x": 1}] * 2)),
        lambda graph: (graph | (lambda value: value["x"])).invoke({"x": 1}),
        lambda graph: graph.with_retry().invoke({"x": 1}),
        lambda graph: graph.with_fallbacks([graph]).invoke({"x": 1}),
        lambda graph: graph.as_tool(name="t", description="d", arg_types={"x": int}).invoke({"x": 1}),
        lambda graph: graph.pick("x").invoke({"x": 1}),
    ],
)
@pytest.mark.filterwarnings("ignore:This API is in beta", "ignore:This method is in beta")
def test_every_way_to_call(recorder, on, call):
    without = call(simple())
    with on(CONTENT):
        assert call(simple()) == without
    assert recorder.named("run_step add")


@pytest.mark.parametrize(
    "call",
    [
        lambda graph: graph.invoke(),
        lambda graph: graph.invoke({"x": 1}, nonsense=1) and None,
        lambda graph: list(graph.stream()),
        lambda graph: list(graph.stream({"x": 1}, {}, 1, 2, 3)),
        lambda graph: asyncio.run(graph.ainvoke()),
        lambda graph: graph.invoke(None),
        lambda graph: graph.invoke({}),
        lambda graph: graph.invoke({"x": 1}, "no config"),
        lambda graph: graph.invoke({"x": 1}, {"configurable": 7}),
        lambda graph: graph.invoke({"x": 1}, {"recursion_limit": 0}),
    ],
)
def test_wrong_calls_fail_the_same(recorder, on, call):
    def outcome():
        try:
            return call(simple())
        except Exception as exc:
            return type(exc), str(exc)

    without = outcome()
    with on(CONTENT):
        assert outcome() == without


# -- log lines and warnings ---------------------------------------------------------------------------------------


def test_log_lines(recorder, on, build, way, caplog):
    def lines():
        caplog.clear()
        graph, config = parts(build, way), {"configurable": {"thread_id": "1"}}
        way.invoke(graph, {"x": []}, config)
        way.invoke(graph, None, config)
        return sorted(
            (record.name, record.levelno, record.msg, record.pathname, record.lineno, record.funcName)
            for record in caplog.records
        )

    with caplog.at_level(logging.DEBUG):
        without = lines()
        assert any("Retrying task flaky" in str(line) for line in without)
        with on(CONTENT):
            assert lines() == without


@pytest.mark.filterwarnings("always")
def test_warnings(recorder, on, build, way):
    """Nodes' own, at their own lines, and LangGraph's."""

    def node(state):
        warnings.warn("of a node", stacklevel=1)
        warnings.warn("of a node's caller", stacklevel=2)

    def caught():
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            way.invoke(build({"n": way.node(node)}, "START > n"), {"x": []}, durability="exit")
        return [(each.category, str(each.message), each.filename, each.lineno) for each in found]

    without = caught()
    assert len(without) >= 3
    with on():
        assert caught() == without


def test_context_variables_of_nodes(recorder, on, build, way):
    """What a node sets is seen, or not, as without us."""
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")

    def run():
        seen = []

        def node(state):
            seen.append(variable.get())
            variable.set("set by a node")
            return {"x": [1]}

        graph = build({name: way.node(node) for name in "abc"}, "START > a > b > c", conditions=[("c", lambda _: END)])

        def program():
            way.invoke(graph, {"x": []})
            return [*seen, variable.get()]

        return contextvars.copy_context().run(program)

    without = run()
    with on():
        assert run() == without


def test_nested_deeply(recorder, on, build, sync_way):
    """Our frames do not bring the interpreter's limit near."""
    graph = build({"a": lambda state: {"x": [1]}}, "START > a")
    for _ in range(12):
        graph = build({"sub": graph}, "START > sub")

    def needed(low, high):
        """The smallest limit that is enough."""
        while low < high:
            middle = (low + high) // 2
            sys.setrecursionlimit(middle)
            try:
                graph.invoke({"x": []})
                high = middle
            except RecursionError:
                low = middle + 1
        return low

    usual = sys.getrecursionlimit()
    try:
        without = needed(250, 4000)
        with on():
            within = needed(250, 4000)
    finally:
        sys.setrecursionlimit(usual)
    assert within < 1.5 * without


def test_partial_functions_of_ours(recorder, on):
    """What holds a wrapper from before `uninstrument` can still be called."""
    graph = simple()
    with on():
        held = functools.partial(Pregel.invoke, graph)
        bound = graph.stream
    assert held({"x": 1}) == {"x": 2}
    assert list(bound({"x": 1})) == [{"add": {"x": 2}}]
    assert recorder.spans == []
