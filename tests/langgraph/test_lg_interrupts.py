"""Interrupts, commands to a parent graph and drained runs: not errors, visible where they happened, once."""

import json

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.types import Command, Send, interrupt
from opentelemetry.trace import StatusCode

SHOWN = ("status", "spanloom.status", "events", "langgraph.next")
THREAD = {"configurable": {"thread_id": "1"}}


@pytest.fixture(autouse=True)
def _nothing_is_an_error(recorder):
    yield
    assert {span.status.status_code for span in recorder.spans if span.name != "in ask"} <= {StatusCode.UNSET}
    assert not any("error.type" in span.attributes for span in recorder.spans)


def ask(state):
    return {"x": [interrupt("name?")]}


def test_in_a_node(spans, build, asking, events):
    graph = build(
        {"a": asking.step("a"), "ask": asking.node(ask)}, "START > a > ask", checkpointer=InMemorySaver(), name="Form"
    )
    result = asking.invoke(graph, {"x": []}, THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Form [status=interrupted]
  run_step a [next=('ask',)]
    in a
  run_step ask [status=interrupted, langgraph.interrupt]
"""
    )
    (raised,) = result["__interrupt__"]
    assert events(spans.only("run_step ask")) == [("langgraph.interrupt", {"langgraph.interrupt.id": raised.id})]
    saved = graph.get_state(THREAD)
    assert (
        spans.only("invoke_workflow Form").attributes["langgraph.checkpoint.id"]
        == (saved.config["configurable"]["checkpoint_id"])
    )


def test_its_value_with_content(content, build, asking, events):
    graph = build({"ask": asking.node(ask)}, "START > ask", checkpointer=InMemorySaver())
    asking.invoke(graph, {"x": []}, THREAD)
    ((_, attributes),) = events(content.only("run_step ask"))
    assert attributes["langgraph.interrupt.value"] == '"name?"'


def test_in_a_graph_that_is_a_node(spans, build, asking):
    inner = build({"ask": asking.node(ask)}, "START > ask", name="Inner")
    outer = build({"sub": inner}, "START > sub", name="Outer", checkpointer=InMemorySaver())
    asking.invoke(outer, {"x": []}, THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=interrupted]
  invoke_workflow Inner [status=interrupted]
    run_step ask [status=interrupted, langgraph.interrupt]
"""
    )


def test_in_a_graph_that_a_node_calls(spans, build, sync_way):
    inner = build({"ask": ask}, "START > ask", name="Inner")
    outer = build(
        {"call": lambda state: inner.invoke(state)}, "START > call", name="Outer", checkpointer=InMemorySaver()
    )
    outer.invoke({"x": []}, THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=interrupted]
  run_step call [status=interrupted]
    invoke_workflow Inner [status=interrupted]
      run_step ask [status=interrupted, langgraph.interrupt]
"""
    )


def test_that_a_node_catches(spans, build, sync_way):
    """The node goes on; the called graph is what was interrupted."""
    inner = build({"ask": ask}, "START > ask", name="Inner")

    def careful(state):
        with pytest.raises(GraphInterrupt):
            inner.invoke(state)
        return {"x": ["went on"]}

    outer = build({"careful": careful}, "START > careful", name="Outer", checkpointer=InMemorySaver())
    assert outer.invoke({"x": []}, THREAD) == {"x": ["went on"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer
  run_step careful [next=('__end__',)]
    invoke_workflow Inner [status=interrupted]
      run_step ask [status=interrupted, langgraph.interrupt]
"""
    )


def test_without_a_checkpointer(spans, build, asking):
    """Nothing can be resumed, it is no error all the same."""
    asking.invoke(build({"ask": asking.node(ask)}, "START > ask"), {"x": []})
    assert spans.tree(*SHOWN) == (
        "\ninvoke_workflow [status=interrupted]\n  run_step ask [status=interrupted, langgraph.interrupt]\n"
    )
    assert "langgraph.checkpoint.id" not in spans.only("invoke_workflow").attributes


def test_of_several_at_once(spans, build, asking, events, unordered):
    """Each has its event on its own node; what ran beside them ended well."""
    graph = build(
        {
            "a": asking.step("a"),
            "work": asking.node(lambda text: {"x": [interrupt(text)]}),
        },
        "START > a",
        checkpointer=InMemorySaver(),
        conditions=[("__start__", lambda state: [Send("work", "one"), Send("work", "two")], ["work"])],
    )
    result = asking.invoke(graph, {"x": []}, THREAD)
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow [status=interrupted, next=('a',)]
  run_step a [next=('__end__',)]
    in a
  run_step work [status=interrupted, langgraph.interrupt]
  run_step work [status=interrupted, langgraph.interrupt]
"""
    )
    told = [events(span)[0][1]["langgraph.interrupt.id"] for span in spans.named("run_step work")]
    assert sorted(told) == sorted(one.id for one in result["__interrupt__"])


@pytest.mark.parametrize("when", ["compiled", "called"])
@pytest.mark.parametrize(("nodes", "told"), [(["b", "c"], ["b", "c"]), (["d"], ["d"])])
def test_before_a_node(spans, build, way, events, when, nodes, told):
    """Only what it was told to stop before counts, not what else would have run."""
    options = {"interrupt_before": nodes}
    graph = build(
        way.steps("abcd"),
        "START > a > b",
        "a > c",
        "a > d",
        checkpointer=InMemorySaver(),
        **(options if when == "compiled" else {}),
    )
    way.invoke(graph, {"x": []}, THREAD, **(options if when == "called" else {}))
    assert (
        spans.tree("status", "spanloom.status", "events")
        == """
invoke_workflow [status=interrupted, langgraph.interrupt]
  run_step a
    in a
"""
    )
    ((_, attributes),) = events(spans.only("invoke_workflow"))
    assert attributes["langgraph.status"] == "interrupt_before"
    assert sorted(attributes["langgraph.interrupt.nodes"]) == told


def test_before_all_nodes(spans, build, way, events):
    graph = build(way.steps("ab"), "START > a", "START > b", checkpointer=InMemorySaver())
    way.invoke(graph, {"x": []}, THREAD, interrupt_before="*")
    assert spans.tree("spanloom.status") == "\ninvoke_workflow [status=interrupted]\n"
    ((_, attributes),) = events(spans.only("invoke_workflow"))
    assert sorted(attributes["langgraph.interrupt.nodes"]) == ["a", "b"]


def test_after_a_node(spans, build, way, events):
    graph = build(way.steps("abc"), "START > a > b > c", checkpointer=InMemorySaver(), interrupt_after=["b"])
    way.invoke(graph, {"x": []}, THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [status=interrupted, langgraph.interrupt]
  run_step a [next=('b',)]
    in a
  run_step b [next=('c',)]
    in b
"""
    )
    ((_, attributes),) = events(spans.only("invoke_workflow"))
    assert attributes == {"langgraph.status": "interrupt_after", "langgraph.interrupt.nodes": ("b",)}


def test_after_all_nodes(spans, build, way, events):
    graph = build(way.steps("abc"), "START > a > c", "START > b", checkpointer=InMemorySaver())
    way.invoke(graph, {"x": []}, THREAD, interrupt_after="*")
    ((_, attributes),) = events(spans.only("invoke_workflow"))
    assert sorted(attributes["langgraph.interrupt.nodes"]) == ["a", "b"]


def test_before_a_node_of_a_graph_below(spans, build, way, events):
    inner = build(way.steps("ab"), "START > a > b", name="Inner", interrupt_before=["b"])
    outer = build({"sub": inner}, "START > sub", name="Outer", checkpointer=InMemorySaver())
    way.invoke(outer, {"x": []}, THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=interrupted]
  invoke_workflow Inner [status=interrupted, langgraph.interrupt]
    run_step a [next=('b',)]
      in a
"""
    )


def test_a_command_to_the_parent_graph(spans, build, way):
    command = Command(goto=["b", "c"], graph=Command.PARENT, update={"x": ["up"]})
    inner = build({"up": way.step("up", lambda state: command)}, "START > up", name="Inner")
    outer = build(
        {"sub": (inner, {"destinations": ("b", "c")}), "b": way.step("b"), "c": way.step("c")},
        "START > sub",
        name="Outer",
    )
    assert sorted(way.invoke(outer, {"x": []})["x"]) == ["b", "c", "up"]
    shown = spans.tree(*SHOWN, "langgraph.goto_parent", "spanloom.state.changed_keys")
    assert shown.startswith(
        """
invoke_workflow Outer
  invoke_workflow Inner [status=parent_command, next=('b', 'c'), changed_keys=('x',)]
    run_step up [status=parent_command, goto_parent=('b', 'c')]
      in up
  run_step """
    )


def test_a_command_to_the_parent_from_two_graphs_below(spans, build, way):
    innermost = build(
        {"up": way.step("up", lambda state: Command(goto=Send("b", {"x": []}), graph=Command.PARENT))},
        "START > up",
        name="Innermost",
    )
    inner = build({"sub": innermost, "b": way.step("b")}, "START > sub", name="Inner")
    outer = build({"sub": inner}, "START > sub", name="Outer")
    way.invoke(outer, {"x": []})
    assert (
        spans.tree(*SHOWN, "langgraph.goto_parent", "langgraph.send")
        == """
invoke_workflow Outer
  invoke_workflow Inner [next=('__end__',)]
    invoke_workflow Innermost [status=parent_command, send=('b',)]
      run_step up [status=parent_command, goto_parent=('b',)]
        in up
    run_step b [next=('__end__',)]
      in b
"""
    )


def test_a_command_to_the_parent_of_a_called_graph(spans, build, sync_way):
    inner = build(
        {"up": sync_way.step("up", lambda state: Command(goto="b", graph=Command.PARENT))}, "START > up", name="Inner"
    )
    outer = build(
        {"call": (lambda state: inner.invoke(state), {"destinations": ("b",)}), "b": sync_way.step("b")},
        "START > call",
        name="Outer",
    )
    outer.invoke({"x": []})
    assert (
        spans.tree(*SHOWN, "langgraph.goto_parent")
        == """
invoke_workflow Outer
  run_step call [next=('b',)]
    invoke_workflow Inner [status=parent_command]
      run_step up [status=parent_command, goto_parent=('b',)]
        in up
  run_step b [next=('__end__',)]
    in b
"""
    )


def test_a_drained_run(spans, build, way):
    runtime = pytest.importorskip("langgraph.runtime")
    if not hasattr(runtime, "RunControl"):
        pytest.skip("this LangGraph's runs cannot be drained")
    from langgraph.errors import GraphDrained

    control = runtime.RunControl()
    inner = build(
        {"a": way.step("a", lambda state: control.request_drain("restart")), "b": way.step("b")},
        "START > a > b",
        name="Inner",
    )
    outer = build({"sub": inner, "c": way.step("c")}, "START > sub > c", name="Outer", checkpointer=InMemorySaver())
    with pytest.raises(GraphDrained):
        way.invoke(outer, {"x": []}, THREAD, control=control)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=drained]
  invoke_workflow Inner [status=drained]
    run_step a [next=('b',)]
      in a
"""
    )


def test_json_of_a_value_that_is_no_text(content, build, sync_way, events):
    graph = build(
        {"ask": lambda state: {"x": [interrupt({"ok": [1, None]})]}}, "START > ask", checkpointer=InMemorySaver()
    )
    graph.invoke({"x": []}, THREAD)
    ((_, attributes),) = events(content.only("run_step ask"))
    assert json.loads(attributes["langgraph.interrupt.value"]) == {"ok": [1, None]}
