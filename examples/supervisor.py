"""A supervisor of two agents: a club plans a day trip by bicycle.

The supervisor hands the work to an agent for the route, then to one for the lunch, and sums up. All three are agents
of their own, used as nodes of one graph. A hand-off is a tool whose result is a command to the graph around the
supervisor: go on with that agent.

    python examples/offline.py python examples/supervisor.py       without a key or a network
    OPENAI_API_KEY=... python examples/supervisor.py               with a real model
"""

from __future__ import annotations

import os

from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

ROUTES = [("Canal loop", 38), ("Three lakes", 54), ("Castle hill", 71)]
MENUS = {"soup and bread": 9.50, "pasta": 12.00, "salad bar": 10.50}


@tool
def find_routes(longest_km: int) -> list[str]:
    """The club's routes that are not longer than this, the longest first."""
    fitting = sorted(((km, name) for name, km in ROUTES if km <= longest_km), reverse=True)
    return [f"{name}, {km} km" for km, name in fitting]


@tool
def lunch_price(menu: str, people: int) -> str:
    """What a menu (soup and bread, pasta, or salad bar) costs for a number of people."""
    return f"{people} x {menu}: {MENUS[menu] * people:.2f} EUR"


def hand_off(agent: str, task: str) -> BaseTool:
    """A tool with which the supervisor gives the work to `agent`."""

    @tool(f"ask_{agent}", description=f"Hand over to the agent that {task}.")
    def ask(runtime: ToolRuntime) -> Command:
        # The agents share one list of messages: what the supervisor said goes with the hand-off.
        done = ToolMessage(f"Handed over to {agent}.", tool_call_id=runtime.tool_call_id)
        update = {"messages": [*runtime.state["messages"], done]}
        return Command(goto=agent, graph=Command.PARENT, update=update)

    return ask


def build_team(model: ChatOpenAI) -> CompiledStateGraph:
    supervisor = create_agent(
        model,
        [hand_off("route_planner", "finds a route"), hand_off("caterer", "orders the lunch")],
        system_prompt="You plan day trips with two agents. Hand over to one agent at a time, the route first, then the "
        "lunch. When both have answered, sum the plan up in two sentences.",
        name="supervisor",
    )
    route_planner = create_agent(
        model,
        [find_routes],
        system_prompt="You choose the route of a day trip, the longest that fits, and name it with its length.",
        name="route_planner",
    )
    caterer = create_agent(
        model,
        [lunch_price],
        system_prompt="You order the lunch of a day trip and say what it costs in all.",
        name="caterer",
    )
    team = StateGraph(MessagesState)
    team.add_node("supervisor", supervisor, destinations=("route_planner", "caterer"))
    team.add_node("route_planner", route_planner)
    team.add_node("caterer", caterer)
    team.add_edge(START, "supervisor")
    team.add_edge("route_planner", "supervisor")
    team.add_edge("caterer", "supervisor")
    return team.compile(name="trip_team")


def main() -> None:
    model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini")
    wish = "Plan a day trip for 12 people: at most 60 km, with pasta for lunch."
    print("Club:      ", wish)
    result = build_team(model).invoke({"messages": [("user", wish)]})
    print("Supervisor:", result["messages"][-1].text)


if __name__ == "__main__":
    main()
