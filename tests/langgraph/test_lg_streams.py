"""Streams in every mode: nothing is current between two items; left, closed or dropped early is closed, no error."""

import asyncio
import gc
import threading

import pytest
from langgraph.pregel import Pregel
from opentelemetry import trace

SHOWN = ("status", "spanloom.status", "spanloom.cancelled.cause", "events", "error.type")
CLOSED = """
invoke_workflow [status=closed]
  run_step a
    in a
"""


def nothing_current():
    return trace.get_current_span() is trace.INVALID_SPAN


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


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental")
@pytest.mark.skipif("stream_events" not in vars(Pregel), reason="this LangGraph has no typed event streams")
class TestTypedEvents:
    WHOLE = """
invoke_workflow Outer
  invoke_workflow sub
    run_step a
      in a
  run_step b
    in b
"""

    @pytest.fixture
    def graph(self, build, way):
        inner = build(way.steps("a"), "START > a")
        return build({"sub": inner, "b": way.step("b")}, "START > sub > b", name="Outer")

    def test_used_up(self, spans, graph, way):
        async def program():
            async for _ in await graph.astream_events({"x": []}, version="v3"):
                assert nothing_current()

        if way.is_async:
            asyncio.run(program())
        else:
            for _ in graph.stream_events({"x": []}, version="v3"):
                assert nothing_current()
        assert spans.tree(*SHOWN) == self.WHOLE

    def test_asked_for_the_output(self, spans, graph, way):
        async def program():
            return await (await graph.astream_events({"x": []}, version="v3")).output()

        if way.is_async:
            assert asyncio.run(program()) == {"x": ["a", "b"]}
        else:
            assert graph.stream_events({"x": []}, version="v3").output == {"x": ["a", "b"]}
        assert spans.tree(*SHOWN) == self.WHOLE

    def test_left(self, spans, graph, way):
        async def program():
            async with await graph.astream_events({"x": []}, version="v3") as events:
                async for _ in events:
                    break
            assert nothing_current()

        if way.is_async:
            asyncio.run(program())
        else:
            with graph.stream_events({"x": []}, version="v3") as events:
                next(iter(events))
            assert nothing_current()
        assert spans.only("invoke_workflow Outer").attributes["spanloom.status"] == "closed"

    def test_dropped(self, spans, build, sync_way):
        """It holds itself; the garbage collector ends it."""
        events = build(sync_way.steps("ab"), "START > a > b").stream_events({"x": []}, version="v3")
        next(iter(events))
        del events
        gc.collect()
        assert spans.only("invoke_workflow").attributes["spanloom.status"] == "closed"
