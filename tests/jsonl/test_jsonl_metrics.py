"""Metrics: every kind as the official encoder has it, numbers that are none, lines that stay under the limit."""

import json
import math
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Counter, Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    InMemoryMetricReader,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from spanloom_jsonl.metrics import JsonlMetricExporter

OK, FAILURE = MetricExportResult.SUCCESS, MetricExportResult.FAILURE


@pytest.fixture
def metrics(tmp_path):
    exporter = JsonlMetricExporter(tmp_path / "metrics")
    yield exporter
    exporter.shutdown()


@pytest.fixture
def measured():
    """What the SDK has collected from every kind of instrument."""
    reader = InMemoryMetricReader({Counter: AggregationTemporality.DELTA})
    provider = MeterProvider(
        [reader],
        Resource({"service.name": "tests"}, "https://schema/1"),
        exemplar_filter=AlwaysOnExemplarFilter(),
        shutdown_on_exit=False,
        views=[View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())],
    )
    meter = provider.get_meter("tests", "1.0", "https://schema/2", {"scope": "attribute"})
    counter = meter.create_counter("counter", "{token}", "how many")
    level = meter.create_up_down_counter("level")
    histogram = meter.create_histogram("gen_ai.client.operation.duration", "s")
    exponential = meter.create_histogram("exponential")
    meter.create_gauge("gauge").set(2.5, {"k": "v"})
    meter.create_observable_counter("seen", [lambda _: [Observation(7, {"a": True})]])
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s"):
        for number in range(1, 30):
            counter.add(number, {"model": f"m{number % 12}", "list": ("a", "b")})
            level.add(-number)
            histogram.record(number / 7, {"ok": number % 2 == 0})
            exponential.record(number / 3)
    provider.get_meter("other").create_counter("lonely").add(2**62)
    return reader.get_metrics_data()


def points_in(data):
    return [
        (metric["name"], kind, point)
        for line in data.splitlines()
        for resource in json.loads(line)["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for kind in {"gauge", "sum", "histogram", "exponentialHistogram"} & set(metric)
        for point in metric[kind]["dataPoints"]
    ]


def data_of(*values, kind=Gauge, **attributes):
    points = [NumberDataPoint(attributes, None, 5, value) for value in values]
    metric = Metric("m", None, None, kind(points))
    scope = ScopeMetrics(InstrumentationScope("s"), [metric], "")
    return MetricsData([ResourceMetrics(Resource({}), [scope], "")])


def test_every_kind_equals_what_the_official_encoder_says(metrics, measured, official):
    assert metrics.export(measured) is OK

    (line,) = Path(metrics.path).read_bytes().splitlines()
    assert official(line, ExportMetricsServiceRequest) == encode_metrics(measured)
    assert Path(metrics.path).name.endswith(".metrics.jsonl")
    kinds = {name: kind for name, kind, _ in points_in(line)}
    assert kinds == {
        "counter": "sum", "level": "sum", "seen": "sum", "lonely": "sum", "gauge": "gauge",
        "gen_ai.client.operation.duration": "histogram", "exponential": "exponentialHistogram",
    }  # fmt: skip
    exemplars = [exemplar for _, _, point in points_in(line) for exemplar in point.get("exemplars", ())]
    assert len(exemplars) > 5
    assert {len(exemplar.get("traceId", "")) for exemplar in exemplars} == {32, 0}
    assert metrics.written_points == len(points_in(line))


def test_a_histogram_of_negative_numbers_without_a_minimum(metrics, official):
    exemplar = Exemplar({"k": 1}, -2.5, 9, None, None)
    point = ExponentialHistogramDataPoint(
        {}, 1, 2, 5, -4.5, 3, 1, Buckets(0, []), Buckets(-2, [1, 3]), 1, None, None, [exemplar]
    )
    metric = Metric("m", None, None, ExponentialHistogram([point], AggregationTemporality.CUMULATIVE))
    data = MetricsData([ResourceMetrics(Resource({}), [ScopeMetrics(InstrumentationScope("s"), [metric], "")], "")])

    assert metrics.export(data) is OK

    line = Path(metrics.path).read_bytes()
    assert official(line, ExportMetricsServiceRequest) == encode_metrics(data)
    ((_, _, written),) = points_in(line)
    assert written["negative"] == {"offset": -2, "bucketCounts": ["1", "3"]}
    assert not {"positive", "min", "max"} & set(written)


def test_more_points_than_a_line_holds_are_spread_over_several(tmp_path, measured, official):
    exporter = JsonlMetricExporter(tmp_path, max_line_bytes=4096)

    assert exporter.export(measured) is OK

    lines = Path(exporter.path).read_bytes().splitlines(keepends=True)
    assert len(lines) > 2
    assert all(len(line) <= 4096 for line in lines)
    merged = {}
    for line in lines:
        official(line, ExportMetricsServiceRequest)
        for resource in json.loads(line)["resourceMetrics"]:
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    (kind,) = {"gauge", "sum", "histogram", "exponentialHistogram"} & set(metric)
                    points = metric[kind].pop("dataPoints")
                    known = merged.setdefault((scope["scope"]["name"], metric["name"]), (metric, []))
                    assert known[0] == metric  # temporality and unit stand in every piece
                    known[1].extend(points)
    expected = [
        (scope.scope.name, metric.name, len(metric.data.data_points))
        for scope in measured.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    ]
    assert [(*key, len(points)) for key, (_, points) in merged.items()] == expected
    exporter.shutdown()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, {"asDouble": "NaN"}),
        (-math.inf, {"asDouble": "-Infinity"}),
        (2**63, {"asDouble": 2.0**63}),
        (-(2**63), {"asInt": "-9223372036854775808"}),
        (True, {"asInt": "1"}),
        (Decimal("1.5"), {"asDouble": 1.5}),
    ],
)
def test_numbers(metrics, official, value, written):
    assert metrics.export(data_of(value)) is OK

    data = Path(metrics.path).read_bytes()
    ((_, _, point),) = points_in(data)
    assert {name: content for name, content in point.items() if name.startswith("as")} == written
    official(data, ExportMetricsServiceRequest)


def test_what_is_no_number_or_no_metric_costs_itself_only(metrics, caplog):
    data = data_of(1, "many", 2)
    data.resource_metrics[0].scope_metrics[0].metrics.append(Metric("broken", None, None, object()))

    assert metrics.export(data) is FAILURE

    assert [point["asInt"] for _, _, point in points_in(Path(metrics.path).read_bytes())] == ["1", "2"]
    assert (metrics.written_points, metrics.lost_points) == (2, 2)
    assert len(caplog.records) == 1


def test_a_point_too_long_for_a_line_keeps_its_numbers(tmp_path):
    exporter = JsonlMetricExporter(tmp_path, max_line_bytes=4096)

    assert exporter.export(data_of(7, text="x" * 9000)) is OK

    line = Path(exporter.path).read_bytes()
    ((_, _, point),) = points_in(line)
    assert len(line) <= 4096
    assert point["asInt"] == "7"
    assert {entry["key"] for entry in point["attributes"]} == {"text", "spanloom.truncated_bytes"}
    exporter.shutdown()


def test_buckets_are_never_dropped(tmp_path):
    exporter = JsonlMetricExporter(tmp_path, max_line_bytes=4096)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    histogram = provider.get_meter("m").create_histogram("h", explicit_bucket_boundaries_advisory=list(range(2000)))
    histogram.record(5, {"text": "x" * 9000})

    assert exporter.export(reader.get_metrics_data()) is OK

    line = Path(exporter.path).read_bytes()
    ((_, _, point),) = points_in(line)
    assert (len(point["bucketCounts"]), len(point["explicitBounds"])) == (2001, 2000)
    assert len(point["attributes"][0]["value"]["stringValue"]) < 300
    exporter.shutdown()


def test_the_entry_point_and_the_sdks_reader(tmp_path, monkeypatch):
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))
    (entry,) = entry_points(group="opentelemetry_metrics_exporter", name="jsonl")
    exporter = entry.load()(preferred_temporality={Counter: AggregationTemporality.DELTA})
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")

    counter.add(1)
    provider.force_flush()
    counter.add(2)
    provider.shutdown()

    (path,) = tmp_path.iterdir()
    assert [point["asInt"] for name, _, point in points_in(path.read_bytes()) if name == "c"] == ["1", "2"]
    assert exporter.force_flush()
