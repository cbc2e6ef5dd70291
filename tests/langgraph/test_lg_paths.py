"""`spanloom.node.path`: where a node lies inside others, whatever made it lie there."""

from langgraph.func import entrypoint, task
from langgraph.types import Send


def paths(recorder):
    """Where each node says that it lies, by its own name; None of those that say nothing."""
    return {
        (span.attributes["spanloom.node.name"], span.attributes.get("spanloom.node.path"))
        for span in recorder.spans
        if "spanloom.node.name" in span.attributes
    }


def test_nodes_of_a_flat_graph_have_no_path(spans, build, way):
    way.invoke(build(way.steps("ab"), "START > a > b"), {"x": []})
    assert paths(spans) == {("a", None), ("b", None)}


def test_nodes_inside_nodes_say_where_they_lie(spans, build, way):
    """As the outermost run's shape has them."""
    graph = build(way.steps("a"), "START > a", name="Third")
    for name in ("Second", "First"):
        graph = build({"sub": graph, "b": way.step("b")}, "START > sub > b", name=name)
    way.invoke(build({"sub": graph, "b": way.step("b")}, "START > sub > b"), {"x": []})
    assert paths(spans) == {
        ("sub", None),
        ("sub", "sub:sub"),
        ("sub", "sub:sub:sub"),
        ("a", "sub:sub:sub:a"),
        ("b", "sub:sub:b"),
        ("b", "sub:b"),
        ("b", None),
    }
    shape = spans.only("invoke_workflow").attributes["langgraph.graph.nodes"]
    assert {path or name for name, path in paths(spans)} == set(shape)


def test_nodes_of_a_graph_that_a_node_calls_lie_inside_it(spans, build, sync_way, own):
    deepest = build(sync_way.steps("c"), "START > c")

    def call(state):
        with own("in between"):
            return deepest.invoke({"x": []})

    inner = build({"call": call}, "START > call")
    outer = build({"work": lambda state: inner.invoke({"x": []}), "sub": inner}, "START > work > sub")
    outer.invoke({"x": []})
    assert paths(spans) == {
        ("work", None),
        ("call", "work:call"),
        ("c", "work:call:c"),
        ("sub", None),
        ("call", "sub:call"),
        ("c", "sub:call:c"),
    }


def test_sends_to_one_graph_have_one_path(spans, build, way):
    graph = build(
        {"plan": way.step("plan"), "worker": build(way.steps(["read"]), "START > read")},
        "START > plan",
        conditions=[("plan", lambda state: [Send("worker", {"x": []}) for _ in range(3)], ["worker"])],
    )
    way.invoke(graph, {"x": []})
    assert [span.attributes["spanloom.node.path"] for span in spans.named("run_step read")] == ["worker:read"] * 3


def test_functional_tasks_that_call_graphs(spans, build, sync_way):
    inner = build(sync_way.steps("a"), "START > a")

    @task
    def first():
        return inner.invoke({"x": []})

    @entrypoint()
    def work(given):
        return first().result()

    work.invoke("x")
    assert paths(spans) == {("work", None), ("first", None), ("a", "first:a")}


def test_a_graph_that_calls_itself_without_end_has_no_path_without_end(spans, build, sync_way):
    name = "node" * 10
    deepest = 12

    def call(state):
        if len(state["x"]) < deepest:
            graph.invoke({"x": [*state["x"], 1]})

    graph = build({name: call}, f"START > {name}")
    graph.invoke({"x": []})
    found = sorted(
        (span.attributes.get("spanloom.node.path", name) for span in spans.named(f"run_step {name}")), key=len
    )
    assert len(found) == deepest + 1
    assert found[:3] == [name, f"{name}:{name}", f"{name}:{name}:{name}"]
    assert 256 <= len(found[-1]) < 300
