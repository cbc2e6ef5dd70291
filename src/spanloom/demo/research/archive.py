# pyright: basic
# LangChain's decorators and stores are typed only in part.
"""The newspaper's archive, and what the research agent can do with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.tools import BaseTool, ToolException, tool
from langchain_core.vectorstores import InMemoryVectorStore

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

_NOTES = Path(__file__).with_name("archive.jsonl")
_REPORTS = {"R-5": "The fund pays for lamps below 3000 kelvin, and only until the end of next year."}
_ON_LOAN = {"R-7": "the town hall"}


class Archive:
    """Notes and their vectors, kept in memory."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._store = InMemoryVectorStore(embeddings)
        self._retriever = self._store.as_retriever(search_kwargs={"k": 2})

    def open(self) -> int:
        """Embed all notes, in one request; returns how many there are."""
        notes = [json.loads(line) for line in _NOTES.read_text(encoding="utf-8").splitlines()]
        texts = [f"{note['title']}. {note['text']}" for note in notes]
        return len(self._store.add_texts(texts, ids=[note["id"] for note in notes]))

    def tools(self) -> list[BaseTool]:
        """What the agent can call."""

        @tool
        def search_archive(query: str) -> str:
            """Search the archive's notes, in plain words."""
            return "\n".join(f"[{note.id}] {note.page_content}" for note in self._retriever.invoke(query))

        return [search_archive, lamp_energy, read_report]


@tool
def lamp_energy(lamps: int, watts: int, hours: int) -> str:
    """The electricity that lamps use which burn so many hours, in kilowatt hours."""
    return f"{lamps * watts * hours // 1000} kWh"


@tool
def read_report(number: str) -> str:
    """The full text of a report, by its number (`R-1`)."""
    if number in _ON_LOAN:
        raise ToolException(f"Report {number} is on loan to {_ON_LOAN[number]}.")
    if number not in _REPORTS:
        raise ToolException(f"There is no report {number}.")
    return _REPORTS[number]


# The agent is told why it cannot have a report, and goes on without it.
read_report.handle_tool_error = True
