"""A model call's span: what is known of the answer, calls made of calls, parameters, finish reasons."""

import asyncio
import gc
import json
import re
import weakref

import pytest
from opentelemetry.trace import SpanKind

from spanloom import genai, messages, names
from spanloom.inference import Inference, Inner, Usage
from spanloom.instrument import Begun
from spanloom.span import current_scope
from spanloom.wrapping import drive, drive_async, wrap

OPERATION = genai.inference(names.OP_CHAT, "acme", "m-1")


@pytest.fixture
def call(bench):
    """`call()`: a call of a model that nobody has begun; `call(Kind)` of a subclass."""
    return lambda kind=Inference: kind(bench.telemetry)


def begun(call):
    scope = call.begin(lambda: OPERATION)
    assert scope is not None
    return scope


def attributes(span):
    return {key: value for key, value in span.attributes.items() if key not in OPERATION.attributes}


def test_a_call_is_a_client_span_with_what_was_asked(bench, call):
    with begun(call()):
        pass

    (span,) = bench.recorder.spans
    assert (span.name, span.kind) == ("chat m-1", SpanKind.CLIENT)
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "m-1",
    }


def test_what_becomes_known_is_written_once_at_the_end(bench, call):
    with begun(call()) as scope:
        scope.response_model, scope.response_id = "m-1-0001", "r1"
        scope.finish_reasons = ["stop", "length"]
        scope.usage = Usage(10, 0, cache_read=4, cache_write=0, reasoning=None)

    assert attributes(bench.recorder.only("chat m-1")) == {
        "gen_ai.response.model": "m-1-0001",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop", "length"),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 0,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 0,
    }


def test_unknown_and_nothing_are_kept_apart():
    assert Usage().attributes() == {}
    assert Usage(0).attributes() == {"gen_ai.usage.input_tokens": 0}
    assert Usage(1, None, 2).plus(Usage(None, 0, 3)) == Usage(1, 0, 5)
    assert Usage().plus(Usage()) == Usage()


def test_a_cached_answer_has_used_nothing_and_was_not_streamed(bench, call):
    with begun(call()) as scope:
        scope.usage, scope.cache_hit = Usage(10, 5, reasoning=3), True
        scope.first_chunk()

    assert attributes(bench.recorder.only("chat m-1")) == {
        "gen_ai.usage.input_tokens": 0,
        "gen_ai.usage.output_tokens": 0,
    }


def test_the_first_chunk_counts(bench, call, monkeypatch):
    times = iter([100.0, 102.5, 104.0])
    monkeypatch.setattr("spanloom.inference.perf_counter", lambda: next(times))

    with begun(call()) as scope:
        scope.first_chunk()
        scope.first_chunk()

    assert attributes(bench.recorder.only("chat m-1")) == {
        "gen_ai.response.time_to_first_chunk": 2.5,
        "gen_ai.request.stream": True,
    }


def test_content_is_recorded_where_it_is_captured(recorder, make_bench):
    for content in (False, True):
        bench = make_bench(recorder, content=content)
        with begun(Inference(bench.telemetry)) as scope:
            scope.input_messages = [messages.message("user", [messages.text("Hi")])]
            scope.output_messages = [messages.output([messages.text("Hello")], "stop")]
            scope.system_instructions = [messages.text("Be brief.")]
            scope.tool_definitions = [messages.tool("search")]

    without, with_content = (attributes(span) for span in recorder.named("chat m-1"))
    assert without == {}
    assert {key: json.loads(value) for key, value in with_content.items()} == {
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "Hello"}]}
        ],
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
        "gen_ai.tool.definitions": [{"type": "function", "name": "search"}],
    }


def test_a_failed_call_still_tells_what_it_knows(bench, call):
    with pytest.raises(TimeoutError), begun(call()) as scope:
        scope.usage = Usage(10)
        raise TimeoutError("too slow")

    span = bench.recorder.only("chat m-1")
    assert attributes(span) == {"gen_ai.usage.input_tokens": 10, "error.type": "TimeoutError"}
    assert span.status.description == "TimeoutError: too slow"


# -- calls made of calls --------------------------------------------------------------------------------------------


class Asked(Inference):
    """Its result is what it learns."""

    def collect(self):
        for field, value in (self.result or {}).items():
            setattr(self, field, value)


def ask(call, **learned):
    with begun(call(Asked)) as scope:
        scope.returned(learned)


def test_a_call_inside_a_call_has_no_span_and_its_facts_are_kept(bench, call):
    with begun(call()) as outer:
        inner = begun(call())
        assert isinstance(inner, Inner)
        with inner:
            assert current_scope() is outer
        ask(call, response_id="r1", response_model="m-2", finish_reasons=["stop"], usage=Usage(10, 5))

    assert len(bench.recorder.spans) == 1
    assert attributes(bench.recorder.only("chat m-1")) == {
        "gen_ai.response.id": "r1",
        "gen_ai.response.model": "m-2",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }


def test_what_the_outer_call_knows_counts_but_the_inner_ones_are_what_was_paid(bench, call):
    with begun(call(Asked)) as outer:
        ask(call, response_id="r1", usage=Usage(10, 5, cache_read=1))
        ask(call, response_id="r2", usage=Usage(3, 2))
        outer.returned({"response_id": "mine", "usage": Usage(3, 2)})  # it hands on the last answer

    assert attributes(bench.recorder.only("chat m-1")) == {
        "gen_ai.response.id": "mine",
        "gen_ai.usage.input_tokens": 13,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 1,
    }


@pytest.mark.parametrize(("hits", "spent"), [([True], 0), ([True, True], 0), ([True, False], 5), ([False, True], 5)])
def test_a_call_is_cached_if_all_that_it_is_made_of_was(bench, call, hits, spent):
    with begun(call(Asked)) as outer:
        for hit in hits:
            ask(call, usage=Usage(5, 5), cache_hit=hit)
        outer.returned({"usage": Usage(5, 5)})

    assert outer.cache_hit == all(hits)
    assert bench.recorder.only("chat m-1").attributes["gen_ai.usage.input_tokens"] == spent


def test_an_inner_error_is_told_by_the_call_that_it_reaches(bench, call):
    with begun(call()), pytest.raises(ValueError, match="inner"), begun(call(Asked)):
        raise ValueError("inner")
    with pytest.raises(ValueError, match="both"), begun(call()), begun(call(Asked)):
        raise ValueError("both")

    caught, uncaught = bench.recorder.named("chat m-1")
    assert "error.type" not in caught.attributes
    assert uncaught.attributes["error.type"] == "ValueError"
    assert [event.name for event in uncaught.events] == ["exception"]


def test_a_call_below_another_kind_of_span_is_a_call_of_its_own(bench, call):
    with begun(call()), bench.scope("tool"):
        ask(call, response_id="r1")

    assert bench.recorder.tree() == "\nchat m-1\n  tool\n    chat m-1\n"


def test_a_call_after_the_end_of_the_one_around_it_is_a_call_of_its_own(bench, call):
    with begun(call()) as outer:
        outer.finish()
        ask(call, response_id="r1")

    assert bench.recorder.tree() == "\nchat m-1\n  chat m-1\n"


class Chunks(Inference):
    """Joins what is streamed."""

    text = ""

    def item(self, value):
        self.first_chunk()
        self.text += value

    def collect(self):
        self.response_id = self.text


def numbers():
    yield "1"
    yield "2"


async def async_numbers():
    for number in numbers():
        yield number


def test_streams_tell_their_chunks_inside_a_call_too(bench, call):
    with begun(call()):
        assert list(drive(begun(call(Chunks)), numbers())) == ["1", "2"]

    async def read():
        with begun(call()):
            return [item async for item in drive_async(begun(call(Chunks)), async_numbers())]

    assert asyncio.run(read()) == ["1", "2"]
    for span in bench.recorder.named("chat m-1"):
        assert span.attributes["gen_ai.response.id"] == "12"
        assert span.attributes["gen_ai.request.stream"] is True


def test_a_stream_that_is_left_early_tells_what_has_arrived(bench, call):
    stream = drive(begun(call(Chunks)), numbers())
    next(stream)
    stream.close()

    span = bench.recorder.only("chat m-1")
    assert (span.attributes["gen_ai.response.id"], span.attributes["spanloom.status"]) == ("1", "closed")


def test_a_wrapped_function_tells_its_result_inside_a_call_too(bench, call):
    def begin(*args):
        scope = begun(call(Asked))
        return Begun(scope, args, None, scope.returned)

    shell = wrap(lambda: {"response_id": "r1"}, begin, "a span", bench.switch)
    with begun(call()):
        shell()

    assert bench.recorder.only("chat m-1").attributes["gen_ai.response.id"] == "r1"


def test_a_call_keeps_nothing_of_what_was_said(make_bench, recorder):
    class Text(str):
        __slots__ = ("__weakref__",)

    scope = begun(Inference(make_bench(recorder, content=True).telemetry))
    with scope:
        said = Text("Hi")
        gone = weakref.ref(said)
        scope.input_messages = scope.output_messages = [messages.output([messages.text(said)])]
    del said

    gc.collect()
    assert gone() is None
    assert "Hi" in recorder.only("chat m-1").attributes["gen_ai.input.messages"]


# -- parameters and reasons -----------------------------------------------------------------------------------------


def test_parameters_have_the_conventions_names_and_types():
    given = {
        "temperature": 1,
        "top_p": 0.5,
        "top_k": 40,
        "max_completion_tokens": 100,
        "seed": 7,
        "n": 2,
        "stop": "end",
        "frequency_penalty": 0,
        "presence_penalty": -1.5,
        "reasoning": {"effort": "low"},
        "model": "ignored",
        "timeout": 3,
    }

    found = genai.request_parameters(given)

    assert found == {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ["end"],
        "gen_ai.request.frequency_penalty": 0.0,
        "gen_ai.request.presence_penalty": -1.5,
        "gen_ai.request.reasoning.level": "low",
    }
    assert type(found["gen_ai.request.temperature"]) is float


def test_the_calls_own_parameters_count_and_wrong_values_do_not():
    defaults = {"temperature": 0.1, "max_tokens": 10, "n": 3, "stop": ["a"], "seed": 1, "top_k": 5}
    given = {"temperature": None, "max_tokens": "many", "n": 1, "stop": ["b", 3], "seed": True}

    assert genai.request_parameters(defaults, given) == {
        "gen_ai.request.temperature": 0.1,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.stop_sequences": ["b"],
        "gen_ai.request.seed": 1,
        "gen_ai.request.top_k": 5,
    }


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("tool_calls", "tool_call"),
        ("tool_use", "tool_call"),
        ("refusal", "content_filter"),
        ("SAFETY", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("PAUSE_Turn", "PAUSE_Turn"),  # one of its own is in lower case once it is redacted
    ],
)
def test_finish_reasons_are_the_conventions_words_where_it_has_one(told, reason):
    assert genai.finish_reason(told) == reason


def test_a_span_without_a_model_has_the_operations_name():
    operation = genai.inference(names.OP_TEXT_COMPLETION, "acme", None, streaming=True)

    assert operation.span_name == "text_completion"
    assert operation.attributes == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.stream": True,
    }


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("OTHER", "other"),
        ("MAX_TOKENS", "length"),
        ("ACME-Secret42", "[REDACTED]"),
        ("by ACME-Secret42 GmbH", "by [REDACTED] GmbH"),
    ],
)
def test_redaction_sees_a_finish_reason_as_it_was_told(make_bench, told, shown):
    bench = make_bench(content=True, redact_patterns=(re.compile("ACME-[A-Z][a-z]+[0-9]+"),))
    call = Inference(bench.telemetry).start(OPERATION)
    with call:
        reason = genai.finish_reason(told)
        call.finish_reasons = [reason]
        call.output_messages = [messages.output([messages.text("x" * length)], reason) for length in (1, 20_000)]

    attributes = bench.recorder.spans[0].attributes
    assert attributes["gen_ai.response.finish_reasons"] == (shown,)
    said = json.loads(attributes["gen_ai.output.messages"])
    assert {message["finish_reason"] for message in said} == {shown}
