"""Graphs in graphs: as a node one span with both facts, called inside a node a run below it, at every depth."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy, Send

SHOWN = ("status", "events", "spanloom.status", "langgraph.step", "langgraph.next")


def test_a_graph_as_a_node_is_one_span(spans, build, way, without):
    inner = build(way.steps("ab"), "START > a > b", name="Inner")
    outer = build({"before": way.step("before"), "sub": inner}, "START > before > sub", name="Outer")
    assert way.invoke(outer, {"x": []})["x"] == ["before", "before", "a", "b"]
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer
  run_step before [step=1, next=('sub',)]
    in before
  invoke_workflow Inner [step=2, next=('__end__',)]
    run_step a [step=1, next=('b',)]
      in a
    run_step b [step=2, next=('__end__',)]
      in b
"""
    )
    attributes = dict(spans.only("invoke_workflow Inner").attributes)
    namespace = attributes["langgraph.checkpoint.ns"]
    assert namespace == f"sub:{attributes['langgraph.task.id']}"
    assert without(attributes, "langgraph.checkpoint.ns", "langgraph.task.id") == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "Inner",
        "spanloom.node.name": "sub",
        "spanloom.state.changed_keys": ("x",),
        "langgraph.step": 2,
        "langgraph.next": ("__end__",),
    }


def test_a_graph_without_a_name_has_its_nodes(spans, build, way):
    outer = build({"sub": build(way.steps("a"), "START > a")}, "START > sub")
    way.invoke(outer, {"x": []})
    assert (
        spans.tree("gen_ai.workflow.name", "spanloom.node.name")
        == """
invoke_workflow
  invoke_workflow sub [name=sub, name=sub]
    run_step a [name=a]
      in a
"""
    )


def test_three_deep(spans, build, way):
    graph = build(way.steps("a"), "START > a", name="Third")
    for name in ("Second", "First"):
        graph = build({"sub": graph, "b": way.step("b")}, "START > sub > b", name=name)
    way.invoke(build({"sub": graph}, "START > sub", name="Root"), {"x": []})
    assert (
        spans.tree()
        == """
invoke_workflow Root
  invoke_workflow First
    invoke_workflow Second
      invoke_workflow Third
        run_step a
          in a
      run_step b
        in b
    run_step b
      in b
"""
    )
    assert len(spans.only("invoke_workflow Third").attributes["langgraph.checkpoint.ns"].split("|")) == 3


def test_graphs_in_parallel_and_one_graph_twice(spans, build, way, unordered):
    inner = build(way.steps("ab"), "START > a > b")
    outer = build(
        {"one": inner, "two": inner, "join": way.step("join")},
        "START > one",
        "START > two",
        "one + two > join",
    )
    way.invoke(outer, {"x": []})
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow
  invoke_workflow one [step=1, next=('join',)]
    run_step a [step=1, next=('b',)]
      in a
    run_step b [step=2, next=('__end__',)]
      in b
  invoke_workflow two [step=1, next=('join',)]
    run_step a [step=1, next=('b',)]
      in a
    run_step b [step=2, next=('__end__',)]
      in b
  run_step join [step=2, next=('__end__',)]
    in join
"""
    )


def test_a_graph_that_is_called_by_a_node(spans, build, sync_way):
    inner = build(sync_way.steps("a"), "START > a", name="Inner")

    def call(state):
        inner.invoke({"x": []})
        return inner.invoke({"x": [1]})

    outer = build({"call": sync_way.step("call", call)}, "START > call", name="Outer")
    assert outer.invoke({"x": []}) == {"x": [1, "a"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer
  run_step call [step=1, next=('__end__',)]
    in call
      invoke_workflow Inner
        run_step a [step=1, next=('__end__',)]
          in a
      invoke_workflow Inner
        run_step a [step=1, next=('__end__',)]
          in a
"""
    )


def test_graphs_that_a_node_calls_at_once(spans, build, async_way, own):
    inner = build(async_way.steps("a"), "START > a", name="Inner")

    async def call(state):
        with own("in call"):
            await asyncio.gather(*(inner.ainvoke({"x": []}) for _ in range(3)))

    outer = build({"call": call}, "START > call", name="Outer")
    asyncio.run(outer.ainvoke({"x": []}))
    assert (
        spans.tree()
        == """
invoke_workflow Outer
  run_step call
    in call
"""
        + "      invoke_workflow Inner\n        run_step a\n          in a\n" * 3
    )


def test_a_graph_streamed_by_a_node(spans, build, sync_way, own):
    """Between two items the node's own span is current, not the inner run's."""
    inner = build(sync_way.steps("ab"), "START > a > b", name="Inner")

    def call(state):
        for item in inner.stream({"x": []}):
            with own(f"got {next(iter(item))}"):
                pass

    outer = build({"call": call}, "START > call", name="Outer")
    outer.invoke({"x": []})
    assert (
        spans.tree()
        == """
invoke_workflow Outer
  run_step call
    invoke_workflow Inner
      run_step a
        in a
      run_step b
        in b
    got a
    got b
"""
    )


def test_its_own_graph_called_again_by_what_follows_a_node(spans, build, way):
    """A router of a node that is a graph runs that graph: a run of its own, below the node."""
    inner = build(way.steps("a"), "START > a", name="Inner")

    def route(state):
        inner.invoke({"x": []})
        return "b"

    async def aroute(state):
        await inner.ainvoke({"x": []})
        return "b"

    outer = build(
        {"sub": inner, "b": way.step("b")},
        "START > sub",
        name="Outer",
        conditions=[("sub", aroute if way.is_async else route, ["b"])],
    )
    way.invoke(outer, {"x": []})
    assert (
        spans.tree()
        == """
invoke_workflow Outer
  invoke_workflow Inner
    run_step a
      in a
    invoke_workflow Inner
      run_step a
        in a
  run_step b
    in b
"""
    )


def test_a_graph_that_is_part_of_a_node(spans, build, way):
    """The node is more than the graph: it has its own span, and the graph's run lies below."""
    inner = build(way.steps("a"), "START > a", name="Inner")
    outer = build({"chain": inner | (lambda state: {"x": ["more"]})}, "START > chain", name="Outer")
    assert way.invoke(outer, {"x": []}) == {"x": ["more"]}
    assert (
        spans.tree("langgraph.next")
        == """
invoke_workflow Outer
  run_step chain [next=('__end__',)]
    invoke_workflow Inner
      run_step a [next=('__end__',)]
        in a
"""
    )


def test_a_graph_with_more_configuration(spans, build, way):
    inner = build(way.steps("a"), "START > a", name="Inner").with_config(tags=["t"], recursion_limit=9)
    way.invoke(build({"sub": inner}, "START > sub", name="Outer"), {"x": []})
    assert spans.tree() == "\ninvoke_workflow Outer\n  invoke_workflow Inner\n    run_step a\n      in a\n"


def test_map_and_reduce_with_graphs(spans, build, way, links, unordered):
    worker = build(way.steps(["read", "note"]), "START > read > note", name="Worker")
    graph = build(
        {"worker": worker, "plan": way.step("plan"), "reduce": way.step("reduce")},
        "START > plan",
        "worker > reduce",
        conditions=[("plan", lambda state: [Send("worker", {"x": []}) for _ in range(3)], ["worker"])],
    )
    assert way.invoke(graph, {"x": []})["x"] == ["plan", *["read", "note"] * 3, "reduce"]
    assert (
        unordered(spans.tree("langgraph.send", "langgraph.next"))
        == """
invoke_workflow
"""
        + """  invoke_workflow Worker [next=('reduce',)]
    run_step note [next=('__end__',)]
      in note
    run_step read [next=('note',)]
      in read
"""
        * 3
        + """  run_step plan [send=('worker', 'worker', 'worker')]
    in plan
  run_step reduce [next=('__end__',)]
    in reduce
"""
    )
    assert [links(span) for span in spans.named("invoke_workflow Worker")] == [["run_step plan"]] * 3
    assert links("run_step reduce") == ["invoke_workflow Worker"] * 3
    reduced = {link.context.span_id for link in spans.only("run_step reduce").links}
    assert reduced == {span.context.span_id for span in spans.named("invoke_workflow Worker")}


@pytest.mark.parametrize("saved", [False, True], ids=["not saved", "saved"])
def test_a_graph_that_is_tried_again_stays_one_span(spans, build, way, events, saved):
    tries = []

    def flaky(state):
        tries.append(1)
        if len(tries) < 3:
            raise ValueError(len(tries))
        return {"x": ["done"]}

    inner = build({"flaky": way.step("flaky", flaky)}, "START > flaky", name="Inner")
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ValueError)
    outer = build(
        {"sub": (inner, {"retry_policy": policy})},
        "START > sub",
        name="Outer",
        checkpointer=InMemorySaver() if saved else None,
    )
    way.invoke(outer, {"x": []}, {"configurable": {"thread_id": "1"}})
    assert (
        spans.tree("status", "spanloom.status", "langgraph.retry.count", "langgraph.next")
        == """
invoke_workflow Outer
  invoke_workflow Inner [count=2, next=('__end__',)]
    run_step flaky [ERROR]
      in flaky [ERROR]
    run_step flaky [ERROR]
      in flaky [ERROR]
    run_step flaky [next=('__end__',)]
      in flaky
"""
    )
    inner_span = spans.only("invoke_workflow Inner")
    retries = [attributes for name, attributes in events(inner_span) if name == "spanloom.retry"]
    assert [each["langgraph.retry.attempt"] for each in retries] == [1, 2]
    assert {"langgraph.checkpoint.ns"} <= set(inner_span.attributes)


def test_a_graph_in_threads_of_a_node(spans, build, sync_way):
    """A thread without the node's context is a run of its own; LangChain's executor carries it."""
    from langchain_core.runnables.config import ContextThreadPoolExecutor

    inner = build(sync_way.steps("a"), "START > a", name="Inner")

    def call(state):
        for executor in (ContextThreadPoolExecutor, ThreadPoolExecutor):
            with executor(1) as pool:
                pool.submit(inner.invoke, {"x": []}).result()

    build({"call": call}, "START > call", name="Outer").invoke({"x": []})
    assert (
        spans.tree()
        == """
invoke_workflow Outer
  run_step call
    invoke_workflow Inner
      run_step a
        in a
invoke_workflow Inner
  run_step a
    in a
"""
    )


def test_only_the_outermost_run_tells_the_shape(spans, build, sync_way):
    inner = build(sync_way.steps("a"), "START > a", name="Inner")
    called = build(sync_way.steps("c"), "START > c", name="Called")
    outer = build({"sub": inner, "call": lambda state: called.invoke(state)}, "START > sub > call", name="Outer")
    outer.invoke({"x": []})
    assert {span.name for span in spans.spans if "langgraph.graph.nodes" in span.attributes} == {
        "invoke_workflow Outer"
    }
    assert spans.only("invoke_workflow Outer").attributes["langgraph.graph.nodes"] == ("sub", "sub:a", "call")
    assert spans.only("invoke_workflow Outer").attributes["langgraph.graph.edges"] == (
        "sub:__start__ -> sub:a",
        "__start__ -> sub",
        "sub -> call",
    )
