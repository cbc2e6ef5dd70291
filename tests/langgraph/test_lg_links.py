"""Edges as links: each node's span links to the very executions that triggered it."""

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, Send, interrupt


def edges(spans):
    """(source, step) -> (target, step) of every link between nodes, sorted."""
    place = {
        span.context.span_id: f"{span.attributes['spanloom.node.name']}{span.attributes['langgraph.step']}"
        for span in spans.spans
        if "langgraph.step" in span.attributes
    }
    return sorted(
        f"{place[link.context.span_id]} > {place[span.context.span_id]}"
        for span in spans.spans
        if span.context.span_id in place
        for link in span.links
    )


def by_argument(spans, name):
    """Spans of a node by their input, which is the argument of a `Send`."""
    return {span.attributes["spanloom.input"]: span for span in spans.named(name)}


def test_of_a_chain(spans, build, way):
    way.invoke(build(way.steps("abc"), "START > a > b > c"), {"x": []})
    assert edges(spans) == ["a1 > b2", "b2 > c3"]
    assert spans.only("run_step a").links == ()
    assert spans.only("invoke_workflow").links == ()


def test_of_a_loop(spans, build, way):
    """Each round's node links to that round's predecessor only."""
    again = lambda state: "a" if len(state["x"]) < 6 else END
    graph = build(way.steps("ab"), "START > a > b", conditions=[("b", again)])
    way.invoke(graph, {"x": []})
    assert edges(spans) == ["a1 > b2", "a3 > b4", "a5 > b6", "b2 > a3", "b4 > a5"]


def test_of_a_node_that_triggers_itself(spans, build, way):
    graph = build(way.steps("a"), "START > a", conditions=[("a", lambda state: "a" if len(state["x"]) < 3 else END)])
    way.invoke(graph, {"x": []})
    assert edges(spans) == ["a1 > a2", "a2 > a3"]


def test_of_branches_that_meet(spans, build, way):
    """Without waiting, `join` runs once for each step in which somebody triggers it."""
    graph = build(way.steps(["a", "b", "c", "join"]), "START > a > join", "START > b > join", "START > c > b")
    way.invoke(graph, {"x": []})
    assert edges(spans) == ["a1 > join2", "b1 > join2", "b2 > join3", "c1 > b2"]


def test_of_a_node_that_waits(spans, build, way):
    graph = build(way.steps(["a", "b", "c", "join"]), "START > a > b", "START > c", "b + c > join")
    way.invoke(graph, {"x": []})
    assert edges(spans) == ["a1 > b2", "b2 > join3", "c1 > join3"]


def test_of_a_deferred_node(spans, build, way):
    graph = build(
        {**way.steps(["a", "b", "c"]), "last": (way.step("last"), {"defer": True})},
        "START > a > b > last",
        "START > c > last",
    )
    way.invoke(graph, {"x": []})
    assert edges(spans) == ["a1 > b2", "b2 > last3", "c1 > last3"]


def test_of_conditions_and_commands(spans, build, way):
    graph = build(
        {
            "a": way.step("a"),
            "go": way.step("go", lambda state: Command(goto=["b", "c"])),
            "b": way.step("b"),
            "c": way.step("c"),
        },
        "START > a",
        conditions=[("a", lambda state: ["go", "c"], ["go", "c"])],
    )
    way.invoke(graph, {"x": []})
    assert edges(spans) == ["a1 > c2", "a1 > go2", "go2 > b3", "go2 > c3"]


def test_of_a_router_at_the_start(spans, build, way):
    way.invoke(build(way.steps("ab"), conditions=[(START, lambda state: ["a", "b"], ["a", "b"])]), {"x": []})
    assert edges(spans) == []


def test_of_graphs_in_graphs(spans, build, way):
    inner = build(way.steps("ab"), "START > a > b")
    way.invoke(build({"sub": inner, "c": way.step("c")}, "START > sub > c"), {"x": []})
    assert edges(spans) == ["a1 > b2", "sub1 > c2"]


def test_of_a_command_from_a_graph_below(spans, build, way):
    inner = build({"up": way.step("up", lambda state: Command(goto="c", graph=Command.PARENT))}, "START > up")
    outer = build({"sub": (inner, {"destinations": ("c",)}), "c": way.step("c")}, "START > sub")
    way.invoke(outer, {"x": []})
    assert edges(spans) == ["sub1 > c2"]


def sender(name, count):
    return lambda state: Command(goto=[Send("work", f"{name}{n}") for n in range(count)])


@pytest.fixture
def work(way):
    """A node that takes a text."""
    return way.step("work", lambda text: {"x": [text]})


def test_of_sends_from_several_senders(content, build, way, work, links):
    """The queue is in the order of LangGraph's tasks, not in the order in which they end."""
    graph = build(
        {"b": way.step("b", sender("b", 2)), "a": way.step("a", sender("a", 1)), "c": way.step("c"), "work": work},
        "START > a",
        "START > b",
        "START > c",
        conditions=[("c", lambda state: [Send("work", "c0")], ["work"])],
    )
    assert sorted(way.invoke(graph, {"x": []})["x"]) == ["a0", "b0", "b1", "c", "c0"]
    assert {text: links(span) for text, span in by_argument(content, "run_step work").items()} == {
        '"a0"': ["run_step a"],
        '"b0"': ["run_step b"],
        '"b1"': ["run_step b"],
        '"c0"': ["run_step c"],
    }


def test_of_sends_that_send(content, build, way, links):
    def work(text):
        more = [Send("work", f"{text}{n}") for n in range(2)] if len(text) < 3 else []
        return Command(goto=more, update={"x": [text]})

    graph = build(
        {"work": way.step("work", work)}, conditions=[(START, lambda state: [Send("work", "0"), Send("work", "1")])]
    )
    assert len(way.invoke(graph, {"x": []})["x"]) == 14
    found = by_argument(content, "run_step work")
    ids = {span.context.span_id: text for text, span in found.items()}
    assert {text: [ids[link.context.span_id] for link in span.links] for text, span in found.items()} == {
        text: [] if len(text) == 3 else [f'{text[:-2]}"'] for text in found
    }
    assert len(found) == 14


def test_of_sends_whose_sender_came_from_the_cache(content, build, way, work, links):
    """A cached sender has no span; what it sent has no link, and what others sent keeps theirs."""
    graph = build(
        {
            "a": (way.step("a", sender("a", 2)), {"cache_policy": CachePolicy()}),
            "b": way.step("b", sender("b", 1)),
            "work": work,
        },
        "START > a",
        "START > b",
        cache=InMemoryCache(),
    )
    way.invoke(graph, {"x": []})
    content.clear()
    assert way.invoke(graph, {"x": []})["x"] == ["a0", "a1", "b0"]
    assert {text: links(span) for text, span in by_argument(content, "run_step work").items()} == {
        '"a0"': [],
        '"a1"': [],
        '"b0"': ["run_step b"],
    }


def test_of_sends_whose_sender_ended_in_the_interrupted_run(content, build, sync_way, links):
    def ask(state):
        return sender(interrupt("who?"), 1)(state)

    graph = build(
        {
            "a": sync_way.step("a", sender("a", 2)),
            "b": sync_way.step("b", ask),
            "work": sync_way.step("work", lambda text: {"x": [text]}),
        },
        "START > a",
        "START > b",
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "1"}}
    graph.invoke({"x": []}, config)
    content.clear()
    assert graph.invoke(Command(resume="b"), config)["x"] == ["a0", "a1", "b0"]
    assert {text: links(span) for text, span in by_argument(content, "run_step work").items()} == {
        '"a0"': [],
        '"a1"': [],
        '"b0"': ["run_step b"],
    }


handlers = pytest.mark.skipif(
    "error_handler" not in StateGraph.add_node.__kwdefaults__, reason="this LangGraph has no error handlers"
)


def fail(state):
    raise ValueError(state)


@handlers
def test_of_an_error_handler(spans, build, way, links):
    graph = build(
        {
            "a": way.step("a"),
            "fail": (way.step("fail", fail), {"error_handler": way.step("handle", lambda state: {"x": ["handled"]})}),
            "b": way.step("b"),
        },
        "START > a > fail > b",
    )
    assert way.invoke(graph, {"x": []})["x"] == ["a", "handled"]
    assert links("run_step fail") == ["run_step a"]
    assert links("run_step __error_handler__fail") == ["run_step fail"]


@handlers
def test_of_error_handlers_of_sends(content, build, way):
    """Each handler links to the execution that failed, not to the one that sent it."""
    graph = build(
        {
            "a": way.step("a", sender("a", 3)),
            "work": (way.step("work", fail), {"error_handler": way.step("handle", lambda state: {"x": [state]})}),
        },
        "START > a",
    )
    way.invoke(graph, {"x": []})
    failed = {span.context.span_id: text for text, span in by_argument(content, "run_step work").items()}
    handled = by_argument(content, "run_step __error_handler__work")
    assert set(handled) == {'"a0"', '"a1"', '"a2"'}
    assert {text: [failed[link.context.span_id] for link in span.links] for text, span in handled.items()} == {
        text: [text] for text in handled
    }


@handlers
def test_of_an_error_handler_for_all_nodes(spans, way):
    builder = StateGraph(int)
    builder.add_node("fail", way.node(fail))
    builder.add_edge(START, "fail")
    builder.set_node_defaults(error_handler=way.node(lambda state: 7))
    assert way.invoke(builder.compile(), 1) == 7
    handler = spans.only("run_step __default_error_handler__")
    assert handler.attributes["langgraph.error_handler.for"] == "fail"
    assert [link.context for link in handler.links] == [spans.only("run_step fail").context]
