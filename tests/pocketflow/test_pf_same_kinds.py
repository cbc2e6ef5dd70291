"""Nodes made in other ways run as without us: slots, dataclasses, deep subclasses, replaced methods, mocks."""

import dataclasses
import itertools
import types
from unittest import mock

import pocketflow as pf
import pytest


def chain(*nodes):
    """`a >> b >> c`, and `a`."""
    for one, other in itertools.pairwise(nodes):
        _ = one >> other
    return nodes[0]


def test_slots_and_dataclass_nodes(same):
    def program(log):
        class Slotted(pf.Node):
            __slots__ = ("extra",)

            def prep(self, shared):
                self.extra = len(shared)
                return self.extra

            def post(self, shared, prep_res, exec_res):
                shared[f"slot{self.extra}"] = True

        @dataclasses.dataclass(eq=False)
        class Data(pf.Node):
            prompt: str = "p"
            tries: int = 2

            def __post_init__(self):
                super().__init__(max_retries=self.tries)

            def exec(self, prep_res):
                if self.cur_retry == 0:
                    raise ValueError
                return self.prompt

            def post(self, shared, prep_res, exec_res):
                shared["data"] = exec_res, repr(self)

        pf.Flow(start=chain(Slotted(), Data("q"), Slotted())).run(shared := {})
        return shared

    same(program)


def test_deep_subclassing_with_super_everywhere(same):
    def program(log):
        class A(pf.Node):
            def prep(self, shared):
                log.append("A.prep")
                return ["A"]

            def exec(self, prep_res):
                return [*prep_res, "A.exec"]

            def post(self, shared, prep_res, exec_res):
                shared["out"] = exec_res
                return "A"

        class Loud:
            def prep(self, shared):
                log.append("Loud.prep")
                return [*super().prep(shared), "Loud"]

        class B(Loud, A):
            def exec(self, prep_res):
                return [*super().exec(prep_res), "B.exec"]

        class C(B):
            def prep(self, shared):
                return [*super().prep(shared), "C"]

            def post(self, shared, prep_res, exec_res):
                return super().post(shared, prep_res, exec_res) + "C"

        class D(C):
            pass

        return D().run(shared := {}), shared, pf.Flow(start=D()).run(shared)

    same(program)


def test_methods_replaced_on_an_instance(same):
    def program(log):
        node = pf.Node(max_retries=2)
        node.prep = lambda shared: log.append("prep") or 1
        node.exec = lambda item: log.append(("exec", item)) or item + 1
        node.post = types.MethodType(lambda self, shared, p, e: log.append((type(self).__name__, p, e)) or "on", node)
        last = pf.Node()
        last.exec = len.__call__
        last.prep = lambda shared: "four"
        last.post = lambda shared, p, e: e
        _ = node - "on" >> last
        return pf.Flow(start=node).run({})

    same(program)


def test_run_exec_and_fallback_in_the_instance(same):
    def program(log):
        class Plain(pf.Node):
            def exec(self, prep_res):
                raise ValueError("no")

        one, other, third = Plain(), Plain(), Plain(max_retries=2)
        one._run = lambda shared: shared.append("_run") or "go"
        other._exec = lambda prep_res: "_exec"
        other.post = lambda shared, p, e: shared.append(e) or "go"
        third.exec_fallback = lambda prep_res, exc: "fell"
        third.post = lambda shared, p, e: shared.append(e) or "end"
        _ = one - "go" >> other
        _ = other - "go" >> third
        return pf.Flow(start=one).run(shared := []), shared, one.run(shared), other._exec(1)

    same(program)


@pytest.mark.parametrize("name", ["prep", "exec", "post", "_exec", "_run"])
def test_methods_patched_by_mock(same, name):
    def program(log):
        class Mocked(pf.Node):
            def exec(self, prep_res):
                return "real"

            def post(self, shared, prep_res, exec_res):
                log.append(exec_res if type(exec_res) is str else type(exec_res).__name__)

        node = Mocked()
        with mock.patch.object(Mocked, name, return_value="mocked") as replaced:
            first = pf.Flow(start=node).run({})
            log.append(replaced.call_args_list)
        with mock.patch.object(node, name, autospec=True) as replaced:
            second = node.run({})
            log.append(len(replaced.call_args_list))
        with mock.patch.object(pf.BaseNode, name, create=True, side_effect=LookupError("mock")):
            try:
                third = Mocked().run({})
            except LookupError as exc:
                third = exc.args
        return first, type(second).__name__, type(third).__name__, node.run({})

    same(program)


def test_a_mock_for_a_node(same):
    def program(log):
        fake = mock.MagicMock(spec=pf.Node)
        fake.successors = {}
        fake._run.return_value = "faked"
        fake.__copy__ = lambda self: fake
        result = pf.Flow(start=fake).run({})
        return result, fake._run.call_count, fake.set_params.call_args

    same(program)


def test_node_run_alone_and_its_warning(same):
    def program(log):
        class One(pf.Node):
            def exec(self, prep_res):
                return 1

            def post(self, shared, prep_res, exec_res):
                return exec_res

        node = One()
        _ = node >> pf.Node()
        return node.run({}), node.run(shared={}), node._run({}), node._exec(None)

    same(program)
