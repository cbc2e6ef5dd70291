"""What is strange, missing or not an answer at all: nothing raises, nothing is consumed, nothing is made up."""

import json
from dataclasses import dataclass, field
from unittest.mock import MagicMock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanloom import recording
from spanloom.testing import Recorder


class Untouchable:
    """A response of an HTTP client, as far as its properties go: each would read the body."""

    status_code = 200

    def _read(self):
        raise AssertionError("somebody has read the body")

    content = text = data = stream = raw = property(_read)

    def json(self):
        self._read()

    parse = read = json


class Broken:
    """Whatever is asked of it fails."""

    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "response",
    [
        *(None, 1, "text", b"bytes", [], {}, (), object(), Broken(), MagicMock(), iter([1]), print),
        *({"choices": [1, 2]}, {"choices": "abc"}, {"output": ["a"]}, {"message": "hello"}, {"type": "message"}),
        *({"type": ["message_start"]}, {"type": "error"}, {"error": None}, {"error": {}}, {"done": True}),
        *({"finish_reason": "stop", "message": {"role": "user"}}, {"candidates": None}, {"messageStart": 1, "b": 2}),
    ],
    ids=lambda response: str(response) if isinstance(response, (dict, str, int)) else type(response).__name__,
)
def test_what_is_no_answer_is_not_taken_for_one(desk, response):
    call = desk.call()

    assert recording.read(response, call) is False

    assert desk.told(call) == ({}, [])


def test_a_raw_http_response_is_not_read(desk):
    call = desk.call()

    assert recording.read(Untouchable(), call) is False

    assert desk.told(call) == ({}, [])


def test_the_clients_raw_responses_are_left_alone(desk):
    httpx = pytest.importorskip("httpx")
    openai = pytest.importorskip("openai")
    body = {"id": "c", "object": "chat.completion", "model": "m", "choices": []}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    with openai.OpenAI(api_key="none", http_client=httpx.Client(transport=transport)) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=[])
        call = desk.call()

        assert recording.read(raw, call) is False
        assert recording.read(raw.http_response, call) is False
        assert recording.read(raw.parse(), call) is True

    assert desk.told(call)[0]["gen_ai.response.id"] == "c"


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=4))
STRANGE = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)


def places(value, path=()):
    """Every place in nested data."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def put(value, path, strange):
    """The same data with something else in one place."""
    if not path:
        return strange
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], strange)
    return copy


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_strange_value_anywhere_loses_at_most_what_it_is_part_of(cases, make_desk, data):
    case = data.draw(st.sampled_from(cases), label="case")
    path = data.draw(st.sampled_from([*places(case.told)]), label="path")
    told = put(case.told, path, data.draw(STRANGE, label="strange"))
    desk = make_desk(Recorder())
    call = desk.call()
    assembler = recording.Assembler(call)

    for chunk in told if isinstance(told, list) else [told]:
        recording.read(chunk, make_desk(Recorder()).call())
        assembler.add(chunk)
    assembler.finish()

    attributes, output = desk.told(call)
    for key, value in attributes.items():
        assert isinstance(value, (str, int, list)), key
        assert value != ""
    for message in output:
        assert all(isinstance(part["type"], str) for part in message["parts"])


def test_items_before_the_first_known_one_are_passed_over(desk):
    call = desk.call()
    assembler = recording.Assembler(call)

    for item in ({"mine": 1}, object(), *CHUNKS):
        assembler.add(item)

    assert assembler.finish() is True
    assert desk.told(call)[0]["gen_ai.response.model"] == "m"


CHUNKS = [
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]},
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
]


def test_nobody_looks_for_ever_at_items_that_are_no_answer(desk):
    asked = []

    class Item:
        def __getattr__(self, name):
            asked.append(name)
            raise AttributeError(name)

    assembler = recording.Assembler(desk.call())
    for _ in range(64):
        assembler.add(Item())
    before = len(asked)
    for _ in range(64):
        assembler.add(Item())

    assert before == len(asked) > 64
    assert assembler.finish() is False
    desk.told(assembler._call)


def test_texts_are_an_answer_too_and_a_last_chunk_tells_the_usage(desk):
    call = desk.call()
    assembler = recording.Assembler(call)

    for item in ("Hel", "", "lo", {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}):
        assembler.add(item)
    assert assembler.finish() is True

    attributes, (message,) = desk.told(call)
    assert attributes == {"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2}
    assert message["parts"] == [{"type": "text", "content": "Hello"}]


def test_an_endless_answer_does_not_grow_without_end(desk):
    call = desk.call()
    assembler = recording.Assembler(call)

    for _ in range(64):
        assembler.add("word " * 10_000)

    kept = sum(len(piece) for choice in assembler._answer._choices.values() for piece in choice._blocks[0].pieces)
    assert kept < 1_200_000
    assembler.finish()
    assert len(json.dumps(desk.told(call)[1])) < 20_000


def test_what_the_response_does_not_tell_stays(desk):
    call = desk.call()
    call.response_id, call.response_model = "mine", "mine too"

    assert recording.read({"model": "m", "done": True, "message": {"content": "x"}}, call)

    assert desk.told(call)[0] == {"gen_ai.response.id": "mine", "gen_ai.response.model": "m"}


def test_an_errors_text_is_recorded_as_exceptions_are(desk):
    secret = "sk-" + "proj-" + "a1B2" * 10
    error = {"error": {"type": "invalid_request_error", "code": None, "message": f"Wrong key {secret}"}}
    for settings_, status in (({}, "invalid_request_error: Wrong key"), ({"exception_messages": False}, None)):
        call = desk.call(**settings_)
        assert recording.read(error, call)
        assert desk.told(call)[0]["error.type"] == "invalid_request_error"
        assert secret not in desk.status
        assert desk.status.startswith(status or "invalid_request_error")
        assert (":" in desk.status) is (status is not None)


def test_an_exception_after_an_error_as_data_has_the_last_word(desk):
    call = desk.call()
    recording.read({"error": {"code": "overloaded", "message": "Try later."}}, call)
    call.close(ValueError("gave up"))

    span = desk.recorder.only("chat m-1")
    assert (span.attributes["error.type"], span.status.description) == ("ValueError", "ValueError: gave up")


@dataclass
class Function:
    name: str
    arguments: str


@dataclass
class Call:
    function: Function
    id: str = "call_1"


@dataclass(slots=True)
class Message:
    content: str | None = None
    tool_calls: list = field(default_factory=list)


@dataclass
class Choice:
    message: Message
    finish_reason: str = "tool_calls"


@dataclass
class Response:
    choices: list
    model: str = "mine"


def test_dataclasses_of_the_programs_own_will_do(desk):
    call = desk.call()

    assert recording.read(Response([Choice(Message(None, [Call(Function("weather", '{"city": "Graz"}'))]))]), call)

    attributes, (message,) = desk.told(call)
    assert attributes["gen_ai.response.finish_reasons"] == ["tool_call"]
    assert message["parts"] == [{"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Graz"}}]


def test_arguments_stay_as_the_model_gave_them(desk):
    call, arguments = desk.call(), {"_id": None, "tags": [], "where": {"city": "Graz"}}
    told = {
        "model": "m",
        "done": True,
        "message": {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]},
    }

    assert recording.read(told, call)
    arguments["where"].clear()  # the program's business

    _, (message,) = desk.told(call)
    assert message["parts"][0]["arguments"] == {"_id": None, "tags": [], "where": {"city": "Graz"}}


def test_a_maze_of_objects_is_not_walked(desk):
    maze = [{}] * 100
    for corner in maze:
        corner["on"] = maze
    call = desk.call()

    assert recording.read({"type": "message", "content": [{"type": "odd", "maze": maze}]}, call)
    assert recording.messages([{"role": "user", "content": maze}])

    assert desk.told(call)[1][0]["parts"][0]["generic_type"] == "odd"
