"""The conventions' messages: what builders make, what content is read as, and text that stays valid in any room."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanloom import messages, parts
from spanloom.capture import Capture
from spanloom.config import MIN_VALUE_BYTES, Config

CAPTURE = Capture(Config(content=True))
SECRET = "sk-" + "proj-" + "a1B2" * 10

# -- shapes ---------------------------------------------------------------------------------------------------------

REQUIRED = {
    "text": {"content": str},
    "reasoning": {"content": str},
    "tool_call": {"name": str},
    "tool_call_response": {"response": object},
    "server_tool_call": {"name": str, "server_tool_call": dict},
    "server_tool_call_response": {"server_tool_call_response": dict},
    "blob": {"modality": str, "content": str},
    "file": {"modality": str, "file_id": str},
    "uri": {"modality": str, "uri": str},
    "generic": {"generic_type": str},
}


def assert_parts(found):
    for part in found:
        for key, kind in REQUIRED[part["type"]].items():
            assert isinstance(part[key], kind), part


def assert_messages(found, *, answers=False):
    for message in found:
        assert isinstance(message["role"], str)
        assert not answers or isinstance(message["finish_reason"], str)
        assert_parts(message["parts"])


@pytest.fixture(scope="session")
def schema():
    """`schema("input-messages")(value)` raises unless the conventions' JSON Schema allows the value."""
    folder = Path(os.environ.get("SPANLOOM_SEMCONV_DIR", "/nonexistent"))
    if not folder.is_dir():
        pytest.skip("set SPANLOOM_SEMCONV_DIR to the folder with the conventions' gen-ai-*.json")
    jsonschema = pytest.importorskip("jsonschema")

    def validate(name):
        schema = json.loads((folder / f"gen-ai-{name}.json").read_text(encoding="utf-8"))
        return jsonschema.Draft202012Validator(schema).validate

    return validate


# -- any messages, any room -----------------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet='ä\n"\\x \ud800', max_size=400),
    st.integers(0, 20_000).map(lambda count: "word " * (count // 5)),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
short = st.text(max_size=300)
any_part = st.one_of(
    st.builds(messages.text, texts),
    st.builds(messages.reasoning, texts),
    st.builds(messages.tool_call, short, values, short),
    st.builds(messages.tool_call_response, values, short),
    st.builds(messages.server_tool_call, short, st.fixed_dictionaries({"type": short, "arguments": values})),
    st.builds(messages.media, st.sampled_from(["image", "audio"]), short, uri=texts),
    st.builds(messages.media, st.just("document"), file_id=short),
    st.builds(messages.media, st.just("image"), byte_count=st.integers(0, 10**9)),
    st.builds(messages.generic, short, values),
)
some_parts = st.lists(any_part, max_size=5)
rooms = st.integers(MIN_VALUE_BYTES, 20_000)


@given(st.lists(st.builds(messages.message, short, some_parts, short), max_size=12), rooms)
def test_messages_stay_messages_in_any_room(given_messages, room):
    written = messages.messages_text(CAPTURE, given_messages, room)

    assert len(written.encode()) <= room
    found = json.loads(written)
    assert_messages(found)
    kept = [message for message in found if message["role"] != "omitted"]
    assert len(kept) == len(given_messages) or any(message["role"] == "omitted" for message in found)


@given(st.lists(st.builds(messages.output, some_parts, st.none() | short), max_size=4), rooms)
def test_answers_always_have_a_finish_reason(answers, room):
    written = messages.messages_text(CAPTURE, answers, room)

    assert len(written.encode()) <= room
    assert_messages(json.loads(written), answers=True)


@given(some_parts, rooms)
def test_instructions_stay_parts_in_any_room(instructions, room):
    written = messages.parts_text(CAPTURE, instructions, room)

    assert len(written.encode()) <= room
    assert_parts(json.loads(written))


@given(
    st.lists(
        st.builds(messages.tool, short, st.sampled_from(["function", "web_search"]), texts, st.none() | values),
        max_size=8,
    ),
    rooms,
)
def test_tools_keep_type_and_name_in_any_room(offered, room):
    written = messages.tools_text(CAPTURE, offered, room)

    assert len(written.encode()) <= room
    assert all(isinstance(tool["type"], str) and isinstance(tool["name"], str) for tool in json.loads(written))


# -- what stays, and what goes --------------------------------------------------------------------------------------


def said(role, text):
    return messages.message(role, [messages.text(text)])


def words(found):
    return [(message["role"], message["parts"][0].get("content")) for message in found]


def test_what_fits_is_written_as_it_is():
    given_messages = [
        said("system", "Be brief."),
        messages.message("user", [messages.text("Look: ä\n"), messages.media("image", "image/png", uri="https://x/y")]),
        messages.message("assistant", [messages.tool_call("search", {"q": [1, None]}, "c1")], "Ann"),
        messages.message("tool", [messages.tool_call_response({"found": 2}, "c1")]),
    ]

    assert json.loads(messages.messages_text(CAPTURE, given_messages)) == given_messages


def test_one_long_message_is_shortened_and_the_others_stay_whole():
    given_messages = [said("system", "Be brief."), said("user", "long " * 10_000), said("assistant", "What?")]

    found = json.loads(messages.messages_text(CAPTURE, given_messages, 4_000))

    assert words(found)[0] == ("system", "Be brief.")
    assert words(found)[2] == ("assistant", "What?")
    shortened = words(found)[1][1]
    assert shortened.startswith("long long")
    assert shortened.endswith("… 50000 chars")
    assert len(shortened) > 3_000  # nobody else needs the room


def test_of_a_long_history_the_first_and_the_last_messages_stay():
    given_messages = [said("system", "Be brief."), *(said("user", f"{number} " * 100) for number in range(100))]

    found = json.loads(messages.messages_text(CAPTURE, given_messages, 4_000))

    assert words(found)[0] == ("system", "Be brief.")
    assert words(found)[1] == ("omitted", f"… {101 - len(found) + 1} messages left out")
    assert words(found)[-1] == ("user", "99 " * 100)
    assert len(found) > 10


def test_of_many_parts_a_mark_tells_how_many_are_missing():
    many = [messages.text(f"part {number} " + "x " * 100) for number in range(50)]

    (found,) = json.loads(messages.messages_text(CAPTURE, [messages.message("user", many)], 2_000))

    kept = found["parts"][:-1]
    assert kept[:-1] == many[: len(kept) - 1]  # the last one has had to be shortened
    assert found["parts"][-1] == messages.text(f"… {50 - len(kept)} parts left out")


def test_parameters_of_tools_go_before_their_descriptions():
    wide = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(500)}}
    offered = [messages.tool("wide", description="Does much.", parameters=wide), messages.tool("narrow", parameters={})]

    found = json.loads(messages.tools_text(CAPTURE, offered, 1_000))

    assert found == [
        {"type": "function", "name": "wide", "description": "Does much."},
        {"type": "function", "name": "narrow"},
    ]
    assert json.loads(messages.tools_text(CAPTURE, offered, 100_000))[0]["parameters"] == wide


def test_secrets_are_redacted_wherever_they_stand():
    given_messages = [
        said("user", f"my key is {SECRET}"),
        messages.message("assistant", [messages.tool_call("login", {"password": "hunter2", "note": SECRET}, SECRET)]),
    ]

    written = messages.messages_text(CAPTURE, given_messages)

    assert "hunter2" not in written
    assert SECRET not in written
    assert_messages(json.loads(written))


def test_a_redactor_that_fails_costs_the_text(lenient):
    def fail(text):
        raise ValueError(text)

    capture = Capture(Config(content=True, redactor=fail))

    assert messages.messages_text(capture, [said("user", "hello")]) is None
    assert messages.tools_text(capture, [messages.tool("search")]) is None
    assert len(lenient.lines) == 1


@pytest.mark.parametrize("name", ["input-messages", "output-messages"])
def test_the_conventions_schemas_allow_messages(schema, name):
    every = [
        messages.text("a"),
        messages.reasoning("b"),
        messages.tool_call("c", {"d": 1}, "e"),
        messages.tool_call("c", "not {json"),
        messages.tool_call_response("f", "e"),
        messages.tool_call_response([messages.text("g")]),
        messages.server_tool_call("web_search", {"type": "web_search", "arguments": {}}, "h"),
        messages.server_tool_call_response({"type": "web_search_tool_result", "response": []}, "h"),
        messages.media("image", "image/png", uri="gs://i"),
        messages.media("document", file_id="j"),
        messages.media("audio", byte_count=3),
        messages.generic("k", {"l": 1}),
    ]
    build = messages.message if name == "input-messages" else lambda role, parts, _: messages.output(parts, None, role)
    whole = [build("assistant", every, "m") for _ in range(20)]

    validate = schema(name)

    for room in (300, 1_000, 3_000, 100_000):
        validate(json.loads(messages.messages_text(CAPTURE, whole, room)))


def test_the_conventions_schemas_allow_instructions_and_tools(schema):
    offered = [
        messages.tool("a", description="b", parameters={"type": "object"}),
        messages.tool("c", "web_search"),
    ] * 20

    for room in (300, 1_000, 100_000):
        schema("tool-definitions")(json.loads(messages.tools_text(CAPTURE, offered, room)))
        instructions = json.loads(messages.parts_text(CAPTURE, [messages.text("d" * 200)] * 10, room))
        schema("system-instructions")(instructions)


# -- content of clients ---------------------------------------------------------------------------------------------

DATA = "QUJD" * 100  # 300 bytes


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (None, []),
        ("", []),
        ("hi", [messages.text("hi")]),
        (["a", "", {"type": "text", "text": "b"}], [messages.text("a"), messages.text("b")]),
        (
            [{"type": "input_text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
            [*map(messages.text, ["a", "no"])],
        ),
        ([{"text": "bedrock"}], [messages.text("bedrock")]),
        ([{"type": "thinking", "thinking": "hm", "signature": "x"}], [messages.reasoning("hm")]),
        ([{"type": "redacted_thinking", "data": DATA}], []),
        ([{"type": "reasoning", "summary": [{"text": "a"}, {"text": "b"}]}], [messages.reasoning("a\nb")]),
        ([{"reasoningContent": {"reasoningText": {"text": "hm"}}}], [messages.reasoning("hm")]),
        ([{"type": "tool_use", "id": "i", "name": "n", "input": {"a": 1}}], [messages.tool_call("n", {"a": 1}, "i")]),
        (
            [{"id": "i", "type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}],
            [messages.tool_call("n", "{}", "c")],
        ),
        ([{"toolUse": {"toolUseId": "i", "name": "n", "input": {}}}], [messages.tool_call("n", {}, "i")]),
        ([{"function_call": {"name": "n", "args": {}}}], [messages.tool_call("n", {})]),
        (
            [{"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text", "text": "r"}]}],
            [messages.tool_call_response("r", "i")],
        ),
        (
            [{"toolResult": {"toolUseId": "i", "content": [{"json": {"a": 1}}]}}],
            [messages.tool_call_response([{"json": {"a": 1}}], "i")],
        ),
        (
            [{"type": "server_tool_use", "id": "i", "name": "web_search", "input": {"q": "x"}}],
            [messages.server_tool_call("web_search", {"type": "web_search", "arguments": {"q": "x"}}, "i")],
        ),
        (
            [{"type": "web_search_tool_result", "tool_use_id": "i", "content": []}],
            [messages.server_tool_call_response({"type": "web_search_tool_result", "response": []}, "i")],
        ),
        ([{"type": "citation", "url": "u"}], [messages.generic("citation", {"url": "u"})]),
        ([{"type": "strange", "data": DATA * 10}], [messages.generic("strange", {"data": "<4000 characters>"})]),
        ([7], [messages.generic("int", 7)]),
    ],
)
def test_content_is_read_by_shape(content, read):
    assert parts.parts(content) == read


IMAGE = messages.media("image", "image/png", byte_count=300)


@pytest.mark.parametrize(
    ("block", "read"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}, IMAGE),
        ({"type": "image_url", "image_url": f"data:image/png;base64,{DATA}"}, IMAGE),
        ({"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}, IMAGE),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}, IMAGE),
        ({"type": "image", "base64": DATA, "mime_type": "image/png"}, IMAGE),
        ({"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"}, IMAGE),
        ({"type": "media", "data": DATA, "mime_type": "image/png"}, IMAGE),
        ({"inline_data": {"data": b"x" * 300, "mime_type": "image/png"}}, IMAGE),
        ({"image": {"format": "png", "source": {"bytes": b"x" * 300}}}, IMAGE),
        ({"type": "image_generation_call", "result": DATA}, messages.media("image", byte_count=300)),
        (
            {"type": "image_url", "image_url": {"url": "https://x/i.png", "detail": "low"}},
            messages.media("image", uri="https://x/i.png"),
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/i"}},
            messages.media("image", uri="https://x/i"),
        ),
        ({"type": "image", "source_type": "url", "url": "https://x/i"}, messages.media("image", uri="https://x/i")),
        ({"type": "input_image", "file_id": "f"}, messages.media("image", file_id="f")),
        ({"type": "file", "source_type": "id", "id": "f"}, messages.media("document", file_id="f")),
        (
            {"type": "input_audio", "input_audio": {"data": DATA[:-2] + "==", "format": "wav"}},
            messages.media("audio", "audio/wav", byte_count=298),
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}", "filename": "a.pdf"}},
            messages.media("document", "application/pdf", byte_count=300),
        ),
        (
            {"type": "media", "file_uri": "gs://v", "mime_type": "video/mp4"},
            messages.media("video", "video/mp4", uri="gs://v"),
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
            messages.text("plain"),
        ),
        ({"type": "text-plain", "text": "plain", "mime_type": "text/plain"}, messages.text("plain")),
        ({"type": "file"}, messages.media("document")),
    ],
)
def test_media_are_recorded_by_reference_or_size_and_never_by_content(block, read):
    (part,) = parts.parts([block])

    assert part == read
    assert DATA not in messages.parts_text(CAPTURE, [part])


@pytest.mark.parametrize("item", [messages, object(), int, len, {"name": "n"}])
def test_whatever_is_offered_as_a_tool_has_a_name(item):
    (tool,) = parts.tools([item])

    assert isinstance(tool["name"], str)
    assert tool["name"]


SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}


@pytest.mark.parametrize(
    ("definition", "read"),
    [
        (
            {"type": "function", "function": {"name": "n", "description": "d", "parameters": SCHEMA}},
            messages.tool("n", description="d", parameters=SCHEMA),
        ),
        ({"type": "function", "name": "n", "parameters": SCHEMA}, messages.tool("n", parameters=SCHEMA)),
        (
            {"name": "n", "description": "d", "input_schema": SCHEMA},
            messages.tool("n", description="d", parameters=SCHEMA),
        ),
        ({"toolSpec": {"name": "n", "inputSchema": {"json": SCHEMA}}}, messages.tool("n", parameters=SCHEMA)),
        ({"function_declarations": [{"name": "n", "parameters": SCHEMA}]}, messages.tool("n", parameters=SCHEMA)),
        ({"type": "web_search_20250305", "name": "web_search"}, messages.tool("web_search", "web_search_20250305")),
        ({"type": "code_interpreter"}, messages.tool("code_interpreter", "code_interpreter")),
    ],
)
def test_tool_definitions_are_read_by_shape(definition, read):
    assert parts.tools([definition]) == [read]


def test_no_tools_are_none():
    assert parts.tools(None) == parts.tools("search") == []
