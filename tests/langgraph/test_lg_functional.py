"""The functional API: an entrypoint is a run with one node, its tasks lie below that node."""

import asyncio
import inspect
import sys

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import RetryPolicy

SHOWN = ("status", "events", "spanloom.status", "langgraph.step", "langgraph.next", "langgraph.retry.count")

tasks_in_async = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="LangGraph cannot call tasks from async entrypoints before Python 3.11"
)


def test_an_entrypoint_has_its_functions_name(spans, way):
    @entrypoint()
    def double(value):
        return 2 * value

    @entrypoint()
    async def adouble(value):
        return 2 * value

    assert way.invoke(adouble if way.is_async else double, 4) == 8
    name = "adouble" if way.is_async else "double"
    assert spans.tree(*SHOWN, "gen_ai.workflow.name") == (
        f"\ninvoke_workflow {name} [name={name}]\n  run_step {name} [step=0]\n"
    )
    assert spans.only(f"invoke_workflow {name}").attributes["langgraph.graph.nodes"] == (name,)
    assert "langgraph.graph.edges" not in spans.only(f"invoke_workflow {name}").attributes


def test_tasks(spans, own):
    @task
    def add(a, b):
        with own("in add"):
            return a + b

    @entrypoint()
    def total(values):
        with own("in total"):
            return add(add(*values).result(), 1).result()

    assert total.invoke([1, 2]) == 4
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow total
  run_step total [step=0]
    in total
      run_step add [step=0]
        in add
      run_step add [step=0]
        in add
"""
    )
    assert all(not span.links for span in spans.spans)


@tasks_in_async
def test_async_tasks(spans, own):
    @task
    async def add(a, b):
        with own("in add"):
            await asyncio.sleep(0)
            return a + b

    @entrypoint()
    async def total(values):
        with own("in total"):
            first, second = await asyncio.gather(add(*values), add(*values))
            return await add(first, second)

    assert asyncio.run(total.ainvoke([1, 2])) == 6
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow total
  run_step total [step=0]
    in total
"""
        + """      run_step add [step=0]
        in add
"""
        * 3
    )


def test_parallel_futures(spans, own):
    @task
    def square(value):
        with own(f"square {value}"):
            return value * value

    @entrypoint()
    def squares(values):
        return [future.result() for future in [square(value) for value in values]]

    assert squares.invoke(list(range(5))) == [0, 1, 4, 9, 16]
    root, node = spans.only("invoke_workflow squares"), spans.only("run_step squares")
    tasks = spans.named("run_step square")
    assert node.parent.span_id == root.context.span_id
    assert {span.parent.span_id for span in tasks} == {node.context.span_id}
    ids = {span.context.span_id for span in tasks}
    assert {spans.only(f"square {n}").parent.span_id for n in range(5)} == ids
    assert len(spans.spans) == 12


def test_tasks_that_call_tasks(spans):
    @task
    def inner(value):
        return value + 1

    @task
    def outer(value):
        return inner(value).result() + 1

    @entrypoint()
    def flow(value):
        return outer(value).result()

    assert flow.invoke(0) == 2
    assert (
        spans.tree()
        == """
invoke_workflow flow
  run_step flow
    run_step outer
      run_step inner
"""
    )


@tasks_in_async
def test_a_sync_task_in_an_async_entrypoint(spans, own):
    @task
    def plain(value):
        with own("in plain"):
            return value + 1

    @entrypoint()
    async def flow(value):
        return await plain(value)

    assert asyncio.run(flow.ainvoke(0)) == 1
    assert spans.tree() == "\ninvoke_workflow flow\n  run_step flow\n    run_step plain\n      in plain\n"


def test_a_task_that_is_tried_again(spans, events):
    tries = []

    @task(**{retry_argument(): RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ValueError)})
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError(len(tries))
        return "done"

    @entrypoint()
    def flow(_):
        return flaky().result()

    assert flow.invoke(1) == "done"
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow flow
  run_step flow [step=0]
    run_step flaky [spanloom.retry, spanloom.retry, step=0, count=2]
"""
    )
    assert [attributes["langgraph.retry.attempt"] for _, attributes in events(spans.only("run_step flaky"))] == [1, 2]


def retry_argument():
    return "retry_policy" if "retry_policy" in inspect.signature(task).parameters else "retry"


def test_an_error_that_the_entrypoint_handles(spans):
    @task
    def fail():
        raise ValueError("no")

    @entrypoint()
    def flow(_):
        try:
            fail().result()
        except ValueError:
            return "handled"

    assert flow.invoke(1) == "handled"
    assert (
        spans.tree(*SHOWN, "error.type")
        == """
invoke_workflow flow
  run_step flow [step=0]
    run_step fail [ERROR, exception, step=0, type=ValueError]
"""
    )


def test_an_error_that_comes_out(spans):
    @task
    def fail():
        raise ValueError("no")

    @entrypoint()
    def flow(_):
        return fail().result()

    with pytest.raises(ValueError, match="no"):
        flow.invoke(1)
    assert (
        spans.tree(*SHOWN, "error.type")
        == """
invoke_workflow flow [ERROR, type=ValueError]
  run_step flow [ERROR, step=0, type=ValueError]
    run_step fail [ERROR, exception, step=0, type=ValueError]
"""
    )


def test_the_former_result(spans):
    @entrypoint(checkpointer=InMemorySaver())
    def count(step, *, previous=None):
        return (previous or 0) + step

    config = {"configurable": {"thread_id": "1"}}
    assert [count.invoke(1, config), count.invoke(1, config)] == [1, 2]
    one = "invoke_workflow count [id=1]\n  run_step count [id=1]\n"
    assert spans.tree("gen_ai.conversation.id", "langgraph.checkpoint.resumed_from", "events") == "\n" + one * 2


def test_a_task_from_the_cache(spans):
    from langgraph.cache.memory import InMemoryCache
    from langgraph.types import CachePolicy

    @task(cache_policy=CachePolicy())
    def slow(value):
        return value + 1

    @entrypoint(cache=InMemoryCache())
    def flow(value):
        return slow(value).result()

    assert [flow.invoke(1), flow.invoke(1)] == [2, 2]
    assert (
        spans.tree("langgraph.cached")
        == """
invoke_workflow flow
  run_step flow
    run_step slow
invoke_workflow flow [cached=('slow',)]
  run_step flow
"""
    )


def test_an_interrupted_task_and_its_resume(spans, events):
    from langgraph.types import Command, interrupt

    @task
    def once():
        return "once"

    @task
    def ask(question):
        return interrupt(question)

    @entrypoint(checkpointer=InMemorySaver())
    def flow(_):
        return [once().result(), ask("name?").result()]

    config = {"configurable": {"thread_id": "1"}}
    flow.invoke(1, config)
    assert flow.invoke(Command(resume="Ann"), config) == ["once", "Ann"]
    assert (
        spans.tree("status", "spanloom.status", "events")
        == """
invoke_workflow flow [status=interrupted]
  run_step flow [status=interrupted]
    run_step once
    run_step ask [status=interrupted, langgraph.interrupt]
invoke_workflow flow [langgraph.resume]
  run_step flow
    run_step ask
"""
    )
    first, second = spans.named("invoke_workflow flow")
    assert [link.context for link in second.links] == [first.context]
    ((_, attributes),) = events(next(span for span in spans.named("run_step ask") if span.events))
    assert list(attributes) == ["langgraph.interrupt.id"]


def test_a_graph_called_by_a_task(spans, build, sync_way):
    graph = build(sync_way.steps("a"), "START > a", name="Inner")

    @task
    def call():
        return graph.invoke({"x": []})

    @entrypoint()
    def flow(_):
        return call().result()

    assert flow.invoke(1) == {"x": ["a"]}
    assert (
        spans.tree()
        == """
invoke_workflow flow
  run_step flow
    run_step call
      invoke_workflow Inner
        run_step a
          in a
"""
    )
