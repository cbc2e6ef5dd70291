"""The spool's files: their bounds in size and age, damaged ones, a disk that cannot be written, what can be seen."""

import json
import os
import time
from collections import namedtuple

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_otlp import Outcome, SpooledSpanExporter, Verdict, _backoff, _segment, _sender, _settings, spool_state
from spanloom_otlp import _spool as spool_module
from spanloom_otlp import _store as store_module

from .conftest import eventually, ids_of

LATER = Outcome(Verdict.LATER, "It is down.")
MIB = 1024**2


class Inner:
    """Is down until told otherwise."""

    def __init__(self, outcome=LATER):
        self.outcome = outcome
        self.taken = []
        self.attempts = 0

    def deliver(self, spans):
        self.attempts += 1
        if self.outcome.verdict is Verdict.DELIVERED:
            self.taken += ids_of(spans)
        return self.outcome

    def shutdown(self):
        pass


@pytest.fixture
def up():
    return Inner(Outcome(Verdict.DELIVERED))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(_sender, "_LINGER", 0.01)
    monkeypatch.setattr(_sender, "_ADOPT_EVERY", 0.01)
    monkeypatch.setattr(_backoff, "_FIRST", 0.01)
    monkeypatch.setattr(_backoff, "LONGEST", 0.02)


@pytest.fixture
def make_spool(tmp_path):
    made = []

    def make(inner, **options):
        made.append(SpooledSpanExporter(inner, tmp_path, **{"patience": 2.0, **options}))
        return made[-1]

    yield make
    for spool in made:
        spool._patience = 0.1
        spool.shutdown()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "otlp"


def leave(make_spool, spans, *, each=None):
    """Leave spans in the folder as a process does that ends while the backend is away."""
    spool = make_spool(Inner())
    for start in range(0, len(spans), each or len(spans)):
        spool.export(spans[start : start + (each or len(spans))])
    spool.shutdown()


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


def test_the_oldest_spans_go_when_it_is_full_counted_and_said_once(make_spool, make_spans, folder, said):
    inner = Inner()
    spool = make_spool(inner, max_bytes=MIB)
    spans = make_spans(300, size=10_000)  # 3 MB
    biggest = 0
    for span in spans:
        spool.export([span])
        biggest = max(biggest, size(folder))
    assert biggest <= MIB + 20_000
    lost = spool.tally.lost["size"]
    assert 150 <= lost <= 290

    inner.outcome = Outcome(Verdict.DELIVERED)
    eventually(spool.force_flush)
    spool.shutdown()

    assert inner.taken == ids_of(spans[lost:])
    assert len([line for line in said.lines if "is full" in line]) == 1
    assert "SPANLOOM_SPOOL_MAX_BYTES" in "".join(said.lines)
    (state,) = spool_state(folder.parent)
    assert (state.waiting_spans, state.lost) == (0, {"size": lost})


def test_the_bound_holds_for_what_others_have_left(make_spool, make_spans, folder, up):
    for _ in range(3):
        leave(make_spool, make_spans(60, size=10_000), each=1)
    assert size(folder) > 1.7 * MIB

    make_spool(Inner(), max_bytes=MIB)

    eventually(lambda: size(folder) <= MIB)


def aged(folder, seconds):
    for path in folder.glob("*.jsonl"):
        then = time.time() - seconds
        os.utime(path, (then, then))


def test_spans_that_waited_too_long_go_after_an_attempt(make_spool, make_spans, folder, said, monkeypatch):
    monkeypatch.setattr(store_module, "_GRACE", 0.0)
    leave(make_spool, make_spans(5))
    aged(folder, 10 * 86_400)
    inner = Inner()

    spool = make_spool(inner)

    eventually(lambda: spool.tally.lost == {"age": 5})
    assert inner.attempts >= 1
    assert [line for line in said.lines if "SPANLOOM_SPOOL_MAX_AGE" in line]
    eventually(lambda: not list(folder.glob("*.jsonl")))


def test_old_spans_are_delivered_where_they_can_be(make_spool, make_spans, folder, up):
    spans = make_spans(5)
    leave(make_spool, spans)
    aged(folder, 1000 * 86_400)

    spool = make_spool(up)

    eventually(lambda: up.taken == ids_of(spans))
    assert spool.tally.lost == {}


def test_old_spans_of_others_stay_for_a_while_for_the_clock_may_be_wrong(make_spool, make_spans, folder):
    spans = make_spans(5)
    leave(make_spool, spans)
    aged(folder, 1000 * 86_400)
    inner = Inner()

    spool = make_spool(inner)
    eventually(lambda: inner.attempts > 5)

    assert spool.tally.lost == {}
    inner.outcome = Outcome(Verdict.DELIVERED)
    eventually(lambda: inner.taken == ids_of(spans))


@pytest.mark.parametrize("jump", [400 * 86_400, -400 * 86_400])
def test_a_clock_that_jumps_costs_nothing(make_spool, make_spans, folder, monkeypatch, jump):
    inner = Inner()
    spool = make_spool(inner)
    spans = make_spans(4)
    spool.export(spans[:2])
    eventually(lambda: inner.attempts > 2)
    real = time.time
    monkeypatch.setattr(_segment.time, "time", lambda: real() + jump)

    attempts = inner.attempts
    spool.export(spans[2:])
    eventually(lambda: inner.attempts > attempts + 5)
    inner.outcome = Outcome(Verdict.DELIVERED)
    eventually(spool.force_flush)

    assert inner.taken == ids_of(spans)
    assert spool.tally.lost == {}


def test_own_spans_go_when_they_waited_too_long(make_spool, make_spans, folder):
    inner = Inner()
    spool = make_spool(inner, max_age=0.05)
    spool.export(make_spans(3))

    eventually(lambda: spool.tally.lost == {"age": 3})
    assert spool.force_flush()
    spans = make_spans(2)
    inner.outcome = Outcome(Verdict.DELIVERED)
    spool.export(spans)
    assert spool.force_flush()
    assert inner.taken == ids_of(spans)


def test_a_segment_does_not_grow_for_ever_so_that_its_age_shows(make_spool, make_spans, folder, monkeypatch):
    monkeypatch.setattr(store_module, "_MOST_SEGMENT_SECONDS", 0.05)
    spool = make_spool(Inner())
    spool.export(make_spans(1))
    end = time.monotonic() + 0.06
    eventually(lambda: time.monotonic() > end)
    spool.export(make_spans(1))
    spool.export(make_spans(1))

    assert len(list(folder.glob("*.jsonl"))) == 2


def test_a_folder_that_cannot_be_read_harms_nobody(make_spool, make_spans, folder, up, monkeypatch):
    def iterdir(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "iterdir", iterdir)
    spool = make_spool(up)

    spool.export(make_spans(1))
    assert spool.force_flush()
    assert len(up.taken) == 1


def test_the_last_line_of_a_killed_process_is_left_out_if_it_is_torn(make_spool, make_spans, folder, up, said):
    spans = make_spans(3)
    leave(make_spool, spans, each=1)
    (path,) = folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-10])

    spool = make_spool(up)

    eventually(lambda: spool.tally.lost == {"broken": 1})
    assert up.taken == ids_of(spans[:2])
    assert len(said.lines) == 2  # that it was down, and this
    assert "killed" in said.lines[1]


def test_a_broken_line_in_the_middle_is_left_out(make_spool, make_spans, folder, up, said):
    spans = make_spans(3)
    leave(make_spool, spans, each=1)
    (path,) = folder.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:50] + b"\n" + lines[2])

    make_spool(up)

    eventually(lambda: len(up.taken) == 2)
    assert up.taken == [ids_of(spans)[0], ids_of(spans)[2]]
    assert f"A line of {path} is broken" in said.lines[-1]


@pytest.mark.parametrize("cursor", [b"", b"nonsense", b"00000000000000999999\n"])
def test_a_damaged_cursor_costs_nothing(make_spool, make_spans, folder, up, cursor):
    spans = make_spans(3)
    leave(make_spool, spans)
    (path,) = folder.glob("*.jsonl")
    path.with_suffix(".cursor").write_bytes(cursor)

    make_spool(up)

    eventually(lambda: up.taken == ids_of(spans))


def test_a_lock_file_that_was_removed_costs_nothing(make_spool, make_spans, folder, up):
    spans = make_spans(3)
    leave(make_spool, spans)
    for path in folder.glob("*.lock"):
        path.unlink()

    make_spool(up)
    other = make_spans(1)
    spool = make_spool(up)
    spool.export(other)

    eventually(lambda: set(up.taken) == set(ids_of([*spans, *other])))


def test_a_folder_that_is_removed_while_it_works_is_made_anew(make_spool, make_spans, folder, up):
    import shutil

    spool = make_spool(up)
    spool.export(make_spans(50, size=1000))
    assert spool.force_flush()
    shutil.rmtree(folder)
    spans = make_spans(2)

    spool.export(spans)

    assert spool.force_flush()
    assert up.taken[50:] == ids_of(spans)


@pytest.fixture
def full(monkeypatch):
    """A disk that is full while `full.on` is true."""
    state = namedtuple("Full", "on")(on=[True])
    append = store_module.LineFile.append

    def appending(file, line):
        if state.on[0]:
            raise OSError(28, "No space left on device")
        append(file, line)

    monkeypatch.setattr(store_module.LineFile, "append", appending)
    return state


def test_while_the_disk_is_full_spans_are_delivered_from_memory(make_spool, make_spans, up, full, said):
    spool = make_spool(up)
    first, second = make_spans(3), make_spans(2)

    assert spool.export(first) is SpanExportResult.SUCCESS
    assert spool.force_flush()
    full.on[0] = False
    assert spool.export(second) is SpanExportResult.SUCCESS
    assert spool.force_flush()

    assert up.taken == ids_of([*first, *second])
    assert len(said.lines) == 2
    assert "No space left on device" in said.lines[0]
    assert "SPANLOOM_SPOOL_DIR" in said.lines[0]
    assert "written again" in said.lines[1]


def test_memory_is_bounded_and_what_goes_is_counted(make_spool, make_spans, full, said, monkeypatch):
    monkeypatch.setattr(spool_module, "_MOST_IN_MEMORY", 10)
    inner = Inner()
    spool = make_spool(inner)
    spans = make_spans(40)
    for span in spans:
        spool.export([span])
    lost = spool.tally.lost["memory"]
    assert lost >= 40 - 10 - 512
    inner.outcome = Outcome(Verdict.DELIVERED)
    eventually(spool.force_flush)

    assert len(inner.taken) == 40 - lost
    assert inner.taken[-10:] == ids_of(spans)[-10:]
    assert len([line for line in said.lines if "memory is set aside" in line]) == 1


def test_a_directory_that_cannot_be_made_harms_nobody(make_spool, make_spans, tmp_path, up, said):
    (tmp_path / "otlp").write_text("a file is in its place")
    spool = make_spool(up)
    spans = make_spans(2)

    assert spool.export(spans) is SpanExportResult.SUCCESS
    assert spool.force_flush()
    assert up.taken == ids_of(spans)
    assert len(said.lines) == 1


def test_refused_spans_that_cannot_be_put_aside_are_counted(make_spool, make_spans, full, said):
    spool = make_spool(Inner(Outcome(Verdict.REFUSED, "no")))

    spool.export(make_spans(2))
    assert spool.force_flush()

    assert spool.tally.lost == {"refused": 2}
    assert [line for line in said.lines if "2 spans are lost" in line]


def test_what_is_there_can_be_seen(make_spool, make_spans, tmp_path, folder):
    assert spool_state(tmp_path / "absent") == []
    leave(make_spool, make_spans(700, size=100), each=100)
    aged(folder, 90)

    (state,) = spool_state(tmp_path)

    assert (state.name, state.folder) == ("otlp", folder)
    assert (state.waiting_spans, state.refused_spans, state.lost) == (700, 0, {})
    assert state.waiting_bytes == size(folder)
    assert 89 <= state.oldest_seconds <= 1000


def test_the_cursor_is_part_of_what_can_be_seen(make_spool, make_spans, tmp_path, folder):
    leave(make_spool, make_spans(4), each=2)
    (path,) = folder.glob("*.jsonl")
    line = len(path.read_bytes().splitlines(keepends=True)[0])
    path.with_suffix(".cursor").write_bytes(b"%020d\n" % line)
    refused = make_spool(Inner(Outcome(Verdict.REFUSED, "no")))
    refused.export(make_spans(3))
    eventually(lambda: spool_state(tmp_path)[0].refused_spans >= 3)
    refused.shutdown()

    (state,) = spool_state(tmp_path)

    assert state.waiting_spans in (0, 2)  # the second one has taken the rest over, if it had the time
    assert state.refused_spans + state.waiting_spans == 5


def test_spans_are_counted_whatever_is_in_them(make_spans, tmp_path):
    from spanloom_jsonl import encode_spans

    text = '{"startTimeUnixNano":"1"}'
    line = encode_spans(make_spans(3, poison=text, deep=json.dumps(text))) + b"\n"
    (tmp_path / "a.jsonl").write_bytes(line)

    assert _segment.count_spans(line) == 3
    assert _segment.spans_after(tmp_path / "a.jsonl", 0) == 3


def test_counting_does_not_depend_on_blocks(make_spans, tmp_path, monkeypatch):
    from spanloom_jsonl import encode_spans

    (tmp_path / "a.jsonl").write_bytes(encode_spans(make_spans(50)) + b"\n")
    for block in range(20, 60, 3):
        monkeypatch.setattr(_segment, "_BLOCK", block)
        assert _segment.spans_after(tmp_path / "a.jsonl", 0) == 50


def test_its_own_metrics(make_spool, make_spans, monkeypatch):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    inner = Inner()
    spool = make_spool(inner)
    spool.export(make_spans(3))

    def read():
        return {
            metric.name: {
                point.attributes.get("spanloom.spool.reason") or point.attributes["spanloom.spool.destination"]: (
                    point.value
                )
                for point in metric.data.data_points
            }
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    found = read()
    assert found["spanloom.spool.waiting"] == {"otlp": 3}
    assert found["spanloom.spool.size"]["otlp"] > 500
    assert found["spanloom.spool.delivered"] == {"otlp": 0}
    inner.outcome = Outcome(Verdict.DELIVERED, "", rejected=1)
    eventually(spool.force_flush)
    found = read()
    assert found["spanloom.spool.waiting"] == found["spanloom.spool.size"] == {"otlp": 0}
    assert found["spanloom.spool.delivered"] == {"otlp": 2}
    assert found["spanloom.spool.lost"] == {"rejected": 1}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", 512 * MIB), ("1048576", MIB), ("2MiB", 2 * MIB), ("3 gb", 3 * 1024 * MIB), ("64m", 64 * MIB)],
)
def test_sizes(monkeypatch, text, wanted, said):
    monkeypatch.setenv("SPANLOOM_SPOOL_MAX_BYTES", text)

    assert _settings.spool_max_bytes() == wanted
    assert said.lines == []


@pytest.mark.parametrize(
    ("text", "wanted"), [("", 604_800), ("90", 90), ("90s", 90), ("5m", 300), ("12h", 43_200), ("30d", 2_592_000)]
)
def test_ages(monkeypatch, text, wanted, said):
    monkeypatch.setenv("SPANLOOM_SPOOL_MAX_AGE", text)

    assert _settings.spool_max_age() == wanted
    assert said.lines == []


@pytest.mark.parametrize("text", ["x", "-5", "0", "5", "1.5g", "9" * 30])
def test_bad_bounds_are_named(monkeypatch, text, said):
    monkeypatch.setenv("SPANLOOM_SPOOL_MAX_BYTES", text)
    monkeypatch.setenv("SPANLOOM_SPOOL_MAX_AGE", "a week")

    assert _settings.spool_max_bytes() == 512 * MIB
    assert _settings.spool_max_age() == 604_800
    assert [line.split("=")[0] for line in said.lines] == ["SPANLOOM_SPOOL_MAX_BYTES", "SPANLOOM_SPOOL_MAX_AGE"]
