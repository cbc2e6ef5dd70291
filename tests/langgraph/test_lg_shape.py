"""A graph's shape: its nodes and edges, told once, by the outermost run."""

import operator
from typing import Annotated

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict


def shape(span):
    """Nodes and edges; LangGraph keeps some of these in sets."""
    return (
        sorted(span.attributes.get("langgraph.graph.nodes", ())),
        sorted(span.attributes.get("langgraph.graph.edges", ())),
    )


def test_every_kind_of_edge(spans, build, way):
    def choose(state):
        return "yes"

    def begin(state):
        return "a"

    graph = build(
        way.steps(["a", "b", "c", "join", "work"]),
        "START > a",
        "a + c > join",
        "join > END",
        conditions=[
            ("a", choose, {"yes": "b", "no": END}),
            ("b", lambda state: [Send("work", state)], ["work"]),
            ("work", lambda state: END),
            (START, way.node(begin), ["a", "c"]),
        ],
    )
    way.invoke(graph, {"x": []})
    assert shape(spans.only("invoke_workflow")) == (
        ["a", "b", "c", "join", "work"],
        [
            "__start__ -> a",
            "__start__ -> a [begin]",
            "__start__ -> c [begin]",
            "a -> __end__ [choose]",
            "a -> b [choose]",
            "a -> join",
            "b -> work [condition]",
            "c -> join",
            "join -> __end__",
            "work -> ? [condition]",
        ],
    )


def test_graphs_below(spans, build, way):
    inner = build(way.steps("ab"), "START > a > b", name="Inner")
    middle = build({"sub": inner, "c": way.step("c")}, "START > sub > c", name="Middle")
    way.invoke(build({"mid": middle}, "START > mid > END", name="Outer"), {"x": []})
    assert shape(spans.only("invoke_workflow Outer")) == (
        ["mid", "mid:c", "mid:sub", "mid:sub:a", "mid:sub:b"],
        sorted(
            [
                "__start__ -> mid",
                "mid -> __end__",
                "mid:__start__ -> mid:sub",
                "mid:sub -> mid:c",
                "mid:sub:__start__ -> mid:sub:a",
                "mid:sub:a -> mid:sub:b",
            ]
        ),
    )
    assert sum("langgraph.graph.nodes" in span.attributes for span in spans.spans) == 1


def test_each_run_tells_it(spans, build, way, own):
    """Below a span of the program's too."""
    graph = build(way.steps("a"), "START > a")
    with own("request"):
        if not way.is_async:
            graph.invoke({"x": []})
    way.invoke(graph, {"x": []})
    assert all(shape(span) == (["a"], ["__start__ -> a"]) for span in spans.named("invoke_workflow"))


def test_of_a_large_graph_is_bounded(spans):
    class State(TypedDict):
        x: Annotated[list, operator.add]

    builder = StateGraph(State)
    for number in range(600):
        builder.add_node(f"n{number}", lambda state: None)
        builder.add_edge(START, f"n{number}") if number == 0 else builder.add_edge(f"n{number - 1}", f"n{number}")
    next(builder.compile().stream({"x": []}))
    span = spans.only("invoke_workflow")
    assert len(span.attributes["langgraph.graph.nodes"]) == 256
    assert len(span.attributes["langgraph.graph.edges"]) == 512


def test_of_a_graph_that_holds_itself(spans, build, way):
    """By a hand at work: a compiled graph among its own nodes."""
    graph = build(way.steps("a"), "START > a", name="Round")
    graph.nodes["again"] = type(graph.nodes["a"])(channels=[], triggers=["branch:to:again"], bound=graph)
    way.invoke(graph, {"x": []})
    nodes, _ = shape(spans.only("invoke_workflow Round"))
    assert nodes[:3] == ["a", "again", "again:a"]
    assert len(nodes) < 20


@pytest.mark.parametrize(
    ("name", "shown"), [(None, ""), ("LangGraph", ""), ("Support", " Support"), ("", ""), ("invoke", " invoke")]
)
def test_names(spans, build, way, name, shown):
    way.invoke(build(way.steps("a"), "START > a", **({} if name is None else {"name": name})), {"x": []})
    (root,) = [span for span in spans.spans if span.parent is None]
    assert root.name == f"invoke_workflow{shown}"
    assert root.attributes.get("gen_ai.workflow.name") == (shown.strip() or None)
