# pyright: basic, reportUnusedExpression=false
# PocketFlow's stubs give its classes type parameters that the real classes do not take; flows are wired by
# expressions.
"""The support desk: sort each open ticket, send it down its path, and close it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pocketflow import BatchFlow, BatchNode, Node
from pydantic import BaseModel

from .model import conversation
from .refund import RefundFlow

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessage, ChatCompletionToolParam

    from .knowledge import KnowledgeBase
    from .model import Model

_SORTING = "Sort the support ticket of a lighting shop."
_RESEARCH = (
    "Collect what a reply to this ticket needs. Search the knowledge base, one question at a time; when "
    "nothing is open any more, answer with short notes, one a line."
)
_REPLY = "Write the reply to the customer, from the notes and nothing else. Friendly, short, no promises."
_HOLDING_REPLY = (
    "Hello {name},\n\nthank you for writing to us. Your message has reached us, and a colleague will answer "
    "it in person today.\n\nYour support team"
)

SEARCH_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "search_kb",
        "description": "Search the shop's help articles.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "What to look for, in plain words."}},
            "required": ["query"],
            "additionalProperties": False,
        },
    },
}


class Triage(BaseModel):
    category: Literal["question", "refund", "bug", "complaint", "feedback"]
    urgency: Literal["low", "normal", "high"]
    summary: str


class Classify(Node):
    """Take up a ticket and decide which path it goes."""

    def __init__(self, model: Model) -> None:
        super().__init__(max_retries=3, wait=0.2)
        self.model = model

    def prep(self, shared: dict[str, Any]) -> dict[str, Any]:
        return shared["tickets"][self.params["ticket"]]

    def exec(self, prep_res: dict[str, Any]) -> Triage:
        # The first lines are enough to sort a ticket.
        opening = prep_res["body"][:600]
        return self.model.structured(Triage, _SORTING, f"Ticket {prep_res['id']}: {prep_res['subject']}\n\n{opening}")

    def post(self, shared: dict[str, Any], prep_res: dict[str, Any], exec_res: Triage) -> str:
        shared["ticket"] = prep_res
        shared["triage"] = exec_res.model_dump()
        question = f"Ticket {prep_res['id']}: {prep_res['subject']}\n\n{prep_res['body']}"
        shared["conversation"] = conversation(_RESEARCH, question)
        shared["notes"] = f"- {exec_res.summary}"
        shared["reply"] = None
        return exec_res.category


class Research(Node):
    """Ask the model what it still wants to look up; it searches again and again until it has its notes."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def prep(self, shared: dict[str, Any]) -> list[Any]:
        return shared["conversation"]

    def exec(self, prep_res: list[Any]) -> ChatCompletionMessage:
        return self.model.with_tools(prep_res, [SEARCH_TOOL])

    def post(self, shared: dict[str, Any], prep_res: list[Any], exec_res: ChatCompletionMessage) -> str:
        shared["conversation"] = [*prep_res, exec_res.model_dump(exclude_none=True)]
        if exec_res.tool_calls:
            return "search"
        shared["notes"] = exec_res.content or shared["notes"]
        return "reply"


class SearchKnowledge(BatchNode):
    """Answer the tool calls of the last message, each one batch item."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        super().__init__(max_retries=2, wait=0.2)
        self.knowledge = knowledge

    def prep(self, shared: dict[str, Any]) -> list[dict[str, Any]]:
        return shared["conversation"][-1]["tool_calls"]

    def exec(self, prep_res: dict[str, Any]) -> dict[str, Any]:
        found = self.knowledge.search(json.loads(prep_res["function"]["arguments"])["query"])
        return {"role": "tool", "tool_call_id": prep_res["id"], "content": json.dumps(found)}

    def post(self, shared: dict[str, Any], prep_res: Any, exec_res: list[dict[str, Any]]) -> None:
        shared["conversation"] = [*shared["conversation"], *exec_res]


class WriteReply(Node):
    """Write the reply as a stream; if the model cannot, the customer at least hears that we are there."""

    def __init__(self, model: Model) -> None:
        super().__init__(max_retries=2, wait=0.2)
        self.model = model

    def prep(self, shared: dict[str, Any]) -> dict[str, Any]:
        return {"ticket": shared["ticket"], "notes": shared["notes"]}

    def exec(self, prep_res: dict[str, Any]) -> str:
        ticket = prep_res["ticket"]
        return self.model.streamed(
            _REPLY,
            f"Ticket {ticket['id']} from {ticket['customer']}: {ticket['subject']}\n\nNotes:\n{prep_res['notes']}",
        )

    def exec_fallback(self, prep_res: dict[str, Any], exc: Exception) -> str:
        return _HOLDING_REPLY.format(name=prep_res["ticket"]["customer"].split()[0])

    def post(self, shared: dict[str, Any], prep_res: dict[str, Any], exec_res: str) -> None:
        shared["reply"] = exec_res


class CloseTicket(Node):
    """Keep what became of the ticket and take it off the pile."""

    def post(self, shared: dict[str, Any], prep_res: None, exec_res: None) -> None:
        done = {"triage": shared["triage"], "reply": shared["reply"]}
        shared["closed"] = {**shared["closed"], shared["ticket"]["id"]: done}
        shared["open"] = shared["open"][1:]


class SupportDesk(BatchFlow):
    """One run of the ticket's path for each open ticket."""

    def __init__(self, model: Model, knowledge: KnowledgeBase) -> None:
        classify, research, searching = Classify(model), Research(model), SearchKnowledge(knowledge)
        refund, reply, close = RefundFlow(model), WriteReply(model), CloseTicket()
        for category in ("question", "bug"):
            classify - category >> research
        classify - "refund" >> refund
        classify - "complaint" >> reply
        classify - "feedback" >> close
        research - "search" >> searching
        searching >> research
        research - "reply" >> reply
        refund >> reply
        reply >> close
        super().__init__(start=classify)

    def prep(self, shared: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"ticket": number} for number in shared["open"]]
