"""Log records: what the official encoder says, every record kept whatever is in it, the entry point."""

import json
import math
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from spanloom_jsonl.logs import JsonlLogExporter

OK, FAILURE = LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE
IN_SPAN = set_span_in_context(NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))))


@pytest.fixture
def logs(tmp_path):
    exporter = JsonlLogExporter(tmp_path / "logs")
    yield exporter
    exporter.shutdown()


@pytest.fixture
def make_records():
    """`make_records({"body": ...}, ...)`: records as the SDK hands them to exporters."""
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))

    def make(*records, scope="tests"):
        for fields in records:
            provider.get_logger(scope, "1", "https://schema/1", {"k": 1}).emit(
                LogRecord(**{"context": Context(), "observed_timestamp": 5, **fields})
            )
        made = kept.get_finished_logs()
        kept.clear()
        return made

    return make


def records_in(data):
    return [
        record
        for line in data.splitlines()
        for resource in json.loads(line)["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def test_equals_what_the_official_encoder_says(logs, make_records, official):
    records = [
        *make_records(
            {"body": "text", "timestamp": 17, "severity_number": SeverityNumber.WARN3, "severity_text": "WARN"},
            {"body": {"a": [1, 2.5, True, b"\x00", {"b": "ß"}]}, "context": IN_SPAN},
            {"event_name": "gen_ai.evaluation.result", "attributes": {"list": ["x"], "map": {"n": {"m": 1}}}},
        ),
        *make_records({"body": 4}, {"body": "last", "attributes": {"k": "v"}}, scope="other"),
    ]

    assert logs.export(records) is OK

    (line,) = Path(logs.path).read_bytes().splitlines()
    decoded = official(line, ExportLogsServiceRequest)
    expected = encode_logs(records)
    for scope in expected.resource_logs[0].scope_logs:
        for record in scope.log_records:
            if not record.body.WhichOneof("value"):
                record.ClearField(
                    "body"
                )  # absent and without a value mean the same; strict receivers refuse the latter
    assert decoded == expected
    assert records_in(line)[1]["traceId"] == f"{0xABC:032x}"
    assert records_in(line)[1]["spanId"] == f"{0xDEF:016x}"
    assert Path(logs.path).name.endswith(".logs.jsonl")


def test_no_value_costs_a_record(logs, make_records, official):
    cycle = []
    cycle.append(cycle)
    values = [math.nan, 2**80, "\ud800", None, object(), cycle, {1: {2: object()}}, b"\xff"]
    records = make_records(*({"body": "x"} for _ in values))
    for record, value in zip(records, values, strict=True):
        record.log_record.body = value
        record.log_record.attributes = {"value": value}

    assert logs.export(records) is OK

    data = Path(logs.path).read_bytes()
    official(data, ExportLogsServiceRequest)
    assert len(records_in(data)) == len(values) == logs.written_records
    assert records_in(data)[0]["body"] == {"stringValue": "NaN"}


def test_what_is_no_record_is_left_out_and_told(logs, make_records, caplog):
    good = make_records({"body": "good"})

    assert logs.export([object(), *good]) is FAILURE

    assert [record["body"] for record in records_in(Path(logs.path).read_bytes())] == [{"stringValue": "good"}]
    assert (logs.written_records, logs.lost_records) == (1, 1)
    (record,) = caplog.records
    assert "log record is lost" in record.getMessage()


def test_a_long_record_is_cut_and_marked(tmp_path, make_records, caplog):
    exporter = JsonlLogExporter(tmp_path, max_line_bytes=4096)

    assert exporter.export(make_records({"body": "x" * 9000, "attributes": {"k": "v"}}, {"body": "short"})) is OK

    lines = Path(exporter.path).read_bytes().splitlines(keepends=True)
    assert [len(line) <= 4096 for line in lines] == [True, True]
    (long,) = records_in(lines[0])
    assert "spanloom cut" in long["body"]["stringValue"]
    assert {entry["key"] for entry in long["attributes"]} == {"k", "spanloom.truncated_bytes"}
    assert "SPANLOOM_JSONL_MAX_LINE_BYTES" in caplog.text
    exporter.shutdown()


def test_records_of_an_older_sdk(logs):
    """Before SDK 1.39 the resource is the record's, and a batch is of `LogData`."""
    record = SimpleNamespace(
        timestamp=None, observed_timestamp=7, severity_number=None, severity_text=None, body="older", attributes={},
        trace_flags=None, trace_id=None, span_id=None, resource=Resource({"service.name": "old"}), dropped_attributes=2,
    )  # fmt: skip
    data = SimpleNamespace(log_record=record, instrumentation_scope=None)

    assert logs.export([data]) is OK

    (request,) = map(json.loads, Path(logs.path).read_bytes().splitlines())
    (resource,) = request["resourceLogs"]
    assert resource["resource"]["attributes"][0]["value"] == {"stringValue": "old"}
    assert resource["scopeLogs"] == [
        {
            "scope": {},
            "logRecords": [
                {"observedTimeUnixNano": "7", "body": {"stringValue": "older"}, "droppedAttributesCount": 2}
            ],
        }
    ]


def test_the_entry_point_and_the_sdks_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))
    (entry,) = entry_points(group="opentelemetry_logs_exporter", name="jsonl")
    exporter = entry.load()()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))

    provider.get_logger("l").emit(LogRecord(body="one"))
    provider.shutdown()

    (path,) = tmp_path.iterdir()
    assert path.name.endswith(".logs.jsonl")
    assert [record["body"] for record in records_in(path.read_bytes())] == [{"stringValue": "one"}]
    assert exporter.force_flush()
    assert exporter.export([]) is OK
