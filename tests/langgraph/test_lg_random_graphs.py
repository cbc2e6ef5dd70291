"""Random graphs: they run as without us, and their spans are the executions that the graph itself noted.

A graph is drawn as plain data and built from it. Its nodes note each attempt in a log, with LangGraph's own name for
the place (the checkpoint namespace, which names every task above) and how it ended; a node that calls a graph notes
the call. From that log alone the spans are foretold: one per execution, its parents, its attempts, how it ended.
"""

import asyncio
import collections
import itertools
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
        self.deferred = set()

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
        if spec["defer"]:
            self.deferred.add(node)
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

INTERRUPTED, PARENT, CANCELLED = "interrupted", "parent_command", "cancelled"


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
    for kind, status in ((GraphInterrupt, INTERRUPTED), (ParentCommand, PARENT), (asyncio.CancelledError, CANCELLED)):
        if isinstance(exc, kind):
            return status
    return type(exc).__name__


def workflow(name):
    return "invoke_workflow" if name == "LangGraph" else f"invoke_workflow {name}"


# A task's place is `node:task|node:task`: those above it, and its own. What runs in a graph lies below the place of the
# task that runs it, numbered from the second on that the same task runs: `node:task|1|node:task`.


def tasks_of(place):
    return tuple(part.partition(":")[2] for part in place.split("|") if ":" in part)


def own_tasks(places):
    return tuple(sorted(tasks_of(place)[-1] for place in places))


def split(place):
    """Where the task's graph runs, and the name of its node."""
    within, _, own = place.rpartition("|")
    return within, own.partition(":")[0]


def runner(within):
    """The place of the task that runs the graph there, and which of its graphs it is."""
    outer, _, last = within.rpartition("|")
    return (outer, int(last)) if last.isdigit() else (within, 0)


def foretold(builder, number, root, outcome):
    """({tasks from the root's to its own: facts}, [(tasks above, facts, tasks inside) of each other graph])."""
    attempts, calls = collections.defaultdict(list), collections.defaultdict(list)
    for entry in builder.log:
        if entry.run == number:
            (calls if entry.of else attempts)[entry.place].append(entry)
    inside = collections.defaultdict(set)  # where a graph runs -> the places of its tasks
    runs = collections.defaultdict(set)  # the place of a node that is a graph -> where it runs, for each attempt
    for place in attempts:
        while True:
            within, _ = split(place)
            inside[within].add(place)
            place, _ = runner(within)
            if split(place)[1] not in builder.inner:  # the root, or a node of ours, which has noted itself
                break
            runs[place].add(within)
    found = {}
    for place, entries in attempts.items():
        end = end_of(entries[-1].end)
        if end == PARENT and any(call.end is entries[-1].end for call in calls[place]):
            end = None  # it came from a graph called there, and was for this one
        node = split(place)[1]
        found[tasks_of(place)] = Facts(f"run_step {node}", node, len(entries) - 1, end)
    for place in sorted(runs, key=len, reverse=True):  # the innermost first
        node = split(place)[1]
        last = max(runs[place], key=lambda within: runner(within)[1])
        ended = [found[tasks_of(task)] for task in inside[last]]
        # a graph inside that was left for this one has handed over to it
        ends = {one.end for one in ended if one.end != PARENT or one.name.startswith("run_step")} - {None, CANCELLED}
        end = next(iter(sorted(ends, key=(INTERRUPTED, PARENT).__contains__)), None)  # an error first
        name = workflow(node if builder.inner[node] == "LangGraph" else builder.inner[node])
        found[tasks_of(place)] = Facts(name, node, len(runs[place]) - 1, end)
    graphs_run = []
    for place, entries in calls.items():
        for i, entry in enumerate(entries):
            within = f"{place}|{i}" if i else place
            called = Facts(workflow(entry.name), None, 0, end_of(entry.end))
            graphs_run.append((tasks_of(place), called, own_tasks(inside[within])))
    end = outcome.error and outcome.error[0].__name__
    end = end or ("closed" if outcome.left else INTERRUPTED if outcome.paused else None)
    graphs_run.append(((), Facts(workflow(root), None, 0, end), own_tasks(inside[""])))
    return found, graphs_run


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


def check_links(builder, recorder):
    """A node links to those of the step before that chose it or sent to it, a resumed run to the one before."""
    roots = [span for span in recorder.spans if span.parent is None]
    for earlier, root in itertools.pairwise(roots):
        assert [link.context.span_id for link in root.links] == [earlier.context.span_id]
    executions = collections.defaultdict(list)
    for span in recorder.spans:
        if names.LANGGRAPH_TASK_ID in span.attributes:
            executions[span.parent.span_id, span.attributes[names.LANGGRAPH_STEP]].append(span)
    again = {span.context.span_id for span in recorder.spans if names.LANGGRAPH_RETRY_COUNT in span.attributes}
    for (graph, step), spans in executions.items():
        for span in spans:
            node = span.attributes[names.NODE_NAME]
            if node in builder.deferred or graph in again:  # of an earlier step, or of the same in another attempt
                continue
            earlier = executions.get((graph, step - 1), ())
            chosen = sorted(
                one.context.span_id for one in earlier if node in one.attributes.get(names.LANGGRAPH_NEXT, ())
            )
            senders = [one.context.span_id for one in earlier if node in one.attributes.get(names.LANGGRAPH_SEND, ())]
            # a graph that goes on inside a resumed run links to its own interrupted run, in another trace
            linked = [one.context.span_id for one in span.links if one.context.trace_id == span.context.trace_id]
            assert sorted(linked) == chosen or (len(linked) == 1 and linked[0] in senders)


def compare(spec, way, *, is_async):
    before, without = run(spec, way, is_async=is_async)
    recorder = Recorder()
    LangGraphInstrumentor().instrument(tracer_provider=recorder.provider, config=Config(content=True))
    try:
        builder, within = run(spec, way, is_async=is_async)
    finally:
        LangGraphInstrumentor().uninstrument()
    recorder.assert_closed()
    if any(outcome.error or outcome.left for outcome in within) or any(
        end_of(entry.end) == PARENT for entry in builder.log
    ):
        # Which nodes beside the one that ended it had come to their ends by then is a matter of luck.
        assert ends(within, way) == ends(without, way)
    else:
        assert within == without
        assert executions_noted(builder) == executions_noted(before)
    check(builder, within, recorder, "G0" if spec["named"] else "LangGraph")
    check_links(builder, recorder)
    LangGraphInstrumentor().instrument(tracer_provider=Recorder(sampler=ALWAYS_OFF).provider)
    try:
        assert ends(run(spec, way, is_async=is_async)[1], way) == ends(without, way)
    finally:
        LangGraphInstrumentor().uninstrument()


def ends(outcomes, way):
    """The outcomes, without items that come node by node."""
    return [one if way["mode"] in (None, "values") else one._replace(items=[]) for one in outcomes]


def executions_noted(builder):
    return sorted((entry.run, entry.name, ID.sub("#", entry.place), repr(end_of(entry.end))) for entry in builder.log)


usual = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@usual
@given(drawn, ways)
def test_sync_graphs(spec, way):
    compare(spec, way, is_async=False)


@usual
@given(drawn, ways)
def test_async_graphs(spec, way):
    compare(spec, way, is_async=True)


@pytest.mark.slow
@settings(usual, max_examples=600)
@given(drawn, ways, st.booleans())
def test_many_graphs(spec, way, is_async):
    compare(spec, way, is_async=is_async)
