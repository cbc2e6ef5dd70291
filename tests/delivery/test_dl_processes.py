"""Spools and processes: killed, restarted, forked, several at once."""

import multiprocessing
import os
import textwrap
import threading

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_otlp import HttpSpanExporter, SpooledSpanExporter, _sender, spool_state

from .conftest import PATIENCE, Answer, eventually, ids_of

PROGRAM = """
import os, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from spanloom_otlp import GrpcSpanExporter, HttpSpanExporter, SpooledSpanExporter

kind = GrpcSpanExporter if sys.argv[1] == "grpc" else HttpSpanExporter
spool = SpooledSpanExporter(kind(sys.argv[2], timeout=2), "spool")
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spool))
tracer = provider.get_tracer("program")
written = 0
while True:
    span = tracer.start_span("step", attributes={"text": "x" * 200})
    span.end()
    sys.stdout.write(f"{span.get_span_context().span_id}\\n")  # after it has ended
    sys.stdout.flush()
"""

DELIVER = """
import sys, time
from spanloom_otlp import GrpcSpanExporter, HttpSpanExporter, SpooledSpanExporter, spool_state
from pathlib import Path

kind = GrpcSpanExporter if sys.argv[1] == "grpc" else HttpSpanExporter
spool = SpooledSpanExporter(kind(sys.argv[2], timeout=5), "spool")
end = time.monotonic() + 60
while spool_state(Path("spool"))[0].waiting_spans and time.monotonic() < end:
    time.sleep(0.01)
spool.shutdown()
"""


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("away", [True, False])
def test_every_span_that_had_ended_survives_a_kill(workshop, backend, grpc_backend, free_port, protocol, away):
    server = grpc_backend if protocol == "grpc" else backend
    workshop.write("app.py", PROGRAM)
    workshop.write("deliver.py", DELIVER)
    ended = []
    for number in range(3):
        where = f"http://127.0.0.1:{free_port}/v1/traces" if away else server.url
        with workshop.start([workshop.python, "app.py", protocol, where]) as process:
            for _ in range(50 + 700 * number):
                ended.append(int(process.stdout.readline()))
            process.kill()
            rest, _ = process.communicate(timeout=PATIENCE)
        ended += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]

    ran = workshop.run([workshop.python, "deliver.py", protocol, server.url])

    assert ran.code == 0, ran.err
    assert set(server.taken) >= set(ended)
    (state,) = spool_state(workshop.folder / "spool")
    assert state.waiting_spans == 0
    assert [path.name for path in (workshop.folder / "spool" / "otlp").iterdir() if path.suffix != ".json"] == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
def test_a_file_that_may_not_grow_costs_nothing(workshop, backend):
    workshop.write(
        "app.py",
        """
        import resource, sys
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from spanloom_otlp import HttpSpanExporter, SpooledSpanExporter

        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        spool = SpooledSpanExporter(HttpSpanExporter(sys.argv[1]), "spool")
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(spool))
        for number in range(300):
            span = provider.get_tracer("app").start_span("step", attributes={"text": "x" * 1000})
            span.end()
            print(span.get_span_context().span_id)
        assert spool.force_flush()
        provider.shutdown()
        """,
    )

    ran = workshop.run([workshop.python, "app.py", backend.url])

    assert ran.code == 0, ran.err
    assert set(backend.taken) == {int(line) for line in ran.out.split()}
    assert list((workshop.folder / "spool" / "otlp").iterdir()) == []


@pytest.mark.slow
def test_the_end_of_a_program_waits_no_longer_than_said(workshop, backend):
    backend.always = Answer(before=lambda: eventually(lambda: False, 20))
    workshop.write("app.py", textwrap.dedent(PROGRAM).replace("while True:", "for _ in range(3):"))

    ran = workshop.run([workshop.python, "app.py", "http", backend.url])

    assert ran.code == 0
    (state,) = spool_state(workshop.folder / "spool")
    assert state.waiting_spans == 3


def test_an_attempt_that_outlives_the_shutdown_costs_nothing(backend, make_spans, tmp_path, monkeypatch):
    monkeypatch.setattr(_sender, "_LINGER", 0.01)
    answering = threading.Event()
    backend.answers = [Answer(before=lambda: answering.wait(PATIENCE))]
    spool = SpooledSpanExporter(HttpSpanExporter(backend.url, timeout=5), tmp_path, patience=0.05)
    first, second = make_spans(2), make_spans(2)
    spool.export(first)
    backend.wait(lambda: backend.requests)
    spool.export(second)

    spool.shutdown()
    answering.set()
    spool._sender._thread.join(PATIENCE)

    (state,) = spool_state(tmp_path)
    assert (state.waiting_spans, state.refused_spans, state.lost) in ((2, 0, {}), (4, 0, {}))


forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


@pytest.fixture
def spool(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(_sender, "_LINGER", 0.01)
    made = SpooledSpanExporter(HttpSpanExporter(backend.url, timeout=5), tmp_path / "spool", patience=2.0)
    yield made
    made.shutdown()


def in_child(work):
    """Run `work` in a forked child; its exit code says whether it returned True."""
    pid = os.fork()
    if not pid:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Python 3.12 and later warn where threads run beside a fork, which is what is tried here.
quietly = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@forking
@quietly
def test_a_forked_child_delivers_its_own_spans_and_nobody_elses(spool, backend, make_spans, tmp_path):
    before, in_the_child, after = make_spans(3), make_spans(3), make_spans(3)
    spool.export(before)
    assert spool.force_flush()

    def work():
        done = spool.export(in_the_child) is SpanExportResult.SUCCESS and spool.force_flush()
        spool.shutdown()
        return done

    assert in_child(work) == 0
    spool.export(after)
    assert spool.force_flush()

    assert backend.taken == ids_of([*before, *in_the_child, *after])
    spool.shutdown()
    assert list((tmp_path / "spool" / "otlp").iterdir()) == []


@forking
@quietly
def test_what_waits_at_a_fork_is_delivered_once(spool, backend, make_spans):
    backend.always = Answer(503)
    before = make_spans(3)
    spool.export(before)
    backend.wait(lambda: backend.requests)

    def work():
        spool.export(make_spans(2))
        return True

    assert in_child(work) == 0  # it dies without having delivered anything
    backend.always = None
    eventually(lambda: len(backend.taken) >= 5)

    assert backend.taken[:3] == ids_of(before)
    assert len(backend.taken) == 5


@forking
@quietly
def test_forks_in_the_middle_of_exports_hang_nobody(spool, backend, make_spans):
    stop = threading.Event()
    exported = []

    def export():
        while not stop.is_set():
            spans = make_spans(1)
            spool.export(spans)
            exported.extend(ids_of(spans))

    threads = [threading.Thread(target=export) for _ in range(3)]
    for thread in threads:
        thread.start()
    (last,) = make_spans(1)
    try:
        codes = [in_child(lambda: spool.export([last]) is SpanExportResult.SUCCESS) for _ in range(15)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert codes == [0] * 15
    assert spool.force_flush()
    eventually(lambda: set(backend.taken) >= {last.context.span_id, *exported})


def _worker(url, folder, number, ids):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(SpooledSpanExporter(HttpSpanExporter(url), folder)))
    tracer = provider.get_tracer("worker")
    for _ in range(100):
        span = tracer.start_span(f"worker {number}")
        span.end()
        ids.put(span.get_span_context().span_id)
    if number % 2:
        provider.shutdown()
    else:
        ids.close()
        ids.join_thread()
        os.kill(os.getpid(), 9)


@pytest.mark.slow
def test_several_processes_share_a_folder_and_some_are_killed(backend, tmp_path, spool):
    context = multiprocessing.get_context("spawn")
    ids = context.Queue()
    workers = [
        context.Process(target=_worker, args=(backend.url, str(tmp_path / "spool"), number, ids)) for number in range(4)
    ]
    for worker in workers:
        worker.start()
    wanted = {ids.get(timeout=PATIENCE) for _ in range(400)}
    for worker in workers:
        worker.join(PATIENCE)

    spool._start()  # any process with a spool takes over what the killed ones have left
    eventually(lambda: set(backend.taken) >= wanted)

    assert set(backend.taken) == wanted
