"""`export` of an exporter that makes one attempt at a time: how long it tries, and what it says."""

import threading

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_otlp import DeliveringSpanExporter, Outcome, Verdict, _backoff, _exporter, _told

from .conftest import ids_of

DELIVERED = Outcome(Verdict.DELIVERED)
LATER = Outcome(Verdict.LATER, "It is down.")
WRONG = Outcome(Verdict.MISCONFIGURED, "Check THE_SETTING.")
REFUSED = Outcome(Verdict.REFUSED, "It is not liked.")


class Exporter(DeliveringSpanExporter):
    """Outcomes are used up one by one; then every batch is taken."""

    def __init__(self, *outcomes, always=DELIVERED, **options):
        super().__init__("there", **options)
        self.outcomes = list(outcomes)
        self.always = always
        self.batches = []
        self.taken = []

    def deliver(self, spans):
        self.batches.append(list(spans))
        outcome = self.outcomes.pop(0) if self.outcomes else self.always
        if callable(outcome):
            outcome = outcome(spans)
        if outcome.verdict is Verdict.DELIVERED:
            self.taken += ids_of(spans)
        return outcome


@pytest.fixture
def waits(monkeypatch):
    """How long it has waited, without waiting."""
    clock = [1000.0]
    waited = []

    class Time:
        @staticmethod
        def monotonic():
            return clock[0]

        @staticmethod
        def sleep(seconds):
            clock[0] += seconds
            waited.append(seconds)

    monkeypatch.setattr(_exporter, "time", Time)
    return waited


def test_it_tries_again_with_growing_delays_while_its_patience_lasts(make_spans, waits, said):
    exporter = Exporter(always=LATER, patience=64.0)

    assert exporter.export(make_spans(3)) is SpanExportResult.FAILURE

    assert 5 <= len(exporter.batches) <= 8
    assert sum(waits) <= 64.0
    assert exporter.lost_spans == 3
    assert said.lines == [
        "there: It is down. Spans are lost meanwhile; set SPANLOOM_SPOOL_DIR to a folder to keep them for later."
    ]


def test_better_times_cost_nothing_and_are_worth_no_line(make_spans, waits, said):
    spans = make_spans(3)
    exporter = Exporter(LATER, LATER)

    assert exporter.export(spans) is SpanExportResult.SUCCESS

    assert exporter.taken == ids_of(spans)
    assert waits
    assert said.lines == []


@pytest.mark.parametrize(("asked", "waited", "result"), [(20.0, 20.0, "SUCCESS"), (500.0, 0.0, "FAILURE")])
def test_retry_after_is_waited_for_if_patience_lasts(make_spans, waits, asked, waited, result):
    exporter = Exporter(Outcome(Verdict.LATER, "busy", retry_after=asked))

    assert exporter.export(make_spans()) is SpanExportResult[result]
    assert waited <= sum(waits) <= waited * 1.2


def test_a_wrong_setting_is_not_waited_for(make_spans, waits, said):
    exporter = Exporter(always=WRONG)

    assert exporter.export(make_spans(2)) is SpanExportResult.FAILURE
    assert exporter.export(make_spans(2)) is SpanExportResult.FAILURE

    assert waits == []
    assert exporter.lost_spans == 4
    assert len(said.lines) == 1
    assert "Check THE_SETTING." in said.lines[0]


def test_each_kind_of_trouble_is_said_once_and_when_it_is_over(make_spans, waits, said):
    exporter = Exporter(WRONG, WRONG, patience=0.0)
    for _ in range(2):
        exporter.export(make_spans())
    exporter.outcomes = [LATER, LATER]
    for _ in range(4):
        exporter.export(make_spans())

    assert [line.split(".")[0] for line in said.lines] == [
        "there: Check THE_SETTING",
        "there: It is down",
        "there: spans are delivered again; 4 are lost",
    ]


def test_a_backend_that_comes_and_goes_does_not_fill_the_log(make_spans, waits, said, monkeypatch):
    exporter = Exporter(patience=0.0)
    for _ in range(50):
        exporter.outcomes = [LATER]
        exporter.export(make_spans())
        exporter.export(make_spans())
    assert len(said.lines) == 2

    monkeypatch.setattr(_told, "_QUIET", 0.0)
    exporter.outcomes = [LATER]
    exporter.export(make_spans())
    exporter.export(make_spans())
    assert len(said.lines) == 4


def test_refused_spans_are_lost_alone(make_spans, said):
    spans = make_spans(16)
    bad = {spans[3].context.span_id, spans[9].context.span_id}
    exporter = Exporter(always=lambda batch: REFUSED if bad & set(ids_of(batch)) else DELIVERED)

    assert exporter.export(spans) is SpanExportResult.FAILURE

    assert exporter.taken == [one for one in ids_of(spans) if one not in bad]
    assert exporter.lost_spans == 2
    assert said.lines == ["there: It is not liked. 2 spans are lost."]


def test_what_is_refused_whatever_it_is_takes_few_attempts(make_spans):
    exporter = Exporter(always=REFUSED)

    assert exporter.export(make_spans(512)) is SpanExportResult.FAILURE

    assert exporter.lost_spans == 512
    assert len(exporter.batches) < 60


def test_many_refused_spans_in_a_row_do_not_cost_others_once_one_was_taken(make_spans):
    spans = make_spans(64)
    bad = set(ids_of(spans[1:40]))
    exporter = Exporter(always=lambda batch: REFUSED if bad & set(ids_of(batch)) else DELIVERED)

    exporter.export(spans)

    assert exporter.taken == [one for one in ids_of(spans) if one not in bad]


def test_too_much_at_once_is_halved_down_to_one(make_spans):
    spans = make_spans(9)
    exporter = Exporter(always=lambda batch: Outcome(Verdict.SPLIT, "large") if len(batch) > 1 else DELIVERED)

    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert exporter.taken == ids_of(spans)


def test_what_was_delivered_is_not_sent_again(make_spans, waits):
    spans = make_spans(4)
    exporter = Exporter(Outcome(Verdict.SPLIT), DELIVERED, LATER)

    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert exporter.taken == ids_of(spans)


def test_at_the_end_one_failure_is_enough(make_spans, waits):
    exporter = Exporter(always=LATER)
    exporter.stop_waiting()

    exporter.export(make_spans(2))
    exporter.export(make_spans(3))

    assert len(exporter.batches) == 1
    assert waits == []
    assert exporter.lost_spans == 5


def test_the_end_of_the_program_ends_a_wait(make_spans, monkeypatch):
    monkeypatch.setattr(_exporter, "_LOOK_UP", 0.01)
    tried = threading.Event()

    def fails(_):
        tried.set()
        return Outcome(Verdict.LATER, "busy", retry_after=60.0)

    exporter = Exporter(always=fails)
    thread = threading.Thread(target=exporter.export, args=(make_spans(),))
    thread.start()
    assert tried.wait(30)

    exporter.stop_waiting()
    thread.join(30)

    assert not thread.is_alive()
    assert exporter.lost_spans == 1


def test_delays_grow_to_a_limit_and_are_never_the_same():
    backoff = _backoff.Backoff()
    delays = [backoff.after(LATER) for _ in range(20)]

    assert 0.7 <= delays[0] <= 1.0
    assert 21.0 <= min(delays[6:]) <= max(delays) <= 30.0
    assert len(set(delays)) == 20
    assert backoff.after(WRONG) == 60.0
    assert 600.0 <= backoff.after(Outcome(Verdict.LATER, retry_after=1e9)) <= 660.0
    backoff.reset()
    assert backoff.after(LATER) <= 1.0
