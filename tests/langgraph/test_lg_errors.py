"""Errors: status and type on every span that one passes, its event once, and the exception as without us."""

import asyncio
import sys
import threading
import traceback

import pytest
from langgraph.errors import GraphRecursionError, InvalidUpdateError
from langgraph.graph import StateGraph
from opentelemetry.trace import StatusCode

from spanloom.config import Config

SHOWN = ("status", "spanloom.status", "events", "error.type", "langgraph.next")


class OutOfPaper(Exception):
    pass


def fail(state):
    raise OutOfPaper("tray 2")


def test_in_a_node(spans, build, way, events):
    graph = build({"a": way.step("a"), "fail": way.node(fail), "b": way.step("b")}, "START > a > fail > b")
    with pytest.raises(OutOfPaper, match="tray 2"):
        way.invoke(graph, {"x": []})
    kind = f"{__name__}.OutOfPaper"
    assert (
        spans.tree(*SHOWN)
        == f"""
invoke_workflow [ERROR, type={kind}]
  run_step a [next=('fail',)]
    in a
  run_step fail [ERROR, exception, type={kind}]
"""
    )
    assert {span.status.description for span in spans.spans if span.status.status_code is StatusCode.ERROR} == {
        "OutOfPaper: tray 2"
    }
    ((_, event),) = events(spans.only("run_step fail"))
    assert (event["exception.type"], event["exception.message"]) == (kind, "tray 2")
    assert f"{kind}: tray 2" in event["exception.stacktrace"]
    assert "langgraph.next" not in spans.only("run_step fail").attributes
    assert "spanloom.state.changed_keys" not in spans.only("run_step fail").attributes


def test_through_graphs(spans, build, way):
    inner = build({"fail": way.node(fail)}, "START > fail", name="Inner")
    middle = build({"sub": inner}, "START > sub", name="Middle")
    outer = build({"sub": middle}, "START > sub", name="Outer")
    with pytest.raises(OutOfPaper):
        way.invoke(outer, {"x": []})
    assert (
        spans.tree("status", "events")
        == """
invoke_workflow Outer [ERROR]
  invoke_workflow Middle [ERROR]
    invoke_workflow Inner [ERROR]
      run_step fail [ERROR, exception]
"""
    )


def test_that_a_node_handles(spans, build, sync_way):
    inner = build({"fail": fail}, "START > fail", name="Inner")

    def careful(state):
        with pytest.raises(OutOfPaper):
            inner.invoke(state)
        return {"x": ["handled"]}

    assert build({"careful": careful}, "START > careful", name="Outer").invoke({"x": []}) == {"x": ["handled"]}
    assert (
        spans.tree("status", "events")
        == """
invoke_workflow Outer
  run_step careful
    invoke_workflow Inner [ERROR]
      run_step fail [ERROR, exception]
"""
    )


def test_in_a_router(spans, build, way):
    """It belongs to the node that it decides for."""
    graph = build(way.steps("ab"), "START > a", conditions=[("a", fail, ["b"])])
    with pytest.raises(OutOfPaper):
        way.invoke(graph, {"x": []})
    assert spans.tree("status", "events") == ("\ninvoke_workflow [ERROR]\n  run_step a [ERROR, exception]\n    in a\n")


def test_in_a_router_at_the_start(spans, build, way):
    """There is no node yet: the run has the event."""
    graph = build(way.steps("b"), conditions=[("__start__", fail, ["b"])])
    with pytest.raises(OutOfPaper):
        way.invoke(graph, {"x": []})
    assert spans.tree("status", "events") == "\ninvoke_workflow [ERROR, exception]\n"


def test_of_a_nodes_result(spans, build, way):
    graph = build({"bad": way.node(lambda state: "no dict")}, "START > bad")
    with pytest.raises(InvalidUpdateError):
        way.invoke(graph, {"x": []})
    assert spans.tree("status", "events") == "\ninvoke_workflow [ERROR]\n  run_step bad [ERROR, exception]\n"


def test_between_the_steps(spans, way, unordered):
    """Two nodes write what only one may: the nodes were well, the run is not."""
    builder = StateGraph(int)
    for name in "ab":
        builder.add_node(name, way.node(lambda state: 1))
        builder.add_edge("__start__", name)
    with pytest.raises(InvalidUpdateError):
        way.invoke(builder.compile(), 0)
    assert unordered(spans.tree("status", "events")) == (
        "\ninvoke_workflow [ERROR, exception]\n  run_step a\n  run_step b\n"
    )


def test_before_the_first_step(spans, build, way):
    with pytest.raises(InvalidUpdateError):
        way.invoke(build(way.steps("a"), "START > a"), "no dict")
    assert spans.tree("status", "events") == "\ninvoke_workflow [ERROR, exception]\n"


def test_the_recursion_limit(spans, build, way):
    graph = build(way.steps("a"), "START > a > a")
    with pytest.raises(GraphRecursionError):
        way.invoke(graph, {"x": []}, {"recursion_limit": 3})
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [ERROR, exception, type=langgraph.errors.GraphRecursionError]
"""
        + "  run_step a [next=('a',)]\n    in a\n" * 3
    )


def test_the_recursion_limit_of_a_graph_below(spans, build, way):
    inner = build(way.steps("a"), "START > a > a", name="Inner")
    outer = build({"sub": inner}, "START > sub", name="Outer")
    with pytest.raises(GraphRecursionError):
        way.invoke(outer, {"x": []}, {"recursion_limit": 2})
    assert (
        spans.tree("status", "events")
        == """
invoke_workflow Outer [ERROR]
  invoke_workflow Inner [ERROR, exception]
    run_step a
      in a
    run_step a
      in a
"""
    )


def test_a_failing_sibling_in_threads(spans, build, sync_way, unordered):
    """A node in a thread cannot be stopped, it ends well."""
    started, failed = threading.Event(), threading.Event()

    def slow(state):
        started.set()
        assert failed.wait(60)
        return {"x": ["slow"]}

    def fails(state):
        assert started.wait(60)
        failed.set()
        raise OutOfPaper

    graph = build({"slow": slow, "fails": fails}, "START > slow", "START > fails")
    with pytest.raises(OutOfPaper):
        graph.invoke({"x": []})
    assert (
        unordered(spans.tree("status", "events"))
        == """
invoke_workflow [ERROR]
  run_step fails [ERROR, exception]
  run_step slow
"""
    )


def test_a_failing_sibling_in_tasks(spans, build, own, unordered):
    """A node in a task is cancelled, and tells why."""

    async def program():
        started = asyncio.Event()

        async def slow(state):
            with own("in slow"):
                started.set()
                await asyncio.sleep(60)

        async def fails(state):
            await started.wait()
            raise OutOfPaper

        await build({"slow": slow, "fails": fails}, "START > slow", "START > fails").ainvoke({"x": []})

    with pytest.raises(OutOfPaper):
        asyncio.run(program())
    kind = f"{__name__}.OutOfPaper"
    assert (
        unordered(spans.tree("status", "spanloom.status", "spanloom.cancelled.cause", "events"))
        == f"""
invoke_workflow [ERROR]
  run_step fails [ERROR, exception]
  run_step slow [status=cancelled, cause={kind}]
    in slow
"""
    )


def test_both_siblings_fail(spans, build, sync_way, unordered):
    together = threading.Barrier(2)

    def fails(state):
        together.wait(60)
        raise OutOfPaper

    graph = build({"a": fails, "b": fails}, "START > a", "START > b")
    with pytest.raises(OutOfPaper):
        graph.invoke({"x": []})
    assert (
        unordered(spans.tree("status", "events"))
        == """
invoke_workflow [ERROR]
  run_step a [ERROR, exception]
  run_step b [ERROR, exception]
"""
    )


def test_without_messages(recorder, on, build, way, events):
    with on(Config(exception_messages=False)), pytest.raises(OutOfPaper):
        way.invoke(build({"fail": way.node(fail)}, "START > fail"), {"x": []})
    assert {span.status.description for span in recorder.spans} == {"OutOfPaper"}
    assert events(recorder.only("run_step fail")) == [("exception", {"exception.type": f"{__name__}.OutOfPaper"})]


# -- not to be caught ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"), [(KeyboardInterrupt, "cancelled"), (SystemExit, "exited"), (GeneratorExit, "closed")]
)
def test_exits(spans, build, sync_way, kind, status):
    """Those of Python are no errors."""
    mine = kind()

    def leave(state):
        raise mine

    graph = build({"sub": build({"leave": leave}, "START > leave")}, "START > sub")
    with pytest.raises(kind) as raised:
        graph.invoke({"x": []})
    assert raised.value is mine
    assert (
        spans.tree("status", "events", "spanloom.status")
        == f"""
invoke_workflow [status={status}]
  invoke_workflow sub [status={status}]
    run_step leave [status={status}]
"""
    )


def test_an_exit_of_another_kind(spans, build, sync_way):
    class Stop(BaseException):
        pass

    def leave(state):
        raise Stop("now")

    with pytest.raises(Stop):
        build({"leave": leave}, "START > leave").invoke({"x": []})
    assert spans.tree("status", "events") == "\ninvoke_workflow [ERROR]\n  run_step leave [ERROR, exception]\n"


def test_a_node_that_cancels_itself(spans, build, way):
    errors = pytest.importorskip("langgraph.errors")
    if not hasattr(errors, "NodeCancelledError"):
        pytest.skip("this LangGraph takes it for a cancellation")
    if way.is_async and sys.version_info < (3, 11):
        pytest.skip("before Python 3.11 a task cannot be asked whether it was cancelled")

    def cancels(state):
        raise asyncio.CancelledError

    with pytest.raises(errors.NodeCancelledError):
        way.invoke(build({"cancels": way.node(cancels)}, "START > cancels"), {"x": []})
    kind = "langgraph.errors.NodeCancelledError"
    assert (
        spans.tree("status", "events", "error.type")
        == f"""
invoke_workflow [ERROR, type={kind}]
  run_step cancels [ERROR, exception, type={kind}]
"""
    )


# -- handlers -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    "error_handler" not in StateGraph.add_node.__kwdefaults__, reason="this LangGraph has no error handlers"
)
class TestHandlers:
    def test_an_error_that_is_handled(self, spans, build, way):
        from langgraph.errors import NodeError
        from langgraph.types import Command

        seen = []

        def handle(state, error: NodeError):
            seen.append(error)
            return Command(goto="b", update={"x": ["handled"]})

        graph = build(
            {"fail": (way.node(fail), {"error_handler": way.node(handle)}), "b": way.step("b")}, "START > fail"
        )
        assert way.invoke(graph, {"x": []}) == {"x": ["handled", "b"]}
        assert isinstance(seen[0].error, OutOfPaper)
        assert (
            spans.tree("status", "events", "langgraph.next", "langgraph.error_handler.for")
            == """
invoke_workflow
  run_step fail [ERROR, exception]
  run_step __error_handler__fail [next=('b',), for=fail]
  run_step b [next=('__end__',)]
    in b
"""
        )

    def test_a_handler_that_fails(self, spans, build, way):
        def handle(state):
            raise ValueError("worse")

        graph = build({"fail": (way.node(fail), {"error_handler": way.node(handle)})}, "START > fail")
        with pytest.raises(ValueError, match="worse"):
            way.invoke(graph, {"x": []})
        assert (
            spans.tree("status", "events", "error.type")
            == f"""
invoke_workflow [ERROR, type=ValueError]
  run_step fail [ERROR, exception, type={__name__}.OutOfPaper]
  run_step __error_handler__fail [ERROR, exception, type=ValueError]
"""
        )


# -- the exception ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["node", "parallel", "graph", "called"])
def test_comes_out_as_without_us(recorder, on, build, way, shape):
    """The same object, with the same frames, notes and chain."""
    mine = OutOfPaper("mine")

    def fails(state):
        try:
            raise KeyError("before")
        except KeyError:
            raise mine from None

    paths = ["START > fails", "START > other"] if shape == "parallel" else ["START > fails"]
    graph = build({"fails": way.node(fails), "other": lambda state: None}, *paths)
    if shape == "graph":
        graph = build({"sub": graph}, "START > sub")
    elif shape == "called":
        inner = graph

        async def acall(state):
            return await inner.ainvoke(state)

        graph = build({"call": acall if way.is_async else lambda state: inner.invoke(state)}, "START > call")

    def run():
        mine.__traceback__ = None
        vars(mine).pop("__notes__", None)
        with pytest.raises(OutOfPaper) as raised:
            way.invoke(graph, {"x": []})
        assert raised.value is mine
        notes = [note.split(" and id")[0] for note in getattr(mine, "__notes__", [])]
        frames = [(frame.filename, frame.name, frame.lineno) for frame in traceback.extract_tb(mine.__traceback__)]
        return frames, notes, mine.__cause__, type(mine.__context__), mine.__suppress_context__

    (frames, *rest) = run()
    with on():
        (traced_frames, *traced_rest) = run()
    if sys.version_info < (3, 11):  # Python puts frames back that were taken out
        traced_frames = [frame for frame in traced_frames if "/spanloom/" not in frame[0]]
    assert traced_frames == frames
    assert traced_rest == rest
