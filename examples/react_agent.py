"""A ReAct agent with tools and memory: the counter of a bicycle workshop.

One customer writes twice in one thread. For the first message the agent looks up two parts at once; for the second
it needs a tool again, and remembers what the first was about. The second answer is read as it is written.

    python examples/offline.py python examples/react_agent.py      without a key or a network
    OPENAI_API_KEY=... python examples/react_agent.py              with a real model
"""

from __future__ import annotations

import os

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

PARTS = {
    "chain": ("Chain, 10-speed, 116 links", 24.90),
    "cassette": ("Cassette, 10-speed, 11-36", 39.50),
    "brake pads": ("Brake pads, organic, one pair", 14.00),
}
FREE_HOURS = {"Tuesday": ["16:30"], "Thursday": ["09:00", "14:00"]}


@tool
def find_part(name: str) -> str:
    """Look up one spare part (chain, cassette or brake pads): what it is called, and its price in euros."""
    if name not in PARTS:
        return f"There is no {name} in stock."
    title, price = PARTS[name]
    return f"{title}: {price:.2f} EUR"


@tool
def free_hours(weekday: str) -> list[str]:
    """The hours of a weekday at which the workshop has time."""
    return FREE_HOURS.get(weekday, [])


def main() -> None:
    model = ChatOpenAI(
        model=os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini",
        # Token counts also while streaming, which LangChain asks other servers than OpenAI's for only on demand.
        stream_usage=True,
    )
    agent = create_agent(
        model,
        [find_part, free_hours],
        system_prompt="You stand at the counter of a bicycle workshop. Answer in one or two sentences. Look parts and "
        "hours up, never make them up.",
        checkpointer=InMemorySaver(),
        name="counter",
    )
    # The thread is the conversation: the agent remembers what was said in it.
    config = {"configurable": {"thread_id": "customer-4711"}}

    first = "I need a new chain and a new cassette for ten gears. What do they cost?"
    print("Customer:", first)
    result = agent.invoke({"messages": [("user", first)]}, config)
    print("Counter: ", result["messages"][-1].text)

    second = "Fine. Can you fit both on Thursday?"
    print("Customer:", second)
    print("Counter:  ", end="")
    for piece, _ in agent.stream({"messages": [("user", second)]}, config, stream_mode="messages"):
        if isinstance(piece, AIMessageChunk):
            print(piece.text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
