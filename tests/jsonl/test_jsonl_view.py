"""`spanloom view` on what the exporter leaves: parts, compressed parts, and spans that still run."""

import gzip
import io
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import zstandard
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from spanloom.view import ViewOptions, files, show
from spanloom.view.files import find_folder
from spanloom_jsonl import JsonlSpanExporter


def view(target, **options):
    out, err = io.StringIO(), io.StringIO()
    code = show(str(target), out=out, err=err, directory=str(target), options=ViewOptions(**options))
    return code, out.getvalue(), err.getvalue()


def documents(target, **options):
    code, out, _ = view(target, json=True, **options)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def flat(spans):
    """Every span of a JSON document with its depth."""
    found = []

    def walk(level, depth):
        for span in level:
            found.append((depth, span.get("name", "(missing)"), span.get("state")))
            walk(span["children"], depth + 1)

    walk(spans, 0)
    return found


@pytest.fixture
def tracer(tmp_path):
    exporter = JsonlSpanExporter(tmp_path, running=True)
    provider = TracerProvider(resource=Resource({"service.name": "app"}), shutdown_on_exit=False)
    provider.add_span_processor(exporter.span_processor())
    yield provider.get_tracer("tests")
    provider.shutdown()


def pack(path, how):
    data = path.read_bytes()
    packed = Path(f"{path}.{how}")
    packed.write_bytes(gzip.compress(data) if how == "gz" else zstandard.compress(data))
    status = path.stat()
    os.utime(packed, ns=(status.st_mtime_ns, status.st_mtime_ns))
    path.unlink()
    return packed


@pytest.fixture
def rotated(tmp_path):
    """A run of one trace in six parts, two of them compressed."""
    exporter = JsonlSpanExporter(tmp_path, max_bytes=1500)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(exporter.span_processor())
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("root"):
        for number in range(10):
            with tracer.start_as_current_span(f"step {number}", attributes={"text": "x" * 300}):
                pass
    provider.shutdown()
    paths = sorted(tmp_path.iterdir(), key=lambda path: ("part" in path.name, path.name))
    assert len(paths) >= 4
    pack(paths[0], "gz")
    pack(paths[1], "zst")
    return tmp_path


@pytest.mark.parametrize("options", [{}, {"every": True}, {"last": 1}])
def test_a_trace_in_several_parts_is_one_tree(rotated, options):
    (trace,) = documents(rotated, **options)

    assert flat(trace["roots"]) == [(0, "root", "ended"), *((1, f"step {number}", "ended") for number in range(10))]
    assert view(rotated, trace=trace["trace_id"][:8])[0] == 0
    assert documents(rotated, trace=trace["trace_id"])[0] == trace
    assert not list(rotated.glob("*tmp*"))


def test_a_compressed_file_by_its_name(rotated):
    (packed,) = rotated.glob("*.gz")

    ((trace),) = documents(packed)

    assert 0 < trace["spans"] < 11
    assert {name for _, name, _ in flat(trace["roots"])} >= {"step 0", "(missing)"}


def test_nothing_is_unpacked_that_is_not_needed(tmp_path, tracer, monkeypatch):
    old = tmp_path / "20250101T000000-1.traces.jsonl.gz"
    old.write_bytes(b"no gzip at all")
    os.utime(old, (1, 1))
    tracer.start_span("new").end()

    code, out, err = view(tmp_path)

    assert (code, err) == (0, "")
    assert "new" in out


def test_while_both_are_there_the_plain_file_counts(tmp_path, tracer):
    tracer.start_span("one").end()
    (plain,) = tmp_path.glob("*.jsonl")
    Path(f"{plain}.gz").write_bytes(gzip.compress(plain.read_bytes()))

    assert [Path(file.path) for file in find_folder(str(tmp_path))] == [plain]


@pytest.mark.parametrize(
    ("how", "damage", "told"),
    [
        ("gz", lambda data: data[: len(data) // 2], "damaged"),
        ("gz", lambda data: b"no gzip", "damaged"),
        ("gz", lambda data: data[:-8] + b"\0" * 8, "damaged"),
        ("zst", lambda data: b"no zstd", "damaged"),
    ],
)
def test_a_damaged_file_is_told_and_the_others_shown(tmp_path, tracer, how, damage, told):
    tracer.start_span("one").end()
    packed = tmp_path / f"20250101T000000-1.traces.jsonl.{how}"
    line = next(tmp_path.glob("*.jsonl")).read_bytes()
    packed.write_bytes(damage(gzip.compress(line * 500) if how == "gz" else b""))

    code, out, err = view(tmp_path, every=True)

    assert code == 0
    assert "one" in out
    assert f"cannot read {packed}" in err
    assert told in err


def test_without_zstandard_the_extra_is_named(rotated, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)

    code, _, err = view(rotated)

    assert code == 0
    assert "pip install 'spanloom[zstd]'" in err


def test_spans_that_run_stand_in_their_place(tmp_path, tracer):
    with tracer.start_as_current_span("root"):
        with tracer.start_as_current_span("done"):
            pass
        with tracer.start_as_current_span("at it"), tracer.start_as_current_span("below"):
            (trace,) = documents(tmp_path)
            assert flat(trace["roots"]) == [
                (0, "root", "running"),
                (1, "done", "ended"),
                (1, "at it", "running"),
                (2, "below", "running"),
            ]
            assert (trace["spans"], trace["not_ended"], trace["service"]) == (4, 3, "app")
            assert trace["end_unix_nano"] > time.time_ns() - 60_000_000_000
            _, out, err = view(tmp_path)
            header, sums, root, *_ = out.splitlines()
            assert "root not recorded" not in header
            assert "4 spans · 3 not ended" in sums
            assert root.startswith("root  running")
            assert err == ""
            assert documents(tmp_path, trace=trace["trace_id"])[0]["not_ended"] == 3
            assert documents(tmp_path, every=True)[0]["not_ended"] == 3
            (listed,) = documents(tmp_path, listing=True)
            assert listed["not_ended"] == 3

    (trace,) = documents(tmp_path)
    assert {state for _, _, state in flat(trace["roots"])} == {"ended"}


def test_a_run_of_which_nothing_has_ended_yet(tmp_path, tracer):
    with tracer.start_as_current_span("root"):
        (trace,) = documents(tmp_path)
        assert flat(trace["roots"]) == [(0, "root", "running")]
        (path,) = tmp_path.iterdir()
        assert flat(documents(path)[0]["roots"]) == flat(trace["roots"])


def test_a_span_that_is_in_both_has_ended(tmp_path, tracer):
    with tracer.start_as_current_span("one"):
        (record,) = tmp_path.glob("*.running")
        stale = record.read_bytes()
    record.write_bytes(stale)  # as a kill between the two leaves it

    for options in ({}, {"every": True}):
        (trace,) = documents(tmp_path, **options)
        assert flat(trace["roots"]) == [(0, "one", "ended")]


def test_a_record_that_is_being_written(tmp_path, tracer):
    with tracer.start_as_current_span("one"):
        (record,) = tmp_path.glob("*.running")
        data = record.read_bytes()
    record.write_bytes(b"\0" * 1024 + data + data.strip()[:100] + b" " * 50 + b"\n")

    code, out, err = view(tmp_path)

    assert (code, err) == (0, "")
    assert "one" in out


def test_an_empty_record_is_no_run(tmp_path, tracer):
    (tmp_path / "29990101T000000-1.traces.running").write_bytes(b" " * 1023 + b"\n")
    tracer.start_span("one").end()

    assert [trace["name"] for trace in documents(tmp_path)] == ["one"]


def test_other_readers_of_the_folder_get_no_records(tmp_path, tracer):
    with tracer.start_as_current_span("one"):
        assert find_folder(str(tmp_path)) == []
        assert list(tmp_path.glob("*.jsonl*")) == []


@pytest.mark.slow
@pytest.mark.skipif(files.sys.platform == "win32", reason="needs locks")
def test_a_program_that_is_killed_has_left_its_spans_open(tmp_path):
    program = """
        import sys
        from opentelemetry.sdk.trace import TracerProvider
        from spanloom_jsonl import JsonlSpanExporter

        provider = TracerProvider()
        provider.add_span_processor(JsonlSpanExporter(sys.argv[1], running=True).span_processor())
        tracer = provider.get_tracer("t")
        with tracer.start_as_current_span("root"):
            with tracer.start_as_current_span("done"):
                pass
            with tracer.start_as_current_span("hangs"):
                print("ready", flush=True)
                sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        (trace,) = documents(tmp_path)
        assert flat(trace["roots"]) == [(0, "root", "running"), (1, "done", "ended"), (1, "hangs", "running")]
    finally:
        process.kill()
        process.communicate(timeout=30)

    (trace,) = documents(tmp_path)
    assert flat(trace["roots"]) == [(0, "root", "not ended"), (1, "done", "ended"), (1, "hangs", "not ended")]
    _, out, _ = view(tmp_path)
    (line,) = (line for line in out.splitlines() if "hangs" in line)
    assert "not ended" in line
    assert " ? " in line  # how long it ran nobody knows
