"""What a model is asked, in every client's form, is the same messages of the conventions."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from spanloom import messages as convention
from spanloom import recording
from spanloom.capture import Capture
from spanloom.config import Config


def text(content):
    return {"type": "text", "content": content}


CALL = {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Graz"}}
ANSWER = {"type": "tool_call_response", "id": "call_1", "response": "Rain."}
TALK = [
    {"role": "system", "parts": [text("Be brief.")]},
    {"role": "user", "parts": [text("Graz?")]},
    {"role": "assistant", "parts": [CALL]},
    {"role": "tool", "parts": [ANSWER]},
]
PNG = "data:image/png;base64,iVBORw0KGgo="
BLOB = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "<8 bytes>"}

FORMS = {
    "openai chat": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Graz?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Graz"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    ],
    "openai responses": [
        {"role": "system", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Graz?"}]},
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city": "Graz"}',
            "id": "fc_1",
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
    ],
    "langchain": [
        {"type": "system", "content": "Be brief."},
        {"type": "human", "content": "Graz?"},
        {"type": "ai", "content": "", "tool_calls": [{"name": "weather", "args": {"city": "Graz"}, "id": "call_1"}]},
        {"type": "tool", "content": "Rain.", "tool_call_id": "call_1"},
    ],
    "the convention": TALK,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_talk_in_every_form(form, spaced):
    assert recording.messages(FORMS[form]) == TALK
    assert recording.messages(spaced(FORMS[form])) == TALK


def test_anthropics_blocks():
    given = [
        {"role": "user", "content": [{"type": "text", "text": "Look."}, {"type": "image", "source": {"type": "base64",
         "media_type": "image/png", "data": "iVBORw0KGgo="}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
         {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Graz"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text",
         "text": "Rain."}]}]},
    ]  # fmt: skip

    assert recording.messages(given) == [
        {"role": "user", "parts": [text("Look."), BLOB]},
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm."}, CALL]},
        {"role": "user", "parts": [ANSWER]},
    ]


@pytest.mark.parametrize("camel", [False, True])
def test_googles_contents(camel):
    call, answer, data, mime = (
        ("functionCall", "functionResponse", "inlineData", "mimeType")
        if camel
        else ("function_call", "function_response", "inline_data", "mime_type")
    )
    given = [
        {"role": "user", "parts": [{"text": "Graz?"}, {data: {mime: "image/png", "data": "iVBORw0KGgo="}}]},
        {
            "role": "model",
            "parts": [
                {"thought": True, "text": "Hm."},
                {"thought_signature": b"sig", call: {"id": "call_1", "name": "weather", "args": {"city": "Graz"}}},
            ],
        },
        {"role": "user", "parts": [{answer: {"id": "call_1", "name": "weather", "response": "Rain."}}]},
    ]

    assert recording.messages(given) == [
        {"role": "user", "parts": [text("Graz?"), BLOB]},
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm."}, CALL]},
        {"role": "user", "parts": [ANSWER]},
    ]


def test_bedrocks_blocks():
    image = {"image": {"format": "png", "source": {"bytes": b"12345678"}}}
    call = {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Graz"}}}
    given = [
        {"role": "user", "content": [{"text": "Graz?"}, image]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": "Rain."}}]},
    ]

    assert recording.messages(given) == [
        {"role": "user", "parts": [text("Graz?"), BLOB]},
        {"role": "assistant", "parts": [CALL]},
        {"role": "user", "parts": [ANSWER]},
    ]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("Graz?", [text("Graz?")]),
        (["Look.", "Well?"], [text("Look."), text("Well?")]),
        ({"text": "Graz?"}, [text("Graz?")]),
        (text("Graz?"), [text("Graz?")]),
        ({"role": "user", "content": "Graz?"}, [text("Graz?")]),
        ({"content": "Graz?"}, [text("Graz?")]),
        ([{"type": "image_url", "image_url": {"url": PNG}}], [BLOB]),
        (
            [{"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}],
            [{"type": "uri", "modality": "image", "uri": "https://example.org/a.png"}],
        ),
        ({"type": "input_image", "file_id": "file-1"}, [{"type": "file", "modality": "image", "file_id": "file-1"}]),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRiQA", "format": "wav"}},
            [{"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "<6 bytes>"}],
        ),
        (
            {"role": "user", "content": "This?", "images": ["iVBORw0KGgo=", b"123"]},
            [
                text("This?"),
                {"type": "blob", "modality": "image", "content": "<8 bytes>"},
                {"type": "blob", "modality": "image", "content": "<3 bytes>"},
            ],
        ),
    ],
    ids=str,
)
def test_what_the_user_says(given, parts):
    assert recording.messages(given) == [{"role": "user", "parts": parts}]


def test_texts_between_messages_are_messages_of_their_own():
    given = ["One", {"role": "model", "parts": [{"text": "Two"}]}, "Three", {"text": "Four"}]

    assert recording.messages(given) == [
        {"role": "user", "parts": [text("One")]},
        {"role": "assistant", "parts": [text("Two")]},
        {"role": "user", "parts": [text("Three"), text("Four")]},
    ]


def test_earlier_answers_of_every_kind():
    (refused,) = recording.messages({"role": "assistant", "content": None, "refusal": "No."})
    (thought,) = recording.messages({"role": "assistant", "content": "4", "reasoning_content": "2 and 2."})
    (spoken,) = recording.messages({"role": "assistant", "content": None, "audio": {"id": "audio_7"}})
    (older,) = recording.messages({"role": "assistant", "function_call": {"name": "weather", "arguments": "{}"}})

    assert refused["parts"] == [text("No.")]
    assert thought["parts"] == [{"type": "reasoning", "content": "2 and 2."}, text("4")]
    assert spoken["parts"] == [{"type": "file", "modality": "audio", "file_id": "audio_7"}]
    assert older["parts"] == [{"type": "tool_call", "name": "weather", "arguments": {}}]


def test_names_of_speakers_are_kept():
    (said,) = recording.messages([{"role": "user", "name": "Ada", "content": "Hi"}])

    assert said == {"role": "user", "name": "Ada", "parts": [text("Hi")]}


@dataclass
class Picture:
    pixels: bytes = b"1234"


@pytest.mark.parametrize("given", [None, [], "", 42, object(), [Picture(), "Look"], [[1, 2]], {"a": 1}, [None], b"raw"])
def test_what_is_nobodys_form_is_never_lost_nor_raises(given):
    found = recording.messages(given)

    assert all(message["role"] == "user" for message in found)
    assert Capture(Config(content=True)).json(found) is not None
    assert bool(found) is (given not in (None, [], [None], ""))


def test_the_openai_clients_own_messages():
    chat = pytest.importorskip("openai.types.chat")
    function = {"name": "weather", "arguments": '{"city": "Graz"}'}
    said = chat.ChatCompletionMessage.model_validate(
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    )

    assert recording.messages([{"role": "user", "content": "Graz?"}, said]) == TALK[1:3]


def test_the_google_clients_own_contents():
    types = pytest.importorskip("google.genai.types")
    given = [
        types.UserContent(parts=["Graz?", types.Part.from_bytes(data=b"12345678", mime_type="image/png")]),
        types.ModelContent(parts=[types.Part.from_function_call(name="weather", args={"city": "Graz"})]),
    ]

    assert recording.messages(given) == [
        {"role": "user", "parts": [text("Graz?"), BLOB]},
        {"role": "assistant", "parts": [{key: value for key, value in CALL.items() if key != "id"}]},
    ]


def test_langchains_own_messages():
    said = pytest.importorskip("langchain_core.messages")
    given = [
        said.SystemMessage("Be brief."),
        said.HumanMessage("Graz?"),
        said.AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Graz"}, "id": "call_1"}]),
        said.ToolMessage("Rain.", tool_call_id="call_1"),
    ]

    assert recording.messages(given) == TALK


def test_all_of_it_is_valid_against_the_conventions_schema(cases):
    folder = Path(os.environ.get("SPANLOOM_SEMCONV_DIR", "/nonexistent"))
    if not folder.is_dir():
        pytest.skip("set SPANLOOM_SEMCONV_DIR to the folder with the conventions' gen-ai-*.json")
    jsonschema = pytest.importorskip("jsonschema")
    capture = Capture(Config(content=True))

    def check(name, messages):
        schema = json.loads((folder / f"gen-ai-{name}.json").read_text(encoding="utf-8"))
        told = json.loads(convention.messages_text(capture, messages))
        assert not list(jsonschema.Draft202012Validator(schema).iter_errors(told))

    for form in FORMS.values():
        check("input-messages", recording.messages(form))
    for case in cases:
        check("output-messages", case.output)
