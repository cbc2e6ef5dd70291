"""What was said to LangChain's chat models and by them, as the conventions have it."""

import json

import pytest
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool

from spanloom.config import Config

DATA = "QUJD" * 1_000
SECRET = "sk-" + "proj-" + "a1B2" * 10


@tool
def search(query: str) -> str:
    """Search the web."""
    return query


class Acme(FakeMessagesListChatModel):
    """Takes tools as they are."""

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=tools, **kwargs)


def said(span, what="input"):
    return json.loads(span.attributes[f"gen_ai.{what}.messages"])


def ask(recorder, given, answer=None):
    """The span of a call with these messages, and this answer."""
    recorder.clear()
    GenericFakeChatModel(messages=iter([answer or AIMessage("Hello")])).invoke(given)
    return recorder.only("chat")


def test_a_conversation_is_recorded_as_it_went(content):
    span = ask(
        content,
        [
            SystemMessage("Be brief."),
            HumanMessage("Find x", name="ann"),
            AIMessage("Searching.", tool_calls=[{"name": "search", "args": {"query": "x"}, "id": "c1"}]),
            ToolMessage("found", tool_call_id="c1", name="search"),
            FunctionMessage("old", name="search"),
            ChatMessage("well", role="critic"),
        ],
    )

    assert said(span) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "name": "ann", "parts": [{"type": "text", "content": "Find x"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Searching."},
                {"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "x"}},
            ],
        },
        {
            "role": "tool",
            "name": "search",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": "found"}],
        },
        {"role": "tool", "name": "search", "parts": [{"type": "tool_call_response", "response": "old"}]},
        {"role": "critic", "parts": [{"type": "text", "content": "well"}]},
    ]
    assert said(span, "output") == [
        {"role": "assistant", "finish_reason": "unknown", "parts": [{"type": "text", "content": "Hello"}]}
    ]


def test_tool_calls_that_the_content_has_as_well_are_recorded_once(content):
    call = {"name": "search", "args": {"query": "x"}, "id": "c1"}
    answer = AIMessage(
        [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "text", "text": "Searching."},
            {"type": "tool_use", "id": "c1", "name": "search", "input": {"query": "x"}},
        ],
        tool_calls=[call],
        invalid_tool_calls=[{"name": "search", "args": "{not json", "id": "c2", "error": "no JSON"}],
        response_metadata={"stop_reason": "tool_use"},
    )

    assert said(ask(content, "Hi", answer), "output") == [
        {
            "role": "assistant",
            "finish_reason": "tool_call",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "Searching."},
                {"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "x"}},
                {"type": "tool_call", "id": "c2", "name": "search", "arguments": "{not json"},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"reasoning_content": "Hm."}, {"type": "reasoning", "content": "Hm."}),
        ({"refusal": "No."}, {"type": "text", "content": "No."}),
    ],
)
def test_what_providers_put_beside_the_content_is_recorded(content, more, part):
    (message,) = said(ask(content, "Hi", AIMessage("", additional_kwargs=more)), "output")

    assert message["parts"] == [part]


def test_images_are_recorded_by_size_or_reference_and_never_by_content(content):
    span = ask(
        content,
        [
            HumanMessage(
                [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
                    {"type": "image", "url": "https://example.com/i.png"},
                ]
            ),
            ToolMessage([{"type": "image", "base64": DATA, "mime_type": "image/png"}], tool_call_id="c1"),
        ],
    )

    image = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "<3000 bytes>"}
    asked, answered = said(span)
    assert asked["parts"][1:] == [image, {"type": "uri", "modality": "image", "uri": "https://example.com/i.png"}]
    assert answered["parts"][0]["response"] == [image]
    assert DATA[:100] not in span.attributes["gen_ai.input.messages"]


def test_tools_that_are_offered_are_recorded(content):
    Acme(responses=[AIMessage("Hello")]).bind_tools([search, {"type": "web_search"}]).invoke("Hi")

    assert json.loads(content.only("chat").attributes["gen_ai.tool.definitions"]) == [
        {"type": "function", "name": "search"},
        {"type": "web_search", "name": "web_search"},
    ]


def test_a_long_history_stays_valid_and_bounded(on, recorder):
    history = [SystemMessage("Be brief."), *(HumanMessage(f"{number} " + "word " * 100) for number in range(200))]

    with on(Config(content=True, max_value_bytes=4_000)):
        span = ask(recorder, history)

    assert len(span.attributes["gen_ai.input.messages"].encode()) <= 4_000
    messages = said(span)
    assert [message["role"] for message in messages[:3]] == ["system", "omitted", "user"]
    assert messages[-1]["parts"][0]["content"].startswith("199 ")


def test_secrets_are_redacted(content):
    span = ask(content, f"My key is {SECRET}", AIMessage(f"{SECRET} is yours"))

    assert not any(SECRET in str(value) for value in span.attributes.values())
    assert "My key is" in span.attributes["gen_ai.input.messages"]


@pytest.mark.parametrize("config", [Config(), Config(content=True, capture=frozenset({"tools", "io", "state"}))])
def test_nothing_is_recorded_where_messages_are_not_captured(on, recorder, config):
    with on(config):
        model = GenericFakeChatModel(messages=iter([AIMessage("Hello"), AIMessage("Hello")])).bind(tools=[search])
        model.invoke("Hi")
        list(model.stream("Hi"))

    for span in recorder.named("chat"):
        assert not any(key.endswith((".messages", ".definitions", ".instructions")) for key in span.attributes)
        assert "Hello" not in str(dict(span.attributes))
