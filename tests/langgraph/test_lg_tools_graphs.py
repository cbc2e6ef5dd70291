"""Tools as a graph calls them: `ToolNode`, agents, injected state, interrupts, commands, sub-agents."""

import asyncio
import json
import threading
from typing import Annotated

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, ToolException, tool
from langgraph import prebuilt
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from opentelemetry.trace import StatusCode

ARGUMENTS = "gen_ai.tool.call.arguments"
RESULT = "gen_ai.tool.call.result"
ID = "gen_ai.tool.call.id"
STATUS = "spanloom.status"


class State(MessagesState):
    owner: str
    asked: int


def asking(*calls):
    """A model's message that calls tools: name, arguments, id."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": key} for name, args, key in calls])


def graph_of(*tools, **settings):
    """A graph of one `ToolNode`."""
    node = ToolNode(list(tools), handle_tool_errors=True)
    return StateGraph(State).add_node("tools", node).add_edge(START, "tools").compile(**settings)


def sync(graph, given, config=None):
    return graph.invoke(given, config)


def in_loop(graph, given, config=None):
    return asyncio.run(graph.ainvoke(given, config))


both = pytest.mark.parametrize("run", [sync, in_loop])


def messages(*calls, **state):
    return {"messages": [asking(*calls)], **state}


def under(recorder, span):
    """The name of the span that `span` lies in."""
    return next((other.name for other in recorder.spans if other.context.span_id == span.parent.span_id), None)


@both
def test_parallel_calls_of_one_message(run, content):
    met = threading.Barrier(2, timeout=30)

    @tool
    def double(n: int) -> int:
        """Doubles."""
        met.wait()
        return 2 * n

    out = run(graph_of(double), messages(("double", {"n": 1}, "a"), ("double", {"n": 2}, "b")))

    assert [(m.content, m.tool_call_id) for m in out["messages"][1:]] == [("2", "a"), ("4", "b")]
    found = content.named("execute_tool double")
    told = {span.attributes[ID]: (span.attributes[ARGUMENTS], span.attributes[RESULT]) for span in found}
    assert told == {"a": ('{"n":1}', '{"result":"2"}'), "b": ('{"n":2}', '{"result":"4"}')}
    assert {under(content, span) for span in found} == {"run_step tools"}


@both
def test_what_langgraph_injects_is_never_recorded(run, content):
    @tool
    def lookup(
        key: str,
        owner: Annotated[str, InjectedState("owner")],
        state: Annotated[dict, InjectedState],
        store: Annotated[object, InjectedStore()],
        call_id: Annotated[str, InjectedToolCallId],
    ) -> str:
        """Looks it up."""
        assert (owner, state["owner"], call_id) == ("xanthippe", "xanthippe", "a")
        return f"found {store.get(('n',), key).value['v']}"

    store = InMemoryStore()
    store.put(("n",), "k", {"v": 1})
    out = run(graph_of(lookup, store=store), messages(("lookup", {"key": "k"}, "a"), owner="xanthippe"))

    assert out["messages"][-1].content == "found 1"
    span = content.only("execute_tool lookup")
    assert json.loads(span.attributes[ARGUMENTS]) == {"key": "k"}
    assert "xanthippe" not in str(dict(span.attributes))


@pytest.mark.skipif(not hasattr(prebuilt, "ToolRuntime"), reason="came after langgraph-prebuilt 1.0.0")
@both
def test_the_runtime_is_never_recorded(run, content):
    @tool
    def lookup(key: str, runtime: prebuilt.ToolRuntime) -> str:
        """Looks it up."""
        return f"{key} of {len(runtime.state['owner'])} letters"

    out = run(graph_of(lookup), messages(("lookup", {"key": "k"}, "a"), owner="xanthippe"))

    assert out["messages"][-1].content == "k of 9 letters"
    span = content.only("execute_tool lookup")
    assert json.loads(span.attributes[ARGUMENTS]) == {"key": "k"}
    assert "xanthippe" not in str(dict(span.attributes))


def test_injected_state_is_not_in_an_error_s_texts_either(content):
    @tool
    def lookup(key: int, owner: Annotated[str, InjectedState("owner")]) -> str:
        """Looks it up."""

    out = graph_of(lookup).invoke(messages(("lookup", {}, "a"), owner="xanthippe"))

    assert out["messages"][-1].status == "error"
    span = content.only("execute_tool lookup")
    assert span.status.status_code is StatusCode.ERROR
    assert "xanthippe" not in span.status.description + str([dict(e.attributes) for e in span.events])


@both
def test_an_error_that_the_node_handles_is_raised_by_the_tool(run, spans):
    @tool
    def pay() -> str:
        """Pays."""
        raise ToolException("no money")

    out = run(graph_of(pay), messages(("pay", {}, "a")))

    assert out["messages"][-1].status == "error"
    span = spans.only("execute_tool pay")
    assert (span.status.status_code, span.attributes[ID]) == (StatusCode.ERROR, "a")
    assert [event.name for event in span.events] == ["exception"]
    assert spans.only("run_step tools").status.status_code is StatusCode.UNSET


def test_a_tool_that_does_not_exist_is_not_executed(spans):
    @tool
    def pay() -> str:
        """Pays."""

    out = graph_of(pay).invoke(messages(("steal", {}, "a")))
    assert out["messages"][-1].status == "error"
    assert not [span for span in spans.spans if span.name.startswith("execute_tool")]


@both
def test_a_tool_that_interrupts_and_is_resumed(run, content):
    @tool
    def pay(amount: int) -> str:
        """Pays."""
        return f"paid: {interrupt({'pay': amount})}"

    graph = graph_of(pay, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "t1"}}
    run(graph, messages(("pay", {"amount": 5}, "a")), thread)

    first = content.only("execute_tool pay")
    assert first.status.status_code is StatusCode.UNSET
    assert not first.events
    assert first.attributes[STATUS] == "interrupted"
    assert (first.attributes[ID], first.attributes[ARGUMENTS]) == ("a", '{"amount":5}')
    assert RESULT not in first.attributes
    assert "error.type" not in first.attributes

    content.clear()
    out = run(graph, Command(resume="yes"), thread)
    assert out["messages"][-1].content == "paid: yes"
    second = content.only("execute_tool pay")
    assert STATUS not in second.attributes
    assert json.loads(second.attributes[RESULT]) == {"result": "paid: yes"}
    assert second.attributes["gen_ai.conversation.id"] == "t1"


@both
def test_a_command_s_message_is_the_result(run, content):
    @tool
    def remember(what: str, call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Remembers."""
        told = [ToolMessage("earlier", tool_call_id="0"), ToolMessage(f"noted {what}", tool_call_id=call_id)]
        return Command(update={"asked": 1, "owner": what, "messages": told})

    out = run(graph_of(remember), messages(("remember", {"what": "tea"}, "a")))

    assert out["owner"] == "tea"
    span = content.only("execute_tool remember")
    assert json.loads(span.attributes[RESULT]) == {"result": "noted tea"}


def test_a_command_without_a_message_has_no_result(content):
    @tool
    def leave() -> Command:
        """Leaves."""
        return Command(goto=END, update={"owner": "nobody"}, graph=Command.PARENT)

    assert leave.invoke({}).goto == END
    span = content.only("execute_tool leave")
    assert RESULT not in span.attributes
    assert span.status.status_code is StatusCode.UNSET


def test_a_list_of_commands_and_messages(content):
    @tool
    def several(call_id: Annotated[str, InjectedToolCallId]) -> list:
        """Does several things."""
        return [Command(update={"asked": 2}), ToolMessage("done", tool_call_id=call_id, artifact=object())]

    answer = several.invoke({"name": "several", "args": {}, "id": "a", "type": "tool_call"})
    if not isinstance(answer, list):
        pytest.skip("this version of langchain-core makes one message of a list")
    command, message = answer
    assert (command.update, message.content) == ({"asked": 2}, "done")
    span = content.only("execute_tool several")
    assert json.loads(span.attributes[RESULT]) == {"result": "done"}
    assert span.attributes["langchain.tool.artifact"] is True


@both
def test_a_tool_that_is_a_graph(run, spans):
    def answer(state):
        return {"messages": [AIMessage("42")]}

    inner = StateGraph(MessagesState).add_node("think", answer).add_edge(START, "think").compile(name="oracle")

    @tool
    async def oracle(question: str) -> str:
        """Knows."""
        out = await inner.ainvoke({"messages": [HumanMessage(question)]})
        return out["messages"][-1].content

    @tool("oracle")
    def sync_oracle(question: str) -> str:
        """Knows."""
        return inner.invoke({"messages": [HumanMessage(question)]})["messages"][-1].content

    used = sync_oracle if run is sync else oracle
    out = run(graph_of(used), messages(("oracle", {"question": "?"}, "a")))

    assert out["messages"][-1].content == "42"
    tool_span = spans.only("execute_tool oracle")
    assert under(spans, tool_span) == "run_step tools"
    assert under(spans, spans.only("invoke_workflow oracle")) == "execute_tool oracle"


@both
def test_a_graph_in_a_tool_that_sends_the_parent_somewhere(run, spans):
    def handoff(state):
        return Command(goto="after", graph=Command.PARENT, update={"owner": "other"})

    inner = StateGraph(State).add_node("hand", handoff).add_edge(START, "hand").compile(name="inner")

    @tool
    def delegate() -> str:
        """Delegates."""
        return inner.invoke({"messages": []})

    @tool("delegate")
    async def adelegate() -> str:
        """Delegates."""
        return await inner.ainvoke({"messages": []})

    outer = StateGraph(State)
    outer.add_node("tools", ToolNode([delegate if run is sync else adelegate]))
    outer.add_node("after", lambda state: {"asked": 7})
    outer.add_edge(START, "tools")
    out = run(outer.compile(), messages(("delegate", {}, "a")))

    assert (out["owner"], out["asked"]) == ("other", 7)
    span = spans.only("execute_tool delegate")
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events
    assert span.attributes[STATUS] == "parent_command"


class Model(GenericFakeChatModel):
    def bind_tools(self, tools, **kwargs):
        return self


@both
def test_an_agent_s_tools_name_the_agent(run, spans):
    agents = pytest.importorskip("langchain.agents")

    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    model = Model(messages=iter([asking(("add", {"a": 1, "b": 2}, "a")), AIMessage("3")]))
    agent = agents.create_agent(model, [add], name="adder")
    out = run(agent, {"messages": [HumanMessage("1 + 2?")]}, {"configurable": {"thread_id": "t9"}})

    assert out["messages"][-1].content == "3"
    span = spans.only("execute_tool add")
    assert span.attributes["gen_ai.agent.name"] == "adder"
    assert span.attributes["gen_ai.conversation.id"] == "t9"


def test_a_workflow_s_tools_have_no_agent(spans):
    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    graph_of(add).invoke(messages(("add", {"a": 1, "b": 2}, "a")))
    assert "gen_ai.agent.name" not in spans.only("execute_tool add").attributes
