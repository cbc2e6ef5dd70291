"""Evaluations and feedback: the conventions' event, in the context of the span that they are about."""

import math

import pytest
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import spanloom
from spanloom import telemetry

SECRET = "sk-" + "proj-" + "a1B2" * 10


@pytest.fixture
def records():
    """The log records that were emitted: a function, as a list."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    telemetry.use(logger_provider=provider)
    yield lambda: [item.log_record for item in exporter.get_finished_logs()]
    telemetry.use()


@pytest.fixture
def tracer(recorder):
    return recorder.provider.get_tracer("mine")


def about(record):
    return record.trace_id, record.span_id


def ids(span):
    context = span.get_span_context()
    return context.trace_id, context.span_id


def test_an_evaluation_is_the_conventions_event(records, tracer):
    with tracer.start_as_current_span("chat") as span:
        spanloom.evaluation("relevance", 0.75, "good", "It answers.", response_id="resp_1")

    (record,) = records()
    expected = {
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 0.75,
        "gen_ai.evaluation.score.label": "good",
        "gen_ai.evaluation.explanation": "It answers.",
        "gen_ai.response.id": "resp_1",
    }
    assert (record.event_name, dict(record.attributes)) == ("gen_ai.evaluation.result", expected)
    assert about(record) == ids(span)


def test_the_open_span_has_it_as_an_event_too(records, recorder, tracer):
    with tracer.start_as_current_span("chat"):
        spanloom.evaluation("relevance", 1)

    (event,) = recorder.only("chat").events
    assert event.name == "gen_ai.evaluation.result"
    assert dict(event.attributes) == dict(records()[0].attributes)
    assert event.attributes["gen_ai.evaluation.score.value"] == 1.0


@pytest.mark.parametrize("kept", [lambda span: span, lambda span: span.get_span_context()])
def test_a_span_that_has_ended_is_told_by_its_context(records, recorder, tracer, kept):
    with tracer.start_as_current_span("chat") as span:
        pass
    with tracer.start_as_current_span("web request"):
        spanloom.feedback(True, "Thanks!", span_context=kept(span))

    (record,) = records()
    assert about(record) == ids(span)
    assert recorder.only("chat").events == recorder.only("web request").events == ()
    assert dict(record.attributes) == {
        "gen_ai.evaluation.name": "user_feedback",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "positive",
        "gen_ai.evaluation.explanation": "Thanks!",
    }


def test_an_open_span_that_is_not_current_gets_its_event(records, recorder, tracer):
    chat = tracer.start_span("chat")
    with tracer.start_as_current_span("judge"):
        spanloom.evaluation("relevance", 0.5, span_context=chat)
    chat.end()

    assert [event.name for event in recorder.only("chat").events] == ["gen_ai.evaluation.result"]
    assert recorder.only("judge").events == ()
    assert about(records()[0]) == ids(chat)


def test_thumbs_and_stars(records):
    spanloom.feedback(False)
    spanloom.feedback(4, name="stars", response_id="resp_1")

    down, stars = (dict(record.attributes) for record in records())
    assert (down["gen_ai.evaluation.score.value"], down["gen_ai.evaluation.score.label"]) == (0.0, "negative")
    assert stars == {
        "gen_ai.evaluation.name": "stars",
        "gen_ai.evaluation.score.value": 4.0,
        "gen_ai.response.id": "resp_1",
    }


def test_what_says_nothing_is_told_and_not_recorded(records, caplog):
    for score in (None, math.nan, math.inf, "high"):
        spanloom.evaluation("relevance", score)

    assert records() == []
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
    assert "give a finite number as score (not 'high'), or a label" in caplog.text


def test_a_label_alone_is_enough(records):
    spanloom.evaluation("relevance", label="pass")

    assert dict(records()[0].attributes) == {
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.label": "pass",
    }


def test_explanations_are_redacted_and_bounded(records):
    spanloom.evaluation("leaks", 0, explanation=f"It says {SECRET}. " + "word " * 10_000)

    explanation = records()[0].attributes["gen_ai.evaluation.explanation"]
    assert SECRET not in explanation
    assert len(explanation) < 20_000


def test_without_a_logger_provider_nothing_happens(recorder, tracer):
    assert not isinstance(_logs.get_logger_provider(), LoggerProvider)
    spanloom.evaluation("relevance", 0.5)
    with tracer.start_as_current_span("chat"):
        spanloom.feedback(True)

    assert [event.name for event in recorder.only("chat").events] == ["gen_ai.evaluation.result"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_both_names_are_functions_in_any_order():
    assert callable(spanloom.evaluation)
    assert callable(spanloom.feedback)
