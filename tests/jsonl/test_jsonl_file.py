"""The file: its name, its modes, one write for each line, and what happens to it while it is written."""

import os
import re
import stat
import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_jsonl import JsonlSpanExporter, _file
from spanloom_jsonl._file import LineFile

OK = SpanExportResult.SUCCESS
FAILURE = SpanExportResult.FAILURE


def test_nothing_is_made_before_the_first_span(exporter, tmp_path, make_spans):
    assert exporter.export([]) is OK
    assert exporter.force_flush()
    assert (exporter.path, exporter.written_spans) == (None, 0)
    assert not list(tmp_path.iterdir())

    assert exporter.export(make_spans(3)) is OK

    assert exporter.written_spans == 3
    assert [str(path) for path in tmp_path.glob("*/*")] == [exporter.path]


def test_name_and_modes(exporter, make_spans):
    mask = os.umask(0)
    try:
        exporter.export(make_spans())
    finally:
        os.umask(mask)

    path = Path(exporter.path)
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}-{os.getpid()}\.traces\.jsonl", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_descriptor_appends_and_is_not_inherited(exporter, make_spans):
    fcntl = pytest.importorskip("fcntl")
    exporter.export(make_spans())

    descriptor = exporter._output.sink._parts._file._descriptor

    assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
    assert not os.get_inheritable(descriptor)


def test_one_write_for_each_line(exporter, make_spans, replace_os):
    writes = []

    def write(descriptor, data):
        writes.append(bytes(data))
        return os.write(descriptor, data)

    replace_os(write=write)
    exporter.export(make_spans(2))
    exporter.export(make_spans(600, size=2000))

    assert b"".join(writes) == Path(exporter.path).read_bytes()
    assert len(writes) == 4
    assert all(data.count(b"\n") == 1 and data.endswith(b"\n") for data in writes)
    assert max(map(len, writes)) <= 512 * 1024


def test_shutdown_closes_and_later_exports_fail_quietly(exporter, make_spans, spans_of, caplog):
    exporter.export(make_spans(2))
    descriptor = exporter._output.sink._parts._file._descriptor

    exporter.shutdown()
    exporter.shutdown()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert exporter.export(make_spans(3)) is FAILURE
    assert (exporter.written_spans, exporter.lost_spans) == (2, 3)
    assert len(spans_of(exporter)) == 2
    assert not caplog.records


def test_a_torn_line_of_an_earlier_process_with_our_name_is_ended(exporter, make_spans, spans_in):
    path = exporter._output.sink._parts._file.path
    path.parent.mkdir()
    path.write_bytes(b'{"resourceSpans":[]}\n{"resourceSp')

    exporter.export(make_spans(2))

    first, torn, rest = path.read_bytes().split(b"\n", 2)
    assert (first, torn) == (b'{"resourceSpans":[]}', b'{"resourceSp')
    assert len(spans_in(rest)) == 2


@pytest.mark.parametrize("before", [b"", b'{"resourceSpans":[]}\n'])
def test_a_whole_file_of_an_earlier_process_is_continued(exporter, make_spans, before):
    path = exporter._output.sink._parts._file.path
    path.parent.mkdir()
    path.write_bytes(before)

    exporter.export(make_spans())

    assert path.read_bytes().startswith(before + b'{"resourceSpans":[{')


def test_a_planted_link_is_not_followed(exporter, make_spans, tmp_path, caplog):
    path = exporter._output.sink._parts._file.path
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")

    assert exporter.export(make_spans()) is FAILURE
    assert not (tmp_path / "elsewhere").exists()
    assert len(caplog.records) == 1


def test_a_removed_directory_is_made_again(exporter, make_spans, spans_of, caplog):
    exporter.export(make_spans(2))
    path = Path(exporter.path)
    path.unlink()
    path.parent.rmdir()

    assert exporter.export(make_spans(3)) is OK

    assert len(spans_of(exporter)) == 3
    assert not caplog.records


def test_a_file_that_was_moved_keeps_its_lines_and_a_new_one_is_begun(exporter, make_spans, spans_in, spans_of):
    exporter.export(make_spans(1))
    moved = Path(exporter.path).rename(Path(exporter.path).with_suffix(".1"))
    exporter.export(make_spans(2))

    exporter.export(make_spans(4))

    assert len(spans_in(moved.read_bytes())) == 3
    assert len(spans_of(exporter)) == 4
    assert exporter.written_spans == 7


def test_a_file_that_is_removed_each_time_is_a_failure(exporter, make_spans, replace_os, caplog):
    def write(descriptor, data):
        exporter._output.sink._parts._file.path.unlink()
        return os.write(descriptor, data)

    replace_os(write=write)

    assert exporter.export(make_spans()) is FAILURE
    assert (exporter.written_spans, exporter.lost_spans) == (0, 1)
    assert "removed each time" in caplog.text


def test_eight_threads(exporter, make_spans, spans_of):
    batches = [make_spans(5, name=f"thread {number}") for number in range(8)]
    start = threading.Barrier(8)

    def run(batch):
        start.wait()
        for _ in range(40):
            exporter.export(batch)

    threads = [threading.Thread(target=run, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    names = [span["name"] for span in spans_of(exporter)]
    assert exporter.written_spans == len(names) == 1600
    assert all(names.count(f"thread {number}") == 200 for number in range(8))


def test_a_span_that_ends_while_one_is_written(exporter, make_spans, spans_of, replace_os):
    """A signal handler or a finaliser may run, and end a span, anywhere inside an export."""
    outer, inner = make_spans(1, name="outer"), make_spans(1, name="inner")
    results = []

    def write(descriptor, data):
        if b"outer" in bytes(data) and not results:
            results.append(exporter.export(inner))
        return os.write(descriptor, data)

    replace_os(write=write)
    thread = threading.Thread(target=lambda: results.append(exporter.export(outer)), daemon=True)
    thread.start()
    thread.join(30)

    assert results == [OK, OK]
    assert [span["name"] for span in spans_of(exporter)] == ["inner", "outer"]


def test_a_shutdown_while_a_line_is_written_closes_after_it(exporter, make_spans, spans_of, replace_os):
    def write(descriptor, data):
        exporter.shutdown()
        return os.write(descriptor, data)

    replace_os(write=write)

    assert exporter.export(make_spans(2)) is OK

    assert len(spans_of(exporter)) == 2
    assert exporter._output.sink._parts._file._descriptor is None


def test_a_program_that_closes_all_descriptors_loses_nothing(exporter, make_spans, spans_of, tmp_path, caplog):
    exporter.export(make_spans(1))
    descriptor = exporter._output.sink._parts._file._descriptor
    os.close(descriptor)

    assert exporter.export(make_spans(2)) is OK

    os.close(exporter._output.sink._parts._file._descriptor)
    with (tmp_path / "theirs").open("wb") as theirs:
        assert theirs.fileno() == descriptor  # the number is a file of the program's now
        assert exporter.export(make_spans(4)) is OK
        assert not (tmp_path / "theirs").stat().st_size
        os.fstat(theirs.fileno())
    assert (exporter.written_spans, exporter.lost_spans, len(spans_of(exporter))) == (7, 0, 7)
    assert not caplog.records


def test_broken_spans_do_not_cost_the_others(exporter, make_spans, spans_of, caplog):
    spans = make_spans(3)
    broken_event = ReadableSpan("broken", events=[object()], resource=spans[0].resource)
    broken_resource = ReadableSpan("broken", resource=object())

    assert exporter.export([spans[0], object(), spans[1], broken_event]) is FAILURE
    assert exporter.export([object(), spans[2], broken_resource, broken_resource]) is FAILURE

    assert [span["name"] for span in spans_of(exporter)] == ["span"] * 3
    assert (exporter.written_spans, exporter.lost_spans) == (3, 5)
    assert len(caplog.records) == 1


def test_line_file_after_a_kill_inside_a_line(tmp_path):
    """What a kill leaves at any byte: the whole lines, and a torn one that the next line does not touch."""
    lines = [b"first line\n", b"second\n"]
    for cut in range(len(b"".join(lines)) + 1):
        path = tmp_path / str(cut)
        path.write_bytes(b"".join(lines)[:cut])
        file = LineFile(path)

        file.append(b"next\n")
        file.close()

        kept = path.read_bytes().splitlines(keepends=True)
        assert kept[-1] == b"next\n"
        assert kept[: sum(cut >= end for end in (11, 18))] == lines[: sum(cut >= end for end in (11, 18))]


def test_fsync_counts_a_line_only_when_it_is_on_the_disk(tmp_path, make_spans, spans_of, monkeypatch):
    synced = []
    monkeypatch.setattr(_file, "_force", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    exporter = JsonlSpanExporter(tmp_path, fsync=True)
    assert [exporter.export(make_spans(1)) for _ in range(2)] == [OK, OK]
    assert synced[-1] == Path(exporter.path).stat().st_size
    assert len(synced) == 2

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_file, "_force", fail)
    assert exporter.export(make_spans(3)) is FAILURE

    assert (exporter.written_spans, exporter.lost_spans, len(spans_of(exporter))) == (2, 3, 2)
    monkeypatch.undo()
    assert exporter.export(make_spans(1)) is OK
    assert len(spans_of(exporter)) == 3
    exporter.shutdown()


def test_without_fsync_nothing_is_forced(exporter, make_spans, monkeypatch):
    monkeypatch.setattr(_file, "_force", None)

    assert exporter.export(make_spans(1)) is OK
