"""Many processes in one directory: killed at random, forked at a bad moment, rotated from outside."""

import gzip
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanloom.view.files import find_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

SETUP = """
import json, mmap, os, random, signal, struct, sys, threading, time, traceback
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from spanloom_jsonl import JsonlSpanExporter

directory = sys.argv[1]

def in_child(work, *arguments):
    # The id of a child that does this and ends.
    pid = os.fork()
    if not pid:
        try:
            os._exit(work(*arguments) or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid

def make_tracer(**options):
    exporter = JsonlSpanExporter(directory, **options)
    provider = TracerProvider()
    provider.add_span_processor(exporter.span_processor())
    return provider.get_tracer("t"), exporter, provider

def make_batch(count, name):
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for number in range(count):
        provider.get_tracer("t").start_span(f"{name} {number}", attributes={"text": "x" * 1000}).end()
    return kept.get_finished_spans()
"""


def run(program, *arguments, timeout=120):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            SETUP + textwrap.dedent(program),
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        timeout=timeout,
        check=True,
    )
    return json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def read(official):
    """`read(paths)`: how often each span's name stands in the files; a torn last line is no line."""

    def names_in(paths):
        names = Counter()
        for path in map(Path, paths):
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            for line in data.splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    assert line == data[-len(line) :]
                    continue
                request = official(line, ExportTraceServiceRequest)
                names.update(span.name for r in request.resource_spans for s in r.scope_spans for span in s.spans)
        return names

    return names_in


@pytest.fixture
def read_all(read, tmp_path):
    """`read_all()`: of all the files that readers see in the directory."""
    return lambda: read(file.path for file in find_folder(str(tmp_path)))


def test_200_kills_lose_nothing_that_was_reported_as_written(tmp_path, read_all):
    """Each process is killed after some number of spans, eight at once, while they rotate and compress."""
    reported = run(
        """
        KILLS, AT_ONCE = 200, 8
        counts = mmap.mmap(-1, 8 * KILLS)
        rng = random.Random(20261121)

        def write(index):
            tracer, exporter, _ = make_tracer(max_bytes=30_000, max_line_bytes=8192, compress="gzip", running=True)
            mine = random.Random(index)
            number = 0
            while True:
                size = mine.choice((10, 1000, 7000, 20_000))
                with tracer.start_as_current_span(f"{index} {number}", attributes={"text": "x" * size}):
                    pass
                assert not exporter.lost_spans
                number += 1
                struct.pack_into("q", counts, 8 * index, number)

        def count(index):
            return struct.unpack_from("q", counts, 8 * index)[0]

        for first in range(0, KILLS, AT_ONCE):
            children = {}
            for index in range(first, first + AT_ONCE):
                children[index] = in_child(write, index), rng.randrange(60)
            while children:
                for index, (pid, most) in list(children.items()):
                    if count(index) > most:
                        os.kill(pid, signal.SIGKILL)
                        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
                        del children[index]
                    else:
                        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
                time.sleep(0.0005)  # leaves the processor to them
        json.dump([count(index) for index in range(KILLS)], sys.stdout)
        """,
        tmp_path,
    )

    seen = read_all()
    assert len(reported) == 200
    for index, count in enumerate(reported):
        mine = {name: times for name, times in seen.items() if name.startswith(f"{index} ")}
        # What was reported is there; of what the kill interrupted at most one more.
        assert count <= len(mine) <= count + 1
        assert set(mine) == {f"{index} {number}" for number in range(len(mine))}
    assert set(seen.values()) == {1}
    assert list(tmp_path.glob("*.gz"))
    records = [path.read_bytes() for path in tmp_path.glob("*.running")]
    assert all(data.strip(b" \n\0").count(b"spanId") <= 1 for data in records)


def test_8_writers_at_once(tmp_path, read_all):
    run(
        """
        def write(index):
            tracer, exporter, provider = make_tracer(max_bytes=100_000, compress="gzip")
            for number in range(400):
                tracer.start_span(f"{index} {number}", attributes={"text": "x" * (number % 50 * 100)}).end()
            provider.shutdown()
            return exporter.lost_spans or exporter.written_spans != 400

        children = [in_child(write, index) for index in range(8)]
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
        """,
        tmp_path,
    )

    assert read_all() == {f"{index} {number}": 1 for index in range(8) for number in range(400)}
    assert len({path.name.partition(".")[0] for path in tmp_path.iterdir()}) == 8


def test_8_writers_that_keep_so_many_files(tmp_path, read_all):
    """They remove each other's oldest, never one that is being written."""
    run(
        """
        def write(index):
            tracer, exporter, provider = make_tracer(max_bytes=20_000, max_files=12)
            for number in range(400):
                tracer.start_span(f"{index} {number}", attributes={"text": "x" * 1000}).end()
                assert os.path.exists(exporter.path)
            provider.shutdown()
            return exporter.lost_spans

        children = [in_child(write, index) for index in range(8)]
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
        # Those of them that stopped early could not go; the next process that begins a file sees to it.
        tracer, exporter, _ = make_tracer(max_files=12)
        tracer.start_span("last").end()
        deadline = time.monotonic() + 30
        while len(os.listdir(directory)) > 12:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        """,
        tmp_path,
    )

    assert len(list(tmp_path.iterdir())) == 12
    seen = read_all()
    assert seen["last"] == 1
    assert set(seen.values()) == {1}


def test_forks_in_the_middle_of_batches(tmp_path, read_all):
    """A thread writes batches while another forks: each child begins cleanly, and the parent's lines stay whole."""
    exported = run(
        """
        exporter = JsonlSpanExporter(directory, max_line_bytes=8192, max_bytes=200_000, compress="gzip")
        forked = threading.Event()
        batches = 0
        # Made beforehand: the SDK imports and locks as it makes a provider, which a fork may catch half done.
        ours = make_batch(100, "parent")
        theirs = [make_batch(20, f"child {child}") for child in range(25)]

        def write():
            global batches
            while not forked.is_set() or batches < 3:
                assert exporter.export(ours) is SpanExportResult.SUCCESS
                batches += 1

        thread = threading.Thread(target=write)
        thread.start()
        def begin_cleanly(child):
            done = exporter.export(theirs[child]) is SpanExportResult.SUCCESS
            exporter.shutdown()
            return not done or exporter.written_spans != 20

        for child in range(25):
            assert os.waitpid(in_child(begin_cleanly, child), 0)[1] == 0
        forked.set()
        thread.join()
        exporter.shutdown()
        json.dump(batches, sys.stdout)
        """,
        tmp_path,
    )

    expected = {f"parent {number}": exported for number in range(100)}
    assert read_all() == expected | {f"child {child} {number}": 1 for child in range(25) for number in range(20)}


@pytest.mark.parametrize("way", ["move", "copytruncate"])
def test_rotation_from_outside(tmp_path, read, way):
    """`logrotate` in its two ways, again and again, under a program that writes."""
    run(
        """
        tracer, exporter, provider = make_tracer()
        way = sys.argv[2]
        stop = threading.Event()
        sizes = [10, 3000]

        def write():
            number = 0
            while not stop.is_set():
                tracer.start_span(str(number), attributes={"text": "x" * sizes[number % 2]}).end()
                number += 1

        tracer.start_span("first").end()
        thread = threading.Thread(target=write)
        thread.start()
        for turn in range(40):
            while not os.path.exists(exporter.path) or os.path.getsize(exporter.path) < 30_000:
                time.sleep(0.001)
            if way == "move":
                os.rename(exporter.path, f"{exporter.path}.{turn}")
            else:
                with open(exporter.path, "rb") as file, open(f"{exporter.path}.{turn}", "wb") as copy:
                    copy.write(file.read())
                os.truncate(exporter.path, 0)
        stop.set()
        thread.join()
        provider.shutdown()
        json.dump([exporter.written_spans, exporter.lost_spans], sys.stdout)
        """,
        tmp_path,
        way,
    )

    current = list(tmp_path.glob("*.jsonl"))  # none if the last line went into a file that was moved just then
    seen = read([*current, *tmp_path.glob("*.jsonl.*")])
    numbers = sorted(int(name) for name in seen if name != "first")
    assert set(seen.values()) == {1}
    assert not any(b"\0" in path.read_bytes() for path in current)  # what follows a cut begins at the beginning
    if way == "move":
        assert numbers == list(range(len(numbers)))
    else:  # what is written between the copy and the cut goes, as with any program; nothing else does
        assert len(numbers) > numbers[-1] * 0.5
