"""Full disks and forbidden places: no torn line, no false SUCCESS, one log line when it begins and one at its end."""

import errno
import gzip
import os
import random
import subprocess
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_jsonl import JsonlSpanExporter

OK = SpanExportResult.SUCCESS
FAILURE = SpanExportResult.FAILURE


class Disk:
    """`os.write` with a given number of bytes left."""

    def __init__(self, room):
        self.room = room

    def write(self, descriptor, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 700, 2500])
def test_a_full_disk_leaves_whole_lines_and_recovers(exporter, make_spans, spans_of, replace_os, caplog, room):
    disk = Disk(10**9)
    replace_os(write=disk.write)
    exporter.export(make_spans(1))
    before = Path(exporter.path).read_bytes()

    disk.room = room
    results = [exporter.export(make_spans(2, size=2000)) for _ in range(3)]
    full = Path(exporter.path).read_bytes()
    disk.room = 10**9
    results.append(exporter.export(make_spans(4)))

    assert results == [FAILURE] * 3 + [OK]
    assert full == before
    assert (exporter.written_spans, exporter.lost_spans, len(spans_of(exporter))) == (5, 6, 5)
    failing, recovered = (record.getMessage() for record in caplog.records)
    assert exporter.path in failing
    assert "No space left on device" in failing
    assert "SPANLOOM_JSONL_DIR" in failing
    assert "6" in recovered


def test_of_a_batch_the_lines_that_fitted_are_kept_and_counted(exporter, make_spans, spans_of, replace_os):
    replace_os(write=Disk(700_000).write)

    assert exporter.export(make_spans(600, size=2000)) is FAILURE

    assert 0 < exporter.written_spans == len(spans_of(exporter)) < 600
    assert exporter.written_spans + exporter.lost_spans == 600


def test_a_write_that_comes_in_pieces(exporter, make_spans, spans_of, replace_os):
    replace_os(write=lambda descriptor, data: os.write(descriptor, data[:100]))

    assert exporter.export(make_spans(3)) is OK
    assert len(spans_of(exporter)) == 3


def test_a_torn_line_that_cannot_be_taken_back_is_ended(exporter, make_spans, spans_in, replace_os):
    def ftruncate(descriptor, size):
        raise PermissionError("append-only file")

    exporter.export(make_spans(1))
    replace_os(write=Disk(100).write, ftruncate=ftruncate)
    assert exporter.export(make_spans(2)) is FAILURE

    replace_os()
    assert [exporter.export(make_spans(3)), exporter.export(make_spans(1))] == [OK, OK]

    first, torn, *last = Path(exporter.path).read_bytes().splitlines(keepends=True)
    assert len(torn) == 101
    assert len(spans_in(first + b"".join(last))) == 5


def test_another_writers_line_is_not_taken_back(exporter, make_spans, spans_in, replace_os):
    """Two processes with one id (containers that share a directory) may share a file."""
    exporter.export(make_spans(1))
    disk = Disk(100)

    def write(descriptor, data):
        if not disk.room:
            os.write(descriptor, b'\n{"resourceSpans":[]}\n')
        return disk.write(descriptor, data)

    replace_os(write=write)
    assert exporter.export(make_spans(2)) is FAILURE

    first, torn, others = Path(exporter.path).read_bytes().splitlines(keepends=True)
    assert len(torn) == 101
    assert others == b'{"resourceSpans":[]}\n'
    assert len(spans_in(first)) == 1


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_directory_that_cannot_be_made(tmp_path, make_spans, caplog, below):
    (tmp_path / "file").write_text("in the way")
    exporter = JsonlSpanExporter(tmp_path / "file" / below)

    assert [exporter.export(make_spans(2)) for _ in range(3)] == [FAILURE] * 3

    assert (exporter.path, exporter.written_spans, exporter.lost_spans) == (None, 0, 6)
    (record,) = caplog.records
    assert "SPANLOOM_JSONL_DIR" in record.getMessage()
    assert str(tmp_path / "file") in record.getMessage()
    (tmp_path / "file").unlink()
    assert exporter.export(make_spans(1)) is OK
    assert len(caplog.records) == 2


def test_a_directory_name_that_no_system_takes(make_spans, caplog):
    exporter = JsonlSpanExporter("with\0null")

    assert exporter.export(make_spans()) is FAILURE
    assert len(caplog.records) == 1


def test_the_kernel_limits_the_file(exporter, make_spans, spans_of, caplog):
    """The same with a real limit instead of a replaced `os.write`: EFBIG after a short write."""
    resource = pytest.importorskip("resource")
    exporter.export(make_spans(2))
    size = Path(exporter.path).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        result = exporter.export(make_spans(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert result is FAILURE
    assert Path(exporter.path).stat().st_size == size
    assert os.strerror(errno.EFBIG) in caplog.text
    assert exporter.export(make_spans(4)) is OK
    assert len(spans_of(exporter)) == 6


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB; and `remount(option)`."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, place], capture_output=True, check=False).returncode == 0

    if not mount("-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        pytest.skip("mounting is not allowed here")
    try:
        yield place, lambda option: mount("-o", f"remount,{option}")
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_really_full(small_disk, make_spans, spans_in, caplog):
    place, _ = small_disk
    (ballast := place / "ballast").write_bytes(b"x" * 400_000)
    exporter = JsonlSpanExporter(place / "traces", max_bytes=200_000, compress="gzip", running=True)
    noise = random.Random(1).randbytes(20_000).hex()  # so that compressing makes no room
    batches = [make_spans(10, noise=noise[:size]) for size in (200, 5000, 40_000)]

    results = [exporter.export(batches[turn % 3]) for turn in range(60)]
    assert FAILURE in results[:-1]
    ballast.unlink()
    exporter.shutdown()
    again = JsonlSpanExporter(place / "more")
    assert again.export(batches[0]) is OK

    paths = [path for path in (place / "traces").iterdir() if path.suffix in {".jsonl", ".gz"}]
    texts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in paths]
    assert sum(len(spans_in(text)) for text in texts if text) == exporter.written_spans
    assert len(paths) == len(list((place / "traces").iterdir()))  # nothing half done is left
    assert exporter.written_spans + exporter.lost_spans == 600
    assert "No space left on device" in caplog.text
    again.shutdown()


def test_room_again_on_a_full_disk(small_disk, make_spans, spans_of, caplog):
    place, _ = small_disk
    exporter = JsonlSpanExporter(place)
    (ballast := place / "ballast").write_bytes(b"x" * 900_000)
    while exporter.export(make_spans(5, size=3000)) is OK:
        pass
    whole = len(spans_of(exporter))

    ballast.unlink()

    assert exporter.export(make_spans(5, size=3000)) is OK
    assert len(spans_of(exporter)) == whole + 5 == exporter.written_spans
    assert len(caplog.records) == 2
    exporter.shutdown()


def test_a_disk_that_is_read_only_for_a_while(small_disk, make_spans, spans_of, caplog):
    place, remount = small_disk
    exporter = JsonlSpanExporter(place / "traces")
    assert remount("ro")
    assert [exporter.export(make_spans(2)) for _ in range(3)] == [FAILURE] * 3

    assert remount("rw")

    assert exporter.export(make_spans(3)) is OK
    assert (exporter.written_spans, exporter.lost_spans, len(spans_of(exporter))) == (3, 6, 3)
    failing, recovered = (record.getMessage() for record in caplog.records)
    assert os.strerror(errno.EROFS) in failing
    assert "6" in recovered
    exporter.shutdown()
