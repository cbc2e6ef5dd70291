"""Calls of LangChain's chat models that are not streamed to their caller: one `chat` span each, whatever they go by."""

import asyncio
import types

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from opentelemetry.trace import SpanKind, StatusCode

from spanloom.config import Config
from spanloom_langgraph import _requests, _responses

USED = {
    "input_tokens": 30,
    "output_tokens": 12,
    "total_tokens": 42,
    "input_token_details": {"cache_read": 8, "cache_creation": 0},
    "output_token_details": {"reasoning": 5},
}
ANSWER = AIMessage(
    "Hello",
    usage_metadata=USED,
    response_metadata={"model_name": "m-1-0001", "finish_reason": "stop", "id": "r1"},
)


class ChatAcme(FakeMessagesListChatModel):
    """A model with the parameters that many have; it always gives the same answer."""

    responses: list = [ANSWER]
    model: str = "m-1"
    temperature: float = 0.5
    max_tokens: int = 100
    top_p: float | None = 0.9
    n: int = 1


class Broken(BaseChatModel):
    """Fails as often as it is told to, and then answers."""

    failures: int = 1_000
    error: type[BaseException] = ConnectionError

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if self.failures > 0:
            self.failures -= 1
            raise self.error("no line")
        return ChatResult(generations=[ChatGeneration(message=ANSWER)])

    @property
    def _llm_type(self):
        return "broken"


def chats(recorder):
    return [span for span in recorder.spans if span.name.startswith("chat")]


ASKED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "acme",
    "gen_ai.request.model": "m-1",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.max_tokens": 100,
    "gen_ai.request.top_p": 0.9,
}
ANSWERED = {
    "gen_ai.response.model": "m-1-0001",
    "gen_ai.response.id": "r1",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 30,
    "gen_ai.usage.output_tokens": 12,
    "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.usage.cache_write.input_tokens": 0,
    "gen_ai.usage.reasoning.output_tokens": 5,
}


def test_a_call_is_a_client_span_with_request_answer_and_usage(spans):
    model = ChatAcme()

    answer = model.invoke("Hi")

    assert answer is model.responses[0]
    (span,) = spans.spans
    assert (span.name, span.kind, span.status.status_code) == ("chat m-1", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.attributes == ASKED | ANSWERED
    assert type(span.attributes["gen_ai.request.max_tokens"]) is int


def test_arguments_of_the_call_count_before_those_of_the_model(spans):
    model = ChatAcme().bind(temperature=0, seed=7, stop=["end"], model="m-2", n=2)

    model.invoke("Hi", max_tokens=5)

    assert spans.only("chat m-2").attributes == ASKED | ANSWERED | {
        "gen_ai.request.model": "m-2",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("end",),
        "gen_ai.request.choice.count": 2,
    }


@pytest.mark.parametrize(
    "asked",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": dict},
        {"response_mime_type": "application/json"},
        {"response_schema": {"type": "OBJECT"}},
        {"format": "json"},
        {"format": {"properties": {}}},
        {"output_config": {"format": {"type": "json_schema"}}},
        {"text": {"format": {"type": "json_schema"}}},
    ],
)
def test_json_answers_are_told(spans, asked):
    ChatAcme().invoke("Hi", **asked)

    assert spans.only("chat m-1").attributes["gen_ai.output.type"] == "json"


@pytest.mark.parametrize("asked", [{"response_format": {"type": "text"}}, {"output_config": {"effort": "low"}}, {}])
def test_other_answers_are_not_told_to_be_json(spans, asked):
    ChatAcme().invoke("Hi", **asked)

    assert "gen_ai.output.type" not in spans.only("chat m-1").attributes


def test_every_way_to_call_gives_one_span_per_prompt(spans):
    model = ChatAcme()

    async def by_async():
        await model.ainvoke("Hi")
        await model.abatch(["a", "b"])
        await model.agenerate([[HumanMessage("a")], [HumanMessage("b")]])

    model.batch(["a", "b", "c"])
    model.generate([[HumanMessage("a")], [HumanMessage("b")]])
    list(model.stream("Hi"))  # it cannot stream
    (model | RunnableLambda(str)).invoke("Hi")
    asyncio.run(by_async())

    assert [span.name for span in spans.spans] == ["chat m-1"] * (3 + 2 + 1 + 1 + 5)
    assert all(span.attributes["gen_ai.usage.input_tokens"] == 30 for span in spans.spans)
    assert not any("gen_ai.request.stream" in span.attributes for span in spans.spans)


def test_calls_of_nodes_lie_under_their_nodes(spans, build, way):
    async def asks(state):
        return {"x": [(await ChatAcme().ainvoke("Hi")).content]}

    node = asks if way.kind == "async" else lambda state: {"x": [ChatAcme().invoke("Hi").content]}
    graph = build({"a": node, "b": node}, "START > a > b > END")

    assert way.invoke(graph, {"x": []}) == {"x": ["Hello", "Hello"]}
    assert (
        spans.tree()
        == """
invoke_workflow
  run_step a
    chat m-1
  run_step b
    chat m-1
"""
    )
    assert not any("langgraph.node" in span.attributes for span in spans.spans)


def test_a_node_without_a_span_is_named_on_the_call(spans, build, monkeypatch):
    monkeypatch.setattr(_requests, "_below_node", lambda: False)

    build({"a": lambda state: {"x": [ChatAcme().invoke("Hi").content]}}, "START > a > END").invoke({"x": []})

    assert spans.only("chat m-1").attributes["langgraph.node"] == "a"


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_an_error_is_the_calls_and_the_same_for_the_caller(spans):
    with pytest.raises(ConnectionError, match="no line"):
        Broken().invoke("Hi")

    (span,) = spans.spans
    assert span.attributes["error.type"] == "ConnectionError"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ConnectionError: no line")
    assert [event.name for event in span.events] == ["exception"]


def test_each_model_of_a_fallback_and_each_retry_is_a_call(spans):
    answer = (
        Broken(error=TimeoutError)
        .with_fallbacks([Broken(failures=1).with_retry(wait_exponential_jitter=False)])
        .invoke("Hi")
    )

    assert answer.content == "Hello"
    assert [span.attributes.get("error.type") for span in chats(spans)] == ["TimeoutError", "ConnectionError", None]
    assert [span.attributes.get("gen_ai.usage.input_tokens") for span in chats(spans)] == [None, None, 30]


def test_a_cancelled_call_is_cancelled(spans):
    async def give_up():
        asked = asyncio.Event()

        class Slow(Broken):
            async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
                asked.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(Slow().ainvoke("Hi"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())

    span = spans.only("chat")
    assert span.attributes["spanloom.status"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET


def test_nothing_is_recorded_below_a_run_that_is_not_sampled(on, recorder):
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from spanloom.testing import Recorder

    dropped = Recorder(sampler=ALWAYS_OFF)
    with on(Config(content=True), dropped.provider):
        assert ChatAcme().invoke("Hi").content == "Hello"
    assert dropped.spans == []


# -- models made of models ------------------------------------------------------------------------------------------


class Router(BaseChatModel):
    """Asks one model which other one to ask."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        ChatAcme(responses=[AIMessage("the big one", usage_metadata=USED)]).invoke(messages)
        answer = ChatAcme(model="m-2").invoke(messages)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @property
    def _llm_type(self):
        return "router"


def test_a_model_that_delegates_is_one_call_that_used_what_all_used(spans):
    assert Router().invoke("Hi").content == "Hello"

    (span,) = spans.spans
    assert span.name == "chat"
    assert span.attributes["gen_ai.provider.name"] == "router"
    assert span.attributes["gen_ai.response.id"] == "r1"
    assert span.attributes["gen_ai.usage.input_tokens"] == 60
    assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == 10


def test_a_call_that_opentelemetrys_own_instrumentation_records_is_theirs(spans):
    from langchain_core.callbacks import BaseCallbackHandler

    class Theirs(BaseCallbackHandler):
        """Opens a span when the call begins."""

    Theirs.__module__ = "opentelemetry.instrumentation.genai.langchain.callback_handler"

    ChatAcme().invoke("Hi", config={"callbacks": [Theirs()]})
    ChatAcme().invoke("Hi", config={"callbacks": [BaseCallbackHandler()]})

    assert len(spans.spans) == 1


# -- caches ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(BaseChatModel, "_convert_cached_generations"), reason="langchain-core before 0.3.83")
@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_from_the_cache_is_marked_and_used_nothing(spans, is_async):
    model = ChatAcme(cache=InMemoryCache())

    for _ in range(2):
        asyncio.run(model.ainvoke("Hi")) if is_async else model.invoke("Hi")

    asked, cached = spans.named("chat m-1")
    assert "langchain.cache_hit" not in asked.attributes
    assert asked.attributes["gen_ai.usage.input_tokens"] == 30
    assert cached.attributes["langchain.cache_hit"] is True
    assert cached.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert {key: value for key, value in cached.attributes.items() if "usage" in key} == {
        "gen_ai.usage.input_tokens": 0,
        "gen_ai.usage.output_tokens": 0,
    }


# -- words of providers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "provider"),
    [
        ("openai", "openai"),
        ("azure", "azure.ai.openai"),
        ("amazon_bedrock", "aws.bedrock"),
        ("google_genai", "gcp.gen_ai"),
        ("mistral", "mistral_ai"),
        ("xai", "x_ai"),
        ("NVIDIA", "nvidia"),
    ],
)
def test_providers_have_the_conventions_names(told, provider):
    assert _requests.provider(told) == provider


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        ({"input_tokens": 1, "output_tokens": 0}, (1, 0, None, None, None)),
        ({"input_tokens": 9, "output_token_details": {"reasoning": 0, "audio": 4}}, (9, None, None, None, 0)),
        (
            {
                "input_token_details": {
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 4,
                    "ephemeral_1h_input_tokens": 2,
                }
            },
            (None, None, None, 6, None),
        ),
        (
            {
                "input_token_details": {"priority_cache_read": 3, "priority": 7},
                "output_token_details": {"priority_reasoning": 2},
            },
            (None, None, 3, None, 2),
        ),
        ({"input_tokens": None, "output_tokens": True, "input_token_details": None}, (None,) * 5),
    ],
)
def test_usage_is_read_in_every_form(metadata, usage):
    assert _responses.usage_of(metadata) == usage


def test_usage_of_older_models_is_read_too(spans):
    class Old(Broken):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            told = {"token_usage": {"prompt_tokens": 3, "completion_tokens": 0}, "model_name": "old-1"}
            generations = [ChatGeneration(message=AIMessage(text)) for text in "ab"]
            return ChatResult(generations=generations, llm_output=told)

    Old().invoke("Hi")

    span = spans.only("chat")
    assert span.attributes["gen_ai.usage.input_tokens"] == 3
    assert span.attributes["gen_ai.usage.output_tokens"] == 0


@pytest.mark.parametrize(
    ("metadata", "calls_tools", "reason"),
    [
        ({"finish_reason": "tool_calls"}, True, "tool_call"),
        ({"stop_reason": "max_tokens"}, False, "length"),
        ({"stopReason": "end_turn"}, False, "stop"),
        ({"done_reason": "stop"}, False, "stop"),
        ({"status": "completed"}, True, "tool_call"),
        ({"status": "completed"}, False, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, False, "content_filter"),
        ({"status": "failed"}, False, "error"),
        ({"finish_reason": None}, False, None),
    ],
)
def test_finish_reasons_are_found_where_providers_put_them(metadata, calls_tools, reason):
    assert _responses.reason_of(metadata, calls_tools=calls_tools) == reason


# -- versions -------------------------------------------------------------------------------------------------------


def test_a_function_that_is_missing_costs_what_it_would_have_told(caplog):
    from spanloom.instrument import Patches, Telemetry
    from spanloom_langgraph._llms import patch_llms
    from spanloom_langgraph._models import patch_chat_models

    class BaseChatModel:
        def _generate_with_cache(self):
            """All that there is."""

        async def _agenerate_with_cache(self):
            """All that there is."""

        def stream(self):
            yield

    module = types.ModuleType("langchain_core.language_models.chat_models")
    module.BaseChatModel = BaseChatModel
    patches = Patches()
    patch_chat_models(module, Telemetry.create("test"), patches)
    patch_llms(module, Telemetry.create("test"), patches)

    lines = [record.getMessage() for record in caplog.records]
    assert patches.holds(BaseChatModel)
    assert lines[0].startswith("This version of langchain-core has no BaseChatModel.astream; streamed model calls are")
    assert len(lines) == 1 + 6
    patches.restore()
