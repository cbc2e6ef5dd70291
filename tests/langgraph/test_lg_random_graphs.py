"""Random graphs: they run as without us, and their spans are the executions that the graph itself noted.

A graph is drawn as plain data and built from it. Its nodes note each attempt in a log, with LangGraph's own name for
the place (the checkpoint namespace, which names every task above) and how it ended; a node that calls a graph notes
the call. From that log alone the spans are foretold: one per execution, its parents, its attempts, how it ended.
"""

import asyncio
import collections
import operator
import re
from contextlib import contextmanager
from typing import Annotated, NamedTuple, TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt, ParentCommand
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Interrupt, RetryPolicy, Send, interrupt
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from spanloom import names
from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_langgraph import LangGraphInstrumentor

STEPS = (4, 3, 2)  # after which a graph goes to its end: the outermost, one in it, one in that
ESCAPES = 4  # the total up to which a graph is left for the one above, which could enter it for ever
RUNS = 6  # a thread is resumed no more often


class Planned(Exception):
    """What a drawn node raises."""


# -- drawing ------------------------------------------------------------------------------------------------------


def rarely(often, *seldom, of):
    return st.sampled_from([often] * (of - len(seldom)) + list(seldom))


targets = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 1, 2])), max_size=2)  # (node, so many Sends)
nodes = st.fixed_dictionaries(
    {
        "is_async": st.booleans(),  # in an async run
        "fails": rarely(0, 1, 2, of=6),  # attempts, before the one that succeeds
        "breaks": rarely(False, True, of=10),  # no attempt succeeds; honoured for one node of a whole graph
        "asks": rarely(False, True, of=6),  # interrupts, where the run can be resumed
        "escapes": rarely(None, 0, 1, of=6),  # hands over to this node of the graph above
        "defer": rarely(False, True, of=8),
        "routes": st.sampled_from(["edges", "edges", "command"]),
        "script": st.lists(targets, min_size=1, max_size=3),  # its decisions in turn
        "inner": st.none(),
        "times": st.just(0),
    }
)


def graphs(inside):
    return st.fixed_dictionaries({"nodes": st.lists(inside, min_size=1, max_size=3), "named": st.booleans()})


def nested(inner):
    """Nodes that are graphs (called no times by a function of ours) or call them once or twice."""
    whole = st.fixed_dictionaries({"inner": inner, "times": st.sampled_from([0, 1, 2])})
    return st.tuples(nodes, whole).map(lambda pair: pair[0] | pair[1])


drawn = graphs(nodes | nested(graphs(nodes | nested(graphs(nodes)))))
ways = st.fixed_dictionaries(
    {
        "resumable": st.booleans(),
        "pause": st.sampled_from([None, None, 0, 1]),  # before this node, where it can be resumed
        "mode": st.sampled_from([None, "values", "updates", ["updates", "values"]]),  # None: invoke
        "stop_after": st.sampled_from([None, None, 1, 3]),  # items of a stream
        "subgraphs": st.booleans(),
    }
)


class State(TypedDict):
    """Of every graph: what its nodes add up."""

    total: Annotated[int, operator.add]


# -- building and running -----------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One attempt of a node: its task's place; or, with `of`, one call of a graph by that place."""

    run: int
    place: str
    name: str
    ends: list
    of: str | None = None

    @property
    def end(self):
        return self.ends[0] if self.ends else None


class Builder:
    """Makes LangGraph objects of drawn data; everything is named, and noted in `log`."""

    def __init__(self, way, *, is_async):
        self.way, self.is_async = way, is_async
        self.log = []
        self.run = 0
        self.attempts = collections.Counter()
        self.graphs = 0
        self.inner = {}  # name of a node that is a graph -> the graph's name, if it has one
        self.unbroken = True

    def build(self, spec, *, is_async, above=(), depth=0):
        name = f"G{self.graphs}"
        self.graphs += 1
        graph = StateGraph(State)
        own = [f"{name}N{i}" for i in range(len(spec["nodes"]))]
        for node, drawn_node in zip(own, spec["nodes"], strict=True):
            self.add(graph, node, drawn_node, own, above, depth, is_async=is_async)
        graph.add_edge(START, own[0])
        at_root = {}
        if name == "G0" and self.way["resumable"]:
            at_root["checkpointer"] = InMemorySaver()
            if self.way["pause"] is not None:
                at_root["interrupt_before"] = [own[self.way["pause"] % len(own)]]
        return graph.compile(**({"name": name} if spec["named"] else {}), **at_root)

    def add(self, graph, node, spec, own, above, depth, *, is_async):
        breaks = spec["breaks"] and self.unbroken
        self.unbroken = self.unbroken and not breaks
        is_async = is_async and (spec["is_async"] or (spec["inner"] and not spec["times"]))
        inner = self.build(spec["inner"], is_async=is_async, above=own, depth=depth + 1) if spec["inner"] else None
        route = self.route(spec["script"], own, STEPS[depth])
        by_command = spec["routes"] == "command"
        if inner is not None and not spec["times"]:
            self.inner[node], by_command = inner.name, False
            action = inner
        else:
            # a node without others beside it: which of several hands over first would be a matter of luck
            escapes = above and len(own) == 1 and spec["escapes"] is not None
            escapes_to = above[spec["escapes"] % len(above)] if escapes else None
            action = self.function(
                node, spec, inner, breaks, route if by_command else None, escapes_to, is_async=is_async
            )
        retry = RetryPolicy(initial_interval=0, jitter=False, max_attempts=spec["fails"] + 1, retry_on=Planned)
        graph.add_node(node, action, retry_policy=retry, defer=spec["defer"])
        if not by_command:
            graph.add_conditional_edges(node, lambda state, config: route(state, config) or END)

    @staticmethod
    def route(script, own, steps):
        def chosen(state, config):
            step, found = config["metadata"]["langgraph_step"], []
            for target, sends in script[step % len(script)] if step < steps else ():
                node = own[target % len(own)]
                copies = sends if step == 1 else 0  # of Sends by Sends there would be too many
                found += [Send(node, {"total": state["total"] + i}) for i in range(copies)] or [node]
            return found

        return chosen

    def function(self, node, spec, inner, breaks, route, escapes_to, *, is_async):
        def begin(place):
            self.attempts[self.run, place] += 1
            if breaks or self.attempts[self.run, place] <= spec["fails"]:
                raise Planned(node)
            if spec["asks"] and self.way["resumable"]:
                return interrupt(node)
            return 1

        def result(entry, state, config, total):
            if escapes_to and state["total"] < ESCAPES:
                entry.ends.append(ParentCommand(Command()))  # LangGraph makes it one
                return Command(graph=Command.PARENT, goto=escapes_to, update={"total": 1})
            return Command(update={"total": total}, goto=route(state, config)) if route else {"total": total}

        def work(state, config: RunnableConfig):
            place = config["metadata"]["langgraph_checkpoint_ns"]
            with self.noted(place, node) as entry:
                total = begin(place)
                for _ in range(spec["times"] if inner else 0):
                    with self.noted(place, node, inner.name):
                        total += inner.invoke(state, config)["total"]
                return result(entry, state, config, total)

        async def awork(state, config: RunnableConfig):
            place = config["metadata"]["langgraph_checkpoint_ns"]
            with self.noted(place, node) as entry:
                await asyncio.sleep(0)
                total = begin(place)
                for _ in range(spec["times"] if inner else 0):
                    with self.noted(place, node, inner.name):
                        total += (await inner.ainvoke(state, config))["total"]
                return result(entry, state, config, total)

        return awork if is_async else work

    @contextmanager
    def noted(self, place, node, called=None):
        entry = Entry(self.run, place, called or node, [], node if called else None)
        self.log.append(entry)
        try:
            yield entry
        except BaseException as exc:
            entry.ends.append(exc)
            raise
        else:
            entry.ends.append(None)


class Outcome(NamedTuple):
    """One run: what came out of it, how it ended, whether it was left early."""

    items: list
    error: tuple | None
    left: bool
    paused: bool


def run_once(graph, way, given, config):
    mode, items, left = way["mode"], [], False
    try:
        if mode is None:
            items.append(graph.invoke(given, config))
        else:
            stream = graph.stream(given, config, stream_mode=mode, subgraphs=way["subgraphs"])
            for item in stream:
                items.append(item)
                left = len(items) == way["stop_after"]
                if left:
                    break
            stream.close()
    except Exception as exc:
        return items, exc, left
    return items, None, left


async def arun_once(graph, way, given, config):
    mode, items, left = way["mode"], [], False
    try:
        if mode is None:
            items.append(await graph.ainvoke(given, config))
        else:
            stream = graph.astream(given, config, stream_mode=mode, subgraphs=way["subgraphs"])
            async for item in stream:
                items.append(item)
                left = len(items) == way["stop_after"]
                if left:
                    break
            await stream.aclose()
    except Exception as exc:
        return items, exc, left
    return items, None, left


def run(spec, way, *, is_async):
    """Run and resume the graph; its builder and the outcome of every run."""
    builder = Builder(way, is_async=is_async)
    graph = builder.build(spec, is_async=is_async)
    config = {"configurable": {"thread_id": "thread"}} if way["resumable"] else {}
    given, outcomes = {"total": 1}, []
    while builder.run < RUNS:
        call = arun_once if is_async else run_once
        done = call(graph, way, given, config)
        items, exc, left = asyncio.run(done) if is_async else done
        builder.run += 1
        pending, goes_on = {}, False
        if way["resumable"] and exc is None and not left:
            state = graph.get_state(config)
            pending = {one.id: 1 for task in state.tasks for one in task.interrupts}
            goes_on = bool(state.next)
        outcomes.append(Outcome(comparable(items), exc and failure(exc), left, goes_on))
        if not goes_on:
            break
        given = Command(resume=pending) if pending else None
    return builder, outcomes


ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")


def failure(exc):
    return type(exc), ID.sub("#", repr(exc.args))


def comparable(value):
    """`value` without ids; lists, whose order parallel nodes decide, sorted."""
    if isinstance(value, Interrupt):
        return ("interrupt", value.value)
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted(map(comparable, value), key=repr)
    return ID.sub("#", value) if isinstance(value, str) else value


# -- foretelling --------------------------------------------------------------------------------------------------

CANCELLED = "cancelled"


class Facts(NamedTuple):
    """What is compared of a span. `end`: a type of exception, a `spanloom.status`, or None."""

    name: str
    node: str | None
    retries: int
    end: object


def end_of(exc):
    """How a span ends with what left it."""
    if exc is None:
        return None
    for kind, status in ((GraphInterrupt, "interrupted"), (ParentCommand, "parent_command")):
        if isinstance(exc, kind):
            return status
    return CANCELLED if isinstance(exc, asyncio.CancelledError) else type(exc).__name__


def workflow(name):
    return "invoke_workflow" if name == "LangGraph" else f"invoke_workflow {name}"


def tasks_of(place):
    """`node:task|1|node:task` -> (task, task); the number tells apart the graphs that one task runs."""
    return tuple(part.partition(":")[2] for part in place.split("|") if ":" in part)


def own_tasks(places):
    return tuple(sorted(tasks_of(place)[-1] for place in places))


def foretold(builder, number, root, outcome):
    """({tasks from the root's to its own: facts}, [(tasks above, graph called there, tasks it runs)])."""
    log = [entry for entry in builder.log if entry.run == number]
    groups, calls, below = collections.defaultdict(list), collections.defaultdict(list), collections.defaultdict(set)
    for entry in log:
        (calls if entry.of else groups)[entry.place].append(entry)
    found = {}
    for place, entries in groups.items():
        end = end_of(entries[-1].end)
        if end == "parent_command" and any(call.end is entries[-1].end for call in calls[place]):
            end = None  # it came from a graph called there, and was for this one
        found[tasks_of(place)] = Facts(f"run_step {entries[0].name}", entries[0].name, len(entries) - 1, end)
        within, _, _ = place.rpartition("|")
        below[within].add(place)
    # graphs that are nodes: of them only what runs inside is noted
    waiting = list(below)
    retried = collections.defaultdict(set)
    while waiting:
        within = waiting.pop()
        task = within.rpartition("|")[0] if within.rpartition("|")[2].isdigit() else within
        node = task.rpartition("|")[2].partition(":")[0]
        if node not in builder.inner:
            continue
        retried[task].add(within)
        outer = task.rpartition("|")[0]
        if outer not in below:
            waiting.append(outer)
        below[outer].add(task)
    for task in sorted(retried, key=len, reverse=True):
        node = task.rpartition("|")[2].partition(":")[0]
        graph = builder.inner[node]
        last = max(retried[task], key=lambda within: int("0" + within[len(task) + 1 :]))
        inside = [found[tasks_of(place)] for place in below[last]]
        # a graph that is left for the one above has handed over to it; nobody further up knows
        handed = [one for one in inside if one.end == "parent_command" and one.name.startswith("invoke_workflow")]
        ends = {one.end for one in inside if one not in handed}
        end = next((kind for kind in (Planned.__name__, "interrupted", "parent_command") if kind in ends), None)
        found[tasks_of(task)] = Facts(
            workflow(node if graph == "LangGraph" else graph), node, len(retried[task]) - 1, end
        )
    called = []
    for place, entries in calls.items():
        for i, entry in enumerate(entries):
            within = f"{place}|{i}" if i else place
            inside = own_tasks(below[within])
            called.append((tasks_of(place), Facts(workflow(entry.name), None, 0, end_of(entry.end)), inside))
    end = outcome.error and outcome.error[0].__name__
    end = end or ("closed" if outcome.left else "interrupted" if outcome.paused else None)
    inside = own_tasks(below[""])
    called.append(((), Facts(workflow(root), None, 0, end), inside))
    return found, called


def facts(span):
    end = span.attributes.get(names.STATUS)
    if span.status.status_code is StatusCode.ERROR:
        assert end is None
        end = span.attributes[names.ERROR_TYPE].rpartition(".")[2]
    else:
        assert names.ERROR_TYPE not in span.attributes
    retries = [event for event in span.events if event.name == names.RETRY_EVENT]
    assert [event.attributes[names.LANGGRAPH_RETRY_ATTEMPT] for event in retries] == list(range(1, len(retries) + 1))
    assert span.attributes.get(names.LANGGRAPH_RETRY_COUNT, 0) == len(retries)
    return Facts(span.name, span.attributes.get(names.NODE_NAME), len(retries), end)


def told(recorder):
    """The same of the recorded spans, run by run."""
    spans = sorted(recorder.spans, key=lambda span: span.start_time)
    by_id = {span.context.span_id: span for span in spans}
    inside = collections.defaultdict(set)
    runs = [({}, []) for span in spans if span.parent is None]
    traces = {span.context.trace_id: i for i, span in enumerate(span for span in spans if span.parent is None)}
    paths = {}
    for span in spans:  # parents start before their children
        above = by_id[span.parent.span_id] if span.parent else None
        path = paths[above.context.span_id] if above else ()
        task = span.attributes.get(names.LANGGRAPH_TASK_ID)
        paths[span.context.span_id] = (*path, task) if task else path
        if task:
            assert above.name.startswith("invoke_workflow")
            inside[above.context.span_id].add(task)
            executions = runs[traces[span.context.trace_id]][0]
            assert (*path, task) not in executions
            executions[(*path, task)] = facts(span)
    for span in spans:
        if names.LANGGRAPH_TASK_ID not in span.attributes:
            graph = (paths[span.context.span_id], facts(span), tuple(sorted(inside[span.context.span_id])))
            runs[traces[span.context.trace_id]][1].append(graph)
    return runs


def check(builder, outcomes, recorder, root):
    runs = told(recorder)
    assert len(runs) == len(outcomes)
    for number, (outcome, (executions, graphs_run)) in enumerate(zip(outcomes, runs, strict=True)):
        expected, expected_graphs = foretold(builder, number, root, outcome)
        if builder.is_async and (outcome.error or outcome.left):
            # What ran beside a failure was cancelled, wherever it was; nothing that was noted lacks its span.
            cut = {path for path, found in executions.items() if found.end == CANCELLED}
            assert set(expected) <= set(executions)
            assert all(any(path[: len(one)] == one for one in cut) for path in set(executions) - set(expected))
            for path in set(expected) - cut:
                assert executions[path] == expected[path]
        else:
            assert executions == expected
            assert sorted(graphs_run, key=repr) == sorted(expected_graphs, key=repr)


def compare(spec, way, *, is_async):
    before, without = run(spec, way, is_async=is_async)
    recorder = Recorder()
    LangGraphInstrumentor().instrument(tracer_provider=recorder.provider, config=Config(content=True))
    try:
        builder, within = run(spec, way, is_async=is_async)
    finally:
        LangGraphInstrumentor().uninstrument()
    assert within == without
    recorder.assert_closed()
    cut = any(outcome.error or outcome.left for outcome in within)
    if not cut and not any(isinstance(entry.end, ParentCommand) for entry in builder.log):
        assert executions_noted(builder) == executions_noted(before)
    check(builder, within, recorder, "G0" if spec["named"] else "LangGraph")
    LangGraphInstrumentor().instrument(tracer_provider=Recorder(sampler=ALWAYS_OFF).provider)
    try:
        assert run(spec, way, is_async=is_async)[1] == without
    finally:
        LangGraphInstrumentor().uninstrument()


def executions_noted(builder):
    return sorted((entry.run, entry.name, ID.sub("#", entry.place), repr(end_of(entry.end))) for entry in builder.log)


usual = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@usual
@given(drawn, ways)
def test_sync_graphs(spec, way):
    compare(spec, way, is_async=False)


@usual
@given(drawn, ways)
def test_async_graphs(spec, way):
    compare(spec, way, is_async=True)


@pytest.mark.slow
@settings(usual, max_examples=1000)
@given(drawn, ways, st.booleans())
def test_many_graphs(spec, way, is_async):
    compare(spec, way, is_async=is_async)
