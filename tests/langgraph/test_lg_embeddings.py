"""Embedding models: one `embeddings` span per call, whoever calls whom, on classes old and new."""

import asyncio
import gc
import sys
import weakref

import pytest
import wrapt
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.load.serializable import Serializable
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

from spanloom import interop
from spanloom.config import Config
from spanloom.demo.server import ModelServer
from spanloom_langgraph import LangGraphInstrumentor
from spanloom_langgraph._embeddings import provider_of

DIMENSIONS = "gen_ai.embeddings.dimension.count"
METHODS = ("embed_query", "embed_documents", "aembed_query", "aembed_documents")


class Lengths(Embeddings):
    """Its synchronous methods only; one calls the other."""

    model = None

    def __init__(self, model=None):
        if model:
            self.model = model

    def embed_documents(self, texts):
        return [[float(len(text)), 1.0, 2.0] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


class Native(Lengths):
    """With asynchronous methods of its own."""

    async def aembed_documents(self, texts):
        await asyncio.sleep(0)
        return super().embed_documents(texts)

    async def aembed_query(self, text):
        return (await self.aembed_documents([text]))[0]


def ask(embedder, method):
    """Call it; texts as the method wants them."""
    given = "text" if method.endswith("query") else ["text", "longer"]
    if not method.startswith("a"):
        return getattr(embedder, method)(given)

    async def asked():
        try:
            return await getattr(embedder, method)(given)
        finally:
            client = getattr(embedder, "http_async_client", None)
            if client is not None:  # its connections belong to this event loop
                await client.aclose()

    return asyncio.run(asked())


def off(recorder, config=None):
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider, config=config or Config())
    return instrumentor


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Lengths, Native])
def test_one_span_per_call_whatever_calls_what(kind, method, spans):
    vectors = ask(kind("m1"), method)

    assert vectors == ([4.0, 1.0, 2.0] if method.endswith("query") else [[4.0, 1.0, 2.0], [6.0, 1.0, 2.0]])
    assert len(spans.spans) == 1
    span = spans.only("embeddings m1")
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": kind.__name__.lower(),
        "gen_ai.request.model": "m1",
        DIMENSIONS: 3,
    }


def test_texts_and_vectors_are_not_recorded(content):
    ask(Lengths("m1"), "embed_query")
    assert not [value for value in content.spans[0].attributes.values() if "text" in str(value)]


def test_calls_one_after_the_other_and_at_once_are_siblings(spans):
    embedder = Native("m1")

    async def both():
        with spans.provider.get_tracer("mine").start_as_current_span("outside"):
            embedder.embed_query("x")
            await asyncio.gather(embedder.aembed_query("x"), embedder.aembed_documents(["x"]))

    asyncio.run(both())
    assert spans.tree() == "\noutside\n" + "  embeddings m1\n" * 3


class Cached(Embeddings):
    """Delegates what it has not seen, as LangChain's own cache does."""

    def __init__(self, below):
        self.below = below
        self.seen = {}

    def embed_documents(self, texts):
        missing = [text for text in texts if text not in self.seen]
        if missing:
            self.seen.update(zip(missing, self.below.embed_documents(missing), strict=True))
        return [self.seen[text] for text in texts]

    def embed_query(self, text):
        return self.below.embed_query(text)


def test_a_model_that_delegates_is_one_span_of_the_model_that_worked(spans):
    cached = Cached(Lengths("m1"))
    ask(cached, "embed_documents")
    span = spans.only("embeddings m1")
    assert span.attributes["gen_ai.provider.name"] == "lengths"
    assert span.attributes["gen_ai.request.model"] == "m1"

    spans.clear()
    ask(cached, "embed_documents")  # all of them are known by now
    span = spans.only("embeddings")
    assert span.attributes["gen_ai.provider.name"] == "cached"
    assert span.attributes[DIMENSIONS] == 3


@pytest.mark.parametrize("method", METHODS)
def test_an_error_is_the_same_one_and_on_the_span(method, spans):
    error = ValueError("too long")

    class Failing(Lengths):
        def embed_documents(self, texts):
            raise error

    with pytest.raises(ValueError) as caught:
        ask(Failing("m1"), method)
    assert caught.value is error
    span = spans.only("embeddings m1")
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert DIMENSIONS not in span.attributes


@pytest.mark.parametrize("vectors", [None, [], iter([[1.0]]), {}], ids=["nothing", "empty", "iterator", "mapping"])
def test_results_that_are_no_vectors(vectors, spans):
    class Odd(Lengths):
        def embed_documents(self, texts):
            return vectors

    assert Odd("m1").embed_documents(["x"]) is vectors
    assert DIMENSIONS not in spans.only("embeddings m1").attributes
    if hasattr(vectors, "__next__"):
        assert next(vectors) == [1.0]


def test_arrays_of_numpy(spans):
    numpy = pytest.importorskip("numpy")

    class Arrays(Lengths):
        def embed_documents(self, texts):
            return numpy.zeros((len(texts), 5))

    Arrays("m1").embed_documents(["x"])
    assert spans.only("embeddings m1").attributes[DIMENSIONS] == 5


# -- classes -----------------------------------------------------------------------------------------------------


def test_langchain_s_own_and_pydantic_classes(spans):
    pytest.importorskip("numpy")
    DeterministicFakeEmbedding(size=4).embed_query("x")
    assert spans.only("embeddings").attributes[DIMENSIONS] == 4
    assert spans.only("embeddings").attributes["gen_ai.provider.name"] == "deterministicfake"


@pytest.mark.parametrize("bases", [(BaseModel, Embeddings), (Embeddings, BaseModel)], ids=["last", "first"])
def test_classes_made_later(bases, spans):
    made = type(
        "Later",
        bases,
        {
            "__module__": __name__,
            "__annotations__": {"model_name": str},
            "embed_documents": lambda self, texts: [[1.0]] * len(texts),
            "embed_query": lambda self, text: [1.0],
        },
    )
    made(model_name="m2").embed_query("x")
    assert spans.only("embeddings m2").attributes[DIMENSIONS] == 1


def test_subclasses_of_classes_made_later_and_their_keywords(spans):
    class Base(Embeddings):
        def __init_subclass__(cls, *, tag, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.tag = tag

        def embed_query(self, text):
            return [0.0]

        def embed_documents(self, texts):
            return [[0.0]]

    class Sub(Base, tag="t"):
        def embed_query(self, text):
            return [*super().embed_query(text), 1.0]

    assert Sub.tag == "t"
    assert Sub().embed_query("x") == [0.0, 1.0]
    assert spans.only("embeddings").attributes[DIMENSIONS] == 2
    with pytest.raises(TypeError, match="tag"):
        type("Without", (Base,), {})


def test_an_abstract_class_stays_abstract(spans):
    class Half(Embeddings):
        def embed_query(self, text):
            return [0.0]

    with pytest.raises(TypeError, match="embed_documents"):
        Half()


def test_uninstrument_restores_every_class(recorder):
    family = (Embeddings, Lengths, Native, Cached, DeterministicFakeEmbedding)

    def now():
        return [dict(vars(kind)) for kind in family]

    before = now()
    instrumentor = off(recorder)
    assert all(one != other for one, other in zip(now(), before, strict=True))

    class Late(Lengths):
        def embed_query(self, text):
            return [9.0]

    original = Late.embed_query.__wrapped__
    instrumentor.uninstrument()
    assert now() == before
    assert "__init_subclass__" not in vars(Embeddings)
    assert vars(Late)["embed_query"] is original
    assert (Late().embed_query("x"), Lengths().embed_query("x")) == ([9.0], [1.0, 1.0, 2.0])
    assert not recorder.spans


@wrapt.decorator
def proxied(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)


def wrapped(function):
    def theirs(self, text):
        return function(self, text)

    return theirs


@pytest.mark.parametrize("wrapper", [proxied, wrapped], ids=["proxy", "function"])
def test_somebody_else_s_wrappers_stay(wrapper, recorder):
    instrumentor = off(recorder)
    ours, our_hook = vars(Lengths)["embed_query"], vars(Embeddings)["__init_subclass__"]
    theirs = wrapper(ours)

    def their_hook(cls, **kwargs):
        our_hook.__get__(None, cls)(**kwargs)

    try:
        Lengths.embed_query = theirs
        Embeddings.__init_subclass__ = classmethod(their_hook)
        instrumentor.uninstrument()
        assert vars(Lengths)["embed_query"] is theirs
        assert Lengths("m1").embed_query("x") == [1.0, 1.0, 2.0]

        class Late(Lengths):
            def embed_query(self, text):
                return [9.0]

        assert not hasattr(Late.embed_query, "__wrapped__")
        assert not recorder.spans
    finally:
        Lengths.embed_query = ours.__wrapped__
        del Embeddings.__init_subclass__


def test_wrappers_below_ours_know_their_instance(recorder):
    instances = []

    class Wrapped(Lengths):
        def embed_query(self, text):
            return [8.0]

    @wrapt.decorator
    def theirs(wrapped, instance, args, kwargs):
        instances.append(instance)
        return wrapped(*args, **kwargs)

    Wrapped.embed_query = theirs(Wrapped.embed_query)
    before = vars(Wrapped)["embed_query"]
    instrumentor = off(recorder)
    embedder = Wrapped("m1")
    try:
        assert embedder.embed_query("x") == [8.0]
    finally:
        instrumentor.uninstrument()
    assert instances == [embedder]
    assert recorder.only("embeddings m1")
    assert vars(Wrapped)["embed_query"] is before


def test_classes_made_on_the_fly_are_not_kept_alive(spans):
    class Late(Lengths):
        def embed_query(self, text):
            return [9.0]

    Late("m1").embed_query("x")
    known = weakref.ref(Late)
    del Late
    gc.collect()
    assert known() is None


def test_unsampled_calls_have_no_span():
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from spanloom.testing import Recorder

    dropping = Recorder(sampler=ALWAYS_OFF)
    instrumentor = off(dropping)
    try:
        assert ask(Native(), "aembed_query") == [4.0, 1.0, 2.0]
    finally:
        instrumentor.uninstrument()
    assert not dropping.spans
    dropping.assert_closed()


# -- providers ---------------------------------------------------------------------------------------------------


def named(name, module, *bases):
    return type(name, bases or (Embeddings,), {"__module__": module})


@pytest.mark.parametrize(
    ("kind", "provider"),
    [
        (named("OpenAIEmbeddings", "langchain_openai.embeddings.base"), "openai"),
        (named("AzureOpenAIEmbeddings", "langchain_openai.embeddings.azure"), "azure.ai.openai"),
        (named("BedrockEmbeddings", "langchain_aws.embeddings.bedrock"), "aws.bedrock"),
        (named("CohereEmbeddings", "langchain_cohere.embeddings"), "cohere"),
        (named("GoogleGenerativeAIEmbeddings", "langchain_google_genai.embeddings"), "gcp.gen_ai"),
        (named("MistralAIEmbeddings", "langchain_mistralai.embeddings"), "mistral_ai"),
        (named("Ours", "app", named("OpenAIEmbeddings", "langchain_openai.embeddings.base")), "openai"),
        (named("SentenceEmbeddings", "app"), "sentence"),
        (named("MixedEmbeddings", "app", Serializable, Embeddings), "mixed"),
        (named("Embeddings", "app"), "embeddings"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_providers(kind, provider):
    assert provider_of(kind, Embeddings) == provider


# -- with a provider's own client --------------------------------------------------------------------------------


@pytest.fixture
def server():
    with ModelServer(lambda _request: None) as running:
        yield running


@pytest.fixture
def openai_embeddings(server):
    module = pytest.importorskip("langchain_openai")
    httpx = pytest.importorskip("httpx")
    with httpx.Client() as client:
        yield module.OpenAIEmbeddings(
            model="text-embedding-3-small",
            base_url=server.base_url,
            api_key="none",
            dimensions=8,
            check_embedding_ctx_length=False,  # else it fetches a tokenizer
            http_client=client,
            http_async_client=httpx.AsyncClient(),
        )


@pytest.fixture
def official(recorder):
    """The official instrumentation of the OpenAI client, recording in the same place."""
    module = pytest.importorskip("opentelemetry.instrumentation.genai.openai")
    instrumentor = module.OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider)
    yield instrumentor
    instrumentor.uninstrument()


@pytest.mark.parametrize("method", METHODS)
def test_openai_s_client(method, openai_embeddings, spans):
    assert len(ask(openai_embeddings, method)) in (2, 8)
    span = spans.only("embeddings text-embedding-3-small")
    assert len(spans.spans) == 1
    assert span.attributes["gen_ai.provider.name"] == "openai"
    assert span.attributes[DIMENSIONS] == 8


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_with_the_official_instrumentation_below_one_span_that_knows_what_both_know(
    method, ours_first, openai_embeddings, server, recorder, request
):
    if ours_first:
        instrumentor = off(recorder)
        request.getfixturevalue("official")
    else:
        request.getfixturevalue("official")
        instrumentor = off(recorder)
    try:
        ask(openai_embeddings, method)
    finally:
        instrumentor.uninstrument()
    assert len(recorder.spans) == 1
    span = recorder.only("embeddings text-embedding-3-small")
    assert span.instrumentation_scope.name == "spanloom_langgraph"
    assert span.attributes["gen_ai.usage.input_tokens"] > 0
    assert span.attributes["gen_ai.response.model"] == "text-embedding-3-small"
    assert span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes[DIMENSIONS] == 8


def test_a_delegating_model_with_the_official_instrumentation(openai_embeddings, official, spans):
    ask(Cached(openai_embeddings), "embed_documents")
    assert len(spans.spans) == 1
    span = spans.only("embeddings text-embedding-3-small")
    assert span.attributes["gen_ai.provider.name"] == "openai"
    assert span.attributes["gen_ai.usage.input_tokens"] > 0


def test_what_an_official_instrumentation_has_opened_is_its_own(openai_embeddings, official, spans):
    handler = pytest.importorskip("opentelemetry.util.genai.handler").TelemetryHandler(tracer_provider=spans.provider)
    with handler.embedding("openai", request_model="theirs"):
        ask(openai_embeddings, "embed_query")
    assert len(spans.spans) == 1
    span = spans.only("embeddings theirs")
    assert span.instrumentation_scope.name != "spanloom_langgraph"
    assert span.attributes["gen_ai.usage.input_tokens"] > 0


def test_below_a_tool_an_embedding_is_a_call_of_its_own(openai_embeddings, official, spans):
    from langchain_core.tools import tool

    @tool
    def similar(text: str) -> int:
        """Finds similar ones."""
        return len(openai_embeddings.embed_query(text))

    class Asking(Lengths):
        def embed_query(self, text):
            return [float(similar.invoke({"text": text}))]

    assert Asking("outer").embed_query("x") == [8.0]
    assert spans.tree() == "\nembeddings outer\n  execute_tool similar\n    embeddings text-embedding-3-small\n"
    assert "gen_ai.usage.input_tokens" not in spans.only("embeddings outer").attributes


def test_a_changed_package_costs_one_line_only(spans, monkeypatch, caplog):
    class Changed:
        pass

    monkeypatch.setattr(interop.EMBEDDING, "_found", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.invocation", Changed())
    for _ in range(2):
        ask(Lengths("m1"), "embed_query")
    assert len(spans.named("embeddings m1")) == 2
    assert [record.getMessage() for record in caplog.records if record.name == "spanloom"] == [
        "This version of opentelemetry-util-genai records embeddings that spanloom records too a second time. "
        "Upgrade it: pip install 'opentelemetry-util-genai>=1.3b0'"
    ]
