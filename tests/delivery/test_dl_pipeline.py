"""From an exporter to the processor that feeds it, in our set-ups."""

import logging
import threading

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OfficialGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OfficialHttp
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanloom import distro, pipeline
from spanloom_jsonl import JsonlSpanExporter
from spanloom_otlp import CompatSpanExporter, GrpcSpanExporter, HttpSpanExporter, SpooledSpanExporter

from .conftest import PATIENCE, Answer, eventually, ids_of


@pytest.fixture
def made():
    """Shuts processors down at the end."""
    kept = []

    def keep(processor):
        kept.append(processor)
        return processor

    yield keep
    for processor in kept:
        processor.shutdown()


@pytest.mark.parametrize(
    ("name", "protocol", "kind"),
    [
        ("otlp", None, GrpcSpanExporter),
        ("otlp", "grpc", GrpcSpanExporter),
        ("otlp", "http/protobuf", HttpSpanExporter),
        ("otlp_proto_grpc", "http/protobuf", GrpcSpanExporter),
        ("otlp_proto_http", None, HttpSpanExporter),
    ],
)
def test_otlp_by_name(made, monkeypatch, name, protocol, kind):
    if protocol:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)

    processor = made(pipeline.processor(name))

    assert type(processor) is pipeline.QueueingProcessor
    assert type(processor.span_exporter) is kind


def test_what_cannot_be_made_is_named(monkeypatch):
    with pytest.raises(ValueError, match="no traces exporter 'absent'"):
        pipeline.processor("absent")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(ValueError, match="http/json"):
        pipeline.processor("otlp")


def test_files_are_written_at_once(made, tmp_path, make_spans):
    processor = made(pipeline.processor("jsonl", str(tmp_path)))
    assert isinstance(processor, SimpleSpanProcessor)
    assert isinstance(processor.span_exporter, JsonlSpanExporter)

    processor = made(pipeline.configured(JsonlSpanExporter(tmp_path)))
    assert type(processor) is SimpleSpanProcessor


def test_with_a_spool_the_network_is_behind_it(made, monkeypatch, tmp_path):
    monkeypatch.setenv("SPANLOOM_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")

    otlp, langfuse = made(pipeline.processor("otlp")), made(pipeline.processor("langfuse"))
    other = made(pipeline.processor(InMemorySpanExporter()))

    assert isinstance(otlp, SimpleSpanProcessor)
    assert isinstance(otlp.span_exporter, SpooledSpanExporter)
    assert isinstance(otlp.span_exporter.inner, GrpcSpanExporter)
    assert [one.span_exporter.folder for one in (otlp, langfuse)] == [tmp_path / "otlp", tmp_path / "langfuse"]
    assert type(other) is pipeline.QueueingProcessor  # nothing is known about its failures


def test_official_exporters_that_the_sdk_has_made_are_replaced(made, monkeypatch, backend):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", backend.url)
    official = OfficialHttp()

    processor = made(pipeline.configured(official))

    assert isinstance(processor.span_exporter, HttpSpanExporter)
    assert processor.span_exporter.endpoint == backend.url
    assert official._shutdown
    assert isinstance(made(pipeline.configured(OfficialGrpc(insecure=True))).span_exporter, GrpcSpanExporter)
    memory = InMemorySpanExporter()
    assert made(pipeline.configured(memory)).span_exporter is memory


def test_an_official_exporter_of_the_users_stays(made):
    theirs = OfficialHttp("http://127.0.0.1:1/v1/traces", headers={"api-key": "mine"})

    assert made(pipeline.processor(theirs)).span_exporter is theirs


def test_compatibility_is_for_otlp_alone(made, monkeypatch):
    monkeypatch.setenv("SPANLOOM_COMPAT", "openinference")

    assert isinstance(made(pipeline.processor("otlp")).span_exporter, CompatSpanExporter)
    assert isinstance(made(pipeline.processor(OfficialHttp())).span_exporter, CompatSpanExporter)
    assert isinstance(made(pipeline.processor(InMemorySpanExporter())).span_exporter, InMemorySpanExporter)


@pytest.mark.parametrize("spool", [False, True])
def test_a_flush_waits_for_the_backend(made, monkeypatch, tmp_path, backend, spool):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", backend.url)
    if spool:
        monkeypatch.setenv("SPANLOOM_SPOOL_DIR", str(tmp_path))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(made(pipeline.processor("otlp_proto_http")))
    tracer = provider.get_tracer("tests")
    spans = [tracer.start_span(str(number)) for number in range(5)]
    for span in spans:
        span.end()

    assert provider.force_flush()
    assert backend.taken == ids_of(spans)


class Blocked(SpanExporter):
    """Holds each batch until it is let go."""

    def __init__(self):
        self.go = threading.Event()
        self.came = threading.Event()
        self.got = []

    def export(self, spans):
        self.came.set()
        self.go.wait(PATIENCE)
        self.got += spans
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


def test_what_the_queue_has_no_room_for_is_counted_and_said_once(made, monkeypatch, make_spans, said):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    exporter = Blocked()
    processor = made(pipeline.processor(exporter))
    first, rest = make_spans(4), make_spans(20)
    for span in first:
        processor.on_end(span)
    assert exporter.came.wait(PATIENCE)  # it holds the first four

    for span in rest:
        processor.on_end(span)

    assert processor.dropped_spans == 12
    lines = [line for line in said.lines if "queue of 8 is full" in line]
    assert len(lines) == 1
    assert "SPANLOOM_SPOOL_DIR" in lines[0]
    exporter.go.set()
    processor.shutdown()
    assert ids_of(exporter.got) == ids_of([*first, *rest[12:]])
    assert "12 spans were lost" in said.lines[-1]


def test_a_flush_ends_when_its_time_is_over(made, make_spans):
    exporter = Blocked()
    processor = made(pipeline.processor(exporter))
    processor.on_end(make_spans()[0])

    assert not processor.force_flush(10)
    assert not processor.force_flush(10)
    assert sum(thread.name == "spanloom-flush" for thread in threading.enumerate()) == 1
    exporter.go.set()
    assert processor.force_flush()
    assert len(exporter.got) == 1


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_is_queued_when_the_program_ends_is_delivered(monkeypatch, backend, grpc_backend, make_spans, protocol):
    server = grpc_backend if protocol == "grpc" else backend
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.url)
    processor = pipeline.processor("otlp")
    spans = make_spans(3)
    for span in spans:
        processor.on_end(span)

    processor.shutdown()

    assert server.taken == ids_of(spans)
    assert processor.span_exporter.export(spans) is SpanExportResult.FAILURE
    assert len(server.requests) == 1


@pytest.mark.parametrize("compat", ["", "openinference"])
def test_the_end_of_the_program_does_not_wait_for_better_times(made, make_spans, monkeypatch, backend, said, compat):
    monkeypatch.setenv("SPANLOOM_COMPAT", compat)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", backend.url)
    backend.always = Answer(503, {"Retry-After": "60"})
    processor = pipeline.processor("otlp_proto_http")
    processor.on_end(make_spans()[0])
    flushing = threading.Thread(target=processor.force_flush)
    flushing.start()
    backend.wait(lambda: backend.requests)

    processor.shutdown()
    flushing.join(PATIENCE)

    assert not flushing.is_alive()
    assert len(said.lines) == 1
    assert "503" in said.lines[0]
    assert "Spans are lost" in said.lines[0]


def test_spans_that_are_not_sampled_are_no_loss(made, monkeypatch, make_spans):
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    processor = made(pipeline.processor(Blocked()))
    processor.span_exporter.go.set()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for _ in range(5):
        provider.get_tracer("tests").start_span("s").end()

    assert processor.dropped_spans == 0


def test_the_configurator_says_where_it_cannot(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(distro, "_initialize_components", lambda resource_attributes: None)
    with caplog.at_level(logging.WARNING):
        assert distro._feeding() == {}
        assert caplog.messages == []
        monkeypatch.setenv("SPANLOOM_SPOOL_DIR", str(tmp_path))
        assert distro._feeding() == {}
    assert "SPANLOOM_SPOOL_DIR" in caplog.messages[0]


@pytest.mark.slow
@pytest.mark.skipif(not distro._feeding(), reason="this OpenTelemetry SDK does not ask how to feed exporters")
@pytest.mark.parametrize("way", ["spanloom run", "opentelemetry-instrument", "init"])
def test_spans_survive_a_backend_that_is_away_until_the_next_run(workshop, backend, free_port, way):
    workshop.write(
        "app.py",
        """
        import sys
        from opentelemetry import trace
        if "init" in sys.argv:
            import spanloom
            spanloom.init()
        for number in range(int(sys.argv[1])):
            with trace.get_tracer("app").start_as_current_span(f"span {number}"):
                pass
        if sys.argv[1] == "0":
            trace.get_tracer_provider().force_flush()
        """,
    )
    commands = {
        "spanloom run": lambda n: workshop.command("app.py", n),
        "opentelemetry-instrument": lambda n: [
            workshop.tool("opentelemetry-instrument"),
            workshop.python,
            "app.py",
            n,
        ],
        "init": lambda n: [workshop.python, "app.py", n, "init"],
    }
    env = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",  # they take their time to import
        "OTEL_PYTHON_DISTRO": "spanloom",
        "OTEL_PYTHON_CONFIGURATOR": "spanloom",
        "SPANLOOM_SPOOL_DIR": "spool",
    }

    away = workshop.run(commands[way]("5"), env=env | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port}"})
    assert away.code == 0
    assert "No connection" in away.err
    back = workshop.run(
        commands[way]("0"), env=env | {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url.removesuffix("/v1/traces")}
    )

    assert back.code == 0
    eventually(lambda: len(backend.taken) == 5)
    names = {
        span.name
        for _, _, request in backend.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert names == {f"span {number}" for number in range(5)}
    assert list((workshop.folder / "spool" / "otlp").iterdir()) == []
