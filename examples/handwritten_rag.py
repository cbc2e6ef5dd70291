"""Answers from documents without a framework: embeddings, a search, a better order, an answer.

Everything between the client's calls is the program's own: vectors in a list, a search by cosine, hits put into order
by words in common. One line each makes them the operations that they are.

    python examples/offline.py spanloom run examples/handwritten_rag.py      without a key or a network
    OPENAI_API_KEY=... spanloom run examples/handwritten_rag.py              with a real model
"""

from __future__ import annotations

import math
import os
import re

from openai import OpenAI

import spanloom

MODEL = os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini"
EMBEDDING_MODEL = os.environ.get("OPENAI_EMBEDDING_MODEL") or "text-embedding-3-small"
HANDBOOK = {
    "tyres": "Tyre pressure: 4 bar for city tyres, 2 bar for wide tyres on gravel. Check the pressure every two weeks.",
    "chain": "Oil the chain every 200 km and after rain. Measure its wear with the gauge; replace it at 0.75 percent.",
    "brakes": "Replace brake pads when 1 mm is left. A squeaking disc brake is cleaned with alcohol, not oil.",
    "lights": "The dynamo light goes out when its contact is wet or corroded. Dry the contact and brush it clean.",
}
QUESTIONS = ["Which pressure do wide tyres need?", "When is it time to replace the brake pads?"]


class Handbook:
    def __init__(self, client: OpenAI) -> None:
        self._client = client
        self._vectors = dict(zip(HANDBOOK, self._embed(list(HANDBOOK.values())), strict=True))

    def _embed(self, texts: list[str]) -> list[list[float]]:
        with spanloom.embeddings(EMBEDDING_MODEL, provider="openai") as call:
            call.input(texts)
            response = self._client.embeddings.create(model=EMBEDDING_MODEL, input=texts, encoding_format="float")
            call.record(response)
            return [row.embedding for row in response.data]

    def search(self, question: str, top_k: int) -> list[tuple[str, float]]:
        with spanloom.retrieval("handbook", top_k=top_k) as call:
            call.input(question)
            (asked,) = self._embed([question])
            scores = {chapter: cosine(asked, vector) for chapter, vector in self._vectors.items()}
            found = sorted(scores.items(), key=lambda pair: -pair[1])[:top_k]
            call.documents([{"id": chapter, "score": score, "text": HANDBOOK[chapter]} for chapter, score in found])
            return found


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other) or 1)


def in_common(question: str, text: str) -> int:
    words = [{word[:4] for word in re.findall(r"[a-z]{4,}", either.lower())} for either in (question, text)]
    return len(words[0] & words[1])


def rerank(question: str, chapters: list[str]) -> list[str]:
    with spanloom.rerank("words-in-common", provider="workshop", top_k=1) as call:
        call.input(question)
        best = sorted(chapters, key=lambda chapter: -in_common(question, HANDBOOK[chapter]))[:1]
        call.documents([{"id": chapter, "score": in_common(question, HANDBOOK[chapter])} for chapter in best])
        return best


@spanloom.workflow("handbook")
def answer(client: OpenAI, handbook: Handbook, question: str) -> str:
    spanloom.current().input(question)
    chapters = rerank(question, [chapter for chapter, _ in handbook.search(question, top_k=3)])
    passages = "\n".join(HANDBOOK[chapter] for chapter in chapters)
    messages = [
        {"role": "system", "content": f"Answer from these passages and nothing else, in one sentence.\n{passages}"},
        {"role": "user", "content": question},
    ]
    with spanloom.chat(MODEL, provider="openai", temperature=0) as call:
        call.input(messages)
        response = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
        call.record(response)
    said = response.choices[0].message.content
    spanloom.current().output(said)
    return f"{said} ({', '.join(chapters)})"


def main() -> None:
    with OpenAI() as client:
        handbook = Handbook(client)
        for question in QUESTIONS:
            print("Question:", question)
            print("Answer:  ", answer(client, handbook, question))


if __name__ == "__main__":
    main()
