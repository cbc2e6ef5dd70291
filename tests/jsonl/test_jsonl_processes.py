"""Forks and kills, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spanloom_jsonl._file import LineFile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

SETUP = """
import os, sys, threading
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from spanloom_jsonl import JsonlSpanExporter

exporter = JsonlSpanExporter(sys.argv[1])
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("t")

def span(name):
    tracer.start_span(name).end()
"""


def start(program, directory, *options):
    return subprocess.Popen(
        [sys.executable, *options, "-c", SETUP + program, str(directory)], stdout=subprocess.PIPE, text=True
    )


def run(program, directory, *options):
    process = start(program, directory, *options)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output


def names_by_file(directory, spans_in):
    return {path.name: [span["name"] for span in spans_in(path.read_bytes())] for path in directory.glob("*.jsonl")}


def test_each_forked_process_has_its_file_under_the_name_of_the_run(tmp_path, spans_in):
    output = run(
        """
span("parent before")
child = os.fork()
if not child:
    assert (exporter.path, exporter.written_spans) == (None, 0)
    span("child")
    grandchild = os.fork()
    if not grandchild:
        span("grandchild")
        os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
    span("child again")
    print(grandchild, exporter.written_spans)
    sys.exit()
silent = os.fork()
if not silent:
    os._exit(0)
assert os.waitpid(child, 0)[1] == os.waitpid(silent, 0)[1] == 0
span("parent after")
print(child, os.getpid(), os.path.basename(exporter.path))
""",
        tmp_path,
    )

    grandchild, written, child, parent, name = output.split()
    run_name = name.split(".")[0]
    assert run_name.endswith(f"-{parent}")
    assert written == "2"
    assert names_by_file(tmp_path, spans_in) == {
        f"{run_name}.traces.jsonl": ["parent before", "parent after"],
        f"{run_name}.{child}.traces.jsonl": ["child", "child again"],
        f"{run_name}.{grandchild}.traces.jsonl": ["grandchild"],
    }


def test_a_fork_while_another_thread_writes(tmp_path, spans_in):
    """The lock that the thread holds would never be released in the child."""
    run(
        """
held, done = threading.Event(), threading.Event()

def hold():
    with exporter._output.sink._lock:
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    span("child")
    os._exit(exporter.written_spans)
status = os.waitpid(child, 0)[1]
done.set()
thread.join()
assert os.waitstatus_to_exitcode(status) == 1
""",
        tmp_path,
        "-W",
        "ignore::DeprecationWarning",  # Python 3.12 and later: a fork beside threads, which is what this is about
    )

    assert list(names_by_file(tmp_path, spans_in).values()) == [["child"]]


def test_a_child_of_a_failing_parent_tells_for_itself(tmp_path):
    (tmp_path / "file").write_text("in the way")
    output = run(
        """
import logging
logging.basicConfig(stream=sys.stdout, format="%(process)d")
span("lost")
sys.stdout.flush()
child = os.fork()
span("lost too")
if child:
    os.waitpid(child, 0)
    print(os.getpid(), child)
sys.stdout.flush()
os._exit(0)
""",
        tmp_path / "file",
    )

    first, second, parent, child = output.split()
    assert (first, second) == (parent, child)


def test_what_ended_before_a_kill_is_on_disk(tmp_path, spans_in):
    process = start(
        """
count = 0
while True:
    span(f"{count} " + "x" * (count % 5000))
    count += 1
    if count % 500 == 0:
        print(count, exporter.path, flush=True)
""",
        tmp_path,
    )
    reported = [process.stdout.readline().split() for _ in range(4)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    path = Path(reported[1])
    *whole, _torn = path.read_bytes().split(b"\n")
    spans = spans_in(b"\n".join(whole) + b"\n")
    assert len(spans) >= int(reported[0]) == 2000
    assert [int(re.match(r"\d+", span["name"])[0]) for span in spans] == list(range(len(spans)))

    # The worst that a kill can leave; the next process of that name carries on after it.
    path.write_bytes(b"\n".join(whole)[:-40])
    file = LineFile(path)
    file.append(b'{"resourceSpans":[]}\n')
    file.close()
    *before, torn, last = path.read_bytes().splitlines()
    assert json.loads(last) == {"resourceSpans": []}
    assert len(spans_in(b"\n".join(before) + b"\n")) == len(spans) - 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)


def test_os_exit_loses_nothing(tmp_path, spans_in):
    run("span('one'); span('two'); os._exit(0)", tmp_path)

    assert list(names_by_file(tmp_path, spans_in).values()) == [["one", "two"]]
