"""Nothing of a run is kept: twenty thousand of them leave as many objects as one."""

import asyncio
import contextvars
import gc
import sys
import weakref

import pocketflow as pf
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from spanloom.config import Config
from spanloom_pocketflow import PocketFlowInstrumentor


@pytest.fixture
def content():
    return True


@pytest.fixture(params=[ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])
def _traced(request, content):
    """Traced by a provider that keeps no span."""
    provider = TracerProvider(sampler=request.param, shutdown_on_exit=False)
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config(content=content))
    yield
    PocketFlowInstrumentor().uninstrument()


class Decides(pf.Node):
    def post(self, shared, prep_res, exec_res):
        return shared["action"]


class Fails(pf.Node):
    def exec(self, prep_res):
        raise ValueError("no")


def small_flow():
    decides, falls = Decides(), Fails(max_retries=2)
    falls.exec_fallback = lambda prep_res, exc: None
    _ = decides - "fail" >> Fails()
    _ = decides - "fall" >> falls
    _ = decides - "end" >> pf.Node()
    return pf.Flow(start=decides)


def blocks():
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("content", [False, True])
def test_twenty_thousand_runs(content):
    flow, actions = small_flow(), ["end"] * 8 + ["fail", "fall"]

    def run(times):
        for i in range(times):
            try:
                flow.run({"action": actions[i % 10]})
            except ValueError:
                assert i % 10 == 8

    run(500)
    before = blocks()
    run(5_000 if content else 20_000)
    assert blocks() - before < 500  # not one object kept by one run of ten


class Waits(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return [1, 2]

    async def exec_async(self, item):
        await asyncio.sleep(0)
        await asyncio.get_running_loop().create_future()


class Suspends(pf.AsyncNode):
    async def exec_async(self, prep_res):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("_traced")
def test_two_thousand_cancelled_and_closed_runs():
    flow = pf.AsyncFlow(start=Waits())

    async def run(times):
        for i in range(times):
            task = asyncio.ensure_future(flow.run_async({}))
            for _ in range(i % 5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            coroutine = pf.AsyncFlow(start=Suspends()).run_async({})
            coroutine.send(None)
            coroutine.close()

    async def main():
        await run(100)
        before = blocks()
        await run(2_000)
        return blocks() - before

    assert asyncio.run(main()) < 500


@pytest.mark.usefixtures("_traced")
def test_runs_in_one_context_that_lives_on():
    """A worker that runs everything in one context keeps nothing in it."""
    context, flow = contextvars.copy_context(), small_flow()
    context.run(flow.run, {"action": "fall"})
    before = blocks()
    for _ in range(1000):
        context.run(flow.run, {"action": "fall"})
    assert blocks() - before < 500


@pytest.mark.usefixtures("_traced")
def test_classes_and_objects_of_the_users_are_let_go():
    Dynamic = type("Dynamic", (pf.Node,), {"exec": lambda self, prep_res: 1})
    DynamicFlow = type("DynamicFlow", (pf.BatchFlow,), {"prep": lambda self, shared: [{"i": 1}]})
    node, flow = Dynamic(), DynamicFlow(start=Dynamic())
    shared = type("Shared", (), {})()
    node.run(shared)
    flow.run(shared)
    alive = [weakref.ref(thing) for thing in (Dynamic, DynamicFlow, node, flow, shared)]
    del Dynamic, DynamicFlow, node, flow, shared
    gc.collect()
    assert [reference() for reference in alive] == [None] * 5


@pytest.mark.usefixtures("_traced")
def test_a_background_task_keeps_no_run():
    """It has a copy of the context it was started in, so the run's scopes live as long; what they ran on must not."""

    class Starts(pf.AsyncNode):
        async def exec_async(self, prep_res):
            tasks.append(asyncio.ensure_future(gate.wait()))

    class Shared(dict):
        pass

    async def main():
        nonlocal gate
        gate = asyncio.Event()
        shared, flow = Shared(), pf.AsyncFlow(start=Starts())
        await flow.run_async(shared)
        alive = [weakref.ref(thing) for thing in (shared, flow)]
        del shared, flow
        gc.collect()
        found = [reference() is None for reference in alive]
        gate.set()
        await tasks[0]
        return found

    gate, tasks = None, []
    assert asyncio.run(main()) == [True, True]


def test_switching_on_and_off_again():
    def switch(times):
        for _ in range(times):
            PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())
            pf.Flow(start=pf.Node()).run({})
            PocketFlowInstrumentor().uninstrument()

    provider = TracerProvider(shutdown_on_exit=False)
    switch(10)
    before = blocks()
    switch(200)
    assert blocks() - before < 2_000  # one cycle makes thousands
