"""What nodes read, keep, and are asked is as without us."""

import asyncio
import itertools
import warnings

import pocketflow as pf
import pytest


def chain(*nodes):
    """`a >> b >> c`, and `a`."""
    for one, other in itertools.pairwise(nodes):
        _ = one >> other
    return nodes[0]


def test_params_of_a_batch_flow(same):
    def program(log):
        class Read(pf.Node):
            def prep(self, shared):
                log.append(("prep", dict(self.params)))
                return self.params["i"]

            def exec(self, item):
                log.append(("exec", self.params["i"]))
                return item * 10

            def post(self, shared, prep_res, exec_res):
                shared.setdefault("out", []).append((self.params["name"], exec_res))

        class Batch(pf.BatchFlow):
            def prep(self, shared):
                return [{"i": i} for i in range(3)]

        shared = {}
        flow = Batch(start=chain(Read(), Read()))
        flow.set_params({"name": "n", "i": "overridden"})
        return flow.run(shared), shared, flow.params

    same(program)


def test_current_retry(same):
    def program(log):
        class Flaky(pf.Node):
            def exec(self, prep_res):
                log.append(self.cur_retry)
                if self.cur_retry < 2:
                    raise ValueError(self.cur_retry)
                return "ok"

            def post(self, shared, prep_res, exec_res):
                log.append(("post", self.cur_retry, self.max_retries, self.wait, exec_res))

        node = Flaky(max_retries=3, wait=0.0001)
        pf.Flow(start=node).run({})
        return hasattr(node, "cur_retry"), node.run({}), node.cur_retry

    same(program)


def test_state_on_self_is_of_the_copy_that_ran(same):
    def program(log):
        class Count(pf.Node):
            def __init__(self):
                super().__init__()
                self.count = 0
                self.seen = []

            def post(self, shared, prep_res, exec_res):
                self.count += 1
                self.seen.append(self.count)
                log.append((self.count, list(self.seen)))
                shared["n"] += 1
                return "again" if shared["n"] < 4 else "done"

        node = Count()
        _ = node - "again" >> node
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pf.Flow(start=node).run(shared := {"n": 0})
        return shared, node.count, node.seen, sorted(vars(node))

    same(program)


def test_vars_of_a_node_have_nothing_of_ours(same):
    def program(log):
        class Look(pf.Node):
            def prep(self, shared):
                log.append((sorted(vars(self)), type(self).__name__, self.__class__ is type(self)))
                log.append(sorted(name for name in dir(self) if "spanloom" in name))

        flow = pf.Flow(start=Look())
        flow.run({})
        return sorted(vars(flow))

    same(program)


def test_attribute_deleted_and_set_while_it_runs(same):
    def program(log):
        class Change(pf.Node):
            def prep(self, shared):
                self.max_retries = 2
                del self.wait
                self.wait = 0

            def exec(self, prep_res):
                log.append(self.cur_retry)
                raise KeyError("x")

            def exec_fallback(self, prep_res, exc):
                return repr(exc)

            def post(self, shared, prep_res, exec_res):
                shared["out"] = exec_res

        pf.Flow(start=Change()).run(shared := {})
        return shared

    same(program)


@pytest.mark.parametrize("kind", [pf.Node, pf.AsyncNode])
def test_properties_are_read_as_often(same, kind):
    def program(log):
        class Counting(kind):
            def __init__(self):
                pf.BaseNode.__init__(self)

            @property
            def max_retries(self):
                log.append("max_retries")
                return 3

            @property
            def wait(self):
                log.append("wait")
                return 0.0001

            def exec(self, prep_res):
                log.append("exec")
                raise ValueError("no")

            async def exec_async(self, prep_res):
                return Counting.exec(self, prep_res)

        node = Counting()
        if kind is pf.AsyncNode:
            return asyncio.run(node.run_async({}))
        return node.run({})

    same(program)


def test_getattr_and_getattribute_see_the_same_reads(same):
    def program(log):
        class Watched(pf.Node):
            def __getattribute__(self, name):
                log.append(name)
                return super().__getattribute__(name)

            def __getattr__(self, name):
                if name == "lazy":
                    return 7
                raise AttributeError(name)

            def exec(self, prep_res):
                return self.lazy

            def post(self, shared, prep_res, exec_res):
                shared["lazy"] = exec_res
                return "go"

        class WatchedFlow(pf.Flow):
            def __getattribute__(self, name):
                log.append(f"flow {name}")
                return super().__getattribute__(name)

        one, other = Watched(max_retries=2), Watched()
        _ = one - "go" >> other
        WatchedFlow(start=one).run(shared := {})
        log[:] = [name for name in log if not name.startswith("__")]  # how `copy` asks is its own business
        return shared

    same(program)


def test_truth_and_length_are_asked_as_often(same):
    def program(log):
        class Falsy(pf.Node):
            def __bool__(self):
                log.append("bool")
                return bool(self.params)

        class Sized(pf.Node):
            def __len__(self):
                log.append("len")
                return 1

        class Empty(pf.Node):
            def __len__(self):
                return 0

            def prep(self, shared):
                log.append("never")

        flow = pf.Flow(start=Sized())
        flow.set_params({"a": 1})
        first, second = Sized(), Empty()
        _ = first >> second
        return flow.run({}), pf.Flow(start=Falsy()).run({}), pf.Flow(start=first).run({})

    same(program)


def test_equality_and_hash_of_the_users(same):
    def program(log):
        class Equal(pf.Node):
            def __eq__(self, other):
                log.append("eq")
                return True

            __hash__ = None

            def post(self, shared, prep_res, exec_res):
                shared.append(1)
                return "again" if len(shared) < 3 else None

        node = Equal()
        _ = node - "again" >> node
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pf.Flow(start=node).run([]), log.count("eq")

    same(program)


def test_copy_of_the_users(same):
    def program(log):
        class Copying(pf.Node):
            def __copy__(self):
                log.append("copied")
                twin = type(self)()
                twin.__dict__.update(self.__dict__)
                twin.copied = getattr(self, "copied", 0) + 1
                return twin

            def prep(self, shared):
                shared.append(self.copied)

        class Vanishing(pf.Node):
            def __copy__(self):
                return None

        start = chain(Copying(), Copying(), Vanishing(), Copying())
        pf.Flow(start=start).run(shared := [])
        return shared

    same(program)
