"""Runs that are stopped from outside: closed and dropped streams, timeouts, cancellation."""

import asyncio
import gc
import threading

import pytest
from langgraph.graph import StateGraph
from opentelemetry import trace

SHOWN = ("status", "spanloom.status", "spanloom.cancelled.cause", "events", "error.type")
CLOSED = """
invoke_workflow [status=closed]
  run_step a
    in a
"""


def nothing_current():
    return trace.get_current_span() is trace.INVALID_SPAN


# -- streams ------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_left(spans, build, sync_way):
    for _ in build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []}):
        assert nothing_current()
        break
    assert nothing_current()
    assert spans.tree(*SHOWN) == CLOSED


def test_a_stream_that_is_closed(spans, build, sync_way):
    stream = build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []})
    next(stream)
    stream.close()
    assert nothing_current()
    assert spans.tree(*SHOWN) == CLOSED


def test_a_stream_that_never_began(spans, build, sync_way):
    stream = build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []})
    stream.close()
    assert spans.spans == []


def test_a_stream_that_is_dropped_in_a_cycle(spans, build, sync_way):
    stream = build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []})
    next(stream)
    cycle = [stream]
    cycle.append(cycle)
    del stream, cycle
    gc.collect()
    assert spans.tree(*SHOWN) == CLOSED


def test_a_stream_that_is_closed_by_another_thread(spans, build, sync_way, own):
    with own("request"):
        stream = build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []})
        next(stream)
    closer = threading.Thread(target=stream.close)
    closer.start()
    closer.join(60)
    assert nothing_current()
    assert spans.tree(*SHOWN) == "\nrequest\n  invoke_workflow [status=closed]\n    run_step a\n      in a\n"


def test_an_error_of_the_consumer(spans, build, sync_way):
    """Thrown into the stream, it is the run's."""
    stream = build(sync_way.steps("abc"), "START > a > b > c").stream({"x": []})
    next(stream)
    with pytest.raises(ValueError, match="mine"):
        stream.throw(ValueError("mine"))
    assert spans.tree("status", "events") == "\ninvoke_workflow [ERROR, exception]\n  run_step a\n    in a\n"


@pytest.mark.parametrize("mode", ["values", "updates", "debug", "messages", "custom", ["values", "updates"]])
@pytest.mark.parametrize("below", [False, True])
def test_all_modes_of_streams(spans, build, way, mode, below):
    graph = build({"sub": build(way.steps("a"), "START > a"), "b": way.step("b")}, "START > sub > b", name="Outer")
    way.stream(graph, {"x": []}, stream_mode=mode, subgraphs=below)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer
  invoke_workflow sub
    run_step a
      in a
  run_step b
    in b
"""
    )


def test_an_async_stream_that_is_left(spans, build, async_way, own):
    async def program():
        with own("request") as request:
            async for _ in build(async_way.steps("abc"), "START > a > b > c").astream({"x": []}):
                assert trace.get_current_span() is request
                break
            assert trace.get_current_span() is request
        await asyncio.sleep(0.01)  # the event loop closes what was left

    asyncio.run(program())
    assert spans.tree(*SHOWN) == "\nrequest\n  invoke_workflow [status=closed]\n    run_step a\n      in a\n"


def test_an_async_stream_that_is_closed(spans, build, async_way):
    async def program():
        stream = build(async_way.steps("abc"), "START > a > b > c").astream({"x": []})
        await stream.__anext__()
        assert nothing_current()
        await stream.aclose()
        assert nothing_current()

    asyncio.run(program())
    assert spans.tree(*SHOWN) == CLOSED


def test_an_async_stream_that_is_closed_while_nodes_run(spans, build, own, unordered):
    """They are cancelled; a closed stream is not called their error."""

    async def program():
        started = asyncio.Event()

        async def quick(state):
            await started.wait()
            return {"x": ["quick"]}

        async def slow(state):
            with own("in slow"):
                started.set()
                await asyncio.sleep(60)

        graph = build({"quick": quick, "slow": slow}, "START > quick", "START > slow")
        stream = graph.astream({"x": []}, stream_mode="updates")
        await stream.__anext__()
        await stream.aclose()

    asyncio.run(program())
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow [status=closed]
  run_step quick
  run_step slow [status=cancelled]
    in slow
"""
    )


@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_events(spans, build, async_way, version):
    graph = build(
        {"sub": build(async_way.steps("a"), "START > a"), "b": async_way.step("b")}, "START > sub > b", name="Outer"
    )

    async def program():
        async for _ in graph.astream_events({"x": []}, version=version):
            assert nothing_current()

    asyncio.run(program())
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer
  invoke_workflow sub
    run_step a
      in a
  run_step b
    in b
"""
    )


def test_events_that_are_left(spans, build, async_way):
    async def program():
        stream = build(async_way.steps("abc"), "START > a > b > c").astream_events({"x": []}, version="v2")
        async for event in stream:
            if event["name"] == "a" and event["event"] == "on_chain_end":
                break
        await stream.aclose()

    asyncio.run(program())
    (root,) = spans.named("invoke_workflow")
    assert root.attributes["spanloom.status"] in ("closed", "cancelled")
    assert "error.type" not in root.attributes


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
