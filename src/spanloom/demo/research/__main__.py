# pyright: basic
"""Have one question researched, and print the article once the editor has approved it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from langgraph.types import Command
from openai import OpenAIError

from .archive import Archive
from .desk import build_desk
from .model import chat_model, embedding_model

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph

QUESTION = "Should the town exchange its street lamps for LED lamps?"
# The conversation with the editor; what is asked later of the same thread goes on with its state.
THREAD: RunnableConfig = {"configurable": {"thread_id": "street-lamps"}}


def research(desk: CompiledStateGraph[Any, Any, Any, Any], answer: str) -> None:
    """Run until the editor is asked, then go on with the editor's `answer`."""
    asked = ""
    stream: Any = desk.stream({"question": QUESTION}, THREAD, stream_mode=["updates", "custom"])
    for mode, part in stream:
        if mode == "custom":  # the article, as it is written
            print(part, end="", flush=True)
        elif "plan" in part:
            print("Researching:", *(f"\n  - {line}" for line in part["plan"]["parts"]), "\n", sep="")
        elif "__interrupt__" in part:
            asked = part["__interrupt__"][0].value["question"]
    print(f"\n\n{asked} {answer}")
    done = desk.invoke(Command(resume=answer), THREAD)
    print(f"Printed under the headline: {done['headline']}" if done.get("headline") else "Not printed.")


def main(answer: str = "yes") -> int:
    """Run; 1 when the model service cannot be used.

    Args:
        answer: what the editor says when asked whether to print the article.
    """
    try:
        desk = build_desk(chat_model(), Archive(embedding_model()))
        research(desk, answer)
    except OpenAIError as error:
        print(f"research: the model service cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
