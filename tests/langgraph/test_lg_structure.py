"""One run, one span; one execution of a node, one span: chains, loops, branches, joins, every kind of node."""

import pytest
from langgraph.graph import END, START
from langgraph.types import Command
from opentelemetry.trace import SpanKind

SHOWN = ("status", "events", "spanloom.status", "langgraph.step", "langgraph.next")


def test_a_chain(spans, build, way):
    graph = build(way.steps("abc"), "START > a > b > c > END")
    assert way.invoke(graph, {"x": []}) == {"x": ["a", "b", "c"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow
  run_step a [step=1, next=('b',)]
    in a
  run_step b [step=2, next=('c',)]
    in b
  run_step c [step=3, next=('__end__',)]
    in c
"""
    )
    assert len({span.context.trace_id for span in spans.spans}) == 1
    assert {span.kind for span in spans.spans} == {SpanKind.INTERNAL}


def test_every_attribute_of_a_run_and_a_node(spans, build, way):
    way.invoke(build(way.steps("ab"), "START > a > b", name="Support"), {"x": []})
    assert dict(spans.only("invoke_workflow Support").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "Support",
        "langgraph.graph.nodes": ("a", "b"),
        "langgraph.graph.edges": ("__start__ -> a", "a -> b"),
    }
    attributes = dict(spans.only("run_step a").attributes)
    task_id = attributes.pop("langgraph.task.id")
    assert isinstance(task_id, str)
    assert task_id
    assert attributes == {
        "gen_ai.operation.name": "run_step",
        "gen_ai.step.name": "a",
        "spanloom.node.name": "a",
        "spanloom.state.changed_keys": ("x",),
        "langgraph.step": 1,
        "langgraph.next": ("b",),
    }
    assert {span.instrumentation_scope.name for span in spans.spans} == {"spanloom_langgraph", "program"}


def test_a_type_name_is_no_name(spans, build, way):
    graph = build(way.steps("a"), "START > a")
    assert graph.name == "LangGraph"
    way.invoke(graph, {"x": []})
    assert "gen_ai.workflow.name" not in spans.only("invoke_workflow").attributes


def test_a_loop(spans, build, way):
    graph = build(
        {
            "count": way.step("count"),
            "decide": way.step("decide", lambda state: Command(goto="count" if len(state["x"]) < 3 else END)),
        },
        "START > count > decide",
    )
    assert way.invoke(graph, {"x": []}) == {"x": ["count"] * 3}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow
  run_step count [step=1, next=('decide',)]
    in count
  run_step decide [step=2, next=('count',)]
    in decide
  run_step count [step=3, next=('decide',)]
    in count
  run_step decide [step=4, next=('count',)]
    in decide
  run_step count [step=5, next=('decide',)]
    in count
  run_step decide [step=6, next=('__end__',)]
    in decide
"""
    )


def test_parallel_branches_and_a_node_that_waits_for_both(spans, build, way, unordered):
    graph = build(
        way.steps(["a", "b", "long", "join"]),
        "START > a > long",
        "START > b",
        "long + b > join",
    )
    way.invoke(graph, {"x": []})
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow
  run_step a [step=1, next=('long',)]
    in a
  run_step b [step=1, next=('join',)]
    in b
  run_step join [step=3, next=('__end__',)]
    in join
  run_step long [step=2, next=('join',)]
    in long
"""
    )


def test_a_deferred_node_runs_once_behind_all_others(spans, build, way, unordered):
    graph = build(
        {**way.steps(["a", "b", "long"]), "last": (way.step("last"), {"defer": True})},
        "START > a > long > last",
        "START > b > last",
    )
    way.invoke(graph, {"x": []})
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow
  run_step a [step=1, next=('long',)]
    in a
  run_step b [step=1, next=('last',)]
    in b
  run_step last [step=3, next=('__end__',)]
    in last
  run_step long [step=2, next=('last',)]
    in long
"""
    )


def test_a_condition_chooses_the_first_node(spans, build, way):
    graph = build(way.steps("ab"), conditions=[(START, lambda state: state["x"][0])])
    way.invoke(graph, {"x": ["b"]})
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [next=('b',)]
  run_step b [step=1, next=('__end__',)]
    in b
"""
    )


def test_a_condition_leads_to_the_end_at_once(spans, build, way):
    way.invoke(build(way.steps("a"), conditions=[(START, lambda state: END, ["a", END])]), {"x": []})
    assert spans.tree(*SHOWN) == "\ninvoke_workflow [next=('__end__',)]\n"


def test_conditions_choose_one_several_or_none(spans, build, way, unordered):
    """What runs in a router lies under the node that it decides for."""
    graph = build(
        way.steps(["ask", "a", "b", "c"]),
        "START > ask",
        conditions=[
            ("ask", way.step("router", lambda state: ["a", "b"]), ["a", "b", "c", END]),
            ("a", lambda state: "yes", {"yes": "c", "no": END}),
            ("b", lambda state: "no", {"yes": "c", "no": END}),
        ],
    )
    way.invoke(graph, {"x": []})
    assert (
        unordered(spans.tree(*SHOWN))
        == """
invoke_workflow
  run_step a [step=2, next=('c',)]
    in a
  run_step ask [step=1, next=('a', 'b')]
    in ask
    in router
  run_step b [step=2, next=('__end__',)]
    in b
  run_step c [step=3, next=('__end__',)]
    in c
"""
    )


def test_commands_go_to_several(spans, build, way, unordered):
    graph = build(
        {
            "ask": way.step("ask", lambda state: Command(goto=["a", "b"], update={"x": ["asked"]})),
            "a": way.step("a"),
            "b": way.step("b"),
        },
        "START > ask",
    )
    assert way.invoke(graph, {"x": []})["x"] == ["asked", "a", "b"]
    assert (
        unordered(spans.tree(*SHOWN, "spanloom.state.changed_keys"))
        == """
invoke_workflow
  run_step a [step=2, next=('__end__',), changed_keys=('x',)]
    in a
  run_step ask [step=1, next=('a', 'b'), changed_keys=('x',)]
    in ask
  run_step b [step=2, next=('__end__',), changed_keys=('x',)]
    in b
"""
    )


def test_graphs_that_were_built_before(recorder, on, build, way):
    graph = build(way.steps("a"), "START > a")
    with on():
        way.invoke(graph, {"x": []})
    way.invoke(graph, {"x": []})
    assert recorder.tree() == "\ninvoke_workflow\n  run_step a\n    in a\nin a\n"


@pytest.mark.parametrize("how", ["partial", "object", "lambda", "runnable", "generator"])
def test_every_kind_of_node(spans, build, way, how):
    import functools

    from langchain_core.runnables import RunnableLambda

    def plain(extra, state):
        return {"x": [extra]}

    def generator(state):
        yield {"x": [1]}

    async def agenerator(state):
        yield {"x": [1]}

    class Node:
        def __call__(self, state):
            return {"x": [1]}

        async def acall(self, state):
            return {"x": [1]}

    node = {
        "partial": functools.partial(way.node(plain), 1),
        "object": Node().acall if way.kind == "async" else Node(),
        "lambda": lambda state: {"x": [1]},
        "runnable": RunnableLambda(lambda state: {"x": [0]}) | RunnableLambda(lambda update: {"x": [1]}),
        "generator": agenerator if way.is_async else generator,
    }[how]
    assert way.invoke(build({"n": node}, "START > n"), {"x": []}) == {"x": [1]}
    assert spans.tree("spanloom.state.changed_keys") == "\ninvoke_workflow\n  run_step n [changed_keys=('x',)]\n"


def test_nodes_of_a_bare_pregel_graph(spans, way):
    from langgraph.channels import LastValue
    from langgraph.pregel import NodeBuilder, Pregel

    def double(text):
        return text + text

    graph = Pregel(
        nodes={
            "one": NodeBuilder().subscribe_only("a").do(way.node(double)).write_to("b"),
            "two": NodeBuilder().subscribe_only("b").do(way.node(double)).write_to("c"),
        },
        channels={"a": LastValue(str), "b": LastValue(str), "c": LastValue(str)},
        input_channels=["a"],
        output_channels=["c"],
    )
    assert way.invoke(graph, {"a": "x"}) == {"c": "xxxx"}
    assert (
        spans.tree(*SHOWN, "spanloom.state.changed_keys")
        == """
invoke_workflow
  run_step one [step=0, changed_keys=('b',)]
  run_step two [step=1, changed_keys=('c',)]
"""
    )


def test_remote_graphs_are_left_alone(recorder, on):
    from langgraph.pregel.remote import RemoteGraph

    before = dict(vars(RemoteGraph))
    with on():
        assert dict(vars(RemoteGraph)) == before
