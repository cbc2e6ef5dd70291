"""The loopback server as the real `openai` client sees it."""

import asyncio
import http.client
import json
import socket
import threading
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from spanloom.demo.embeddings import embed
from spanloom.demo.replies import Failure, Reply, ToolCall, content_text
from spanloom.demo.server import ModelServer

HELLO = [{"role": "user", "content": "Hello"}]
SEARCH = ToolCall("search", {"query": "second bulb", "limit": 2})
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]


def say(text):
    return lambda request: Reply(text)


def echo(request):
    return Reply("You said: " + content_text(request["messages"][-1]))


def test_a_completion_has_text_model_and_usage(ask):
    client = ask(say("Good morning to you"))

    answer = client.chat.completions.create(model="any", messages=HELLO)

    assert answer.model == "any"
    assert answer.choices[0].message.content == "Good morning to you"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


def test_the_same_request_gets_the_same_id_and_another_one_another(ask):
    client = ask(echo)

    ids = [
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": text}]).id
        for text in ("a", "a", "b")
    ]

    assert ids[0] == ids[1] != ids[2]


def test_a_stream_joins_to_the_text_and_ends_with_usage(ask):
    client = ask(say("Line one\n\n  line two \n"))
    options = {"include_usage": True}

    with client.chat.completions.create(model="any", messages=HELLO, stream=True, stream_options=options) as stream:
        chunks = list(stream)

    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Line one\n\n  line two \n"
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == "stop"
    assert all(c.usage is None for c in chunks[:-1])
    assert chunks[-1].choices == []
    whole = client.chat.completions.create(model="any", messages=HELLO).usage
    assert chunks[-1].usage == whole


def test_a_stream_has_no_usage_unless_asked(ask):
    client = ask(say("Hi"))

    with client.chat.completions.create(model="any", messages=HELLO, stream=True) as stream:
        chunks = list(stream)

    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_tool_calls_are_the_same_streamed_and_whole(ask):
    client = ask(lambda request: Reply(tool_calls=(SEARCH, ToolCall("search", {"query": "bridge"}))))

    whole = client.chat.completions.create(model="any", messages=HELLO, tools=TOOLS).choices[0]
    collected = {}
    with client.chat.completions.create(model="any", messages=HELLO, tools=TOOLS, stream=True) as stream:
        deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    for delta in deltas:
        call = collected.setdefault(delta.index, {"id": delta.id, "name": delta.function.name, "arguments": ""})
        call["arguments"] += delta.function.arguments

    assert whole.finish_reason == "tool_calls"
    assert whole.message.content is None
    assert json.loads(whole.message.tool_calls[0].function.arguments) == {"query": "second bulb", "limit": 2}
    assert whole.message.tool_calls[0].id != whole.message.tool_calls[1].id
    assert [c["name"] for c in collected.values()] == ["search", "search"]
    # The id is made from the request, which says whether it is streamed; the arguments are equal to the letter.
    assert [c["arguments"] for c in collected.values()] == [c.function.arguments for c in whole.message.tool_calls]


def test_later_turns_find_the_earlier_prompt_in_the_cache(ask):
    client = ask(say("Go on."))
    opening = [{"role": "user", "content": "word " * 100}]
    turns = [*opening, {"role": "assistant", "content": "Go on."}, {"role": "user", "content": "Yes."}]

    first = client.chat.completions.create(model="any", messages=opening).usage
    second = client.chat.completions.create(model="any", messages=turns).usage

    assert first.prompt_tokens_details.cached_tokens == 0
    assert 0 < second.prompt_tokens_details.cached_tokens <= first.prompt_tokens


def test_reasoning_tokens_count_as_completion_tokens(ask):
    client = ask(lambda request: Reply("Four", reasoning_tokens=30))

    usage = client.chat.completions.create(model="any", messages=HELLO).usage

    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (31, 30)


def test_content_may_be_parts(ask):
    client = ask(echo)
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "parts"}]

    answer = client.chat.completions.create(model="any", messages=[{"role": "user", "content": parts}])

    assert answer.choices[0].message.content == "You said: two parts"


def test_parallel_async_calls_get_their_own_answers(ask):
    base_url = ask(echo).base_url

    async def all_at_once():
        async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            calls = (
                client.chat.completions.create(model="any", messages=[{"role": "user", "content": str(i)}])
                for i in range(20)
            )
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(all_at_once()) == [f"You said: {i}" for i in range(20)]


def test_async_stream(ask):
    base_url = ask(say("one two three")).base_url

    async def read():
        async with (
            AsyncOpenAI(base_url=base_url, api_key="none") as client,
            await client.chat.completions.create(model="any", messages=HELLO, stream=True) as stream,
        ):
            return [chunk.choices[0].delta.content async for chunk in stream]

    assert asyncio.run(read()) == ["", "one", " two", " three", None]


def test_a_failure_is_an_openai_error_with_its_headers(ask):
    client = ask(lambda request: Failure(429, "Slow down.", type="requests", code="rate", headers={"Retry-After": "7"}))

    with pytest.raises(openai.RateLimitError, match=r"Slow down\.") as caught:
        client.chat.completions.create(model="any", messages=HELLO, stream=True)

    assert (caught.value.code, caught.value.type) == ("rate", "requests")
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_script_that_raises_is_a_server_error(ask):
    client = ask(lambda request: Reply(request["missing"]))

    with pytest.raises(openai.InternalServerError, match="KeyError: 'missing'"):
        client.chat.completions.create(model="any", messages=HELLO)


def test_a_prompt_beyond_the_context_window_is_refused(ask):
    client = ask(say("ok"), context_tokens=50)

    assert client.chat.completions.create(model="any", messages=HELLO).choices[0].message.content == "ok"
    with pytest.raises(openai.BadRequestError, match="50 tokens") as caught:
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "x" * 400}])

    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "arguments",
    [{"messages": []}, {"messages": [{"content": "no role"}]}, {"messages": HELLO, "n": 2}, {"model": ""}],
)
def test_bad_requests_name_the_parameter(ask, arguments):
    client = ask(say("ok"))

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "any", "messages": HELLO, **arguments})

    assert caught.value.param == list(arguments)[-1]


def test_embeddings_as_floats_and_base64_are_equal(ask):
    client = ask(say(""))
    texts = ["pair a bulb", "reset the bridge"]

    # Without a format the client asks for base64 and unpacks it.
    packed = client.embeddings.create(model="any", input=texts)
    floats = client.embeddings.create(model="any", input=texts, encoding_format="float")

    assert [len(item.embedding) for item in packed.data] == [256, 256]
    assert packed.data[1].embedding == pytest.approx(floats.data[1].embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == floats.usage.prompt_tokens == 7


def test_embeddings_take_one_text_and_dimensions(ask):
    client = ask(say(""))

    answer = client.embeddings.create(model="any", input="lamp", dimensions=8)

    assert sorted(answer.data[0].embedding) == [0.0] * 7 + [1.0]


@pytest.mark.parametrize("bad", [{"input": []}, {"input": [1, 2]}, {"input": "x", "dimensions": 0}])
def test_bad_embedding_requests_are_refused(ask, bad):
    client = ask(say(""))

    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="any", **bad)

    assert caught.value.param == list(bad)[-1]


def test_texts_that_share_words_are_close():
    def closeness(a, b):
        return sum(x * y for x, y in zip(embed(a), embed(b), strict=True))

    wanted = "How can I reset the bulb?"

    assert closeness(wanted, "Resetting bulbs") > closeness(wanted, "Delivery times") == 0.0
    assert closeness(wanted, wanted) == pytest.approx(1.0)
    assert embed("the of and") == [0.0] * 256


def test_models_are_listed(ask):
    client = ask(say(""), models=["small", "large"])

    assert [model.id for model in client.models.list()] == ["small", "large"]


def exchange(base_url, method, path, body=None, headers=()):
    """One raw exchange: the status and OpenAI's error object."""
    connection = http.client.HTTPConnection(urlsplit(str(base_url)).netloc)
    try:
        connection.request(method, path, body, {"Authorization": "Bearer none", **dict(headers)})
        response = connection.getresponse()
        return response.status, json.loads(response.read()).get("error")
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "words"),
    [
        ("GET", "/v1/nothing", None, {}, 404, "Invalid URL (GET /v1/nothing)"),
        ("POST", "/v1/nothing", b'{"model": "m"}', {}, 404, "Invalid URL (POST /v1/nothing)"),
        ("POST", "/v1/chat/completions", b"{", {}, 400, "parse the JSON"),
        ("POST", "/v1/chat/completions", b"[]", {}, 400, "JSON object"),
        ("POST", "/v1/chat/completions", b"{}", {}, 400, "model"),
        ("POST", "/v1/embeddings", b"{}", {"Authorization": "none"}, 401, "API key"),
        ("GET", "/v1/models", None, {"Authorization": "none"}, 401, "API key"),
        ("POST", "/v1/embeddings", None, {"Content-Length": "99999999999"}, 400, "Content-Length"),
    ],
)
def test_wrong_requests_get_openai_errors(ask, method, path, body, headers, status, words):
    got, error = exchange(ask(say("")).base_url, method, path, body, headers)

    assert got == status
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_nothing_is_left_when_the_server_ends():
    before = set(threading.enumerate())
    with ModelServer(say("words " * 20_000)) as server:
        client = OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        client.models.list()  # leaves a kept-alive connection, whose thread waits for the next request
        stream = client.chat.completions.create(model="any", messages=HELLO, stream=True)
        next(iter(stream))
        address = ("127.0.0.1", urlsplit(server.base_url).port)

    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.base_url
    stream.close()
    client.close()


def test_a_client_that_hangs_up_is_no_news(capfd):
    with (
        ModelServer(say("words " * 20_000)) as server,
        OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client,
        client.chat.completions.create(model="any", messages=HELLO, stream=True) as stream,
    ):
        first = next(iter(stream))

    assert first.choices[0].delta.role == "assistant"
    assert capfd.readouterr() == ("", "")
