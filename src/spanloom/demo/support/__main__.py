"""Run the support desk over all tickets and print what became of them."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from typing import Any

from openai import AsyncOpenAI, OpenAI, OpenAIError

from .data import read_rows
from .desk import SupportDesk
from .knowledge import IndexFlow, KnowledgeBase
from .model import AsyncModel, Model
from .review import ReviewFlow


def work(shared: dict[str, Any]) -> None:
    """Index the articles, then go through the pile of tickets until none is open."""
    # The nodes have their own retries.
    with OpenAI(max_retries=0) as client:
        model = Model(client)
        knowledge = KnowledgeBase(model)
        IndexFlow(knowledge).run(shared)
        desk = SupportDesk(model, knowledge)
        while shared["open"]:
            run_batch(desk, shared)


def run_batch(desk: SupportDesk, shared: dict[str, Any]) -> None:
    """Work off open tickets; a batch flow ends at the first that raises, and that one is put aside."""
    try:
        desk.run(shared)
    except Exception as error:
        number, *shared["open"] = shared["open"]
        shared["failed"][number] = f"{type(error).__name__}: {error}"


async def review(shared: dict[str, Any]) -> None:
    """Have all replies scored."""
    async with AsyncOpenAI(max_retries=0) as client:
        await ReviewFlow(AsyncModel(client)).run_async(shared)


def report(shared: dict[str, Any]) -> str:
    """What became of each ticket, in the order of the pile."""
    scores = {entry["ticket"]: entry["score"] for entry in shared["reviews"]}
    lines: list[str] = []
    for number, ticket in shared["tickets"].items():
        done = shared["closed"].get(number)
        if done is None:
            outcome, text = "failed", shared["failed"][number]
        elif done["reply"] is None:
            outcome, text = done["triage"]["category"], "closed without a reply"
        else:
            outcome, text = f"{done['triage']['category']}, score {scores[number]} of 5", done["reply"]
        lines.append(f"{number}  {ticket['customer']}: {ticket['subject']}  [{outcome}]")
        lines.append(textwrap.fill(" ".join(text.split()), width=100, initial_indent="    ", subsequent_indent="    "))
    failed = len(shared["failed"])
    lines.append(f"\n{len(shared['tickets'])} tickets, {len(shared['closed'])} closed, {failed} failed.")
    return "\n".join([*lines, shared["digest"]])


def main() -> int:
    """Run; 0 also when single tickets failed, 1 when the model service cannot be used at all."""
    tickets = {ticket["id"]: ticket for ticket in read_rows("tickets")}
    shared: dict[str, Any] = {"tickets": tickets, "open": list(tickets), "closed": {}, "failed": {}}
    try:
        work(shared)
        asyncio.run(review(shared))
    except OpenAIError as error:
        print(f"support: the model service cannot be used: {error}", file=sys.stderr)
        return 1
    print(report(shared))
    return 0


if __name__ == "__main__":
    sys.exit(main())
