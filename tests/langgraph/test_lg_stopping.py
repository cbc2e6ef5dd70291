"""Runs that are stopped from outside: timeouts of nodes and steps, cancellation, and what caused it."""

import asyncio
import threading

import pytest
from langgraph.graph import StateGraph

SHOWN = ("status", "spanloom.status", "spanloom.cancelled.cause", "events", "error.type")


# -- timeouts -----------------------------------------------------------------------------------------------------


@pytest.fixture
def endless(own):
    """An async node that never ends by itself."""

    async def endless(state):
        with own("in endless"):
            await asyncio.sleep(60)

    return endless


def test_a_steps_time_is_up(spans, build, endless, unordered):
    graph = build({"endless": endless, "quick": lambda state: None}, "START > endless", "START > quick")
    graph.step_timeout = 0.05
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(graph.ainvoke({"x": []}))
    kind = spans.only("invoke_workflow").attributes["error.type"]
    assert kind.endswith("TimeoutError")
    assert (
        unordered(spans.tree(*SHOWN))
        == f"""
invoke_workflow [ERROR, exception, type={kind}]
  run_step endless [status=cancelled, cause={kind}]
    in endless
  run_step quick
"""
    )


def test_a_steps_time_is_up_in_threads(spans, build, sync_way):
    """The node in the thread cannot be stopped; the run waits for it, and has failed."""
    released = threading.Event()

    def slow(state):
        released.wait(0.2)
        return {"x": ["slow"]}

    graph = build({"slow": slow}, "START > slow")
    graph.step_timeout = 0.01
    with pytest.raises(TimeoutError):
        graph.invoke({"x": []})
    assert spans.tree("status", "events") == "\ninvoke_workflow [ERROR, exception]\n  run_step slow\n"


@pytest.mark.skipif(
    "timeout" not in StateGraph.add_node.__kwdefaults__, reason="this LangGraph's nodes have no timeouts"
)
class TestNodesTime:
    def test_is_up(self, spans, build, endless):
        from langgraph.errors import NodeTimeoutError
        from langgraph.types import TimeoutPolicy

        graph = build({"endless": (endless, {"timeout": TimeoutPolicy(run_timeout=0.05)})}, "START > endless")
        with pytest.raises(NodeTimeoutError):
            asyncio.run(graph.ainvoke({"x": []}))
        kind = "langgraph.errors.NodeTimeoutError"
        assert (
            spans.tree(*SHOWN)
            == f"""
invoke_workflow [ERROR, type={kind}]
  run_step endless [ERROR, exception, type={kind}]
    in endless
"""
        )

    def test_of_a_graph(self, spans, build, endless):
        """What runs below is cancelled, and the node that ran out of time is the cause."""
        from langgraph.errors import NodeTimeoutError
        from langgraph.types import TimeoutPolicy

        inner = build({"endless": endless}, "START > endless", name="Inner")

        async def call(state):
            return await inner.ainvoke(state)

        graph = build({"call": (call, {"timeout": TimeoutPolicy(run_timeout=0.05)})}, "START > call", name="Outer")
        with pytest.raises(NodeTimeoutError):
            asyncio.run(graph.ainvoke({"x": []}))
        kind = "langgraph.errors.NodeTimeoutError"
        assert (
            spans.tree(*SHOWN)
            == f"""
invoke_workflow Outer [ERROR, type={kind}]
  run_step call [ERROR, exception, type={kind}]
    invoke_workflow Inner [status=cancelled, cause={kind}]
      run_step endless [status=cancelled, cause={kind}]
        in endless
"""
        )

    def test_is_up_and_tried_again(self, spans, build, events):
        from langgraph.errors import NodeTimeoutError
        from langgraph.types import RetryPolicy, TimeoutPolicy

        tries = []

        async def slow_once(state):
            tries.append(1)
            await asyncio.sleep(60 if len(tries) == 1 else 0)
            return {"x": ["done"]}

        settings = {
            "timeout": TimeoutPolicy(run_timeout=0.05),
            "retry_policy": RetryPolicy(initial_interval=0.001, jitter=False, retry_on=NodeTimeoutError),
        }
        graph = build({"n": (slow_once, settings)}, "START > n")
        assert asyncio.run(graph.ainvoke({"x": []})) == {"x": ["done"]}
        ((name, attributes),) = events(spans.only("run_step n"))
        assert (name, attributes["error.type"]) == ("spanloom.retry", "langgraph.errors.NodeTimeoutError")


# -- cancellation -------------------------------------------------------------------------------------------------


def test_a_run_that_is_cancelled(spans, build, endless, unordered):
    """Nothing failed, so there is no cause to tell."""

    async def program(*paths):
        graph = build({"endless": endless, "also": endless}, *paths)
        task = asyncio.create_task(graph.ainvoke({"x": []}))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program("START > endless"))
    asyncio.run(program("START > endless", "START > also"))
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow [status=cancelled]
  run_step also [status=cancelled]
    in endless
  run_step endless [status=cancelled]
    in endless
invoke_workflow [status=cancelled]
  run_step endless [status=cancelled]
    in endless
"""
    )


def test_a_run_that_was_waited_for_too_long(spans, build, endless):
    inner = build({"endless": endless}, "START > endless", name="Inner")

    async def program():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(build({"sub": inner}, "START > sub", name="Outer").ainvoke({"x": []}), 0.05)

    asyncio.run(program())
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=cancelled]
  invoke_workflow Inner [status=cancelled]
    run_step endless [status=cancelled]
      in endless
"""
    )


def test_a_timeout_that_a_node_handles(spans, build, endless):
    inner = build({"a": lambda state: None, "endless": endless}, "START > a > endless", name="Inner")

    async def careful(state):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(inner.ainvoke(state), 0.05)

    asyncio.run(build({"careful": careful}, "START > careful", name="Outer").ainvoke({"x": []}))
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer
  run_step careful
    invoke_workflow Inner [status=cancelled]
      run_step a
      run_step endless [status=cancelled]
        in endless
"""
    )


def test_an_event_loop_that_ends_with_its_program(spans, build, endless):
    async def program():
        task = asyncio.create_task(build({"endless": endless}, "START > endless").ainvoke({"x": []}))
        await asyncio.sleep(0.05)
        return task

    task = asyncio.run(program())
    assert task.cancelled()
    assert (
        spans.tree(*SHOWN)
        == "\ninvoke_workflow [status=cancelled]\n  run_step endless [status=cancelled]\n    in endless\n"
    )
