"""Async programs behave as without us: all classes, odd awaitables, many runs at once."""

import asyncio
import sys

import pocketflow as pf
import pytest

# -- the async classes --------------------------------------------------------------------------------------------


def test_an_async_node_with_everything(same):
    def program(log):
        class Everything(pf.AsyncNode):
            async def prep_async(self, shared):
                await asyncio.sleep(0)
                log.append(("prep", dict(self.params)))
                return 1

            async def exec_async(self, prep_res):
                log.append(("exec", prep_res))
                await asyncio.sleep(0)
                raise ValueError(prep_res)

            async def exec_fallback_async(self, prep_res, exc):
                return prep_res, repr(exc)

            async def post_async(self, shared, prep_res, exec_res):
                shared["out"] = exec_res
                return "next"

        class Sync(pf.Node):
            def post(self, shared, prep_res, exec_res):
                shared["sync"] = True
                return "end"

        node = Everything(max_retries=2, wait=0.0001)
        _ = node - "next" >> Sync()
        flow = pf.AsyncFlow(start=node)
        flow.set_params({"p": 1})
        alone = asyncio.run(Everything().run_async({}))
        return asyncio.run(flow.run_async(shared := {})), shared, alone

    same(program)


@pytest.mark.parametrize("kind", [pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
@pytest.mark.parametrize("failing", [None, 1])
def test_async_batch_nodes(same, kind, failing):
    def program(log):
        class Batch(kind):
            async def prep_async(self, shared):
                return [2, 0, 1]

            async def exec_async(self, item):
                for _ in range(item):
                    await asyncio.sleep(0)
                log.append(item)
                if item == failing:
                    raise ValueError(item)
                return item

            async def post_async(self, shared, prep_res, exec_res):
                shared["out"] = exec_res

        asyncio.run(pf.AsyncFlow(start=Batch(max_retries=2)).run_async(shared := {}))
        return shared

    same(program)


@pytest.mark.parametrize("kind", [pf.AsyncBatchFlow, pf.AsyncParallelBatchFlow])
@pytest.mark.parametrize("failing", [None, 1])
def test_async_batch_flows(same, kind, failing):
    def program(log):
        class Leaf(pf.AsyncNode):
            async def exec_async(self, prep_res):
                for _ in range(3 - self.params["i"]):
                    await asyncio.sleep(0)
                log.append(self.params)
                if self.params["i"] == failing:
                    raise ValueError(failing)

        class Batch(kind):
            async def prep_async(self, shared):
                return [{"i": i} for i in range(3)]

            async def post_async(self, shared, prep_res, exec_res):
                return len(prep_res), exec_res

        flow = Batch(start=Leaf())
        flow.set_params({"more": True})
        return asyncio.run(flow.run_async({}))

    same(program)


@pytest.mark.parametrize("kind", [pf.AsyncBatchFlow, pf.AsyncParallelBatchFlow])
@pytest.mark.parametrize("prepared", [None, [], "generator"])
def test_async_batch_flows_with_little(same, kind, prepared):
    def program(log):
        class Batch(kind):
            async def prep_async(self, shared):
                return ({"i": i} for i in range(2)) if prepared == "generator" else prepared

            async def post_async(self, shared, prep_res, exec_res):
                return list(prep_res)

        class Leaf(pf.Node):
            def prep(self, shared):
                log.append(self.params)

        return asyncio.run(Batch(start=Leaf()).run_async({}))

    same(program)


def test_async_classes_used_without_await(same):
    def program(log):
        class Leaf(pf.Node):
            def prep(self, shared):
                log.append("leaf")

        flow = pf.AsyncFlow(start=Leaf())
        flow.prep = lambda shared: None  # 0.0.1 refuses the sync phases of async classes
        flow.post = lambda shared, p, e: "sync"
        return pf.Flow(start=flow).run({}), flow.run({})

    same(program)


def test_all_async_classes_with_nothing_in_them(same):
    def program(log):
        async def main():
            for cls in (pf.AsyncNode, pf.AsyncFlow, pf.AsyncBatchFlow, pf.AsyncParallelBatchFlow):
                node = cls() if cls is pf.AsyncNode else cls(start=None)
                log.append(await node.run_async({}))
            for cls in (pf.AsyncBatchNode, pf.AsyncParallelBatchNode):
                node = cls()
                log.append(await node._exec([None]))
                log.append(await node._exec(()))

        asyncio.run(main())

    same(program)


def test_hooks_that_return_awaitables_of_other_kinds(same):
    def program(log):
        class Odd(pf.AsyncNode):
            def prep_async(self, shared):
                future = asyncio.get_running_loop().create_future()
                future.set_result("future")
                return future

            def exec_async(self, prep_res):
                return asyncio.ensure_future(asyncio.sleep(0, [prep_res]))

            def post_async(self, shared, prep_res, exec_res):
                class Awaitable:
                    def __await__(self):
                        yield from asyncio.sleep(0).__await__()
                        return exec_res

                return Awaitable()

        class OddRun(pf.AsyncNode):
            def _run_async(self, shared):
                return super()._run_async(shared)

            def _exec(self, prep_res):
                log.append("_exec")
                return super()._exec(prep_res)

            async def post_async(self, shared, prep_res, exec_res):
                return "end"

        node = Odd()
        node.successors = {None: OddRun()}
        _ = node >> OddRun()
        return asyncio.run(Odd().run_async({})), asyncio.run(pf.AsyncFlow(start=OddRun()).run_async({}))

    same(program)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_run_async_and_orch_async_overridden(same, times):
    def program(log):
        class Repeats(pf.AsyncNode):
            async def _run_async(self, shared):
                return [await super(Repeats, self)._run_async(shared) for _ in range(times)]

            async def _exec(self, prep_res):
                return [await super(Repeats, self)._exec(prep_res) for _ in range(times)]

            async def exec_async(self, prep_res):
                log.append("exec")
                return 1

            async def post_async(self, shared, prep_res, exec_res):
                log.append(exec_res)
                return len(exec_res)

        class Flow(pf.AsyncParallelBatchFlow):
            async def prep_async(self, shared):
                return [{}, {"a": 1}]

            async def _orch_async(self, shared, params=None):
                log.append(params)
                for _ in range(times):
                    await super()._orch_async(shared, params)

        return asyncio.run(Flow(start=Repeats()).run_async({})), asyncio.run(Repeats().run_async({}))

    same(program)


# -- many at once -------------------------------------------------------------------------------------------------


def test_one_async_flow_object_in_five_tasks(same):
    def program(log):
        class Step(pf.AsyncNode):
            async def prep_async(self, shared):
                self.who = shared["who"]
                await asyncio.sleep(0)
                return self.who

            async def post_async(self, shared, prep_res, exec_res):
                await asyncio.sleep(0)
                shared.setdefault("seen", []).append((prep_res, self.who))
                return "again" if len(shared["seen"]) < shared["who"] else "done"

        node = Step()
        _ = node - "again" >> node
        _ = node - "done" >> pf.Node()
        flow = pf.AsyncFlow(start=node)

        async def main():
            states = [{"who": i} for i in range(5)]
            results = await asyncio.gather(*(flow.run_async(state) for state in states))
            return states, results

        return asyncio.run(main())

    same(program)


def test_gathered_flows_of_which_one_fails(same):
    def program(log):
        class Step(pf.AsyncNode):
            async def exec_async(self, prep_res):
                await asyncio.sleep(0)
                if self.params["i"] == 1:
                    raise ValueError("one")
                return self.params["i"]

            async def post_async(self, shared, prep_res, exec_res):
                log.append(exec_res)
                return exec_res

        def flow(i):
            made = pf.AsyncFlow(start=Step())
            made.set_params({"i": i})
            return made

        async def main():
            runs = (flow(i).run_async({}) for i in range(3))
            return [repr(r) for r in await asyncio.gather(*runs, return_exceptions=True)]

        return asyncio.run(main())

    same(program)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks(same):
    def program(log):
        class Parallel(pf.AsyncParallelBatchNode):
            async def prep_async(self, shared):
                return [0, 1, 2]

            async def exec_async(self, item):
                log.append(f"begin {item}")
                if item:
                    await asyncio.sleep(0)
                log.append(f"end {item}")
                return item

            async def post_async(self, shared, prep_res, exec_res):
                return str(exec_res)

        class Each(pf.AsyncParallelBatchFlow):
            async def prep_async(self, shared):
                return [{"i": 0}, {"i": 1}]

        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            return await Each(start=Parallel()).run_async({}), await pf.AsyncFlow(start=Parallel()).run_async({})

        return asyncio.run(main())

    same(program)
