"""What the tests of the JSONL exporters share: real SDK spans, and strict readers of OTLP/JSON lines."""

import base64
import json
import math
import os
import re
from pathlib import Path

import pytest
from google.protobuf import json_format
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanloom_jsonl import JsonlSpanExporter, _file, _quote, _values


@pytest.fixture(params=["orjson", "stdlib"])
def quoting(request, monkeypatch):
    """Run the test with each of the two ways to quote a string."""
    fast = request.param == "orjson"
    literal = pytest.importorskip("orjson").dumps if fast else _quote.literal_stdlib
    monkeypatch.setattr(_quote, "literal", literal)
    monkeypatch.setattr(_values, "literal", literal)
    monkeypatch.setattr(_values, "_openings", {})
    monkeypatch.setattr(_values, "_entries", {})
    return request.param


@pytest.fixture
def replace_os(monkeypatch):
    """`replace_os(write=f)`: what the exporter's file calls instead of `os.write`."""

    def replace(**functions):
        class Os:
            def __getattr__(self, name):
                return functions.get(name) or getattr(os, name)

        monkeypatch.setattr(_file, "os", Os())

    return replace


@pytest.fixture(autouse=True)
def _defaults(monkeypatch):
    """Settings of the machine that the tests run on are none of theirs."""
    for name in [name for name in os.environ if name.startswith(("SPANLOOM_", "OTEL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def exporter(tmp_path):
    exporter = JsonlSpanExporter(tmp_path / "traces")
    yield exporter
    exporter.shutdown()


@pytest.fixture
def provider():
    return TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)


@pytest.fixture
def make_spans(provider):
    """`make_spans(3, size=1000)`: ended SDK spans with a text attribute of that many characters."""
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("tests")

    def make(count=1, *, name="span", size=10, **attributes):
        for number in range(count):
            tracer.start_span(name, attributes={"n": number, "text": "x" * size, **attributes}).end()
        spans = kept.get_finished_spans()
        kept.clear()
        return spans

    return make


@pytest.fixture
def spans_in():
    """Parse OTLP/JSON lines as strictly as the strictest receiver and return the spans in them."""

    def parse(data):
        spans = []
        assert data.endswith(b"\n")
        for line in data[:-1].split(b"\n"):
            request = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
            for resource in request["resourceSpans"]:
                _check_attributes(resource["resource"])
                for scope in resource["scopeSpans"]:
                    _check_attributes(scope["scope"])
                    for span in scope["spans"]:
                        _check_span(span)
                        spans.append(span)
        return spans

    return parse


@pytest.fixture
def spans_of(spans_in):
    """The spans in the file that an exporter has written."""

    def read(exporter):
        return spans_in(Path(exporter.path).read_bytes())

    return read


@pytest.fixture
def official():
    """`official(line, Message)`: what the official decoder makes of a line."""

    def parse(line, message):
        request = json.loads(line, parse_constant=_no_constant)
        return json_format.ParseDict(_with_base64_ids(request), message())

    return parse


def _with_base64_ids(node):
    """OTLP/JSON writes ids in hexadecimal, where protobuf's own JSON mapping has base64."""
    if isinstance(node, list):
        return [_with_base64_ids(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: base64.b64encode(bytes.fromhex(value)).decode()
        if name in {"traceId", "spanId", "parentSpanId"}
        else _with_base64_ids(value)
        for name, value in node.items()
    }


def _no_constant(name):
    raise AssertionError(f"{name} is no JSON")


def _check_span(span):
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
    assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
    assert re.fullmatch("[0-9a-f]{16}", span.get("parentSpanId", "0" * 16))
    assert isinstance(span["name"], str)
    assert span["kind"] in range(6)
    assert all(0 <= int(span[time]) < 2**64 for time in ("startTimeUnixNano", "endTimeUnixNano"))
    for part in (span, *span.get("events", ()), *span.get("links", ())):
        _check_attributes(part)


def _check_attributes(part):
    for attribute in part.get("attributes", ()):
        assert set(attribute) == {"key", "value"}
        _check_value(attribute["value"])


def _check_value(value):
    ((kind, content),) = value.items()  # exactly one: an empty value makes strict receivers refuse the request
    if kind == "stringValue":
        assert isinstance(content, str)
    elif kind == "boolValue":
        assert isinstance(content, bool)
    elif kind == "intValue":
        assert re.fullmatch("-?[0-9]+", content)
        assert -(2**63) <= int(content) < 2**63
    elif kind == "doubleValue":
        assert math.isfinite(content)
    elif kind == "bytesValue":
        base64.b64decode(content, validate=True)
    elif kind == "arrayValue":
        for item in content["values"]:
            _check_value(item)
    else:
        assert kind == "kvlistValue"
        _check_attributes({"attributes": content["values"]})
