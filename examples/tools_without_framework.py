"""An agent with tools and no framework: a loop around the client, at the counter of a bicycle workshop.

The model asks for tools, the loop runs them and asks again. Three lines of spanloom make the loop an agent, each
function a tool, and the whole a customer's conversation; the client's own instrumentation records the model calls, and
`spanloom.chat` completes these with what was said.

    python examples/offline.py spanloom run examples/tools_without_framework.py      without a key or a network
    OPENAI_API_KEY=... spanloom run examples/tools_without_framework.py              with a real model
"""

from __future__ import annotations

import json
import os

from openai import OpenAI

import spanloom

MODEL = os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini"
PARTS = {
    "chain": ("Chain, 10-speed, 116 links", 24.90),
    "cassette": ("Cassette, 10-speed, 11-36", 39.50),
    "brake pads": ("Brake pads, organic, one pair", 14.00),
}
MOST_TURNS = 5


@spanloom.tool(capture=True)
def find_part(name: str) -> str:
    if name not in PARTS:
        return f"There is no {name} in stock."
    title, price = PARTS[name]
    return f"{title}: {price:.2f} EUR"


TOOLS = {"find_part": find_part}
DEFINITIONS = [
    {
        "type": "function",
        "function": {
            "name": "find_part",
            "description": "Look up one spare part (chain, cassette or brake pads): its name and price in euros.",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        },
    }
]


def ask(client: OpenAI, messages: list) -> object:
    with spanloom.chat(MODEL, provider="openai") as call:
        call.input(messages, tools=DEFINITIONS)
        response = client.chat.completions.create(model=MODEL, messages=messages, tools=DEFINITIONS)
        call.record(response)
        return response.choices[0].message


@spanloom.agent("counter")
def answer(client: OpenAI, question: str) -> str:
    messages = [
        {"role": "system", "content": "You stand at the counter of a bicycle workshop. Look parts up."},
        {"role": "user", "content": question},
    ]
    for _ in range(MOST_TURNS):
        message = ask(client, messages)
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for wanted in message.tool_calls:
            arguments = json.loads(wanted.function.arguments)
            found = TOOLS[wanted.function.name](**arguments)
            messages.append({"role": "tool", "tool_call_id": wanted.id, "content": found})
    return "I could not find that out."


def main() -> None:
    question = "I need a new chain and a new cassette for ten gears. What do they cost?"
    print("Customer:", question)
    with OpenAI() as client, spanloom.session(conversation_id="customer-4711", tags=["counter"]):
        print("Counter: ", answer(client, question))


if __name__ == "__main__":
    main()
