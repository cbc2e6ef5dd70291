"""Random graphs: they run as without us, and their spans are the executions that the graph itself noted.

A graph is drawn as plain data and built from it. Its nodes note in a log each time they begin and each time a method
of theirs is called, with their parameters, attempt and item. From that log alone the spans are foretold: names, order
of their starts, attempts, items, parents, parameter sets, links.
"""

import asyncio
import collections
import itertools
import warnings

import pocketflow as pf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from spanloom import names
from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_pocketflow import PocketFlowInstrumentor

ACTIONS = ("default", "a", "b")


class Planned(Exception):
    """What a drawn node raises."""


# -- drawing ------------------------------------------------------------------------------------------------------

ALL = frozenset({"prep", "exec", "post"})
phases = st.sampled_from([ALL, ALL, ALL - {"prep"}, ALL - {"exec"}, ALL - {"post"}, frozenset()])


def nodes(kinds):
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from(kinds),
            "phases": phases,
            "retries": st.integers(1, 3),
            "fails": st.lists(st.sampled_from([0, 1, 0, 3, 0]), max_size=3),  # attempts that fail, per item
            "fallback": st.sampled_from(["answers"] * 8 + ["same", "other", None]),
            "breaks": st.sampled_from([None] * 20 + ["prep", "post"]),
            "script": st.lists(st.sampled_from([*ACTIONS, None]), min_size=1, max_size=4),  # its decisions in turn
        }
    )


def flows(kinds, inside, size):
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from(kinds),
            "phases": phases.map(lambda found: found - {"exec"}),
            "nodes": st.lists(inside, min_size=2, max_size=size),
            "edges": st.lists(st.tuples(st.integers(0, 3), st.sampled_from(ACTIONS), st.integers(0, 3)), max_size=8),
            "sets": st.sampled_from([2, 1, 2, 0]),
        }
    )


SYNC_FLOWS = ["Flow", "BatchFlow"]
ASYNC_FLOWS = ["AsyncFlow", "AsyncBatchFlow", "AsyncParallelBatchFlow"]
SYNC_NODES = ["Node", "BatchNode"]
ASYNC_NODES = ["AsyncNode", "AsyncBatchNode", "AsyncParallelBatchNode"]


def graphs(*, is_async):
    inside = nodes(SYNC_NODES + (ASYNC_NODES if is_async else []))
    for size in (3, 4):
        flow = flows(ASYNC_FLOWS if is_async else SYNC_FLOWS, inside, size)
        # a sync flow may stand in an async one, with sync nodes only
        inner = flow | flows(SYNC_FLOWS, nodes(SYNC_NODES), 2) if is_async else flow
        inside = nodes(SYNC_NODES + (ASYNC_NODES if is_async else [])) | inner
    return flow


# -- building -----------------------------------------------------------------------------------------------------


class Builder:
    """Makes PocketFlow objects of drawn data; everything is named, and noted in `log`."""

    def __init__(self, log):
        self.log = log
        self.owner = {}  # node name -> name of its flow
        self.batches = set()  # names of batch flows
        self.decided = collections.Counter()

    def build(self, spec, owner=None):
        name = f"{'F' if 'nodes' in spec else 'N'}{len(self.owner)}"
        self.owner[name] = owner
        base = getattr(pf, spec["kind"])
        attributes = self.flow(spec, name) if "nodes" in spec else self.node(spec, name)
        attributes["set_params"] = self.begins(name, base)
        if spec["kind"].startswith("Async"):
            attributes = {self.async_name(key): self.as_async(key, value) for key, value in attributes.items()}
        cls = type(name, (base,), attributes)
        if "nodes" not in spec:
            return cls(max_retries=spec["retries"])
        if "Batch" in spec["kind"]:
            self.batches.add(name)
        made = [self.build(inner, name) for inner in spec["nodes"]]
        chain = [(i, "default", i + 1) for i in range(len(made) - 1)]
        for source, action, target in chain + spec["edges"]:
            # only a node whose decisions run out may lead back
            if max(source, target) < len(made) and (target > source or "post" in spec["nodes"][source]["phases"]):
                made[source].successors[action] = made[target]
        return cls(start=made[0])

    def begins(self, name, base):
        def set_params(node, params):
            self.log.append(("begin", name, dict(params)))
            base.set_params(node, params)

        return set_params

    @staticmethod
    def async_name(key):
        return f"{key}_async" if key in ("prep", "exec", "exec_fallback", "post") else key

    @staticmethod
    def as_async(key, function):
        if key == "set_params":
            return function

        async def awaited(*args):
            result = function(*args)
            await asyncio.sleep(0)
            return result

        return awaited

    def flow(self, spec, name):
        found = {}
        if "Batch" in spec["kind"]:
            found["prep"] = self.noted("prep", name, lambda node: [{name: i} for i in range(spec["sets"])])
        elif "prep" in spec["phases"]:
            found["prep"] = self.noted("prep", name, lambda node: None)
        if "post" in spec["phases"]:
            found["post"] = self.noted("post", name, lambda node: self.decide(name, ["a"]))
        return found

    def node(self, spec, name):
        is_batch, fails, found = "Batch" in spec["kind"], spec["fails"] or [0], {}
        if is_batch or "prep" in spec["phases"]:
            items = list(range(len(spec["fails"])))
            found["prep"] = self.noted("prep", name, lambda node: items if is_batch else 0, spec["breaks"] == "prep")
        if "exec" in spec["phases"]:
            found["exec"] = self.executes(name, fails)
        if spec["fallback"]:
            found["exec_fallback"] = self.falls_back(name, spec["fallback"])
        if "post" in spec["phases"]:
            decide = lambda node: self.decide(name, spec["script"])
            found["post"] = self.noted("post", name, decide, spec["breaks"] == "post")
        return found

    def decide(self, name, script):
        self.decided[name] += 1
        turn = self.decided[name] - 1
        return script[turn] if turn < len(script) else "end"

    def noted(self, phase, name, result, breaks=False):
        def method(node, shared, *args):
            self.log.append((phase, name, dict(node.params)))
            shared[name] = shared.get(name, 0) + 1
            if breaks:
                raise Planned(phase, name)
            return result(node)

        return method

    def executes(self, name, fails):
        def method(node, item):
            item = item or 0
            tried = vars(node).setdefault("tried", collections.Counter())  # of this execution: each has its own copy
            tried[item] += 1
            self.log.append(("exec", name, dict(node.params), tried[item], item))
            if tried[item] <= fails[item % len(fails)]:
                raise Planned("exec", name, item)
            return item

        return method

    def falls_back(self, name, answer):
        def method(node, item, exc):
            self.log.append(("exec_fallback", name, dict(node.params), None, item or 0))
            if answer == "same":
                raise exc
            if answer == "other":
                raise Planned("fallback", name)
            return -1

        return method


def run(spec):
    """The graph's log, structure and outcome."""
    builder = Builder([])
    flow = builder.build(spec)
    shared, error, result = {}, None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            is_async = spec["kind"].startswith("Async")
            result = asyncio.run(flow.run_async(shared)) if is_async else flow.run(shared)
        except Planned as exc:
            error = exc.args
    return builder, (builder.log, result, shared, error, [str(w.message) for w in caught])


# -- foretelling --------------------------------------------------------------------------------------------------


def key_of(params):
    return tuple(sorted(params.items()))


def foretold(builder, root):
    """[(span name, attempt, item, position of the unit it lies under, parameter set between them)], by start."""
    expected = [(f"invoke_workflow {root}", None, None, None, None)]
    units = {(root, ()): 0}
    for kind, name, params, *attempt in builder.log:
        if kind == "begin":
            flow = builder.owner[name]
            above = {key: value for key, value in params.items() if key != flow}
            under = units[flow, key_of(above)]
            units[name, key_of(params)] = len(expected)
            span = f"{'invoke_workflow' if name.startswith('F') else 'run_step'} {name}"
            expected.append((span, None, None, under, params.get(flow)))
        else:
            expected.append((f"{kind} {name}", *(attempt or [None, None]), units[name, key_of(params)], None))
    return expected


def told(recorder, builder):
    """The same, of the recorded spans."""
    spans = sorted(recorder.spans, key=lambda span: span.start_time)
    by_id = {span.context.span_id: span for span in spans}
    sets = {
        span.context.span_id
        for span in spans
        if span.name.removeprefix("invoke_workflow ") in builder.batches
        and names.POCKETFLOW_BATCH_INDEX in span.attributes
    }
    kept = [span for span in spans if span.context.span_id not in sets]
    position = {span.context.span_id: i for i, span in enumerate(kept)}
    found = []
    for span in kept:
        parent, index = span.parent and by_id[span.parent.span_id], None
        if parent is not None and parent.context.span_id in sets:
            index = parent.attributes[names.POCKETFLOW_BATCH_INDEX]
            parent = by_id[parent.parent.span_id]
        attempt = span.attributes.get(names.POCKETFLOW_RETRY_ATTEMPT)
        item = span.attributes.get(names.POCKETFLOW_BATCH_INDEX, 0) if span.name.startswith("exec") else None
        found.append((span.name, attempt, item, parent and position[parent.context.span_id], index))
    return found, spans


def check_edges(spans):
    """Steps are numbered one by one, each node links to the one before it, which names it as its next."""
    below = collections.defaultdict(list)
    for span in spans:
        if names.POCKETFLOW_STEP in span.attributes:
            below[span.parent.span_id].append(span)
    for chain in below.values():
        assert [span.attributes[names.POCKETFLOW_STEP] for span in chain] == list(range(1, len(chain) + 1))
        assert chain[0].links == ()
        for one, other in itertools.pairwise(chain):
            assert [link.context.span_id for link in other.links] == [one.context.span_id]
            assert one.attributes[names.POCKETFLOW_NEXT] == other.attributes[names.NODE_NAME]
            assert one.status.status_code is StatusCode.UNSET
            assert one.end_time < other.start_time
        assert names.POCKETFLOW_NEXT not in chain[-1].attributes


def check_errors(spans, error):
    """A failed attempt has its event; a span that failed has its status; one that did not, has neither."""
    for span in spans:
        failed = span.status.status_code is StatusCode.ERROR
        events = [event.name for event in span.events if event.name == "exception"]
        assert len(events) <= failed
        assert (names.ERROR_TYPE in span.attributes) is failed
    root = spans[0]
    assert (root.status.status_code is StatusCode.ERROR) is (error is not None)


def compare(spec):
    _, without = run(spec)
    recorder = Recorder()
    PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider, config=Config(content=True))
    try:
        builder, within = run(spec)
    finally:
        PocketFlowInstrumentor().uninstrument()
    assert within == without
    recorder.assert_closed()
    found, spans = told(recorder, builder)
    assert found == foretold(builder, "F0")
    check_edges(spans)
    check_errors(spans, within[3])
    PocketFlowInstrumentor().instrument(tracer_provider=Recorder(sampler=ALWAYS_OFF).provider)
    try:
        assert run(spec)[1] == without
    finally:
        PocketFlowInstrumentor().uninstrument()


usual = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@usual
@given(graphs(is_async=False))
def test_sync_graphs(spec):
    compare(spec)


@usual
@given(graphs(is_async=True))
def test_async_graphs(spec):
    compare(spec)


@pytest.mark.slow
@settings(usual, max_examples=1000)
@given(st.booleans().flatmap(lambda is_async: graphs(is_async=is_async)))
def test_many_graphs(spec):
    compare(spec)
