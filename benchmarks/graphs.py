"""The LangGraph programs that are measured. Each node does next to nothing, so that what is seen is the framework.

Every program is a function of optional callbacks (a tracer that is no instrumentor is given to each run).
"""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

CHAIN = 100
LOOP = 1000
FAN_OUT = 100
QUESTION = "What is the weather in Oslo, and should I take an umbrella when I go out in the afternoon? " * 4


class State(TypedDict):
    count: int
    done: Annotated[list[int], operator.add]


def step(state: State) -> dict[str, int]:
    return {"count": state["count"] + 1}


async def async_step(state: State) -> dict[str, int]:
    return step(state)


def again(state: State) -> str:
    return "step" if state["count"] < LOOP else END


def plan(_: State) -> dict[str, int]:
    return {"count": 0}


def fan_out(_: State) -> list[Send]:
    return [Send("work", {"count": number}) for number in range(FAN_OUT)]


def work(state: State) -> dict[str, list[int]]:
    return {"done": [state["count"]]}


def chain() -> Any:
    graph = StateGraph(State)
    for number in range(CHAIN):
        graph.add_node(f"step {number}", step)
    graph.add_edge(START, "step 0")
    for number in range(1, CHAIN):
        graph.add_edge(f"step {number - 1}", f"step {number}")
    return graph.compile()


def loop(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("step", node)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", again, ["step", END])
    return graph.compile()


def fan() -> Any:
    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("work", work)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", fan_out, ["work"])
    return graph.compile()


class Model(BaseChatModel):
    """Asks for the tool once and then answers, at once and with usage."""

    @property
    def _llm_type(self) -> str:
        return "loopback"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[{"type": "function", "function": {"name": tool.name}} for tool in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        usage = {"input_tokens": 120, "output_tokens": 20, "total_tokens": 140}
        answered = messages[-1].type == "tool"
        calls = [] if answered else [{"name": "weather", "args": {"city": "Oslo"}, "id": f"call-{len(messages)}"}]
        message = AIMessage("Take one." if answered else "", tool_calls=calls, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}, all day."


CHAIN_GRAPH, LOOP_GRAPH, ASYNC_LOOP_GRAPH, FAN_GRAPH = chain(), loop(step), loop(async_step), fan()
AGENT = create_agent(Model(), [weather], system_prompt="Answer in one sentence.", name="forecaster")
EVENT_LOOP = asyncio.new_event_loop()


def config(callbacks: list[Any] | None, **more: Any) -> dict[str, Any]:
    return {"recursion_limit": LOOP + 5, **({"callbacks": callbacks} if callbacks else {}), **more}


def state() -> dict[str, Any]:
    return {"count": 0, "done": []}


def run_chain(callbacks: list[Any] | None = None) -> None:
    assert CHAIN_GRAPH.invoke(state(), config(callbacks))["count"] == CHAIN


def run_loop(callbacks: list[Any] | None = None) -> None:
    assert LOOP_GRAPH.invoke(state(), config(callbacks))["count"] == LOOP


def run_async_loop(callbacks: list[Any] | None = None) -> None:
    found = EVENT_LOOP.run_until_complete(ASYNC_LOOP_GRAPH.ainvoke(state(), config(callbacks)))
    assert found["count"] == LOOP


def run_fan(callbacks: list[Any] | None = None) -> None:
    assert len(FAN_GRAPH.invoke(state(), config(callbacks))["done"]) == FAN_OUT


def run_agent(callbacks: list[Any] | None = None) -> None:
    found = AGENT.invoke({"messages": [{"role": "user", "content": QUESTION}]}, config(callbacks))
    assert found["messages"][-1].content == "Take one."
