"""`spanloom.node.path`: where a node lies inside others, whatever made it lie there."""

import asyncio
from itertools import pairwise

import pocketflow as pf
import pytest

from spanloom.config import Config


class Read(pf.Node):
    pass


class Write(pf.Node):
    pass


class Outer(pf.Flow):
    pass


class Inner(pf.Flow):
    pass


def chain(*nodes):
    """The first of these nodes, one after the other."""
    for node, following in pairwise(nodes):
        node >> following
    return nodes[0]


@pytest.fixture
def paths(traced, recorder):
    """`paths()`: where each node says that it lies, by its own name; None of those that say nothing."""
    return lambda: {
        (span.attributes["spanloom.node.name"], span.attributes.get("spanloom.node.path"))
        for span in recorder.spans
        if "spanloom.node.name" in span.attributes
    }


def test_nodes_of_an_outermost_flow_have_none(paths):
    Outer(start=chain(Read(), Write(), Read())).run({})
    assert paths() == {("Read", None), ("Write", None)}


def test_nor_has_a_node_alone(traced, recorder):
    Read().run({})
    assert "spanloom.node.path" not in recorder.only("run_step Read").attributes


def test_flows_in_flows(paths):
    class Middle(pf.Flow):
        pass

    inner = Inner(start=chain(Read(), Write()))
    Outer(start=chain(Read(), Middle(start=chain(inner, Write())))).run({})
    assert paths() == {
        ("Read", None),
        ("Middle", None),
        ("Inner", "Middle:Inner"),
        ("Read", "Middle:Inner:Read"),
        ("Write", "Middle:Inner:Write"),
        ("Write", "Middle:Write"),
    }


def test_flows_of_pocketflows_own_classes_are_told_apart(paths):
    """All of them are called the same, so their paths have their numbers, on the outermost ones too."""
    deep = pf.Flow(start=Read())
    Outer(start=chain(Read(), pf.Flow(start=deep), pf.Flow(start=Write()))).run({})
    assert paths() == {
        ("Read", None),
        ("Flow", "Flow#1"),
        ("Flow", "Flow#1:Flow#0"),
        ("Read", "Flow#1:Flow#0:Read"),
        ("Flow", "Flow#2"),
        ("Write", "Flow#2:Write"),
    }


def test_the_outermost_flow_is_no_node(paths):
    pf.Flow(start=pf.Flow(start=Read())).run({})
    assert paths() == {("Flow", "Flow#0"), ("Read", "Flow#0:Read")}


def test_a_batch_flow_in_a_flow(recorder, paths):
    class Each(pf.BatchFlow):
        def prep(self, shared):
            return [{"item": item} for item in range(3)]

    Outer(start=Each(start=chain(Inner(start=Read()), Write()))).run({})
    assert paths() == {
        ("Each", None),
        ("Inner", "Each:Inner"),
        ("Read", "Each:Inner:Read"),
        ("Write", "Each:Write"),
    }
    assert len(recorder.named("run_step Read")) == 3


def test_parameter_sets_beside_each_other(recorder, paths):
    class Step(pf.AsyncNode):
        async def exec_async(self, prep_res):
            await asyncio.sleep(0)

    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared):
            return [{"item": item} for item in range(3)]

    asyncio.run(pf.AsyncFlow(start=Each(start=chain(Step(), pf.AsyncFlow(start=Step())))).run_async({}))
    assert paths() == {
        ("Each", None),
        ("Step", "Each:Step"),
        ("AsyncFlow", "Each:AsyncFlow#1"),
        ("Step", "Each:AsyncFlow#1:Step"),
    }
    assert len(recorder.named("run_step Step")) == 6


def test_what_a_node_runs_lies_inside_it(paths):
    class Runs(pf.Node):
        def exec(self, prep_res):
            Inner(start=chain(Read(), Inner(start=Write()))).run({})
            Read().run({})

    Outer(start=Outer(start=Runs())).run({})
    assert paths() == {
        ("Outer", None),
        ("Runs", "Outer:Runs"),
        ("Read", "Outer:Runs:Read"),
        ("Inner", "Outer:Runs:Inner"),
        ("Write", "Outer:Runs:Inner:Write"),
    }


def test_flows_that_run_each_other_without_end_have_no_path_without_end(traced, recorder):
    name = "Node" * 10
    deepest = 12

    def run(self, prep_res):
        left = self.params["left"]
        if left:
            made = Outer(start=node())
            made.set_params({"left": left - 1})
            made.run({})

    node = type(name, (pf.Node,), {"exec": run})
    outermost = Outer(start=node())
    outermost.set_params({"left": deepest})
    outermost.run({})
    found = sorted(
        (span.attributes.get("spanloom.node.path", name) for span in recorder.named(f"run_step {name}")), key=len
    )
    assert len(found) == deepest + 1
    assert found[:3] == [name, f"{name}:{name}", f"{name}:{name}:{name}"]
    assert 256 <= len(found[-1]) < 300


def test_so_it_does_where_phases_have_no_spans(on, recorder):
    class Runs(pf.Node):
        def post(self, shared, prep_res, exec_res):
            Inner(start=Read()).run({})

    with on(Config(pocketflow_phases=frozenset())):
        Outer(start=Runs()).run({})
    assert recorder.only("run_step Read").attributes["spanloom.node.path"] == "Runs:Read"
