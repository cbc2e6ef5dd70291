"""The spool: spans go to disk first, and from there to the backend, whatever happens to it."""

import json
import threading

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_otlp import HttpSpanExporter, Outcome, SpooledSpanExporter, Verdict, _backoff, _sender, _spool

from .conftest import Answer, eventually, ids_of

PATIENCE = 30


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Waits are for people and machines that are slow; here they are short."""
    monkeypatch.setattr(_sender, "_LINGER", 0.01)
    monkeypatch.setattr(_sender, "_ADOPT_EVERY", 0.01)
    monkeypatch.setattr(_backoff, "_FIRST", 0.01)
    monkeypatch.setattr(_backoff, "LONGEST", 0.02)
    monkeypatch.setattr(_backoff, "MISCONFIGURED", 0.02)


@pytest.fixture
def make_spool(tmp_path):
    """`make_spool(inner)`: a spool in the test's folder; all are shut down at the end."""
    made = []

    def make(inner, name="otlp", **options):
        made.append(SpooledSpanExporter(inner, tmp_path, name, **{"patience": 2.0, **options}))
        return made[-1]

    yield make
    for spool in made:
        spool._patience = 0.1
        spool.shutdown()


@pytest.fixture
def spool(backend, make_spool):
    """A spool before a server."""
    return make_spool(HttpSpanExporter(backend.url, timeout=5))


class Inner:
    """Takes spans as it is told to: outcomes are used up one by one, then every batch is taken."""

    def __init__(self, *outcomes, always=None):
        self.outcomes = list(outcomes)
        self.always = always
        self.batches = []
        self.taken = []
        self.closed = False

    def deliver(self, spans):
        self.batches.append(list(spans))
        outcome = self.outcomes.pop(0) if self.outcomes else self.always or Outcome(Verdict.DELIVERED)
        if callable(outcome):
            outcome = outcome(spans)
        if outcome.verdict is Verdict.DELIVERED:
            self.taken += ids_of(spans)
        return outcome

    def shutdown(self):
        self.closed = True


def files(tmp_path, pattern="*", name="otlp"):
    return sorted(path.name for path in (tmp_path / name).glob(pattern))


def test_spans_are_delivered_and_leave_nothing_behind(backend, spool, make_spans, said, tmp_path):
    spans = make_spans(5)

    assert spool.export(spans[:2]) is SpanExportResult.SUCCESS
    assert spool.export(spans[2:]) is SpanExportResult.SUCCESS
    assert spool.force_flush()

    assert backend.taken == ids_of(spans)
    assert spool.tally.delivered == 5
    spool.shutdown()
    assert files(tmp_path) == []
    assert said.lines == said.others == []


def test_export_never_waits_for_the_server(backend, spool, make_spans):
    answering = threading.Event()
    backend.always = Answer(before=lambda: answering.wait(PATIENCE))
    first, others = make_spans(), make_spans(100)

    spool.export(first)
    backend.wait(lambda: backend.requests)
    for span in others:  # the server holds the first batch all the while
        assert spool.export([span]) is SpanExportResult.SUCCESS
    assert backend.taken == []
    answering.set()

    assert spool.force_flush()
    assert backend.taken == ids_of([*first, *others])


def test_files_are_for_the_user_alone(make_spool, make_spans, tmp_path):
    spool = make_spool(Inner(always=Outcome(Verdict.LATER)))
    spool.export(make_spans())

    assert (tmp_path / "otlp").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "otlp").iterdir()} == {0o600}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 401, 403, 404, 302, 408])
def test_trouble_of_the_server_costs_nothing(backend, spool, make_spans, said, status):
    spans = make_spans(3)
    backend.answers = [Answer(status)] * 3

    spool.export(spans)
    backend.wait(lambda: len(backend.taken) >= 3)

    assert backend.taken == ids_of(spans)
    assert spool.force_flush()
    eventually(lambda: len(said.lines) >= 2)
    assert len(said.lines) == 2
    assert str(status) in said.lines[0]
    assert "sent again by themselves" in said.lines[0]
    assert "delivered again" in said.lines[1]


def test_too_much_at_once_is_sent_in_parts(backend, spool, make_spans):
    spans = make_spans(8)
    backend.always = lambda request: Answer(413 if len(request.resource_spans[0].scope_spans[0].spans) > 2 else 200)

    spool.export(spans)

    assert spool.force_flush()
    assert backend.taken == ids_of(spans)
    assert len(backend.requests) == 7


def test_a_refused_span_is_put_aside_and_the_others_arrive(make_spool, make_spans, said, tmp_path):
    spans = make_spans(8)
    bad = spans[5].context.span_id
    refusal = Outcome(Verdict.REFUSED, "http://backend answers 400: bad span.")
    inner = Inner(always=lambda batch: refusal if bad in ids_of(batch) else Outcome(Verdict.DELIVERED))
    spool = make_spool(inner)

    spool.export(spans)
    assert spool.force_flush()
    spool.shutdown()

    assert inner.taken == [one for one in ids_of(spans) if one != bad]
    (name,) = files(tmp_path)
    assert name.startswith("refused-")
    assert f"{bad:016x}" in (tmp_path / "otlp" / name).read_text()
    assert len(said.lines) == 1
    assert "bad span" in said.lines[0]
    assert "spanloom forward" in said.lines[0]
    assert (spool.tally.refused, spool.tally.delivered) == (1, 7)


def test_where_everything_is_refused_everything_is_put_aside_after_a_few_attempts(make_spool, make_spans, tmp_path):
    inner = Inner(always=Outcome(Verdict.REFUSED, "no"))
    spool = make_spool(inner)

    spool.export(make_spans(512))
    assert spool.force_flush()
    spool.shutdown()

    assert len(inner.batches) < 60
    assert spool.tally.refused == 512
    lines = (tmp_path / "otlp" / files(tmp_path)[0]).read_text().splitlines()
    assert sum(line.count('"spanId"') for line in lines) == 512


def test_a_span_that_a_backend_fails_over_does_not_stop_the_others_for_ever(make_spool, make_spans, said, tmp_path):
    spans = make_spans(40)
    bad = spans[11].context.span_id
    failure = Outcome(Verdict.LATER, "http://backend answers 500.", suspect=True)
    inner = Inner(always=lambda batch: failure if bad in ids_of(batch) else Outcome(Verdict.DELIVERED))
    spool = make_spool(inner)

    spool.export(spans)
    eventually(lambda: spool.force_flush(10_000))
    spool.shutdown()

    assert inner.taken == [one for one in ids_of(spans) if one != bad]
    assert (spool.tally.refused, spool.tally.lost) == (1, {})
    (name,) = files(tmp_path)
    assert name.startswith("refused-")


def test_a_backend_that_fails_over_everything_is_waited_for(make_spool, make_spans, tmp_path):
    spans = make_spans(40)
    inner = Inner(always=Outcome(Verdict.LATER, "http://backend answers 500.", suspect=True))
    spool = make_spool(inner)
    spool.export(spans[:1])
    eventually(lambda: len(inner.batches) > 30)  # one alone shows nothing
    spool.export(spans[1:])
    eventually(lambda: len(inner.batches) > 120)
    inner.always = None
    eventually(spool.force_flush)

    assert inner.taken == ids_of(spans)
    assert spool.tally.refused == 0


def test_what_a_backend_threw_away_is_counted(make_spool, make_spans, said, tmp_path):
    spool = make_spool(Inner(Outcome(Verdict.DELIVERED, "2 were too old.", rejected=2)))

    spool.export(make_spans(5))
    assert spool.force_flush()

    assert (spool.tally.delivered, spool.tally.lost) == (3, {"rejected": 2})
    assert said.lines == ["otlp: 2 were too old."]
    spool.shutdown()
    assert json.loads((tmp_path / "otlp" / "lost.json").read_text()) == {"rejected": 2}


def test_what_remains_is_delivered_by_the_next_start(make_spool, make_spans, tmp_path):
    spans = make_spans(4)
    down = make_spool(Inner(always=Outcome(Verdict.LATER, "down")))
    down.export(spans[:2])
    assert not down.force_flush()
    down.export(spans[2:])
    down.shutdown()
    assert down.inner.closed
    assert down.export(spans) is SpanExportResult.FAILURE

    inner = Inner()
    up = make_spool(inner)
    eventually(lambda: len(inner.taken) >= 4)
    assert inner.taken == ids_of(spans)
    up.shutdown()
    assert files(tmp_path) == []


def test_own_spans_go_before_those_of_the_dead(make_spool, make_spans):
    old, new = make_spans(600), make_spans(2)
    down = make_spool(Inner(always=Outcome(Verdict.LATER, "down")))
    down.export(old[:512])
    down.export(old[512:])
    down.shutdown()
    gate = threading.Event()
    inner = Inner(lambda _: gate.wait(PATIENCE) and Outcome(Verdict.DELIVERED))

    up = make_spool(inner)
    eventually(lambda: inner.batches)  # the first of the old batches is on its way
    up.export(new)
    gate.set()
    eventually(lambda: len(inner.taken) == 602)

    assert inner.taken == ids_of([*old[:512], *new, *old[512:]])


def test_two_at_once_deliver_each_its_own(make_spool, make_spans):
    spans = make_spans(40)
    inners = Inner(), Inner()
    spools = [make_spool(inner) for inner in inners]
    for number, span in enumerate(spans):
        spools[number % 2].export([span])

    assert all(spool.force_flush() for spool in spools)

    assert inners[0].taken == ids_of(spans[::2])
    assert inners[1].taken == ids_of(spans[1::2])


def test_progress_survives_a_failure_in_the_middle(make_spool, make_spans):
    spans = make_spans(600)
    inner = Inner(
        Outcome(Verdict.SPLIT),
        Outcome(Verdict.DELIVERED),
        Outcome(Verdict.LATER, "down"),
    )
    spool = make_spool(inner)

    spool.export(spans[:512])
    spool.export(spans[512:])
    eventually(spool.force_flush)

    assert inner.taken == ids_of(spans)  # none of them twice


def test_retry_after_is_waited_for_and_a_flush_does_not(make_spool, make_spans, monkeypatch):
    delays = []
    original = _sender.Backoff.after

    def after(backoff, outcome):
        delays.append((outcome.retry_after, original(backoff, outcome)))
        return 0.01 if len(delays) > 1 else 3600.0

    monkeypatch.setattr(_sender.Backoff, "after", after)
    inner = Inner(Outcome(Verdict.LATER, "busy", retry_after=5000.0))
    spool = make_spool(inner)
    spool.export(make_spans())

    assert not spool.force_flush()
    assert not spool.force_flush()

    assert len(inner.batches) == 1
    ((asked, waited),) = delays
    assert asked == 5000.0
    assert 600.0 <= waited <= 660.0  # not for ever


def test_a_shutdown_respects_retry_after(make_spool, make_spans, monkeypatch):
    inner = Inner(Outcome(Verdict.LATER, "busy", retry_after=500.0))
    spool = make_spool(inner)
    spool.export(make_spans())
    eventually(lambda: inner.batches)

    spool.shutdown()

    assert len(inner.batches) == 1


def test_a_span_that_is_too_long_is_shortened_and_said(make_spool, make_spans, said, monkeypatch):
    monkeypatch.setattr(_spool, "LINE_BYTES", 10_000)
    inner = Inner()
    spool = make_spool(inner)

    spool.export(make_spans(2, size=20_000))

    assert spool.force_flush()
    assert all("spanloom.truncated_bytes" in span.attributes for span in inner.batches[0])
    assert len(said.lines) == 1
    assert "spanloom.truncated_bytes" in said.lines[0]


def test_an_exporter_that_raises_costs_nothing(make_spool, make_spans, said):
    def raises(_):
        raise RuntimeError("no exporter of ours")

    spans = make_spans(2)
    inner = Inner(raises, raises)
    spool = make_spool(inner)
    spool.export(spans)
    eventually(spool.force_flush)

    assert inner.taken == ids_of(spans)
    assert "no exporter of ours" in said.lines[0]


def test_what_is_no_span_is_left_out_and_said(make_spool, make_spans, said):
    spans = make_spans(2)
    inner = Inner()
    spool = make_spool(inner)

    spool.export([spans[0], object(), spans[1]])

    assert spool.force_flush()
    assert inner.taken == ids_of(spans)
    assert len(said.lines) == 1
    assert "no complete OpenTelemetry span" in said.lines[0]


def test_bounds_that_cannot_be_right(tmp_path):
    for options in ({"max_bytes": 5}, {"max_age": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            SpooledSpanExporter(Inner(), tmp_path, **options)
