"""The model behind `spanloom demo`: a few rules that read the request and write what a model would.

It sees what a real model sees, and nothing else: messages, tool definitions, the schema of the answer. The
replies are computed from these texts, so other tickets get answers too. Two faults are laid on, by ticket
number: the first sorting of one meets a rate limit, and the reply to another meets a server that is down.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any

from spanloom.demo.replies import Failure, Json, Reply, ToolCall, content_text

# The context window of the scripted model: small, so that one ticket with a pasted log is too long for it.
CONTEXT_TOKENS = 1500

RATE_LIMITED_TICKET = "T-1005"
OVERLOADED_TICKET = "T-1006"

_RATE_LIMIT = Failure(
    429,
    "Rate limit reached for requests per minute. Please try again in 200ms.",
    type="requests",
    code="rate_limit_exceeded",
    headers={"Retry-After": "1", "retry-after-ms": "200"},
)
_OVERLOADED = Failure(500, "The server had an error while processing your request.", type="server_error")

# First match wins; a ticket without any of these words is a question.
_CATEGORIES = (
    ("refund", r"refund|money back"),
    ("bug", r"crash|restart|error|does not work"),
    ("complaint", r"disappointed|nobody answers|complain"),
    ("question", r"\?"),
    ("feedback", r"thank you|wonderful|great"),
)
_URGENT = {"bug": "high", "complaint": "high", "feedback": "low"}


class SupportScript:
    """A `Respond` function for the support desk; each instance remembers which rate limit it has had out."""

    def __init__(self) -> None:
        self._limited: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, request: Json) -> Reply | Failure:
        """Answer one chat request by what it asks for."""
        messages: list[Json] = request["messages"]
        system, user = (
            "\n".join(content_text(message) for message in messages if message["role"] == role)
            for role in ("system", "user")
        )
        form: Json = request.get("response_format") or {}
        schema: str | None = form.get("json_schema", {}).get("name")
        definitions: list[Json] = request.get("tools") or []
        tools = {tool["function"]["name"] for tool in definitions}
        if schema == "Triage":
            return self._rate_limit_once(user) or _triage(user)
        if schema == "Review":
            return _review(user)
        if "search_kb" in tools:
            return _research(user, messages)
        if "approve_refund" in tools:
            return _refund(user)
        if "digest" in system:
            return _digest(user)
        if "Notes:" in user:
            return _OVERLOADED if OVERLOADED_TICKET in user else _reply(user)
        return Failure(400, "The scripted model has no rule for this prompt.", param="messages")

    def _rate_limit_once(self, user: str) -> Failure | None:
        if RATE_LIMITED_TICKET not in user:
            return None
        with self._lock:
            if user in self._limited:
                return None
            self._limited.add(user)
        return _RATE_LIMIT


def _triage(user: str) -> Reply:
    text = user.lower()
    category = next((name for name, words in _CATEGORIES if re.search(words, text)), "question")
    subject = user.partition("\n")[0].partition(": ")[2]
    answer = {"category": category, "urgency": _URGENT.get(category, "normal"), "summary": subject}
    return Reply(json.dumps(answer))


def _research(user: str, messages: list[Json]) -> Reply:
    # One search for each question in the ticket, one after the other; then the notes.
    questions = re.findall(r"[A-Z][^.?!\n]*\?", user) or [user.partition("\n")[0]]
    results = [json.loads(content_text(message)) for message in messages if message["role"] == "tool"]
    if len(results) < len(questions):
        return Reply(tool_calls=(ToolCall("search_kb", {"query": questions[len(results)].rstrip("?")}),))
    return Reply("\n".join(f"- {found[0]['text']}" for found in results if found) or "- Nothing was found.")


def _refund(user: str) -> Reply:
    order: dict[str, Any] = json.loads(user.rpartition("Order: ")[2])
    number = order["order"]
    if not order["found"]:
        return _call("decline_refund", order=number, reason="There is no such order.")
    days = order["days_since_delivery"]
    reason = f"{order['item']} was delivered {days} days ago, and the limit is 30 days."
    if days > 30:
        return _call("decline_refund", order=number, reason=reason)
    return _call("approve_refund", order=number, amount=order["price"], reason=reason)


def _call(tool: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=(ToolCall(tool, arguments),))


def _reply(user: str) -> Reply:
    customer = re.search(r"from (\S+)", user)
    notes = re.findall(r"^- (.+)$", user.partition("Notes:")[2], re.MULTILINE)
    greeting = f"Hello {customer.group(1) if customer else 'there'},"
    return Reply("\n\n".join([greeting, *notes, "Write again any time.", "Your support team"]))


def _review(user: str) -> Reply:
    if "a colleague will answer" in user:
        return Reply(json.dumps({"score": 2, "comment": "Only says that somebody will answer."}))
    score = 5 if len(user.split()) > 40 else 4
    comment = "Answers everything in plain steps." if score == 5 else "Right, but brief."
    return Reply(json.dumps({"score": score, "comment": comment}))


def _digest(user: str) -> Reply:
    scores = {number: int(score) for number, score in re.findall(r"^(\S+): (\d) of 5", user, re.MULTILINE)}
    if not scores:
        return Reply("No reply was sent. There is nothing to review.")
    average = sum(scores.values()) / len(scores)
    lowest = min(scores, key=lambda number: scores[number])
    return Reply(
        f"{len(scores)} replies were reviewed, with {average:.1f} of 5 points on average. "
        f"{lowest} needs a second look: it has {scores[lowest]} of 5."
    )
