"""Calls of LangChain's models that complete texts (`BaseLLM`): one `text_completion` span each."""

import asyncio
import json

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseLLM
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult


class AcmeLLM(BaseLLM):
    """Answers all prompts at once, as provider's models do."""

    model: str = "t-1"
    temperature: float = 0.5

    def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
        told = {"token_usage": {"prompt_tokens": 3, "completion_tokens": 4}, "model_name": "t-1-0001"}
        answers = [[Generation(text=prompt.upper(), generation_info={"finish_reason": "stop"})] for prompt in prompts]
        return LLMResult(generations=answers, llm_output=told)

    @property
    def _llm_type(self):
        return "acme"


class Telling(AcmeLLM):
    """Tells its listeners the tokens."""

    def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
        run_manager.on_llm_new_token("a")
        return super()._generate(prompts, stop, run_manager, **kwargs)

    async def _agenerate(self, prompts, stop=None, run_manager=None, **kwargs):
        await run_manager.on_llm_new_token("a")
        return super()._generate(prompts, stop, run_manager, **kwargs)


class Streaming(AcmeLLM):
    """Streams, and fails where it is told to."""

    fails: bool = False

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for word in prompt.split():
            yield GenerationChunk(text=word)
        if self.fails:
            raise ConnectionError("no line")


async def all_of(stream):
    return [item async for item in stream]


def said(span, key):
    return [part["content"] for message in json.loads(span.attributes[key]) for part in message["parts"]]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_completion_has_request_answer_and_usage(spans, is_async):
    model = AcmeLLM().bind(max_tokens=7)

    answer = asyncio.run(model.ainvoke("hi", stop=["x"])) if is_async else model.invoke("hi", stop=["x"])

    assert answer == "HI"
    (span,) = spans.spans
    assert span.name == "text_completion t-1"
    assert span.attributes == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "t-1",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.model": "t-1-0001",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
    }


def test_prompts_that_are_asked_at_once_are_one_call(content):
    assert AcmeLLM().batch(["a", "b"]) == ["A", "B"]
    assert asyncio.run(AcmeLLM().abatch(["a", "b"], config={"max_concurrency": 1})) == ["A", "B"]

    at_once, *one_by_one = content.named("text_completion t-1")
    assert len(one_by_one) == 2
    assert said(at_once, "gen_ai.input.messages") == ["a", "b"]
    assert said(at_once, "gen_ai.output.messages") == ["A", "B"]
    assert at_once.attributes["gen_ai.response.finish_reasons"] == ("stop", "stop")


@pytest.mark.parametrize("is_async", [False, True])
def test_streams_tell_their_first_chunk_and_text(content, is_async):
    model = Streaming()

    items = asyncio.run(all_of(model.astream("one two"))) if is_async else list(model.stream("one two"))

    assert items == ["one", "two"]
    span = content.only("text_completion t-1")
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert said(span, "gen_ai.input.messages") == ["one two"]
    assert said(span, "gen_ai.output.messages") == ["onetwo"]


def test_streams_that_fail_or_are_left_tell_what_had_arrived(content):
    with pytest.raises(ConnectionError):
        list(Streaming(fails=True).stream("one two"))
    left = Streaming().stream("one two")
    next(left)
    left.close()

    failed, closed = content.named("text_completion t-1")
    assert failed.attributes["error.type"] == "ConnectionError"
    assert said(failed, "gen_ai.output.messages") == ["onetwo"]
    assert closed.attributes["spanloom.status"] == "closed"
    assert said(closed, "gen_ai.output.messages") == ["one"]


def test_models_that_cannot_stream_are_called(spans):
    assert list(FakeListLLM(responses=["abc"]).stream("hi")) == ["abc"]
    assert asyncio.run(all_of(FakeListLLM(responses=["abc"]).astream("hi"))) == ["abc"]

    assert len(spans.named("text_completion")) == 2
    assert not any("gen_ai.request.stream" in span.attributes for span in spans.spans)


def test_models_of_langchain_that_stream_by_letters(spans):
    assert list(FakeStreamingListLLM(responses=["abc"]).stream("hi")) == ["a", "b", "c"]

    assert len(spans.spans) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_streams_inside_tells_its_first_chunk(spans, is_async):
    model = Telling()

    asyncio.run(model.ainvoke("hi")) if is_async else model.invoke("hi")

    assert spans.only("text_completion t-1").attributes["gen_ai.response.time_to_first_chunk"] > 0


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_from_the_cache_is_marked_and_used_nothing(spans, is_async):
    model = AcmeLLM(cache=InMemoryCache())

    def ask(*prompts):
        return asyncio.run(model.agenerate([*prompts])) if is_async else model.generate([*prompts])

    ask("a")
    ask("a")
    ask("a", "b")

    asked, cached, partly = spans.named("text_completion t-1")
    assert "langchain.cache_hit" not in asked.attributes
    assert cached.attributes["langchain.cache_hit"] is True
    assert cached.attributes["gen_ai.usage.input_tokens"] == 0
    assert "langchain.cache_hit" not in partly.attributes
    assert partly.attributes["gen_ai.usage.input_tokens"] == 3


def test_an_error_is_the_calls(spans):
    class Broken(AcmeLLM):
        def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
            raise ConnectionError("no line")

    with pytest.raises(ConnectionError):
        Broken().invoke("hi")

    assert spans.only("text_completion t-1").attributes["error.type"] == "ConnectionError"
