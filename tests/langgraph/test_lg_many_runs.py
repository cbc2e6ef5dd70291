"""Many runs: batches, threads, tasks, one graph several times; each is a trace of its own, none mixes with another."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_each_input_of_a_batch_is_a_trace(spans, build, way, unordered):
    graph = build(way.steps("ab"), "START > a > b", name="Batched")
    if way.is_async:
        results = asyncio.run(graph.abatch([{"x": [n]} for n in range(3)]))
    else:
        results = graph.batch([{"x": [n]} for n in range(3)])
    assert results == [{"x": [n, "a", "b"]} for n in range(3)]
    one = """invoke_workflow Batched
  run_step a
    in a
  run_step b
    in b
"""
    assert unordered(spans.tree()) == "\n" + one * 3
    assert len({span.context.trace_id for span in spans.spans}) == 3


def test_a_batch_in_a_span_of_the_program_is_one_trace(spans, build, way, own):
    graph = build(way.steps("a"), "START > a")

    async def batched():
        with own("request"):
            await graph.abatch([{"x": []}] * 2)

    if way.is_async:
        asyncio.run(batched())
    else:
        with own("request"):
            graph.batch([{"x": []}] * 2)
    request = spans.only("request")
    assert [span.parent.span_id for span in spans.named("invoke_workflow")] == [request.context.span_id] * 2
    assert all("langgraph.graph.nodes" in span.attributes for span in spans.named("invoke_workflow"))


def test_runs_in_threads_do_not_mix(spans, build, sync_way):
    together = threading.Barrier(6)

    def meet(state):
        together.wait(60)
        return {"x": ["met"]}

    graph = build({"meet": sync_way.step("meet", meet), "b": sync_way.step("b")}, "START > meet > b")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: graph.invoke({"x": [n]}), range(6)))
    one = """invoke_workflow
  run_step meet
    in meet
  run_step b
    in b
"""
    assert spans.tree() == "\n" + one * 6
    assert len({span.context.trace_id for span in spans.spans}) == 6


def test_runs_in_tasks_do_not_mix(spans, build, own):
    async def program():
        arrived, all_there = 0, asyncio.Event()

        async def meet(state):
            nonlocal arrived
            arrived += 1
            if arrived == 12:
                all_there.set()
            with own("in meet"):
                await all_there.wait()
            return {"x": ["met"]}

        async def again(state):
            with own("in again"):
                await asyncio.sleep(0)

        graph = build({"meet": meet, "again": again}, "START > meet > again")
        with own("request"):
            return await asyncio.gather(*(graph.ainvoke({"x": [n]}) for n in range(12)))

    assert asyncio.run(program()) == [{"x": [n, "met"]} for n in range(12)]
    one = """  invoke_workflow
    run_step meet
      in meet
    run_step again
      in again
"""
    assert spans.tree() == "\nrequest\n" + one * 12


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="this Python has no eager tasks")
def test_eager_tasks(spans, build, async_way, unordered):
    """They begin in the frame that makes them."""

    async def program():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        inner = build(async_way.steps("c"), "START > c")
        return await build({**async_way.steps("ab"), "sub": inner}, "START > a", "START > b", "START > sub").ainvoke(
            {"x": []}
        )

    asyncio.run(program())
    assert (
        unordered(spans.tree())
        == """
invoke_workflow
  invoke_workflow sub
    run_step c
      in c
  run_step a
    in a
  run_step b
    in b
"""
    )


def test_one_at_a_time(spans, build, way, unordered):
    graph = build(way.steps("abc"), "START > a", "START > b", "START > c")
    way.invoke(graph, {"x": []}, {"max_concurrency": 1})
    assert unordered(spans.tree()) == "\ninvoke_workflow\n" + "".join(
        f"  run_step {name}\n    in {name}\n" for name in "abc"
    )


def test_the_same_graph_twice_is_two_traces(spans, build, way):
    graph = build(way.steps("a"), "START > a")
    way.invoke(graph, {"x": []})
    way.invoke(graph, {"x": []})
    assert spans.tree() == "\n" + "invoke_workflow\n  run_step a\n    in a\n" * 2
    assert len({span.context.trace_id for span in spans.spans}) == 2
