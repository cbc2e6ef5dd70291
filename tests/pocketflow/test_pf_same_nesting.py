"""Nested and recursive flows, and shared state of any kind, run as without us."""

import dataclasses
import itertools
import types

import pocketflow as pf
import pytest

since_0_0_2 = pytest.mark.skipif(not hasattr(pf.BaseNode, "next"), reason="new in PocketFlow 0.0.2")


def chain(*nodes):
    """`a >> b >> c`, and `a`."""
    for one, other in itertools.pairwise(nodes):
        _ = one >> other
    return nodes[0]


def test_flows_nested_five_deep(same):
    def program(log):
        class Leaf(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.append(dict(self.params))
                return "leaf"

        flow = Leaf()
        for depth in range(5):
            flow = pf.Flow(start=flow)
            flow.set_params({"depth": depth})
        return flow.run(shared := []), shared

    same(program)


def test_batch_flows_nested(same):
    def program(log):
        class Leaf(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.append((self.params["a"], self.params["b"], self.params["c"]))

        def batch(key, start):
            class Batch(pf.BatchFlow):
                def prep(self, shared):
                    return [{key: f"{key}{i}"} for i in range(2)]

                def post(self, shared, prep_res, exec_res):
                    log.append((key, prep_res, exec_res))
                    return key

            return Batch(start=start)

        return batch("a", batch("b", batch("c", Leaf()))).run(shared := []), shared

    same(program)


def test_a_node_that_runs_its_own_flow_again(same):
    def program(log):
        class Recursive(pf.Node):
            def exec(self, prep_res):
                log.append(len(log))
                if len(log) < 4:
                    flow.run({})
                if len(log) < 6:
                    self.run({})
                return len(log)

        flow = pf.Flow(start=Recursive())
        return flow.run({})

    same(program)


@dataclasses.dataclass
class SharedData:
    count: int = 0


class SharedSlots:
    __slots__ = ("count",)

    def __init__(self):
        self.count = 0


class SharedRude:
    """Answers nothing about itself."""

    def __init__(self):
        object.__setattr__(self, "_count", 0)

    def __getattr__(self, name):
        if name == "count":
            return object.__getattribute__(self, "_count")
        raise RuntimeError(name)

    def __setattr__(self, name, value):
        object.__setattr__(self, "_count", value)

    def __bool__(self):
        raise RuntimeError("bool")

    __len__ = __iter__ = __repr__ = __str__ = __eq__ = __bool__
    __hash__ = None


@pytest.mark.parametrize("make", [SharedData, SharedSlots, SharedRude, types.SimpleNamespace])
def test_shared_state_of_any_kind(same, make):
    def program(log):
        class Count(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.count = getattr(shared, "count", 0) + 1

        shared = make()
        pf.Flow(start=chain(Count(), Count())).run(shared)
        return shared.count

    same(program)


@pytest.mark.parametrize("shared", [None, [], (), 0, "text", {1: 2}, object, print])
def test_shared_state_that_nobody_uses(same, shared):
    def program(log):
        class Pass(pf.Node):
            def prep(self, given):
                log.append(given is shared)

        class Flow(pf.Flow):
            pass

        return Flow(start=Pass()).run(shared), Pass().run(shared)

    same(program)


def test_all_classes_with_nothing_in_them(same):
    def program(log):
        node = pf.BaseNode().run({}), pf.Node().run({}), pf.Node(max_retries=0).run({}), pf.BatchNode()._exec([])
        flows = pf.Flow(start=None).run({}), pf.Flow(start=pf.Node()).run({}), pf.BatchFlow(start=pf.Node()).run({})
        return node, flows

    same(program)


@since_0_0_2
def test_start_and_next_in_their_other_spellings(same):
    def program(log):
        flow = pf.Flow()
        a, b = pf.Node(), pf.Node()
        b.post = lambda shared, p, e: "last"
        flow.start(a).next(b)
        a.next(b)  # warns that it overwrites
        flow.next(a, "elsewhere")
        flow.run({})
        return pf.Flow(start=flow).run({}), pf.Flow().run({})

    same(program)
