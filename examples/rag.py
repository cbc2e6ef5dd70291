"""Answers from documents (RAG), with graded search results and better questions: a bicycle workshop's handbook.

A question is embedded and searched for. The model grades each hit; if none helps, it puts the question in other words
and the search runs again, twice at most. Then it answers from the hits that help, or says that the handbook is silent.

    python examples/offline.py python examples/rag.py              without a key or a network
    OPENAI_API_KEY=... python examples/rag.py                      with a real model
"""

from __future__ import annotations

import os
from typing import Literal, TypedDict

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel

HANDBOOK = {
    "tyres": "Tyre pressure: 4 bar for city tyres, 2 bar for wide tyres on gravel. Check the pressure every two weeks.",
    "chain": "Oil the chain every 200 km and after rain. Measure its wear with the gauge; replace it at 0.75 percent.",
    "brakes": "Replace brake pads when 1 mm is left. A squeaking disc brake is cleaned with alcohol, not oil.",
    "lights": "The dynamo light goes out when its contact is wet or corroded. Dry the contact and brush it clean.",
    "winter": "In winter, rinse road salt off the frame every week and keep the battery indoors, at 10 to 20 degrees.",
}
QUESTIONS = [
    "Which pressure do wide tyres need?",
    "Why does my e-bike only go half as far when it freezes?",
]
MOST_REWRITES = 2


class Grade(BaseModel):
    """Whether a passage helps to answer the question."""

    helps: bool


class Search(TypedDict, total=False):
    question: str
    query: str
    rewrites: int
    found: list[Document]
    helpful: list[Document]
    answer: str


def build_search(model: ChatOpenAI, retriever: BaseRetriever) -> CompiledStateGraph:
    grader = model.with_structured_output(Grade)

    def retrieve(state: Search) -> Search:
        return {"found": retriever.invoke(state["query"])}

    def grade(state: Search) -> Search:
        asked = [
            [
                ("system", "Does the passage help to answer the question?"),
                ("user", f"Question: {state['question']}\nPassage: {document.page_content}"),
            ]
            for document in state["found"]
        ]
        grades = grader.batch(asked)
        return {"helpful": [found for found, grade in zip(state["found"], grades, strict=True) if grade.helps]}

    def what_now(state: Search) -> Literal["answer", "rewrite"]:
        return "answer" if state["helpful"] or state["rewrites"] >= MOST_REWRITES else "rewrite"

    def rewrite(state: Search) -> Search:
        asked = [
            ("system", "Rewrite the question as a search in a bicycle handbook: a few key words, nothing else."),
            ("user", f"Question: {state['question']}\nSearched for so far: {state['query']}"),
        ]
        return {"query": model.invoke(asked).text, "rewrites": state["rewrites"] + 1}

    def answer(state: Search) -> Search:
        passages = "\n".join(document.page_content for document in state["helpful"]) or "(none)"
        asked = [
            ("system", f"Answer from these passages and nothing else, in one or two sentences.\n{passages}"),
            ("user", state["question"]),
        ]
        return {"answer": model.invoke(asked).text}

    search = StateGraph(Search)
    search.add_node("retrieve", retrieve)
    search.add_node("grade", grade)
    search.add_node("rewrite", rewrite)
    search.add_node("answer", answer)
    search.add_edge(START, "retrieve")
    search.add_edge("retrieve", "grade")
    search.add_conditional_edges("grade", what_now)
    search.add_edge("rewrite", "retrieve")
    search.add_edge("answer", END)
    return search.compile(name="handbook")


def main() -> None:
    embeddings = OpenAIEmbeddings(
        model=os.environ.get("OPENAI_EMBEDDING_MODEL") or "text-embedding-3-small",
        # The passages are short: no need to count their tokens, for which LangChain would download a vocabulary.
        check_embedding_ctx_length=False,
    )
    store = InMemoryVectorStore(embeddings)
    store.add_texts(list(HANDBOOK.values()), [{"chapter": chapter} for chapter in HANDBOOK])
    model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini")
    search = build_search(model, store.as_retriever(search_kwargs={"k": 2}))
    for question in QUESTIONS:
        print("Question:", question)
        result = search.invoke({"question": question, "query": question, "rewrites": 0})
        chapters = ", ".join(document.metadata["chapter"] for document in result["helpful"]) or "no chapter"
        print(f"Answer:   {result['answer']} ({chapters})")


if __name__ == "__main__":
    main()
