"""A human in the loop: a letter is sent only when somebody has approved it.

The graph drafts a letter and stops with an interrupt. The answer, read from the terminal, resumes it: `yes` sends
the letter, anything else is a wish for the next draft. In between, the graph's state lies with the checkpointer.

    python examples/offline.py python examples/approval.py         without a key or a network
    OPENAI_API_KEY=... python examples/approval.py                 with a real model
"""

from __future__ import annotations

import os
from typing import Literal, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

CASE = "Ms Okafor's bicycle was promised for Friday. The wheel for it comes on Monday. It will be ready on Tuesday."


class Letter(TypedDict, total=False):
    case: str
    text: str
    wish: str
    sent: bool


def build_desk(model: ChatOpenAI) -> CompiledStateGraph:
    def draft(state: Letter) -> Letter:
        instructions = "Write a short letter to the customer of a bicycle workshop: no subject, no placeholders."
        if "wish" in state:
            instructions += f" The last draft was: {state['text']}\nChange it like this: {state['wish']}"
        return {"text": model.invoke([("system", instructions), ("user", state["case"])]).text}

    def review(state: Letter) -> Command[Literal["send", "draft"]]:
        answer = interrupt({"question": "Send this letter?", "letter": state["text"]})
        if answer == "yes":
            return Command(goto="send")
        return Command(goto="draft", update={"wish": answer})

    def send(state: Letter) -> Letter:
        return {"sent": True}

    desk = StateGraph(Letter)
    desk.add_node("draft", draft)
    desk.add_node("review", review)
    desk.add_node("send", send)
    desk.add_edge(START, "draft")
    desk.add_edge("draft", "review")
    desk.add_edge("send", END)
    return desk.compile(checkpointer=InMemorySaver(), name="letter_desk")


def main() -> None:
    desk = build_desk(ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini"))
    config = {"configurable": {"thread_id": "letter-17"}}
    result = desk.invoke({"case": CASE}, config)
    while "__interrupt__" in result:
        asked = result["__interrupt__"][0].value
        print(f"{asked['letter']}\n")
        try:
            answer = input(f"{asked['question']} (yes, or what to change) ").strip()
        except EOFError:
            answer = ""
        print()
        if not answer:
            print("Nobody answered: nothing was sent, and the letter waits for its approval.")
            return
        result = desk.invoke(Command(resume=answer), config)
    print("The letter was sent." if result.get("sent") else "The letter was not sent.")


if __name__ == "__main__":
    main()
