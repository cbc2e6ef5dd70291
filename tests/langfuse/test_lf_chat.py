"""Conversations: the conventions' messages in the form that Langfuse shows."""

import json

import pytest

from spanloom_langfuse._chat import chat_input, chat_output


@pytest.fixture
def called(tracer, langfuse):
    """`called(input=[...], output=[...], instructions=..., tools=...)`: what Langfuse stores of such a model call."""
    words = {
        "input": "gen_ai.input.messages",
        "output": "gen_ai.output.messages",
        "instructions": "gen_ai.system_instructions",
        "tools": "gen_ai.tool.definitions",
    }

    def call(**given):
        own = {words[key]: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
        tracer.start_span("chat m", attributes={"gen_ai.operation.name": "chat", **own}).end()
        return langfuse.observations[-1]

    return call


def text(content):
    return {"type": "text", "content": content}


def message(role, *parts, **more):
    return {"role": role, "parts": list(parts), **more}


def asked(*messages):
    return json.loads(chat_input(list(messages), None, None))


def test_a_conversation_with_a_tool(called):
    found = called(
        instructions=[text("Be brief.")],
        tools=[{"type": "function", "name": "add", "description": "Adds.", "parameters": {"type": "object"}}],
        input=[
            message("user", text("1 + 1?")),
            message("assistant", {"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 1, "b": 1}}),
            message("tool", {"type": "tool_call_response", "id": "c1", "response": {"sum": 2}}),
        ],
        output=[message("assistant", text("2"), finish_reason="stop")],
    )

    assert found.messages == [
        ("system", "Be brief."),
        ("user", "1 + 1?"),
        ("assistant", ["add"]),
        ("tool", '{"sum":2}'),
        ("assistant", "2"),
    ]
    assert found.tools == ["add"]
    assert json.loads(found.input)["messages"][2]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1,"b":1}'}}
    ]
    assert json.loads(found.input)["messages"][3]["tool_call_id"] == "c1"
    # With these the server would take the messages apart once more.
    assert not any(key.startswith(("gen_ai.tool.definitions", "gen_ai.input", "gen_ai.output")) for key in found.raw)


def test_one_half_alone(called):
    only_input = called(input=[message("user", text("hi"))])
    only_output = called(output=[message("assistant", text("hi"))])

    assert (only_input.messages, only_input.output) == ([("user", "hi")], None)
    assert (only_output.messages, only_output.input) == ([("assistant", "hi")], None)


def test_a_call_that_the_model_asks_for_is_a_call_of_the_output(called):
    found = called(output=[message("assistant", {"type": "tool_call", "name": "add", "arguments": '{"a":'})])

    assert json.loads(found.output)["tool_calls"] == [
        {"id": "", "type": "function", "function": {"name": "add", "arguments": '{"a":'}}
    ]


def test_several_choices(called):
    found = called(output=[message("assistant", text("a")), message("assistant", text("b"))])

    assert [one["content"] for one in json.loads(found.output)] == ["a", "b"]


def test_reasoning_is_shown_as_thinking():
    found = json.loads(chat_output([message("assistant", {"type": "reasoning", "content": "hm"}, text("yes"))]))

    assert found == {"role": "assistant", "content": "yes", "thinking": [{"type": "thinking", "content": "hm"}]}


def test_images_and_other_things():
    (found,) = asked(
        message(
            "user",
            text("Look:"),
            {"type": "uri", "modality": "image", "uri": "https://x/a.png"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "<1234 bytes>"},
            {"type": "uri", "modality": "audio", "mime_type": "audio/wav", "uri": "https://x/a.wav"},
            {"type": "file", "modality": "document", "file_id": "f-1"},
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": ""},
            {"type": "generic", "generic_type": "box", "content": {"a": 1}},
        )
    )

    assert found["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "text", "text": "[image image/png <1234 bytes>]"},
        {"type": "text", "text": "[audio audio/wav https://x/a.wav]"},
        {"type": "text", "text": "[document f-1]"},
        {"type": "text", "text": "[audio audio/wav]"},
        {"type": "text", "text": '{"type":"generic","generic_type":"box","content":{"a":1}}'},
    ]


def test_a_message_with_answers_of_tools_and_text_is_several():
    found = asked(
        message(
            "user",
            {"type": "tool_call_response", "id": "c1", "response": "one"},
            {"type": "tool_call_response", "id": "c2", "result": ["two"]},
            text("And now?"),
        )
    )

    assert found == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": '["two"]'},
        {"role": "user", "content": "And now?"},
    ]


def test_tools_that_the_provider_runs():
    found = asked(
        message(
            "assistant",
            {"type": "server_tool_call", "id": "s1", "name": "web", "server_tool_call": {"type": "web", "query": "x"}},
            {"type": "server_tool_call_response", "id": "s1", "server_tool_call_response": {"type": "web", "hits": 2}},
            text("So."),
        )
    )

    assert [one["role"] for one in found] == ["assistant", "tool"]
    assert found[0]["tool_calls"][0]["function"] == {"name": "web", "arguments": '{"type":"web","query":"x"}'}
    assert found[1]["content"] == '{"type":"web","hits":2}'


@pytest.mark.parametrize(
    ("role", "shown"),
    [
        ("developer", "system"),
        ("omitted", "system"),
        ("model", "assistant"),
        ("critic", "user"),
        ("tool", "tool"),
        ("", "user"),
    ],
)
def test_roles(role, shown):
    assert asked(message(role, text("x"), name=None)) == [{"role": shown, "content": "x"}]


def test_names_of_speakers():
    assert asked(message("user", text("x"), name="Ann")) == [{"role": "user", "content": "x", "name": "Ann"}]


def test_instructions_are_not_said_twice(called):
    found = called(instructions=[text("A")], input=[message("system", text("B")), message("user", text("x"))])

    assert found.messages == [("system", "B"), ("user", "x")]


@pytest.mark.parametrize(
    ("instructions", "shown"), [("Be brief.", "Be brief."), ('"Be brief."', "Be brief."), ('["a"]', "a"), ("3", "3")]
)
def test_instructions_of_other_forms(instructions, shown):
    assert json.loads(chat_input(None, instructions, None)) == [{"role": "system", "content": shown}]


def test_tools_of_other_forms():
    tools = [
        {"type": "function", "function": {"name": "a", "parameters": {}}},
        {"type": "web_search"},
        {"name": "b", "description": 3, "parameters": "cut…"},
        {},
        "x",
    ]

    assert json.loads(chat_input([], None, tools))["tools"] == [
        {"type": "function", "function": {"name": "a", "parameters": {}}},
        {"type": "web_search", "function": {"name": "web_search"}},
        {"type": "function", "function": {"name": "b"}},
    ]


def test_messages_in_chat_form_stay():
    own = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": []}]

    assert asked(*own) == own


@pytest.mark.parametrize("given", ['[{"role":"user","par', "hello", "7", '["a"]', "null"])
def test_what_is_no_conversation_stays_text(called, given):
    found = called(input=given, output=given)

    assert (found.input, found.output) == (given, given)


def test_nothing_said(called):
    found = called(input="[]", output="[]")

    assert (found.input, found.output) == ("[]", "[]")


def test_agents_of_other_instrumentations(tracer, langfuse):
    own = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.input.messages": json.dumps([message("user", text("hi"))]),
        "gen_ai.output.messages": json.dumps([message("assistant", text("ho"))]),
    }
    tracer.start_span("invoke_agent Ann", attributes=own).end()

    assert langfuse.observations[0].messages == [("user", "hi"), ("assistant", "ho")]


def test_messages_on_an_event(tracer, langfuse):
    span = tracer.start_span("chat m", attributes={"gen_ai.operation.name": "chat"})
    span.add_event(
        "gen_ai.client.inference.operation.details",
        {
            "gen_ai.input.messages": json.dumps([message("user", text("hi"))]),
            "gen_ai.system_instructions": json.dumps([text("Be brief.")]),
        },
    )
    span.end()

    assert langfuse.observations[0].messages == [("system", "Be brief."), ("user", "hi")]


def test_halves_of_surrogate_pairs_do_not_cost_the_batch(called):
    found = called(input='[{"role":"user","parts":[{"type":"text","content":"a\\ud800b"}]}]')

    assert found.messages == [("user", "a\ud800b")]
