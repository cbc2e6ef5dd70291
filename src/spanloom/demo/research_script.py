"""The model behind `spanloom demo langgraph`: a few rules that read the request and write what a model would.

As in `script`, it sees what a real model sees, and nothing else. One fault is laid on: the first plan meets a rate
limit.
"""

from __future__ import annotations

import json
import re
import threading

from spanloom.demo.embeddings import embed
from spanloom.demo.replies import Failure, Json, Reply, ToolCall, content_text

_RATE_LIMIT = Failure(
    429,
    "Rate limit reached for requests per minute. Please try again in 200ms.",
    type="requests",
    code="rate_limit_exceeded",
)
_CLOSE = 0.4  # of 1
# What one would ask of an archive about exchanging one thing for another.
_PARTS = (
    "How much electricity do the street lamps use, and how much would LED lamps?",
    "What does the exchange of the street lamps cost, and who pays?",
    "What do residents say in the survey, and do they fear glare?",
)


class ResearchScript:
    """A `Respond` function for the research desk; each instance gives out its rate limit once."""

    def __init__(self) -> None:
        self._limited = False
        self._lock = threading.Lock()

    def __call__(self, request: Json) -> Reply | Failure:
        """Answer one chat request, by the first words of its instructions."""
        messages: list[Json] = request["messages"]
        instructions, *said = map(content_text, messages)
        if instructions.startswith("Split the reader's question"):
            return self._rate_limit_once() or Reply(json.dumps({"questions": _PARTS}))
        if instructions.startswith("You research one question"):
            return _research(said[0], messages)
        if instructions.startswith("Does the answer say"):
            return Reply(json.dumps({"definite": "nothing" not in said[0]}))
        if instructions.startswith("Write a newspaper article"):
            return Reply(" ".join(line[2:] for line in instructions.splitlines() if line.startswith("- ")))
        if instructions.startswith("Write the headline"):
            return Reply(_headline(said[0]))
        return Failure(400, "The scripted model has no rule for this prompt.", param="messages")

    def _rate_limit_once(self) -> Failure | None:
        with self._lock:
            first, self._limited = not self._limited, True
        return _RATE_LIMIT if first else None


def _research(question: str, messages: list[Json]) -> Reply:
    """Search; then read the report that was found or calculate with the numbers; then answer."""
    results = [content_text(message) for message in messages if message["role"] == "tool"]
    if not results:
        return Reply(tool_calls=(ToolCall("search_archive", {"query": question}),))
    found, *further = results
    if not further and "electricity" in question:
        return Reply(tool_calls=_lamps(found))
    if not further and (report := re.search(r"report (R-\d+)", found)):
        return Reply(tool_calls=(ToolCall("read_report", {"number": report.group(1)}),))
    if len(further) > 1:
        used = " and ".join(f"{int(result.split()[0]):,} kWh" for result in further)
        return Reply(f"Old and new lamps would use {used} a year.", reasoning_tokens=64)
    # Each note is `[id] title. text`; the second hit of a search may be about something else.
    close = [line for line in found.splitlines() if _closeness(question, line) > _CLOSE]
    notes = [line.partition(". ")[2].partition(" The full")[0] for line in close]
    read = [result for result in further if "on loan" not in result]
    return Reply(" ".join([*notes, *read]) or "The archive says nothing about that.")


def _closeness(question: str, text: str) -> float:
    return sum(a * b for a, b in zip(embed(question), embed(text), strict=True))


def _lamps(found: str) -> tuple[ToolCall, ...]:
    lamps, hours = (re.search(pattern, found) for pattern in (r"(\d+) street lamps", r"(\d+) hours"))
    return tuple(
        ToolCall(
            "lamp_energy",
            {
                "lamps": int(lamps.group(1)) if lamps else 1,
                "watts": int(watts),
                "hours": int(hours.group(1)) if hours else 1,
            },
        )
        for watts in sorted(set(re.findall(r"(\d+) W\b", found)), key=int, reverse=True)
    )


def _headline(article: str) -> str:
    share = re.search(r"(\d+) percent want", article)
    return f"{share.group(1)} percent want new street lamps" if share else "New street lamps?"
