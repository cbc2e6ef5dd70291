"""`SpanloomProcessor`: what we carry on the spans of others, and no secrets in what they write."""

import json
import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

import spanloom
from spanloom import config, names, processor
from spanloom.carried import STAMPS
from spanloom.config import Config
from spanloom.credentials import MARK
from spanloom.processor import SpanloomProcessor, others, put_first
from spanloom.scrub import Scrubber
from spanloom.version import VERSION

KEY = "sk-abcdefghijklmnop1234567890"
MESSAGES = names.GEN_AI_INPUT_MESSAGES
CONTENT = (
    "input.messages",
    "output.messages",
    "system_instructions",
    "tool.definitions",
    "tool.call.arguments",
    "tool.call.result",
    "retrieval.query.text",
    "retrieval.documents",
)
TOLD_BEFORE = hasattr(SpanProcessor, "_on_ending")
PLACES = ["first", "last"] if TOLD_BEFORE else ["first"]


class Site:
    """A provider with our processor, whose spans another instrumentation makes."""

    def __init__(self, settings=None, place="first", **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        added = [SpanloomProcessor(settings or Config()), SimpleSpanProcessor(self.exporter)]
        for one in added if place == "first" else reversed(added):
            self.provider.add_span_processor(one)
        self.tracer = self.provider.get_tracer("theirs", "1.0")

    @property
    def sent(self):
        return self.exporter.get_finished_spans()

    def send(self, value, key=MESSAGES):
        """What becomes of a value on its way to the exporter."""
        self.tracer.start_span("chat", attributes={key: value}).end()
        return self.sent[-1].attributes.get(key)


@pytest.fixture
def site():
    return Site()


@pytest.fixture
def stamped():
    """`with stamped(**stamps):` carries them."""

    class Carrying:
        def __init__(self, **stamps):
            self.context = otel_context.set_value(STAMPS, {f"test.{key}": value for key, value in stamps.items()})

        def __enter__(self):
            self.token = otel_context.attach(self.context)

        def __exit__(self, *_):
            otel_context.detach(self.token)

    return Carrying


def text(content):
    """A message as the conventions have it in JSON."""
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": content}]}])


# -- what we carry ----------------------------------------------------------------------------------------------


def test_a_span_that_starts_where_we_carry_something_gets_it(site, stamped):
    with stamped(conversation="c", tags=("a", "b")):
        site.tracer.start_span("inside", attributes={"own": 1}).end()
    site.tracer.start_span("outside").end()

    inside, outside = site.sent
    assert dict(inside.attributes) == {"own": 1, "test.conversation": "c", "test.tags": ("a", "b")}
    assert dict(outside.attributes) == {}


def test_what_a_span_has_stays(site, stamped):
    with stamped(conversation="c", user="u"):
        site.tracer.start_span("inside", attributes={"test.conversation": "its own"}).end()

    assert dict(site.sent[0].attributes) == {"test.conversation": "its own", "test.user": "u"}


def test_the_context_that_the_span_starts_in_is_asked_not_the_current_one(site, stamped):
    with stamped(conversation="current"):
        site.tracer.start_span("elsewhere", context=stamped(conversation="given").context).end()
        site.tracer.start_span("nowhere", context=otel_context.Context()).end()

    assert [dict(span.attributes) for span in site.sent] == [{"test.conversation": "given"}, {}]


def test_a_failure_while_stamping_costs_the_stamps_only(site, lenient):
    token = otel_context.attach(otel_context.set_value(STAMPS, 5))
    try:
        site.tracer.start_span("inside").end()
    finally:
        otel_context.detach(token)

    assert [span.name for span in site.sent] == ["inside"]
    assert "the conversation of a span of another instrumentation" in lenient.lines[0]


# -- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_reaches_an_exporter(place):
    site = Site(place=place)
    keys = [f"gen_ai.{name}" for name in CONTENT] + ["exception.message", "exception.stacktrace"]
    span = site.tracer.start_span("chat", attributes=dict.fromkeys(keys, text(f"my key is {KEY}")) | {"other": KEY})
    span.record_exception(ValueError(f"bad key {KEY}"))
    span.set_status(Status(StatusCode.ERROR, f"ValueError: bad key {KEY}"))
    span.end()

    (sent,) = site.sent
    assert {sent.attributes[key] for key in keys} == {text(f"my key is {MARK}").replace(": ", ":").replace(", ", ",")}
    assert sent.attributes["other"] == KEY  # no content: theirs to answer for
    assert sent.status.description == f"ValueError: bad key {MARK}"
    assert sent.status.status_code is StatusCode.ERROR
    (event,) = sent.events
    assert event.attributes["exception.message"] == f"bad key {MARK}"
    assert event.attributes["exception.type"] == "ValueError"
    assert KEY not in event.attributes["exception.stacktrace"]
    assert f"ValueError: bad key {MARK}" in event.attributes["exception.stacktrace"]


def test_where_the_sdk_does_not_tell_before_it_happens_at_the_end(monkeypatch):
    monkeypatch.setattr(SpanloomProcessor, "_on_ending", lambda self, span: None)
    monkeypatch.setattr(processor, "_TOLD_BEFORE", False)
    site = Site()

    assert KEY not in site.send(text(KEY))


@pytest.mark.skipif(not TOLD_BEFORE, reason="needs OpenTelemetry SDK 1.40")
def test_it_happens_once(monkeypatch):
    asked = []
    site = Site(Config(redactor=lambda found: asked.append(found) or found))
    site.send("hello")

    assert asked == ["hello"]


@pytest.mark.skipif(not TOLD_BEFORE, reason="needs OpenTelemetry SDK 1.40")
def test_processors_that_run_in_parallel():
    every = ConcurrentMultiSpanProcessor()
    site = Site(active_span_processor=every)

    assert KEY not in site.send(text(KEY))
    every._executor.shutdown()


def test_spans_of_ours_are_left_alone():
    site = Site()
    for scope in (("spanloom_test", VERSION), ("spanloom_test", "0"), ("test", VERSION)):
        site.provider.get_tracer(*scope).start_span("chat", attributes={MESSAGES: KEY}).end()

    assert [span.attributes[MESSAGES] for span in site.sent] == [KEY, MARK, MARK]


def test_what_holds_no_secret_is_not_touched(site):
    original = text("hello \u00e9") + " "
    span = site.tracer.start_span("chat", attributes={MESSAGES: original})
    span.set_status(Status(StatusCode.ERROR, "it broke"))
    span.add_event("exception", {"exception.message": "it broke"})
    before = span._attributes, span._status, span._events
    span.end()

    assert all(new is old for new, old in zip((span._attributes, span._status, span._events), before, strict=True))
    assert site.sent[0].attributes[MESSAGES] == original


def test_other_attributes_and_what_was_dropped_stay():
    site = Site(span_limits=SpanLimits(max_span_attributes=3, max_events=2, max_event_attributes=1))
    span = site.tracer.start_span("chat", attributes={"a": 1, "b": (1, 2), "c": 3})
    span.set_attribute(MESSAGES, KEY)
    for number in range(3):
        span.add_event(f"event {number}", {"x": 1, "exception.message": KEY})
    span.end()

    (sent,) = site.sent
    assert dict(sent.attributes) == {"b": (1, 2), "c": 3, MESSAGES: MARK}
    assert (sent.dropped_attributes, sent.dropped_events) == (1, 1)
    assert [(event.name, dict(event.attributes)) for event in sent.events] == [
        ("event 1", {"exception.message": MARK}),
        ("event 2", {"exception.message": MARK}),
    ]
    assert [event.dropped_attributes for event in sent.events] == [1, 1]
    assert [event.timestamp for event in sent.events] == [event.timestamp for event in span.events]


def test_a_processor_behind_ours_finds_what_it_would_without_us():
    """Some write to the ended span's attributes, where the SDK's own are not frozen."""

    def frozen(*processors):
        found = []

        class Looking(SpanProcessor):
            def on_end(self, span):
                found.append((type(span._attributes), getattr(span._attributes, "_immutable", None)))

        provider = TracerProvider(shutdown_on_exit=False)
        for one in (*processors, Looking()):
            provider.add_span_processor(one)
        provider.get_tracer("theirs").start_span("chat", attributes={MESSAGES: KEY}).end()
        return found

    assert frozen(SpanloomProcessor(Config())) == frozen()


def test_a_span_that_was_made_without_the_sdk():
    """Other processors hand on spans that they have put together."""
    span = ReadableSpan("chat", attributes={MESSAGES: KEY})
    bare = ReadableSpan("chat")
    ours = SpanloomProcessor(Config())
    for made in (span, bare):
        ours._mend(made)

    assert dict(span.attributes) == {MESSAGES: MARK}
    assert not bare.attributes


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f'{{"a": "{KEY}"}}', '{"a":"[REDACTED]"}'),
        ('{"apiKey": {"deep": "x"}, "b": 1.50}', '{"apiKey":"[REDACTED]","b":1.5}'),
        ('{"password": null}', '{"password": null}'),
        (f'{{"{KEY}": 1}}', '{"[REDACTED]":1}'),
        (f'{{"arguments": "{{\\"token\\": \\"{KEY}\\"}}"}}', '{"arguments":"{\\"token\\": \\"[REDACTED]\\"}"}'),
        ('["sk\\u002dabcdefghijklmnop1234567890"]', '["[REDACTED]"]'),  # spelled with an escape
        (f'{{"a": "{KEY}", "a": "x"}}', '{"a":"x"}'),  # of which only the second would be seen
        ('{"a": "x", "a": "x"}', '{"a":"x"}'),
        ("[4111111111111111, 4111111111111112]", '["[REDACTED]",4111111111111112]'),
        ("[4111111111111111.0, true, null]", '["[REDACTED]",true,null]'),
        (f'["\\ud800", "\u00e9", "{KEY}"]', '["?","\u00e9","[REDACTED]"]'),
        (f'"{KEY}"', '"[REDACTED]"'),
        (f"[no JSON {KEY}", "[no JSON [REDACTED]"),
        (f"{'[' * 100_000}{KEY}", f"{'[' * 100_000}[REDACTED]"),
        (f"[{'9' * 5000}, {KEY}", f"[{'9' * 5000}, [REDACTED]"),
        (f"plain {KEY}", "plain [REDACTED]"),
        ("", ""),
    ],
)
def test_texts(site, given, expected):
    assert site.send(given) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(f"it is {KEY}."),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just(KEY) | st.just("apiKey"), inner),
    max_leaves=20,
)


@given(value=JSON, ascii_only=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_json_stays_json_and_loses_its_secrets(value, ascii_only):
    before = json.dumps(value, ensure_ascii=ascii_only)
    after = Scrubber(Config()).value(before)

    found = json.loads(after)
    assert KEY not in json.dumps(found)
    assert after is before or type(found) is type(value) or found == MARK


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("x", KEY), ["x", MARK]),
        ([{"content": KEY, "n": 1, "b": b"x"}], [{"content": MARK, "n": 1, "b": b"x"}]),
        ({"secret": ["x"], "a": None}, {"secret": MARK, "a": None}),
        (KEY.encode(), MARK),
        (4111111111111111, MARK),
    ],
)
def test_structures(given, expected):
    span = ReadableSpan("chat", attributes={MESSAGES: given})
    SpanloomProcessor(Config())._mend(span)

    assert dict(span.attributes) == {MESSAGES: expected}


def test_a_text_that_the_sdk_has_cut_does_not_end_in_half_a_secret():
    site = Site(span_limits=SpanLimits(max_span_attribute_length=100))
    whole, cut = "y" * 99, "x" * 90 + " " + KEY

    assert site.send(whole) == whole
    assert site.send(cut) == "x" * 50 + "…"
    assert "sk-" not in cut[:40] + site.send(cut)


# -- settings -----------------------------------------------------------------------------------------------------


def test_patterns_and_a_callable_of_the_users():
    site = Site(Config(redact_patterns=(re.compile("ACME-[0-9]+"),), redactor=lambda found: found.replace("Ann", "A.")))

    assert site.send(text("Ann has ACME-77")) == text(f"A. has {MARK}").replace(": ", ":").replace(", ", ",")


def test_without_redaction_nothing_is_read():
    site = Site(Config(redact=False))
    given = f"[{KEY}"

    assert site.send(given) == given


def test_the_processs_settings_are_followed(monkeypatch):
    site = Site()
    site.provider._active_span_processor._span_processors[0]._in_force._given = None
    monkeypatch.setattr(config._Active, "config", Config(redact=False))
    assert site.send(KEY) == KEY
    monkeypatch.setattr(config._Active, "config", Config())
    assert site.send(KEY) == MARK


def test_if_a_redactor_fails_the_value_is_not_sent(lenient):
    def redactor(found):
        if "secret" in found:
            raise ValueError(found)
        return found

    site = Site(Config(redactor=redactor))
    span = site.tracer.start_span("chat", attributes={MESSAGES: text("secret"), names.GEN_AI_OUTPUT_MESSAGES: "fine"})
    span.set_status(Status(StatusCode.ERROR, "secret"))
    span.end()

    assert dict(site.sent[0].attributes) == {MESSAGES: MARK, names.GEN_AI_OUTPUT_MESSAGES: "fine"}
    assert site.sent[0].status.description == MARK
    assert len(lenient.lines) == 1


def test_a_failure_of_ours_is_not_the_programs(lenient):
    class Broken(ReadableSpan):
        @property
        def status(self):
            raise RuntimeError("internals have changed")

    SpanloomProcessor(Config())._mend(Broken("chat", attributes={MESSAGES: KEY}))

    assert "the redaction of a span of another instrumentation" in lenient.lines[0]


def test_many_threads():
    site = Site(Config(redact_patterns=(re.compile("ACME-[0-9]+"),)))

    def work(number):
        for step in range(50):
            site.tracer.start_span("chat", attributes={MESSAGES: text(f"{number}.{step} ACME-1")}).end()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = [json.loads(span.attributes[MESSAGES])[0]["parts"][0]["content"] for span in site.sent]
    assert sorted(found) == sorted(f"{number}.{step} {MARK}" for number in range(8) for step in range(50))


# -- where it stands ------------------------------------------------------------------------------------------------


def test_a_copy_for_us_leaves_the_span_as_it_was(site):
    span = site.provider.get_tracer("theirs").start_span("chat", attributes={"a": 1})
    span.add_event("exception", {"exception.message": KEY})
    span.set_status(Status(StatusCode.ERROR, KEY))
    made = SpanloomProcessor(Config()).amended(span, {"a": 2, "conversation": "c"})
    span.end()

    assert dict(made.attributes) == {"a": 1, "conversation": "c"}
    assert made.status.description == made.events[0].attributes["exception.message"] == MARK
    assert (dict(span.attributes), made.context) == ({"a": 1}, span.context)


def test_before_what_a_provider_has_and_without_it():
    provider = TracerProvider(shutdown_on_exit=False)
    exporting, ours = SimpleSpanProcessor(InMemorySpanExporter()), SpanloomProcessor()
    provider.add_span_processor(exporting)
    put_first(provider, ours)

    assert provider._active_span_processor._span_processors == (ours, exporting)
    assert others(provider)._span_processors == (exporting,)


def test_it_does_not_keep_others_from_flushing():
    asked = []

    class Flushing(SpanProcessor):
        def force_flush(self, timeout_millis=0):
            asked.append(timeout_millis)
            return True

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanloomProcessor())
    provider.add_span_processor(Flushing())

    assert provider.force_flush()
    assert len(asked) == 1


def test_a_provider_with_a_processor_of_its_own_kind():
    every = ConcurrentMultiSpanProcessor()
    provider = TracerProvider(shutdown_on_exit=False, active_span_processor=every)
    ours = SpanloomProcessor()
    put_first(provider, ours)

    assert every._span_processors == (ours,)
    assert others(provider) is every
    every._executor.shutdown()


def test_it_is_a_public_name():
    assert spanloom.SpanloomProcessor is SpanloomProcessor
    assert trace.get_current_span() is trace.INVALID_SPAN
