"""Retrievers: one `retrieval` span per call, its source, query and documents."""

import asyncio
import json

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from opentelemetry.trace import SpanKind, StatusCode

from spanloom.config import Config
from spanloom_langgraph import LangGraphInstrumentor

QUERY = "gen_ai.retrieval.query.text"
DOCUMENTS = "gen_ai.retrieval.documents"
SOURCE = "gen_ai.data_source.id"
TOP_K = "gen_ai.retrieval.top_k"


class Letters(Embeddings):
    """How often each letter occurs."""

    def embed_query(self, text):
        return [float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


class Fixed(BaseRetriever):
    documents: list = []
    error: object = None

    def _get_relevant_documents(self, query, *, run_manager):
        if self.error is not None:
            raise self.error
        return self.documents


def store():
    made = InMemoryVectorStore(Letters())
    made.add_documents([Document(id=word, page_content=f"{word} {word}") for word in ("tea", "coffee", "milk")])
    return made


def sync(retriever, query="tea"):
    return retriever.invoke(query)


def in_loop(retriever, query="tea"):
    return asyncio.run(retriever.ainvoke(query))


both = pytest.mark.parametrize("run", [sync, in_loop])


def retrievals(recorder):
    return [span for span in recorder.spans if span.name.startswith("retrieval")]


def documents(span):
    return json.loads(span.attributes[DOCUMENTS])


@both
def test_a_vector_store(run, spans):
    found = run(store().as_retriever(search_kwargs={"k": 2}))

    assert found[0].id == "tea"
    (span,) = retrievals(spans)
    assert (span.name, span.kind) == ("retrieval InMemoryVectorStore", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {"gen_ai.operation.name": "retrieval", SOURCE: "InMemoryVectorStore", TOP_K: 2}
    inner = [other for other in spans.spans if other.name == "embeddings" and other.parent]
    assert [other.parent.span_id for other in inner] == [span.context.span_id]


@both
def test_query_and_documents_with_content(run, content):
    run(store().as_retriever(search_kwargs={"k": 2}))
    (span,) = retrievals(content)
    assert span.attributes[QUERY] == "tea"
    first, second = documents(span)
    assert first == {"id": "tea", "content": "tea tea"}
    assert second["id"] == "coffee"


WAYS = {
    "invoke by keyword": lambda retriever: retriever.invoke(input="q"),
    "batch": lambda retriever: retriever.batch(["q"])[0],
    "stream": lambda retriever: next(iter(retriever.stream("q"))),
    "abatch": lambda retriever: asyncio.run(retriever.abatch(["q"]))[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_is_one_span(way, content):
    retriever = Fixed(documents=[Document("x")])
    assert WAYS[way](retriever) is retriever.documents
    assert content.tree() == "\nretrieval Fixed\n"
    assert content.spans[0].attributes[QUERY] == "q"


class Named:
    def __init__(self, **fields):
        vars(self).update(fields)


class OverStore(Fixed):
    vectorstore: object = None


@pytest.mark.parametrize(
    ("retriever", "source"),
    [
        (Fixed(), "Fixed"),
        (Fixed(name="handbook"), "handbook"),
        (OverStore(vectorstore=Named()), "Named"),
        (OverStore(vectorstore=Named(_collection_name="manuals")), "manuals"),
        (OverStore(vectorstore=Named(collection_name="manuals"), name="handbook"), "handbook"),
    ],
    ids=["class", "name", "store", "collection", "name before collection"],
)
def test_what_is_searched(retriever, source, spans):
    sync(retriever)
    assert spans.only(f"retrieval {source}").attributes[SOURCE] == source


class Counting(Fixed):
    k: object = None
    search_kwargs: dict = {}

    def _get_relevant_documents(self, query, *, run_manager, **kwargs):
        return []


@pytest.mark.parametrize(
    ("settings", "asked", "top_k"),
    [
        ({}, {}, None),
        ({"k": 3}, {}, 3),
        ({"k": 3, "search_kwargs": {"k": 4}}, {}, 4),
        ({"k": 3, "search_kwargs": {"k": 4}}, {"k": 5}, 5),
        ({"k": True}, {}, None),
        ({"k": "many"}, {}, None),
    ],
)
def test_how_many_are_asked_for(settings, asked, top_k, spans):
    Counting(**settings).invoke("q", **asked)
    assert spans.only("retrieval Counting").attributes.get(TOP_K) == top_k


def test_scores_and_ids_where_documents_have_them(content):
    found = [
        Document("a", id="1", metadata={"score": 0.5, "source": "secret.txt"}),
        Document("b", metadata={"id": 2, "relevance_score": 1}),
        Document("c", metadata={"score": "high"}),
    ]
    sync(Fixed(documents=found))
    assert documents(content.spans[0]) == [
        {"id": "1", "score": 0.5, "content": "a"},
        {"id": "2", "score": 1, "content": "b"},
        {"content": "c"},
    ]


def test_documents_share_the_bound(content):
    long, short = Document("x" * 100_000, id="long"), Document("y" * 2_000, id="short")
    sync(Fixed(documents=[long, short, long]))
    text = content.spans[0].attributes[DOCUMENTS]
    assert len(text) <= Config().max_value_bytes
    told = json.loads(text)
    assert [document["id"] for document in told] == ["long", "short", "long"]
    assert told[1]["content"] == short.page_content
    assert len(told[2]["content"]) > len(told[0]["content"]) > 4_000


def test_of_very_many_documents_the_first_ones(content):
    sync(Fixed(documents=[Document("text " * 50, id=str(number)) for number in range(500)]))
    text = content.spans[0].attributes[DOCUMENTS]
    assert len(text) <= Config().max_value_bytes + 32
    told = json.loads(text)
    assert told[0]["id"] == "0"
    assert told[-1] == {"omitted": 500 - len(told) + 1}


def test_secrets_are_redacted(content):
    secret = "Bearer abcdefghijklmnopqrstuvwxyz0123456789"
    sync(Fixed(documents=[Document(f"say {secret}")]), query=f"where is {secret}")
    assert "abcdefghijkl" not in str(dict(content.spans[0].attributes))


@pytest.mark.parametrize("odd", [None, "text", [None, 3, {"page_content": "x"}]], ids=str)
def test_results_that_are_no_documents(odd, content):
    class Odd(Fixed):
        def _get_relevant_documents(self, query, *, run_manager):
            return odd

    assert sync(Odd()) is odd
    assert content.only("retrieval Odd").status.status_code is StatusCode.UNSET


@both
def test_an_error_is_the_same_one_and_on_the_span(run, content):
    error = ValueError("no index")
    with pytest.raises(ValueError) as caught:
        run(Fixed(error=error))
    assert caught.value is error
    span = content.only("retrieval Fixed")
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert DOCUMENTS not in span.attributes


class Merging(BaseRetriever):
    """Has its own `invoke`, as some of LangChain's retrievers do."""

    parts: list

    def _get_relevant_documents(self, query, *, run_manager):
        return [document for part in self.parts for document in part.invoke(query)]

    def invoke(self, query, config=None, *, base):
        return super().invoke(query) if base else self._get_relevant_documents(query, run_manager=None)


@pytest.mark.parametrize("base", [False, True])
def test_a_retriever_with_an_invoke_of_its_own_is_one_span_over_its_parts(base, spans):
    Merging(parts=[Fixed(), Fixed(name="other")]).invoke("q", base=base)
    assert spans.tree() == "\nretrieval Merging\n  retrieval Fixed\n  retrieval other\n"


def test_a_retriever_that_is_a_tool(content):
    tool = create_retriever_tool(Fixed(documents=[Document("x")]), "search", "Searches.")
    assert tool.invoke({"query": "q"}) == "x"
    assert content.tree() == "\nexecute_tool search\n  retrieval Fixed\n"


def test_uninstrument_restores_every_class(recorder):
    def now():
        return dict(vars(BaseRetriever)), dict(vars(Merging))

    before = now()
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider)
    assert now() != before
    assert BaseRetriever.invoke is not before[0]["invoke"]

    class Late(Fixed):
        def invoke(self, query, config=None):
            return []

    original = Late.invoke.__wrapped__
    instrumentor.uninstrument()
    assert now() == before
    assert vars(Late)["invoke"] is original
    sync(Fixed())
    sync(Late())
    assert not recorder.spans
