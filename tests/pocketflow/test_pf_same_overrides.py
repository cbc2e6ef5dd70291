"""PocketFlow's own methods overridden by the program run as without us."""

import copy
import enum

import pocketflow as pf
import pytest


@pytest.mark.parametrize("times", [0, 1, 2])
def test_super_run_called(same, times):
    def program(log):
        class Repeating(pf.Node):
            def _run(self, shared):
                log.append("enter")
                results = [super(Repeating, self)._run(shared) for _ in range(times)]
                log.append(results)
                return "done"

            def exec(self, prep_res):
                log.append("exec")

            def post(self, shared, prep_res, exec_res):
                return len(log)

        last = pf.Node()
        node = Repeating()
        _ = node - "done" >> last
        return pf.Flow(start=node).run({}), Repeating().run({})

    same(program)


@pytest.mark.parametrize("times", [0, 1, 2])
@pytest.mark.parametrize("base", [pf.Node, pf.BatchNode])
def test_super_exec_called(same, base, times):
    def program(log):
        class Repeating(base):
            def prep(self, shared):
                return [1, 2]

            def _exec(self, prep_res):
                return [super(Repeating, self)._exec(prep_res) for _ in range(times)]

            def exec(self, item):
                log.append(item)
                return item

            def post(self, shared, prep_res, exec_res):
                shared["out"] = exec_res

        pf.Flow(start=Repeating(max_retries=2)).run(shared := {})
        return shared

    same(program)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_mixin_between_batch_and_node(same, times):
    def program(log):
        class Twice(pf.Node):
            def _exec(self, item):
                log.append(("item", item))
                return [super(Twice, self)._exec(item) for _ in range(times)]

        class Batch(pf.BatchNode, Twice):
            def prep(self, shared):
                return ["a", "b"]

            def exec(self, item):
                log.append(("exec", item))
                return item.upper()

            def post(self, shared, prep_res, exec_res):
                return str(exec_res)

        return pf.Flow(start=Batch()).run({}), Batch().run({})

    same(program)


def test_orch_overridden_and_rewritten(same):
    def program(log):
        class Step(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.append(self.params.get("p"))
                return "go" if len(shared) < 5 else None

        class Limited(pf.Flow):
            def _orch(self, shared, params=None):
                current, steps = copy.copy(self.start_node if hasattr(self, "start_node") else self.start), 0
                while current and steps < 2:
                    current.set_params({"p": steps})
                    action = current._run(shared)
                    current = copy.copy(self.get_next_node(current, action))
                    steps += 1
                return steps

        class Before(pf.Flow):
            def _orch(self, shared, params=None):
                log.append(params)
                super()._orch(shared, {"p": "before"})
                return super()._orch(shared, params)

        one = Step()
        _ = one - "go" >> Step()
        return Limited(start=one).run(shared := []), shared, Before(start=Step()).run(shared), shared

    same(program)


def test_run_of_a_flow_overridden(same):
    def program(log):
        class Step(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared["n"] = shared.get("n", 0) + 1

        class Own(pf.Flow):
            def run(self, shared):
                log.append("run")
                return super().run(shared), "own"

            def _run(self, shared):
                log.append("_run")
                self.prep(shared)
                super()._run(shared)
                return self._orch(shared)

            def prep(self, shared):
                log.append("prep")

        return Own(start=Step()).run(shared := {}), shared, pf.Flow(start=Own(start=Step())).run(shared), shared

    same(program)


def test_next_node_decided_by_the_user(same):
    def program(log):
        class Step(pf.Node):
            def __init__(self, name):
                super().__init__()
                self.name = name

            def post(self, shared, prep_res, exec_res):
                shared.append(self.name)
                return {"not": "an action"}

        class Dynamic(pf.Flow):
            def get_next_node(self, curr, action):
                log.append((type(curr).__name__, curr.name, action, curr is not None and vars(curr).keys() == keys))
                return Step(curr.name + 1) if curr.name < 3 else None

        keys = vars(Step(0)).keys()
        flow = Dynamic(start=Step(0))
        return flow.run(shared := []), shared

    same(program)


def test_a_node_that_is_no_pocketflow_node(same):
    def program(log):
        class Duck:
            successors = {}
            set_params = staticmethod(lambda params: log.append(("params", params)))

            def _run(self, shared):
                log.append(type(self).__name__)
                return "quack"

        class First(pf.Node):
            def post(self, shared, prep_res, exec_res):
                return "duck"

        first = First()
        _ = first - "duck" >> Duck()
        return pf.Flow(start=first).run({}), pf.Flow(start=Duck()).run({})

    same(program)


def test_nodes_added_while_it_runs(same):
    def program(log):
        class Grow(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.append("grow")
                _ = self - "more" >> Grown()
                return "more"

        class Grown(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.append("grown")

        flow = pf.Flow(start=Grow())
        flow.run(shared := [])
        return shared

    same(program)


@pytest.mark.parametrize("action", [0, 1, 2.5, True, (), ("a", 1), enum.Enum("Go", "ON").ON, b"x", frozenset()])
def test_actions_that_are_no_strings(same, action):
    def program(log):
        class First(pf.Node):
            def post(self, shared, prep_res, exec_res):
                return action

        class Second(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared.append("reached")

        first, second = First(), Second()
        add = getattr(first, "next", None) or first.add_successor
        add(second, action)
        flow = pf.Flow(start=first)
        return flow.run(shared := []), shared, First().run(shared)

    same(program)


def test_an_action_or_result_that_cannot_be_judged(same):
    def program(log):
        class Undecided:
            def __bool__(self):
                log.append("bool")
                raise TypeError("the truth of this is ambiguous")

        class Gives(pf.Node):
            def post(self, shared, prep_res, exec_res):
                return Undecided()

        log.append(type(Gives().run({})).__name__)
        return pf.Flow(start=Gives()).run({})

    same(program)
