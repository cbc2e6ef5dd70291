# pyright: basic, reportUnusedExpression=false
# PocketFlow's stubs give its classes type parameters that the real classes do not take; flows are wired by
# expressions.
"""Refunds: a flow of its own, used as one node of the support desk."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import TYPE_CHECKING, Any

from pocketflow import Flow, Node

from .data import read_rows
from .model import conversation

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

    from .model import Model

_SYSTEM = (
    "Decide a refund by calling one tool. Orders can be refunded within 30 days of delivery; later ones, and "
    "orders that were not found, cannot."
)


def _tool(name: str, description: str, properties: dict[str, Any]) -> ChatCompletionToolParam:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TOOLS = [
    _tool(
        "approve_refund",
        "Pay an order back.",
        {"order": {"type": "string"}, "amount": {"type": "number"}, "reason": {"type": "string"}},
    ),
    _tool(
        "decline_refund",
        "Keep the money and say why.",
        {"order": {"type": "string"}, "reason": {"type": "string"}},
    ),
]


class FindOrder(Node):
    """Look the order up that the customer names, if there is one."""

    def prep(self, shared: dict[str, Any]) -> dict[str, Any]:
        return shared["ticket"]

    def exec(self, prep_res: dict[str, Any]) -> dict[str, Any]:
        named = re.search(r"\bLB-\d+\b", prep_res["subject"] + " " + prep_res["body"])
        number = named.group() if named else "none named"
        found = [order for order in read_rows("orders") if order["order"] == number]
        if not found:
            return {"order": number, "found": False}
        days = (date.fromisoformat(prep_res["received"]) - date.fromisoformat(found[0]["delivered"])).days
        return {**found[0], "found": True, "days_since_delivery": days}

    def post(self, shared: dict[str, Any], prep_res: Any, exec_res: dict[str, Any]) -> None:
        shared["order"] = exec_res


class DecideRefund(Node):
    """Let the model decide by calling one of two tools."""

    def __init__(self, model: Model) -> None:
        super().__init__(max_retries=2, wait=0.2)
        self.model = model

    def prep(self, shared: dict[str, Any]) -> str:
        ticket = shared["ticket"]
        return f"Ticket {ticket['id']}: {ticket['body']}\n\nOrder: {json.dumps(shared['order'])}"

    def exec(self, prep_res: str) -> dict[str, Any]:
        message = self.model.with_tools(conversation(_SYSTEM, prep_res), TOOLS, must_call=True)
        call = (message.tool_calls or [None])[0]
        if call is None or call.type != "function":
            raise ValueError("the model decided nothing: it called no tool")
        return {"decision": call.function.name, **json.loads(call.function.arguments)}

    def post(self, shared: dict[str, Any], prep_res: str, exec_res: dict[str, Any]) -> None:
        approved = exec_res["decision"] == "approve_refund"
        verdict = f"approved, {exec_res['amount']:.2f} EUR" if approved else "declined"
        shared["notes"] = f"- Refund of order {exec_res['order']} {verdict}: {exec_res['reason']}"


class RefundFlow(Flow):
    """Find the order, then decide."""

    def __init__(self, model: Model) -> None:
        find = FindOrder()
        find >> DecideRefund(model)
        super().__init__(start=find)
