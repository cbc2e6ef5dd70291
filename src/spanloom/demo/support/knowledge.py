# pyright: basic, reportUnusedExpression=false
# PocketFlow's stubs give its classes type parameters that the real classes do not take; flows are wired by
# expressions.
"""The knowledge base, and the flow that fills it with the help articles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow import BatchNode, Flow, Node

from .data import read_rows

if TYPE_CHECKING:
    from .model import Model

_ARTICLES_PER_REQUEST = 4


class KnowledgeBase:
    """Articles and their vectors, kept in memory."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._entries: list[tuple[dict[str, Any], list[float]]] = []

    def add(self, articles: list[dict[str, Any]]) -> None:
        """Embed some articles, in one request, and keep them."""
        vectors = self._model.embed([f"{article['title']}. {article['text']}" for article in articles])
        self._entries.extend(zip(articles, vectors, strict=True))

    def search(self, query: str, limit: int = 2) -> list[dict[str, Any]]:
        """The articles closest to the query, best first."""
        (wanted,) = self._model.embed([query])

        def closeness(entry: tuple[dict[str, Any], list[float]]) -> float:
            return sum(a * b for a, b in zip(entry[1], wanted, strict=True))

        return [article for article, _ in sorted(self._entries, key=closeness, reverse=True)[:limit]]


class ReadArticles(Node):
    def exec(self, prep_res: None) -> list[dict[str, Any]]:
        return read_rows("articles")

    def post(self, shared: dict[str, Any], prep_res: None, exec_res: list[dict[str, Any]]) -> None:
        shared["articles"] = exec_res


class EmbedArticles(BatchNode):
    """A few articles per request; each batch item is one request."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        super().__init__(max_retries=2, wait=0.2)
        self.knowledge = knowledge

    def prep(self, shared: dict[str, Any]) -> list[list[dict[str, Any]]]:
        articles = shared["articles"]
        starts = range(0, len(articles), _ARTICLES_PER_REQUEST)
        return [articles[start : start + _ARTICLES_PER_REQUEST] for start in starts]

    def exec(self, prep_res: list[dict[str, Any]]) -> int:
        self.knowledge.add(prep_res)
        return len(prep_res)


class IndexFlow(Flow):
    """Read all articles and embed them."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        read = ReadArticles()
        read >> EmbedArticles(knowledge)
        super().__init__(start=read)
