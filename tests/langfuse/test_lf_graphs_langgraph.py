"""Langfuse's graph view of LangGraph programs: the edges that it draws are those that the program went along."""

import asyncio
import operator
import threading
from typing import Annotated

import pytest
from typing_extensions import TypedDict

pytest.importorskip("langgraph")

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send

import spanloom
from spanloom import telemetry
from spanloom.config import Config
from spanloom_langgraph import LangGraphInstrumentor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class State(TypedDict):
    x: Annotated[list, operator.add]


@pytest.fixture(autouse=True)
def _traced(provider):
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config())
    yield
    instrumentor.uninstrument()


@pytest.fixture
def drawn(langfuse, graph):
    """`drawn()`: the edges of the one trace that has arrived."""

    def edges():
        (trace,) = {one.trace for one in langfuse.observations}
        assert trace
        return graph(langfuse.observations)

    return edges


def nothing(state):
    return {"x": []}


def counted(state):
    return {"x": ["once"]}


def chain(*names, node=nothing, **nodes):
    """A compiled graph of these nodes, one after the other."""
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, nodes.get(name, node))
    for a, b in zip((START, *names), (*names, END), strict=True):
        builder.add_edge(a, b)
    return builder.compile()


def test_a_chain(path, drawn):
    chain("a", "b", "c").invoke({"x": []})

    assert drawn() == path("a b c")


def test_a_loop_is_one_box_each(path, drawn):
    builder = StateGraph(State).add_node("a", counted).add_node("b", nothing).add_edge(START, "a").add_edge("a", "b")
    builder.add_conditional_edges("b", lambda state: "a" if len(state["x"]) < 3 else END)
    builder.compile().invoke({"x": []})

    assert drawn() == sorted({*path("a b"), "b -> a"})


@pytest.mark.parametrize("is_async", [False, True])
def test_fan_out_and_fan_in(path, drawn, is_async):
    builder = StateGraph(State)
    for name in ("plan", "left", "right", "join"):
        builder.add_node(name, nothing)
    builder.add_edge(START, "plan").add_edge("plan", "left").add_edge("plan", "right")
    builder.add_edge(["left", "right"], "join").add_edge("join", END)
    built = builder.compile()
    asyncio.run(built.ainvoke({"x": []})) if is_async else built.invoke({"x": []})

    assert drawn() == sorted({*path("plan left join"), *path("plan right join")})


def test_first_nodes_beside_each_other(path, drawn):
    builder = StateGraph(State)
    for name in ("left", "right", "join"):
        builder.add_node(name, nothing)
    builder.add_edge(START, "left").add_edge(START, "right").add_edge(["left", "right"], "join")
    builder.compile().invoke({"x": []})

    assert drawn() == sorted({*path("left join"), *path("right join")})


def test_a_graph_as_a_node_leads_into_itself_and_on(path, drawn):
    inner = chain("s1", "s2")
    chain("plan", "sub", "write", sub=inner).invoke({"x": []})

    assert drawn() == path("plan sub sub:s1 sub:s2 write")


def test_a_graph_as_the_first_node(path, drawn):
    chain("sub", "write", sub=chain("s1", "s2")).invoke({"x": []})

    assert drawn() == path("sub sub:s1 sub:s2 write")


def test_graphs_as_nodes_three_deep(path, drawn):
    deep = chain("d1", "d2")
    middle = chain("deep", "m2", deep=deep)
    chain("plan", "middle", "write", middle=middle).invoke({"x": []})

    assert drawn() == path("plan middle middle:deep middle:deep:d1 middle:deep:d2 middle:m2 write")


def test_a_graph_as_a_node_in_a_loop(path, drawn):
    builder = StateGraph(State).add_node("plan", counted).add_node("sub", chain("s1", "s2"))
    builder.add_edge(START, "plan").add_edge("plan", "sub")
    builder.add_conditional_edges("sub", lambda state: "plan" if state["x"].count("once") < 3 else END)
    builder.compile().invoke({"x": []})

    assert drawn() == sorted({*path("plan sub sub:s1 sub:s2"), "sub:s2 -> plan"})


def test_a_graph_that_a_node_calls(path, drawn):
    inner = chain("s1", "s2")

    chain("plan", "work", "write", work=calling(inner)).invoke({"x": []})

    assert drawn() == path("plan work work:s1 work:s2 write")


@pytest.mark.parametrize("is_async", [False, True])
def test_graphs_beside_each_other_begin_together(path, drawn, is_async):
    """Their first nodes are quick: one is over before the next one starts."""
    builder = StateGraph(State).add_node("plan", nothing).add_node("sub", chain("s1", "s2", "s3"))
    builder.add_edge(START, "plan").add_edge("sub", "write").add_node("write", nothing)
    builder.add_conditional_edges("plan", lambda state: [Send("sub", {"x": []}) for _ in range(4)], ["sub"])
    built = builder.compile()
    asyncio.run(built.ainvoke({"x": []})) if is_async else built.invoke({"x": []})

    assert drawn() == path("plan sub sub:s1 sub:s2 sub:s3 write")


def test_a_node_beside_a_graph(path, drawn):
    """Langfuse draws all nodes of a step to all of the next one, so one edge of these is none of the program's."""
    builder = StateGraph(State).add_node("plan", nothing).add_node("quick", nothing).add_node("sub", chain("s1"))
    builder.add_edge(START, "plan").add_edge("plan", "quick").add_edge("plan", "sub")
    builder.add_node("join", nothing).add_edge(["quick", "sub"], "join")
    builder.compile().invoke({"x": []})

    assert drawn() == sorted({*path("plan sub sub:s1 join"), "plan -> quick", "quick -> sub:s1"})


def calling(graph, before=None, after=None):
    """A node that calls a graph, once `before` has happened, and tells `after`."""

    def calls(state):
        assert before is None or before.wait(30)
        graph.invoke({"x": []})
        if after is not None:
            after.set()
        return {"x": []}

    return calls


@pytest.mark.parametrize("is_async", [False, True])
def test_two_graphs_with_nodes_of_one_name_have_their_own_boxes(path, drawn, is_async):
    built = chain("plan", "one", "two", "write", one=chain("s1", "s2"), two=chain("s1", "s2"))
    asyncio.run(built.ainvoke({"x": []})) if is_async else built.invoke({"x": []})

    assert drawn() == path("plan one one:s1 one:s2 two two:s1 two:s2 write")


@pytest.mark.parametrize("led_to", [False, True])
def test_graphs_beside_each_other_begin_together_though_one_has_ended_before(path, drawn, langfuse, led_to):
    over = threading.Event()
    builder = StateGraph(State).add_node("one", calling(chain("s1", "s2"), after=over))
    builder.add_node("two", calling(chain("s1", "s2"), before=over)).add_node("join", nothing)
    if led_to:
        builder.add_node("plan", nothing).add_edge(START, "plan")
    source = "plan" if led_to else START
    builder.add_edge(source, "one").add_edge(source, "two").add_edge(["one", "two"], "join")
    builder.compile().invoke({"x": []})

    steps = {}
    for one in langfuse.observations:
        if "langgraph_node" in one.metadata:
            steps.setdefault(one.metadata["langgraph_step"], set()).add(one.metadata["langgraph_node"])
    assert [steps[step] for step in sorted(steps)] == [
        *([{"plan"}] if led_to else []),
        {"one", "two"},
        {"one:s1", "two:s1"},
        {"one:s2", "two:s2"},
        {"join"},
    ]


def test_a_graph_sent_to_twice_shares_its_boxes_though_one_has_ended_before(path, drawn):
    over, inner = threading.Event(), chain("s1", "s2", "s3")
    builder = StateGraph(State).add_node("plan", nothing).add_node("join", nothing)
    builder.add_node("work", lambda state: state["x"][0](state))
    sends = [Send("work", {"x": [calling(inner, **turn)]}) for turn in ({"after": over}, {"before": over})]
    builder.add_edge(START, "plan").add_conditional_edges("plan", lambda state: sends, ["work"])
    builder.add_edge("work", "join").compile().invoke({"x": []})

    assert drawn() == path("plan work work:s1 work:s2 work:s3 join")


def test_a_graph_that_a_node_calls_twice_leads_back_into_itself(path, drawn):
    inner = chain("s1", "s2")

    def calls(state):
        inner.invoke({"x": []})
        inner.invoke({"x": []})
        return {"x": []}

    builder = StateGraph(State).add_node("plan", counted).add_node("work", calls).add_edge(START, "plan")
    builder.add_edge("plan", "work")
    builder.add_conditional_edges("work", lambda state: "plan" if state["x"].count("once") < 2 else END)
    builder.compile().invoke({"x": []})

    assert drawn() == sorted({*path("plan work work:s1 work:s2"), "work:s2 -> work:s1", "work:s2 -> plan"})


def test_a_graph_that_is_sent_to_more_often_than_is_remembered(path, drawn, monkeypatch):
    """Two at a time; the node that has started all of them is not forgotten."""
    monkeypatch.setattr("spanloom_langfuse._steps._NODES", 8)
    builder = StateGraph(State).add_node("plan", nothing).add_node("sub", chain("s1", "s2"))
    sends = [Send("sub", {"x": []})] * 12
    builder.add_edge(START, "plan").add_conditional_edges("plan", lambda state: sends, ["sub"])
    builder.compile().invoke({"x": []}, {"max_concurrency": 2})

    assert drawn() == path("plan sub sub:s1 sub:s2")


def test_a_graph_in_a_step_of_the_programs_own(path, drawn, provider):
    telemetry.use(provider, Config())
    try:
        with spanloom.workflow("desk"):
            with spanloom.node("plan"):
                pass
            with spanloom.node("work"):
                chain("s1", "s2").invoke({"x": []})
            with spanloom.node("more"):
                chain("s1").invoke({"x": []})
    finally:
        telemetry.use()

    assert drawn() == path("plan work work:s1 work:s2 more more:s1")


def test_an_observation_is_called_as_its_node_is(langfuse):
    chain("plan", "sub", sub=chain("s1")).invoke({"x": []})

    called = {one.name: one.metadata.get("langgraph_node") for one in langfuse.observations}
    assert called == {"plan": "plan", "sub": "sub", "s1": "sub:s1", "invoke_workflow": None}


class Model(GenericFakeChatModel):
    """Answers what it is made with, and takes tools."""

    def bind_tools(self, tools, **options):
        return self


def agent(tool_, *answers):
    """The loop of an agent: its model asks for tools until it has an answer."""
    model = Model(messages=iter(answers))

    class Messages(TypedDict):
        messages: Annotated[list, operator.add]

    builder = StateGraph(Messages)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([tool_])).add_edge(START, "model").add_edge("tools", "model")
    builder.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    return builder.compile()


def asking(*arguments, name):
    calls = [{"name": name, "args": {"question": text}, "id": f"c{text}"} for text in arguments]
    return AIMessage("", tool_calls=calls)


def test_an_agent_as_a_tool_of_an_agent_with_the_same_nodes(path, drawn, langfuse):
    @tool
    def look(question: str) -> str:
        """Look something up."""
        return "found"

    @tool
    def ask(question: str) -> str:
        """Ask a colleague."""
        colleague = agent(look, asking("1", name="look"), AIMessage("it is so"))
        return colleague.invoke({"messages": [("user", question)]})["messages"][-1].content

    agent(ask, asking("2", name="ask"), AIMessage("done")).invoke({"messages": [("user", "?")]})

    assert drawn() == path("model tools tools:model tools:tools tools:model model")
    steps = sorted(one.metadata["langgraph_step"] for one in langfuse.observations if "langgraph_node" in one.metadata)
    assert len(set(steps)) == 6  # nothing runs beside anything


def test_commands_that_lead_out_of_a_graph(path, drawn):
    def leave(state):
        return Command(goto="other", graph=Command.PARENT)

    inner = StateGraph(State).add_node("s1", leave).add_edge(START, "s1").compile()
    builder = StateGraph(State).add_node("plan", nothing).add_node("sub", inner, destinations=("other",))
    builder.add_node("other", nothing).add_edge(START, "plan").add_edge("plan", "sub")
    builder.compile().invoke({"x": []})

    assert drawn() == path("plan sub sub:s1 other")


def test_tasks_of_an_entrypoint(path, drawn):
    @task
    def first():
        return 1

    @task
    def second(number):
        return number

    @entrypoint()
    def work(given):
        return second(first().result()).result()

    work.invoke("x")

    assert drawn() == path("work first second")


def test_boxes_have_the_nodes_types(langfuse):
    chain("plan", "sub", sub=chain("s1")).invoke({"x": []})

    assert {(one.name, one.type) for one in langfuse.observations} == {
        ("plan", "chain"),
        ("sub", "chain"),
        ("s1", "chain"),
        ("invoke_workflow", "chain"),
    }
    assert "langgraph_node" not in langfuse.called("invoke_workflow").metadata
