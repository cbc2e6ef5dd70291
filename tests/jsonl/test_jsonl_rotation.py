"""Parts by size and age, how many stay, and what compresses them: nothing lost, nobody else's file touched."""

import gzip
import io
import os
import re
import threading
import time
from pathlib import Path

import pytest
import zstandard
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_jsonl import JsonlSpanExporter, _parts, _tidy
from spanloom_jsonl._locks import own, share
from spanloom_jsonl._packing import open_packed
from spanloom_jsonl._parts import find_parts

OK = SpanExportResult.SUCCESS


@pytest.fixture
def make(tmp_path):
    """`make(max_bytes=...)`: an exporter to `tmp_path` that is shut down at the end."""
    made = []

    def exporter(**options):
        made.append(JsonlSpanExporter(tmp_path, **options))
        return made[-1]

    yield exporter
    for one in made:
        one.shutdown()


def settled(exporter):
    """Wait until nothing is done in the background any more."""
    tidier = exporter._output.sink._tidier
    deadline = time.monotonic() + 30
    while tidier._thread is not None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def number_of(name):
    found = re.search(r"part(\d+)", name)
    return int(found[1]) if found else 1


def names(directory):
    """The names of the files, without what all begin with, in the order of their parts."""
    return sorted((path.name.partition(".")[2] for path in directory.iterdir()), key=number_of)


def text_of(path):
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    return path.read_bytes()


def numbers(directory, spans_in):
    """The number in the name of every span in the files, sorted."""
    return sorted(int(span["name"]) for path in directory.iterdir() for span in spans_in(text_of(path)))


def fill(exporter, make_spans, *, count=12, first=0, size=1000):
    for number in range(first, first + count):  # two of the usual size are less than 4,000 bytes
        assert exporter.export(make_spans(name=str(number), size=size)) is OK


def abandoned(directory, *, number, pid=4711, mtime=None, data=b'{"resourceSpans":[]}\n', kind="traces"):
    """A file as an exporter that is gone has left it."""
    part = "" if number == 1 else f".part{number}"
    path = directory / f"20250101T000000-{pid}{part}.{kind}.jsonl"
    path.write_bytes(data)
    os.utime(path, (mtime or number, mtime or number))
    return path


def test_a_file_that_would_be_too_long_is_left_and_the_next_part_begun(make, make_spans, tmp_path, spans_in):
    exporter = make(max_bytes=4000)
    paths = []
    for number in range(8):
        fill(exporter, make_spans, first=number, count=1)
        paths.append(exporter.path)

    assert all(path.stat().st_size <= 4000 for path in tmp_path.iterdir())
    assert numbers(tmp_path, spans_in) == list(range(8))
    assert names(tmp_path) == ["traces.jsonl", *(f"part{number}.traces.jsonl" for number in (2, 3, 4))]
    assert [path.partition(".")[2] for path in dict.fromkeys(map(os.path.basename, paths))] == names(tmp_path)
    assert exporter.written_spans == 8


def test_one_line_longer_than_a_file_may_be_is_written(make, make_spans, tmp_path):
    exporter = make(max_bytes=10)

    fill(exporter, make_spans, count=3)

    assert names(tmp_path) == ["traces.jsonl", "part2.traces.jsonl", "part3.traces.jsonl"]


def test_without_limits_there_is_one_file(make, make_spans, tmp_path):
    exporter = make(max_bytes=0)

    fill(exporter, make_spans)

    assert names(tmp_path) == ["traces.jsonl"]
    assert exporter._output.sink._tidier._thread is None


def test_an_old_file_is_left_with_the_next_line(make, make_spans, tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(_parts.time, "monotonic", lambda: now[0])
    exporter = make(max_age=60)

    for at in (1000.0, 1059.0, 1061.0, 1120.0, 1121.5):
        now[0] = at
        fill(exporter, make_spans, count=1)

    assert {path.name.partition(".")[2]: path.read_bytes().count(b"\n") for path in tmp_path.iterdir()} == {
        "traces.jsonl": 2,
        "part2.traces.jsonl": 2,
        "part3.traces.jsonl": 1,
    }


def test_a_file_that_logrotate_has_emptied_counts_as_empty(make, make_spans, tmp_path, spans_in):
    """copytruncate: the file is copied and cut to nothing under our hands."""
    exporter = make(max_bytes=4000)
    fill(exporter, make_spans, count=2)
    os.truncate(exporter.path, 0)

    fill(exporter, make_spans, first=2, count=2)

    assert names(tmp_path) == ["traces.jsonl"]
    assert numbers(tmp_path, spans_in) == [2, 3]


def test_the_oldest_files_go_whoever_wrote_them(make, make_spans, tmp_path):
    old = [abandoned(tmp_path, number=number, mtime=number) for number in range(1, 6)]
    exporter = make(max_files=3, max_bytes=4000)

    fill(exporter, make_spans, count=1)
    settled(exporter)

    assert sorted(tmp_path.iterdir()) == sorted([*old[3:], Path(exporter.path)])
    fill(exporter, make_spans, count=12)
    settled(exporter)
    last = number_of(exporter.path)
    assert last > 3
    assert names(tmp_path) == [f"part{number}.traces.jsonl" for number in (last - 2, last - 1, last)]


def test_only_files_of_ours_and_of_the_same_signal_go(make, make_spans, tmp_path):
    kept = [
        abandoned(tmp_path, number=1, kind="logs"),
        abandoned(tmp_path, number=1, kind="metrics"),
        *(tmp_path / name for name in ("notes.jsonl", "x.traces.jsonl", "20250101T000000-7.traces.jsonl.1")),
    ]
    for path in kept[2:]:
        path.write_bytes(b"mine\n")
        os.utime(path, (1, 1))
    (tmp_path / "20250101T000000-8.traces.jsonl").symlink_to(kept[2])
    (tmp_path / "20250101T000000-9.traces.jsonl").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    gone = abandoned(tmp_path, number=1)

    exporter = make(max_files=1)
    fill(exporter, make_spans, count=1)
    settled(exporter)

    assert {path.name for path in tmp_path.iterdir()} == before | {Path(exporter.path).name}
    assert not gone.exists()
    assert kept[2].read_bytes() == b"mine\n"


def test_a_file_that_a_living_process_writes_stays(make, make_spans, tmp_path):
    """It is told by its lock: a process in another container has no id that means anything here."""
    fcntl = pytest.importorskip("fcntl")
    written, left = abandoned(tmp_path, number=1, pid=1), abandoned(tmp_path, number=1, pid=2)
    with written.open("ab") as file:
        share(file.fileno())
        exporter = make(max_files=1)
        fill(exporter, make_spans, count=1)
        settled(exporter)

        assert sorted(tmp_path.iterdir()) == sorted([written, Path(exporter.path)])
        assert not left.exists()
        with pytest.raises(BlockingIOError):
            fcntl.flock(os.open(exporter.path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("packing", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_finished_parts_are_compressed(make, make_spans, tmp_path, spans_in, packing, suffix):
    exporter = make(max_bytes=20_000, compress=packing)

    fill(exporter, make_spans, count=60)
    settled(exporter)

    found = {path.name.partition(".")[2]: path for path in tmp_path.iterdir()}
    *finished, current = names(tmp_path)
    assert len(finished) >= 3
    assert all(name.endswith(f"traces.jsonl{suffix}") for name in finished)
    assert current.endswith(".traces.jsonl")
    assert numbers(tmp_path, spans_in) == list(range(60))
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o600}
    times = [found[name].stat().st_mtime_ns for name in [*finished, current]]
    assert times == sorted(times)  # still those of their last lines, which readers go by


def test_what_a_killed_compressor_left_is_finished_by_the_next(make, make_spans, tmp_path):
    plain = abandoned(tmp_path, number=1, data=b"{}\n" * 1000)
    abandoned(tmp_path, number=2)
    half = Path(f"{plain}.gz.tmp")
    half.write_bytes(b"half")

    exporter = make(compress="gzip")
    fill(exporter, make_spans, count=1)
    settled(exporter)

    assert sorted(path.name.partition(".")[2] for path in tmp_path.iterdir()) == [
        "part2.traces.jsonl",
        "traces.jsonl",
        "traces.jsonl.gz",
    ]
    assert gzip.decompress(Path(f"{plain}.gz").read_bytes()) == b"{}\n" * 1000
    assert Path(f"{plain}.gz").stat().st_mtime == 1


@pytest.mark.parametrize("moment", ["copy", "utime", "replace", "unlink"])
def test_a_compressor_that_fails_at_any_moment_loses_nothing(
    make, make_spans, tmp_path, spans_in, monkeypatch, caplog, moment
):
    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    class Os:
        def __getattr__(self, name):
            return fail if name == moment else getattr(os, name)

    monkeypatch.setattr(_tidy, "os", Os())
    if moment == "copy":
        monkeypatch.setattr(_tidy, "open_packed", fail)
    exporter = make(max_bytes=4000, compress="gzip")

    fill(exporter, make_spans)
    settled(exporter)

    assert set(numbers(tmp_path, spans_in)) == set(range(12))
    (record,) = caplog.records
    assert "No space left on device" in record.getMessage()
    assert str(tmp_path) in record.getMessage()
    monkeypatch.undo()
    fill(exporter, make_spans, first=12, count=4)
    settled(exporter)
    assert numbers(tmp_path, spans_in) == list(range(16))
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_shutdown_stops_a_compressor_and_leaves_the_plain_file(make, make_spans, tmp_path, monkeypatch):
    exporter = make(max_bytes=10, compress="gzip")
    tidier = exporter._output.sink._tidier
    at_it = threading.Event()

    def open_when_stopped(*arguments):
        at_it.set()
        deadline = time.monotonic() + 30
        while not tidier._stopped and time.monotonic() < deadline:
            time.sleep(0.001)
        return open_packed(*arguments)

    monkeypatch.setattr(_tidy, "open_packed", open_when_stopped)
    fill(exporter, make_spans, count=2)
    assert at_it.wait(30)
    assert exporter.export(make_spans()) is OK  # which waits for nobody

    exporter.shutdown()

    assert tidier._thread is None
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jsonl"] * 3


def test_a_forked_child_with_our_id_of_before_begins_behind_what_was_compressed(make, make_spans, tmp_path):
    """Process ids come again: a later child of the same run may have the id of an earlier one."""
    first = make()._output.sink._parts.path
    for part in ("", ".part2"):
        name = first.name.replace(".traces", f"{part}.traces")
        (tmp_path / f"{name}.gz").write_bytes(b"")

    fill(make(), make_spans, count=1)

    assert [path.name for path in tmp_path.glob("*.jsonl")] == [first.name.replace(".traces", ".part3.traces")]


def test_a_file_system_without_locks_is_told_once_and_nothing_removed(make, make_spans, tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    left = abandoned(tmp_path, number=1)
    exporter = make(max_files=1, max_bytes=10)

    fill(exporter, make_spans, count=3)
    settled(exporter)

    assert left.exists()
    assert len(list(tmp_path.iterdir())) == 4
    (record,) = caplog.records
    assert "Operation not supported" in record.getMessage()


def test_one_that_cannot_be_removed_does_not_keep_the_others(make, make_spans, tmp_path, monkeypatch, caplog):
    stuck, *others = [abandoned(tmp_path, number=number, mtime=number) for number in range(1, 5)]

    class Os:
        def __getattr__(self, name):
            return unlink if name == "unlink" else getattr(os, name)

    def unlink(path):
        if path == str(stuck):
            raise PermissionError(13, "Permission denied", path)
        os.unlink(path)

    monkeypatch.setattr(_tidy, "os", Os())
    exporter = make(max_files=1)
    fill(exporter, make_spans, count=1)
    settled(exporter)

    assert sorted(tmp_path.iterdir()) == sorted([stuck, Path(exporter.path)])
    assert not any(path.exists() for path in others)
    (record,) = caplog.records
    assert str(stuck) in record.getMessage()


def test_no_threads_no_harm(make, make_spans, tmp_path, monkeypatch):
    class NoThread:
        def __init__(self, **_):
            pass

        def start(self):
            raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(_tidy, "Thread", NoThread)
    exporter = make(max_files=1, max_bytes=10)

    fill(exporter, make_spans, count=3)

    assert len(list(tmp_path.iterdir())) == 3


def test_parts_are_found_oldest_first(tmp_path):
    paths = [abandoned(tmp_path, number=number, mtime=5) for number in (1, 2, 10)]
    paths.insert(0, abandoned(tmp_path, number=3, mtime=4))

    found = find_parts(tmp_path, "traces.jsonl")

    assert [Path(part.path) for part in found] == paths
    assert [(part.writer, part.number, part.packed) for part in found[:2]] == [
        ("20250101T000000-4711", 3, False),
        ("20250101T000000-4711", 1, False),
    ]


def test_a_lock_is_taken_once(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "f"
    with path.open("wb") as one, path.open("wb") as other:
        assert own(one.fileno())
        assert not own(other.fileno())
