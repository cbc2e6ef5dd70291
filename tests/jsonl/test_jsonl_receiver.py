"""A real collector with a strict OTLP/JSON decoder takes every line, whatever was in the spans."""

import math
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceState

from spanloom_jsonl._lines import to_lines
from spanloom_jsonl.logs import JsonlLogExporter
from spanloom_jsonl.metrics import JsonlMetricExporter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collector(rotel):
    """The address that a collector of its own takes telemetry at."""
    program, env = rotel
    grpc, http = _free_port(), _free_port()
    process = subprocess.Popen(
        [
            *(program, "start", "--exporter", "blackhole"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"),
        ],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not _answers(http):
            assert process.poll() is None, "the collector did not start"
            assert time.monotonic() < deadline, "the collector does not answer"
        yield f"http://127.0.0.1:{http}/v1"
    finally:
        process.terminate()
        process.wait(30)


class Hostile:
    def __repr__(self):
        raise ValueError("no")


def nested(wrap):
    value = "core"
    for _ in range(60):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(math.nan, id="nan"),
        pytest.param(-math.inf, id="infinity"),
        pytest.param(None, id="none"),
        pytest.param(2**63, id="too big"),
        pytest.param("\ud800" * 100, id="surrogates"),
        pytest.param(b"\x00" * 9000, id="cut bytes"),
        pytest.param("[1]" * 9000, id="cut text"),
        pytest.param((1, None, (), {}, {"a": None, "b": [1.5]}), id="containers"),
        pytest.param(nested(lambda inner: [inner]), id="deep list"),
        pytest.param(nested(lambda inner: {"k": inner}), id="deep map"),
        pytest.param(Hostile(), id="hostile"),
    ],
)
def test_accepted(collector, value):
    context = SpanContext(1, 2, is_remote=True, trace_state=TraceState([("a", "b")]))
    span = ReadableSpan(
        "n\udfff",
        context,
        parent=context,
        attributes={"value": value},
        events=[Event("e\udfff", {"value": value}, -1)],
        links=[Link(context, {"value": value})],
        status=Status(StatusCode.ERROR, "\udfff"),
        start_time=2**70,
    )

    for line in to_lines([span], 4096):
        _post(f"{collector}/traces", line.data)


def test_log_records_are_accepted(collector, tmp_path):
    exporter = JsonlLogExporter(tmp_path)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    for body in ("text", None, math.nan, {"deep": [1, b"\x00", None]}, "\ud800", 2**70):
        provider.get_logger("l").emit(
            LogRecord(body=body, severity_number=SeverityNumber.INFO, attributes={"value": body}, event_name="e")
        )

    lines = Path(exporter.path).read_bytes().splitlines()
    assert len(lines) == exporter.written_records == 6
    for line in lines:
        _post(f"{collector}/logs", line)


def test_metrics_are_accepted(collector, tmp_path):
    exporter = JsonlMetricExporter(tmp_path)
    views = [View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], views=views, shutdown_on_exit=False)
    meter = provider.get_meter("m")
    meter.create_counter("counter").add(5, {"k": True})
    meter.create_up_down_counter("level").add(-1.5)
    meter.create_gauge("gauge").set(2**63)
    meter.create_histogram("histogram").record(3)
    meter.create_histogram("exponential").record(0.25)
    provider.shutdown()

    (line,) = Path(exporter.path).read_bytes().splitlines()
    assert exporter.written_points == 5
    _post(f"{collector}/metrics", line)


def _post(address, line):
    request = urllib.request.Request(address, bytes(line), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        time.sleep(0.01)
        return False
    return True
