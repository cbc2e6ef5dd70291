"""The whole tree of spans for every kind of node and flow."""

import asyncio

import pocketflow as pf
import pytest
from opentelemetry import trace

from spanloom import names

pytestmark = pytest.mark.usefixtures("traced")


class Full(pf.Node):
    """A node with all three phases."""

    def prep(self, shared):
        return 1

    def exec(self, prep_res):
        return prep_res

    def post(self, shared, prep_res, exec_res):
        return shared.get("action")


class FullAsync(pf.AsyncNode):
    async def prep_async(self, shared):
        return [1, 2]

    async def exec_async(self, prep_res):
        await asyncio.sleep(0)
        return prep_res

    async def post_async(self, shared, prep_res, exec_res):
        return shared.get("action")


class Support(pf.Flow):
    pass


class SupportAsync(pf.AsyncFlow):
    pass


EDGES = (names.POCKETFLOW_STEP, names.POCKETFLOW_ACTION, names.POCKETFLOW_NEXT)
FULL = """
run_step Full
  prep Full
  exec Full
  post Full
"""


def test_a_node_alone(recorder):
    Full().run({})
    assert recorder.tree() == FULL


def test_a_nodes_own_run_method(recorder):
    Full()._run({})
    assert recorder.tree() == FULL


def test_placeholders_of_pocketflow_have_no_span(recorder):
    class OnlyPost(pf.Node):
        def post(self, shared, prep_res, exec_res):
            return "x"

    _ = (start := pf.Node()) >> OnlyPost()
    pf.Flow(start=start).run({})
    expected = """
invoke_workflow
  run_step Node
  run_step OnlyPost
    post OnlyPost
"""
    assert recorder.tree() == expected


def test_a_chain_and_a_loop(recorder):
    class Ask(pf.Node):
        def post(self, shared, prep_res, exec_res):
            shared["n"] = shared.get("n", 0) + 1
            return "again" if shared["n"] < 3 else "done"

    class Answer(pf.Node):
        pass

    ask = Ask()
    _ = ask - "again" >> ask
    _ = ask - "done" >> Answer()
    Support(start=ask).run({})
    expected = """
invoke_workflow Support
  run_step Ask [index=0, step=1, action=again, next=Ask]
    post Ask
  run_step Ask [index=0, step=2, action=again, next=Ask]
    post Ask
  run_step Ask [index=0, step=3, action=done, next=Answer]
    post Ask
  run_step Answer [index=1, step=4, action=default]
"""
    assert recorder.tree(names.POCKETFLOW_NODE_INDEX, *EDGES) == expected


def test_a_batch_node(recorder):
    class Batch(pf.BatchNode):
        def prep(self, shared):
            return ["a", "b"]

        def exec(self, item):
            return item

        def post(self, shared, prep_res, exec_res):
            return None

    pf.Flow(start=Batch()).run({})
    expected = """
invoke_workflow
  run_step Batch [size=2]
    prep Batch
    exec Batch [index=0, size=2]
    exec Batch [index=1, size=2]
    post Batch
"""
    assert recorder.tree(names.POCKETFLOW_BATCH_INDEX, names.POCKETFLOW_BATCH_SIZE) == expected


def test_a_batch_flow(recorder):
    class Each(pf.BatchFlow):
        def prep(self, shared):
            return [{"i": 0}, {"i": 1}]

        def post(self, shared, prep_res, exec_res):
            return "done"

    Each(start=Full()).run({})
    expected = """
invoke_workflow Each [size=2]
  prep Each
  invoke_workflow Each [index=0, size=2]
    run_step Full [step=1]
      prep Full
      exec Full
      post Full
  invoke_workflow Each [index=1, size=2]
    run_step Full [step=1]
      prep Full
      exec Full
      post Full
  post Each
"""
    assert recorder.tree(names.POCKETFLOW_BATCH_INDEX, names.POCKETFLOW_BATCH_SIZE, names.POCKETFLOW_STEP) == expected


def test_batch_flows_nested(recorder):
    def batch(name, start):
        return type(name, (pf.BatchFlow,), {"prep": lambda self, shared: [{name: 0}, {name: 1}]})(start=start)

    batch("Folders", batch("Files", pf.Node())).run({})
    expected = """
invoke_workflow Folders
  prep Folders
  invoke_workflow Folders [index=0]
    invoke_workflow Files [step=1]
      prep Files
      invoke_workflow Files [index=0]
        run_step Node [step=1]
      invoke_workflow Files [index=1]
        run_step Node [step=1]
  invoke_workflow Folders [index=1]
    invoke_workflow Files [step=1]
      prep Files
      invoke_workflow Files [index=0]
        run_step Node [step=1]
      invoke_workflow Files [index=1]
        run_step Node [step=1]
"""
    assert recorder.tree(names.POCKETFLOW_BATCH_INDEX, names.POCKETFLOW_STEP) == expected


def test_a_nested_flow_is_one_span_with_the_nodes_facts(recorder):
    class Inner(pf.Flow):
        def prep(self, shared):
            return 1

        def post(self, shared, prep_res, exec_res):
            return "inner done"

    inner = Inner(start=Full())
    _ = (first := Full()) >> inner
    _ = inner - "inner done" >> Full()
    Support(start=first).run({})
    expected = """
invoke_workflow Support
  run_step Full [step=1, action=default, next=Inner, name=Full]
    prep Full
    exec Full
    post Full
  invoke_workflow Inner [step=2, action=inner done, next=Full, name=Inner]
    prep Inner
    run_step Full [step=1, action=default, name=Full]
      prep Full
      exec Full
      post Full
    post Inner
  run_step Full [step=3, action=default, name=Full]
    prep Full
    exec Full
    post Full
"""
    assert recorder.tree(*EDGES, names.NODE_NAME) == expected


def test_five_deep(recorder):
    flow = pf.Node()
    for _ in range(5):
        flow = pf.Flow(start=flow)
    flow.run({})
    expected = """
invoke_workflow
  invoke_workflow
    invoke_workflow
      invoke_workflow
        invoke_workflow
          run_step Node
"""
    assert recorder.tree() == expected


def test_async_alone_and_in_a_flow_with_sync_nodes(recorder):
    asyncio.run(FullAsync().run_async({}))
    assert recorder.tree() == FULL.replace("Full", "FullAsync")
    recorder.clear()
    _ = (first := FullAsync()) >> Full() >> SupportAsync(start=FullAsync())
    asyncio.run(SupportAsync(start=first).run_async({}))
    expected = """
invoke_workflow SupportAsync
  run_step FullAsync [step=1, next=Full]
    prep FullAsync
    exec FullAsync
    post FullAsync
  run_step Full [step=2, next=SupportAsync]
    prep Full
    exec Full
    post Full
  invoke_workflow SupportAsync [step=3]
    run_step FullAsync [step=1]
      prep FullAsync
      exec FullAsync
      post FullAsync
"""
    assert recorder.tree(names.POCKETFLOW_STEP, names.POCKETFLOW_NEXT) == expected


@pytest.mark.parametrize("kind", [pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
def test_async_batch_nodes(recorder, kind):
    Batch = type("Batch", (kind,), {"prep_async": FullAsync.prep_async, "exec_async": FullAsync.exec_async})
    asyncio.run(SupportAsync(start=Batch()).run_async({}))
    expected = """
invoke_workflow SupportAsync
  run_step Batch [size=2]
    prep Batch
    exec Batch [index=0, size=2]
    exec Batch [index=1, size=2]
"""
    assert recorder.tree(names.POCKETFLOW_BATCH_INDEX, names.POCKETFLOW_BATCH_SIZE) == expected


def test_parallel_items_overlap_and_lie_under_their_node(recorder):
    class Parallel(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared):
            return [3, 1, 2]

        async def exec_async(self, item):
            for _ in range(item):
                await asyncio.sleep(0)
            trace.get_current_span().set_attribute("item", item)

    asyncio.run(Parallel().run_async({}))
    expected = """
run_step Parallel
  prep Parallel
  exec Parallel [item=3, index=0]
  exec Parallel [item=1, index=1]
  exec Parallel [item=2, index=2]
"""
    assert recorder.tree("item", names.POCKETFLOW_BATCH_INDEX) == expected
    assert [span.attributes["item"] for span in recorder.named("exec Parallel")] == [1, 2, 3]  # by their ends


@pytest.mark.parametrize("kind", [pf.AsyncBatchFlow, pf.AsyncParallelBatchFlow])
def test_async_batch_flows(recorder, kind):
    async def prep_async(self, shared):
        return [{"i": 0}, {"i": 1}]

    async def post_async(self, shared, prep_res, exec_res):
        return "done"

    Each = type("Each", (kind,), {"prep_async": prep_async, "post_async": post_async})
    asyncio.run(Each(start=FullAsync()).run_async({}))
    expected = """
invoke_workflow Each [size=2]
  prep Each
  invoke_workflow Each [index=0, size=2]
    run_step FullAsync
      prep FullAsync
      exec FullAsync
      post FullAsync
  invoke_workflow Each [index=1, size=2]
    run_step FullAsync
      prep FullAsync
      exec FullAsync
      post FullAsync
  post Each
"""
    assert recorder.tree(names.POCKETFLOW_BATCH_INDEX, names.POCKETFLOW_BATCH_SIZE) == expected


def test_an_async_flow_run_as_a_sync_one(recorder):
    class Mixed(pf.AsyncFlow):
        def prep(self, shared):
            return None

        def post(self, shared, prep_res, exec_res):
            return None

    pf.Flow(start=Mixed(start=Full())).run({})
    expected = """
invoke_workflow
  invoke_workflow Mixed
    prep Mixed
    run_step Full
      prep Full
      exec Full
      post Full
    post Mixed
"""
    assert recorder.tree() == expected
