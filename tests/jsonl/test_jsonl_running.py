"""The record of running spans: exactly those that have begun and not ended, through anything, at a fixed size."""

import gc
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from spanloom_jsonl import JsonlSpanExporter, JsonlSpanProcessor, _running
from spanloom_jsonl._parts import writer


@pytest.fixture
def processor(tmp_path):
    processor = JsonlSpanProcessor(JsonlSpanExporter(tmp_path, running=True))
    yield processor
    processor.shutdown()


@pytest.fixture
def tracer(processor):
    return make_tracer(processor)


def make_tracer(processor, **options):
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False, **options)
    provider.add_span_processor(processor)
    return provider.get_tracer("the scope", "1.0")


def record(directory):
    (path,) = directory.glob("*.running")
    return path


def running(directory):
    """The spans in the records of running ones."""
    spans = []
    for path in directory.glob("*.running"):
        data = path.read_bytes()
        assert len(data) % _running.SLOT == 0
        for line in data.split(b"\n"):
            if line.strip(b" \0"):
                spans.append(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0])
    return spans


def names(directory):
    return sorted(span["name"] for span in running(directory))


def ended(directory, spans_in):
    return [span["name"] for path in directory.glob("*.jsonl") for span in spans_in(path.read_bytes())]


def test_a_span_is_in_the_record_until_it_is_in_the_file(tracer, tmp_path, spans_in):
    with tracer.start_as_current_span("outer"):
        with tracer.start_as_current_span("inner"):
            assert names(tmp_path) == ["inner", "outer"]
            assert ended(tmp_path, spans_in) == []
        assert names(tmp_path) == ["outer"]
        assert ended(tmp_path, spans_in) == ["inner"]
        with tracer.start_as_current_span("again"):
            assert names(tmp_path) == ["again", "outer"]
        assert record(tmp_path).stat().st_size == 2 * _running.SLOT  # the place is used again

    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl"]
    assert ended(tmp_path, spans_in) == ["inner", "again", "outer"]


def test_it_is_written_before_the_span_leaves_the_record(processor, tracer, tmp_path, monkeypatch):
    seen = []
    export = processor.span_exporter.export
    monkeypatch.setattr(processor.span_exporter, "export", lambda spans: (export(spans), seen.append(names(tmp_path))))

    tracer.start_span("one").end()

    assert seen == [["one"]]


def test_what_is_recorded(tracer, tmp_path, official):
    remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    parent = set_span_in_context(NonRecordingSpan(remote))
    span = tracer.start_span("näme", parent, SpanKind.CLIENT, {"secret": "sk-123"}, start_time=12345)

    (line,) = record(tmp_path).read_bytes().splitlines()
    assert official(line, ExportTraceServiceRequest)
    assert json.loads(line) == {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "tests"}}]},
                "scopeSpans": [
                    {
                        "scope": {"name": "the scope"},
                        "spans": [
                            {
                                "traceId": f"{7:032x}",
                                "spanId": f"{span.context.span_id:016x}",
                                "parentSpanId": f"{8:016x}",
                                "flags": 0x300,
                                "name": "näme",
                                "kind": 3,
                                "startTimeUnixNano": "12345",
                            }
                        ],
                    }
                ],
            }
        ]
    }
    path = record(tmp_path)
    assert path.name == f"{writer()}.traces.running"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["x" * 5000, "\0" * 5000, "\ud800" * 300, '"\\' * 400])
def test_long_names_are_cut_to_their_place(tmp_path, name):
    exporter = JsonlSpanExporter(tmp_path, running=True)
    provider = TracerProvider(resource=Resource({"service.name": "\0" * 900}), shutdown_on_exit=False)
    provider.add_span_processor(exporter.span_processor())
    span = provider.get_tracer("\0" * 900).start_span(name)

    (found,) = running(tmp_path)

    assert found["spanId"] == f"{span.context.span_id:016x}"
    assert len(found["name"]) >= 8
    assert name.encode(errors="replace").decode()[:8].replace("?", "\ufffd") == found["name"][:8]


def test_off_unless_asked_for(tmp_path, monkeypatch):
    tracer = make_tracer(JsonlSpanProcessor(JsonlSpanExporter(tmp_path)))
    with tracer.start_as_current_span("one"):
        assert not list(tmp_path.glob("*.running"))
    monkeypatch.setenv("SPANLOOM_JSONL_RUNNING", "true")
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))
    processor = JsonlSpanProcessor()
    with make_tracer(processor).start_as_current_span("two"):
        assert names(tmp_path) == ["two"]
    processor.shutdown()
    monkeypatch.setenv("SPANLOOM_JSONL_RUNNING", "false")
    assert JsonlSpanExporter().running_spans() is None


class RecordOnly(Sampler):
    def should_sample(self, *_args, **_options):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "records, exports nothing"


@pytest.mark.parametrize("sampler", [RecordOnly(), ALWAYS_OFF])
def test_spans_that_are_not_exported_are_not_recorded(processor, tmp_path, sampler):
    with make_tracer(processor, sampler=sampler).start_as_current_span("one"):
        assert not list(tmp_path.iterdir())


def test_with_a_batch_processor(tmp_path, spans_in):
    exporter = JsonlSpanExporter(tmp_path, running=True)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.add_span_processor(exporter.running_spans())

    with provider.get_tracer("t").start_as_current_span("one"):
        assert names(tmp_path) == ["one"]
    provider.shutdown()

    assert ended(tmp_path, spans_in) == ["one"]
    assert not list(tmp_path.glob("*.running"))


def test_what_runs_at_shutdown_stays_recorded_and_later_ones_are_not(processor, tracer, tmp_path):
    tracer.start_span("left open")

    processor.shutdown()
    tracer.start_span("too late")

    assert names(tmp_path) == ["left open"]


def test_a_removed_file_and_directory_come_again_with_all_that_runs(tracer, tmp_path):
    tracer.start_span("one")
    record(tmp_path).unlink()
    second = tracer.start_span("two")
    assert names(tmp_path) == ["one", "two"]
    record(tmp_path).unlink()
    tmp_path.rmdir()

    second.end()

    assert names(tmp_path) == ["one"]


def test_a_program_that_closes_all_descriptors(processor, tracer, tmp_path):
    tracer.start_span("one")
    descriptor = processor._running._descriptor
    os.close(descriptor)
    with (tmp_path / "theirs").open("wb") as theirs:
        assert theirs.fileno() == descriptor
        tracer.start_span("two")

        assert not (tmp_path / "theirs").stat().st_size
        assert {"one", "two"} <= set(names(tmp_path))
        processor.shutdown()
        os.fstat(theirs.fileno())


def test_trouble_costs_the_record_only_and_ends(tracer, tmp_path, spans_in, monkeypatch, caplog):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_running, "_put", fail)
        first = tracer.start_span("one")
        tracer.start_span("two").end()
    tracer.start_span("three")

    assert ended(tmp_path, spans_in) == ["two"]
    assert names(tmp_path) == ["one", "three"]
    first.end()
    assert names(tmp_path) == ["three"]
    assert not caplog.records  # the exporter has told, if it has the same trouble


def test_a_directory_that_cannot_be_made(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    tracer = make_tracer(_running.RunningSpans(tmp_path / "file"))

    tracer.start_span("one").end()

    assert not caplog.records


def test_as_many_as_there_are_places(processor, tracer, tmp_path, monkeypatch):
    monkeypatch.setattr(_running, "MAX_SLOTS", 5)

    spans = [tracer.start_span(str(number)) for number in range(8)]

    assert names(tmp_path) == list("01234")
    for span in spans:
        span.end()
    assert not list(tmp_path.glob("*.running"))
    assert not processor._running._live


def test_two_exporters_in_one_process_have_a_file_each(tmp_path):
    exporters = [JsonlSpanExporter(tmp_path, running=True) for _ in range(2)]
    tracers = [make_tracer(exporter.span_processor()) for exporter in exporters]

    spans = [tracer.start_span("same") for tracer in tracers]

    assert len(list(tmp_path.glob("*.running"))) == 2
    for span in spans:
        span.end()
    assert not list(tmp_path.glob("*.running"))


def test_many_threads(tracer, tmp_path, spans_in):
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        for step in range(40):
            with tracer.start_as_current_span(f"{number} {step}"), tracer.start_as_current_span("inner"):
                pass

    with tracer.start_as_current_span("all"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert names(tmp_path) == ["all"]
        assert record(tmp_path).stat().st_size <= 17 * _running.SLOT
    assert len(ended(tmp_path, spans_in)) == 8 * 40 * 2 + 1


def test_what_it_holds_on_to_is_what_runs(processor, tracer):
    kept = tracer.start_span("kept")
    for _ in range(100):
        tracer.start_span("one").end()
    gc.collect()

    assert len(processor._running._live) == 1
    assert processor._running._free == [1]
    kept.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_record_of_its_own(tracer, tmp_path):
    """Spans that the parent has open are the parent's, also where the child ends them."""
    outer = tracer.start_span("parent's")
    child = os.fork()
    if not child:
        code = 1
        try:
            mine = tracer.start_span("child's")
            outer.end()
            found = {path.name: path for path in tmp_path.glob("*.running")}
            own = found.pop(f"{writer()}.traces.running")
            (theirs,) = found.values()
            if b"child's" in own.read_bytes() and b"parent's" in theirs.read_bytes():
                mine.end()
                code = own.exists()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert names(tmp_path) == ["parent's"]
    outer.end()
    assert not list(Path(tmp_path).glob("*.running"))
