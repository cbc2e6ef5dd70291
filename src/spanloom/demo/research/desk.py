# pyright: basic
# LangGraph's builders are typed only in part; their nodes' hints are read at run time.
"""The research desk: plan, research all parts at once, write, ask the editor, print."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, RetryPolicy, Send, StreamWriter, interrupt
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from .archive import Archive

_RESEARCHER = (
    "You research one question for a newspaper. Search the archive first, read reports that its notes name, and "
    "calculate with the tools. Then answer in one or two sentences, from what you found and nothing else."
)
_PLANNING = "Split the reader's question into two to four questions that an archive can answer."
_CHECKING = "Does the answer say something definite about the question?"
_WRITING = "Write a newspaper article of one short paragraph about the question, from these findings and nothing else."
_HEADLINE = "Write the headline of this article, in at most eight words."


class Plan(BaseModel):
    """The questions to research."""

    questions: list[str] = Field(min_length=1, max_length=4)


class Check(BaseModel):
    """Whether an answer is good enough for print."""

    definite: bool


class Finding(TypedDict):
    question: str
    answer: str
    definite: bool


class Findings(TypedDict):
    # Parts are researched at the same time, and each adds its own.
    findings: Annotated[list[Finding], operator.add]


class Article(Findings):
    question: str
    notes: int
    parts: list[str]
    text: str
    headline: str


class Part(MessagesState, Findings):
    """The state of the research into one part: the agent's conversation, and what came of it."""

    question: str


def build_research(model: BaseChatModel, archive: Archive) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The research into one part: an agent with tools, then a check of its answer."""
    checker = model.with_structured_output(Check)

    def check(state: Part) -> Findings:
        answer = state["messages"][-1].text
        verdict: Any = checker.invoke(
            [("system", _CHECKING), ("user", f"Question: {state['question']}\nAnswer: {answer}")]
        )
        return {"findings": [{"question": state["question"], "answer": answer, "definite": verdict.definite}]}

    research = StateGraph(Part, output_schema=Findings)
    research.add_node("researcher", create_agent(model, archive.tools(), system_prompt=_RESEARCHER, name="researcher"))
    research.add_node("check", check)
    research.add_edge(START, "researcher")
    research.add_edge("researcher", "check")
    research.add_edge("check", END)
    return research.compile(name="research")


def build_desk(model: BaseChatModel, archive: Archive) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The whole desk; its state is kept in memory, by thread."""
    planner = model.with_structured_output(Plan)

    def open_archive(state: Article) -> dict[str, Any]:
        return {"notes": archive.open()}

    def plan(state: Article) -> dict[str, Any]:
        planned: Any = planner.invoke([("system", _PLANNING), ("user", state["question"])])
        return {"parts": planned.questions}

    def assign(state: Article) -> list[Send]:
        return [Send("research", {"question": part, "messages": [("user", part)]}) for part in state["parts"]]

    def write(state: Article, writer: StreamWriter) -> dict[str, Any]:
        findings = "\n".join(f"- {found['answer']}" for found in state["findings"] if found["definite"])
        asked = [("system", f"{_WRITING}\n{findings}"), ("user", state["question"])]
        pieces: list[str] = []
        for chunk in model.stream(asked):
            pieces.append(chunk.text)
            writer(chunk.text)
        return {"text": "".join(pieces)}

    def approve(state: Article) -> Command[Literal["print", "__end__"]]:
        answer = interrupt({"question": "Print this?", "text": state["text"]})
        return Command(goto="print") if answer == "yes" else Command(goto="__end__")

    def to_print(state: Article) -> dict[str, Any]:
        return {"headline": model.invoke([("system", _HEADLINE), ("user", state["text"])]).text}

    desk = StateGraph(Article)
    desk.add_node("open_archive", open_archive)
    # A rate limit is waited out.
    desk.add_node("plan", plan, retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.2, jitter=False))
    desk.add_node("research", build_research(model, archive))
    desk.add_node("write", write)
    desk.add_node("approve", approve)
    desk.add_node("print", to_print)
    desk.add_edge(START, "open_archive")
    desk.add_edge("open_archive", "plan")
    desk.add_conditional_edges("plan", assign, ["research"])
    desk.add_edge("research", "write")
    desk.add_edge("write", "approve")
    desk.add_edge("print", END)
    return desk.compile(checkpointer=InMemorySaver(), name="research_desk")
