"""Which traces are found, and how much is read for them."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanloom.view import select
from spanloom.view.files import find_file, find_folder, runs
from spanloom.view.problems import Problems
from spanloom.view.select import every, matching, newest


def files(*paths):
    return [find_file(str(path)) for path in paths]


def names(found):
    """Trace number -> names of its spans."""
    return {int(trace.trace_id, 16): sorted(span.name for span in trace.spans) for trace in found}


def whole(*numbers):
    return {number: [f"flow {number}", "step"] for number in numbers}


@pytest.fixture
def bytes_read(monkeypatch):
    """How many bytes of lines have been read."""
    total = [0]
    real = select.iter_batches

    def counting(*args, **kwargs):
        for batch in real(*args, **kwargs):
            total[0] += batch.size
            yield batch

    monkeypatch.setattr(select, "iter_batches", counting)
    return total


def test_the_newest_traces_are_found_without_reading_the_file(otlp, tmp_path, bytes_read):
    path = otlp.write(tmp_path / "f.jsonl", *otlp.traces(500))
    found = newest(files(path), Problems(), count=3, limit=0)
    assert names(found.traces) == whole(499, 498, 497)
    assert (found.older, found.cut) == (True, False)
    assert not any(trace.partial for trace in found.traces)
    assert bytes_read[0] < path.stat().st_size / 20


def test_fewer_traces_than_asked_for(otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", *otlp.traces(2))
    found = newest(files(path), Problems(), count=3, limit=0)
    assert names(found.traces) == whole(0, 1)
    assert not found.older


def test_a_long_trace_among_short_ones_is_read_to_its_begin(otlp, tmp_path):
    short = otlp.traces(400)
    long = "f" * 32
    first = otlp.span("first", "1" * 16, "0" * 15 + "1", 1, 2, trace=long)
    root = otlp.span("root", "0" * 15 + "1", "", 0, 400 * 20_000, trace=long)
    path = otlp.write(tmp_path / "f.jsonl", short[0], first, *short[1:], root)
    found = newest(files(path), Problems(), count=1, limit=0)
    assert [span.name for span in found.traces[0].spans] == ["root", "first"]


def test_traces_over_several_files_of_a_run(otlp, tmp_path):
    root = otlp.span("root", "1", "", 0, 50)
    child = otlp.span("child", "2", "1", 10, 40)
    paths = [
        otlp.write(tmp_path / "r.1.traces.jsonl", *otlp.traces(50), root),
        otlp.write(tmp_path / "r.2.traces.jsonl", child),
    ]
    found = newest(files(*paths), Problems(), count=60, limit=0)
    by_id = {trace.trace_id: sorted(span.name for span in trace.spans) for trace in found.traces}
    assert len(by_id) == 51
    assert by_id[otlp.trace] == ["child", "root"]


def test_newest_over_files_goes_by_their_spans_not_by_their_times_of_modification(otlp, tmp_path):
    spans = otlp.traces(6)
    paths = [otlp.write(tmp_path / f"{part}.jsonl", *spans[part * 4 : part * 4 + 4]) for part in range(3)]
    for path in paths:  # as copied
        os.utime(path, ns=(otlp.begin * 2, otlp.begin * 2))
    assert list(names(newest(files(*paths), Problems(), count=3, limit=0).traces)) == [5, 4, 3]


def test_files_that_were_modified_before_are_not_opened(otlp, tmp_path, monkeypatch):
    old = otlp.write(tmp_path / "old.jsonl", *otlp.traces(3))
    new = otlp.write(tmp_path / "new.jsonl", *otlp.traces(6, first=10))
    os.utime(old, ns=(otlp.begin + 3 * 20_000 * 1_000_000,) * 2)
    opened = []
    real = select.iter_batches

    def noting(file, *args, **kwargs):
        for batch in real(file, *args, **kwargs):
            opened.append(file.path)
            yield batch

    monkeypatch.setattr(select, "iter_batches", noting)
    assert names(newest(files(old, new), Problems(), count=2, limit=0).traces) == whole(15, 14)
    assert set(opened) == {str(new)}


def test_a_trace_whose_root_is_missing_is_read_on_for_and_then_marked(otlp, tmp_path, monkeypatch):
    orphans = [otlp.span("early", "e", "gone", 0, 1), otlp.span("late", "l", "gone", 60 * 20_000, 60 * 20_000 + 1)]
    path = otlp.write(tmp_path / "f.jsonl", orphans[0], *otlp.traces(60), orphans[1])
    found = newest(files(path), Problems(), count=1, limit=0)
    assert [span.name for span in found.traces[0].spans] == ["late", "early"]
    assert not found.traces[0].partial
    monkeypatch.setattr(select, "_PATIENCE", 5000)
    found = newest(files(path), Problems(), count=1, limit=0)
    assert [span.name for span in found.traces[0].spans] == ["late"]
    assert found.traces[0].partial


def test_a_root_with_a_remote_parent_ends_the_reading(otlp, tmp_path, bytes_read):
    spans = otlp.traces(500)
    for span in spans[1::2]:
        span.update(parentSpanId="9" * 16, flags=0x300)
    path = otlp.write(tmp_path / "f.jsonl", *spans)
    found = newest(files(path), Problems(), count=2, limit=0)
    assert names(found.traces) == whole(499, 498)
    assert bytes_read[0] < path.stat().st_size / 20


def test_spans_written_late_and_spans_with_ends_long_ago_do_not_end_the_reading(otlp, tmp_path):
    at = 1_000_000
    root = otlp.span("root", "1", "", at, at + 10)
    late = [otlp.span("child", "2", "1", at + 1, at + 9)]
    # written before the root though they ended after it, within an exporter's delay; and one from long ago
    between = otlp.traces(3, gap=1)[:-1] + [
        otlp.span("other", f"x{number}", "", at - 2000, at - 1000 - number, trace="e" * 32) for number in range(5)
    ]
    path = otlp.write(tmp_path / "f.jsonl", *late, *between, root)
    found = newest(files(path), Problems(), count=1, limit=0)
    assert [span.name for span in found.traces[0].spans] == ["root", "child"]


def test_the_limit_keeps_the_latest_spans_and_their_ancestors(otlp, tmp_path):
    spans = [otlp.span("step", f"s{number}", "r", number, number + 1) for number in range(1000)]
    path = otlp.write(tmp_path / "f.jsonl", *spans, otlp.span("root", "r", "", 0, 1001))
    found = newest(files(path), Problems(), count=5, limit=10)
    assert [span.span_id for span in found.traces[0].spans] == ["r", *(f"s{number}" for number in range(999, 990, -1))]
    assert found.cut
    assert found.traces[0].partial
    everything = newest(files(path), Problems(), count=5, limit=0)
    assert len(everything.traces[0].spans) == 1001


def test_every_trace_comes_when_it_is_complete(otlp, tmp_path):
    spans = otlp.traces(5)
    child, root = spans[0:2]
    paths = [
        otlp.write(tmp_path / "a.jsonl", child, *spans[2:8], root, *spans[8:9]),
        otlp.write(tmp_path / "b.jsonl", *spans[9:]),
    ]
    found = every(files(*paths), Problems())
    order = [int(trace.trace_id, 16) for trace in found]
    assert order == [1, 2, 3, 0, 4]
    assert names(every(files(*paths), Problems())) == whole(*range(5))


def test_every_trace_holds_only_open_ones(otlp, tmp_path):
    path = otlp.write(tmp_path / "a.jsonl", *otlp.traces(50))
    found = every(files(path), Problems())
    next(found)
    assert len(found.gi_frame.f_locals["still_open"]) <= 1


def test_every_trace_although_its_last_line_is_broken(otlp, tmp_path):
    path = otlp.write(tmp_path / "a.jsonl", *otlp.traces(2))
    data = path.read_text()
    path.write_text(data[: data.rindex("startTime")])
    problems = Problems()
    assert names(every(files(path), problems)) == {0: ["flow 0", "step"], 1: ["step"]}
    assert len(list(problems.report())) == 1


@pytest.mark.parametrize("prefix", ["abcdef", "abcdef01" * 4])
def test_a_trace_is_found_by_the_begin_of_its_id(otlp, tmp_path, prefix):
    wanted = "abcdef01" * 4
    paths = [
        otlp.write(tmp_path / "a.jsonl", *otlp.traces(3), otlp.span("one", "1", trace=wanted)),
        otlp.write(tmp_path / "b.jsonl", otlp.span("two", "2", "1", trace=wanted.upper()), *otlp.traces(3, first=9)),
        otlp.write(tmp_path / "c.jsonl", otlp.span("mentions it", "3", attributes={"x": wanted})),
    ]
    found = matching(files(*paths), Problems(), prefix, limit=0).traces
    assert [(trace.trace_id, sorted(span.name for span in trace.spans)) for trace in found] == [
        (wanted, ["one", "two"])
    ]


def test_several_traces_begin_so(otlp, tmp_path):
    path = otlp.write(tmp_path / "a.jsonl", *otlp.traces(3))
    assert len(matching(files(path), Problems(), "000000", limit=0).traces) == 3
    cut = matching(files(path), Problems(), "000000", limit=1)
    assert cut.cut
    assert [trace.partial for trace in cut.traces] == [True]


def test_runs_are_files_with_the_same_name_up_to_the_first_dot(otlp, tmp_path):
    for index, name in enumerate(
        ["run1.7.traces.jsonl", "run2.traces.jsonl", "run1.traces.jsonl", "notes.txt", "run3.logs.jsonl"]
    ):
        path = otlp.write(tmp_path / name, otlp.span("s", "a"))
        os.utime(path, ns=(index * 10**9, index * 10**9))
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder.jsonl").mkdir()
    found = [[Path(file.path).name for file in run] for run in runs(find_folder(str(tmp_path)))]
    assert found == [["run1.traces.jsonl", "run1.7.traces.jsonl"], ["run2.traces.jsonl"]]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)
@given(
    starts=st.lists(st.integers(0, 200), min_size=1, max_size=12),
    lengths=st.lists(st.integers(1, 90), min_size=12, max_size=12),
    parts=st.integers(1, 3),
    per_line=st.integers(1, 4),
    count=st.integers(1, 4),
)
def test_what_is_found_is_what_a_full_reading_finds(otlp, tmp_path, starts, lengths, parts, per_line, count):
    spans = []
    for number, start in enumerate(starts):
        begin, end = start * 1000, (start + lengths[number]) * 1000
        trace, root = f"{number:032x}", f"{number}r"
        spans.append((begin + 2, otlp.span("step", f"{number}s", root, begin, begin + 2, trace=trace)))
        spans.append((end, otlp.span("flow", root, "", begin, end, trace=trace)))
    spans.sort(key=lambda pair: pair[0])
    paths = [
        otlp.write(tmp_path / f"{part}.jsonl", *(span for _, span in spans[part::parts]), per_line=per_line)
        for part in range(parts)
    ]
    found = newest([file for file in files(*paths) if file.size], Problems(), count=count, limit=0)
    assert all(len(trace.spans) == 2 and not trace.partial for trace in found.traces)
    assert len(found.traces) == min(count, len(starts))
    if per_line == 1:
        ends = sorted(((start + lengths[number]) for number, start in enumerate(starts)), reverse=True)
        shown = sorted((starts[int(t.trace_id, 16)] + lengths[int(t.trace_id, 16)] for t in found.traces), reverse=True)
        assert shown == ends[: len(shown)]
