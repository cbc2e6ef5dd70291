"""Agents of LangChain and of LangGraph's prebuilt package: `invoke_agent`, as the root, as a node, called, resumed."""

import asyncio

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

SHOWN = ("status", "spanloom.status", "events", "langgraph.next", "langgraph.send")
QUESTION = {"messages": [("user", "weather?")]}


class Model(BaseChatModel):
    """Calls the tool once, and then answers."""

    @property
    def _llm_type(self):
        return "fake"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if any(isinstance(message, ToolMessage) for message in messages):
            answer = AIMessage("sunny")
        else:
            answer = AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Oslo"}, "id": "call-1"}])
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return "sun"


@tool
def ask(city: str) -> str:
    """Ask somebody."""
    return interrupt("which one?")


ask.name = "weather"


def create_agent(*tools, **options):
    agents = pytest.importorskip("langchain.agents")
    return agents.create_agent(Model(), list(tools or [weather]), **options)


def create_react_agent(*tools, **options):
    from langgraph.prebuilt import create_react_agent

    options = {("prompt" if key == "system_prompt" else key): value for key, value in options.items()}
    return create_react_agent(Model(), list(tools or [weather]), **options)


@pytest.fixture(params=[create_agent, create_react_agent])
def create(request):
    return request.param


pytestmark = [
    pytest.mark.filterwarnings("ignore:create_react_agent has been moved"),
    pytest.mark.filterwarnings("ignore:AgentStatePydantic has been moved"),
]


def model_node(create):
    return "model" if create is create_agent else "agent"


def graphs_only(recorder, *attributes):
    """The tree of runs and nodes, without those of models and tools below."""
    from spanloom.testing import tree

    return tree([span for span in recorder.spans if span.name.startswith(("invoke", "run_step"))], *attributes)


def test_as_the_root(spans, create, way, without):
    agent = create(name="Forecaster", system_prompt="Be brief.")
    assert way.invoke(agent, QUESTION)["messages"][-1].content == "sunny"
    model = model_node(create)
    assert (
        graphs_only(spans, *SHOWN)
        == f"""
invoke_agent Forecaster
  run_step {model} [send=('tools',)]
  run_step tools [next=('{model}',)]
  run_step {model} [next=('__end__',)]
"""
    )
    root = spans.only("invoke_agent Forecaster")
    assert dict(without(root.attributes, "langgraph.graph.nodes", "langgraph.graph.edges")) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "Forecaster",
    }
    assert set(root.attributes["langgraph.graph.nodes"]) == {model, "tools"}
    under = {span.name: parent(spans, span) for span in spans.spans}
    assert under["execute_tool weather"] == "run_step tools"
    assert {parent(spans, span) for span in spans.spans if span.name.startswith("chat")} == {f"run_step {model}"}


def parent(recorder, span):
    return next((other.name for other in recorder.spans if span.parent and other.context == span.parent), None)


def test_without_a_name(spans, create, way):
    way.invoke(create(), QUESTION)
    (root,) = [span for span in spans.spans if span.parent is None]
    assert root.name == "invoke_agent"
    assert "gen_ai.agent.name" not in root.attributes


def test_with_more_configuration(spans, create, way):
    """`with_config` makes a copy, which is an agent as well."""
    way.invoke(create(name="Forecaster").with_config(recursion_limit=9, tags=["x"]), QUESTION)
    assert spans.only("invoke_agent Forecaster").parent is None


def test_as_a_node(spans, create, way):
    builder = StateGraph(MessagesState)
    builder.add_node("forecast", create(name="Forecaster"))
    builder.add_node("plain", create())
    builder.add_edge(START, "forecast")
    builder.add_edge("forecast", "plain")
    way.invoke(builder.compile(name="Team"), QUESTION)
    model = model_node(create)
    assert (
        graphs_only(spans, "langgraph.next", "spanloom.node.name")
        == f"""
invoke_workflow Team
  invoke_agent Forecaster [next=('plain',), name=forecast]
    run_step {model} [name={model}]
    run_step tools [next=('{model}',), name=tools]
    run_step {model} [next=('__end__',), name={model}]
  invoke_agent plain [next=('__end__',), name=plain]
    run_step {model} [next=('__end__',), name={model}]
"""
    )


def test_called_by_a_tool(spans, create, way):
    helper = create(name="Helper")

    @tool("weather")
    def delegate(city: str) -> str:
        """Ask the helper."""
        return helper.invoke(QUESTION)["messages"][-1].content

    @tool("weather")
    async def adelegate(city: str) -> str:
        """Ask the helper."""
        return (await helper.ainvoke(QUESTION))["messages"][-1].content

    way.invoke(create(adelegate if way.is_async else delegate, name="Boss"), QUESTION)
    helped = spans.only("invoke_agent Helper")
    (outer,) = [span for span in spans.named("execute_tool weather") if span.context == helped.parent]
    assert parent(spans, outer) == "run_step tools"
    assert [span.name for span in spans.spans if span.parent is None] == ["invoke_agent Boss"]


def test_a_tool_that_interrupts(spans, create, asking):
    agent = create(ask, name="Forecaster", checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    asking.invoke(agent, QUESTION, config)
    asking.invoke(agent, Command(resume="Oslo"), config)
    model = model_node(create)
    assert (
        graphs_only(spans, "status", "spanloom.status", "events")
        == f"""
invoke_agent Forecaster [status=interrupted]
  run_step {model}
  run_step tools [status=interrupted, langgraph.interrupt]
invoke_agent Forecaster [langgraph.resume]
  run_step tools
  run_step {model}
"""
    )
    first, second = spans.named("invoke_agent Forecaster")
    assert [link.context for link in second.links] == [first.context]
    assert {span.attributes["gen_ai.conversation.id"] for span in spans.spans} == {"1"}


def test_several_at_once(spans, create):
    agent = create(name="Forecaster")

    async def program():
        await asyncio.gather(*(agent.ainvoke(QUESTION) for _ in range(4)))

    asyncio.run(program())
    model = model_node(create)
    one = f"invoke_agent Forecaster\n  run_step {model}\n  run_step tools\n  run_step {model}\n"
    assert graphs_only(spans) == "\n" + 4 * one


def test_a_handoff(spans, create, way):
    """A tool's command goes on in the graph that the agent is a node of."""

    @tool("weather")
    def handoff(city: str) -> Command:
        """Hand over."""
        return Command(
            goto="other", graph=Command.PARENT, update={"messages": [ToolMessage("handed over", tool_call_id="call-1")]}
        )

    builder = StateGraph(MessagesState)
    builder.add_node("first", create(handoff, name="First"), destinations=("other",))
    builder.add_node("other", lambda state: {"messages": [AIMessage("done")]})
    builder.add_edge(START, "first")
    assert way.invoke(builder.compile(), QUESTION)["messages"][-1].content == "done"
    model = model_node(create)
    assert (
        graphs_only(spans, "status", "spanloom.status", "langgraph.next", "langgraph.goto_parent")
        == f"""
invoke_workflow
  invoke_agent First [status=parent_command, next=('other',)]
    run_step {model}
    run_step tools [status=parent_command, goto_parent=('other',)]
  run_step other [next=('__end__',)]
"""
    )
