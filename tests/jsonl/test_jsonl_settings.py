"""Arguments, environment variables and the entry point."""

import importlib.util
import logging
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from spanloom_jsonl import JsonlSpanExporter, _quote, _settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPANLOOM_JSONL_DIR", raising=False)
    monkeypatch.delenv("SPANLOOM_JSONL_MAX_LINE_BYTES", raising=False)


def test_the_entry_point_makes_the_exporter_from_the_environment(tmp_path, monkeypatch, provider, spans_of):
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", str(tmp_path / "a" / "b"))
    monkeypatch.setenv("SPANLOOM_JSONL_MAX_LINE_BYTES", "5000")
    (entry,) = entry_points(group="opentelemetry_traces_exporter", name="jsonl")
    exporter = entry.load()()
    provider.add_span_processor(BatchSpanProcessor(exporter))

    for number in range(10):
        provider.get_tracer("t").start_span(f"span {number}", attributes={"text": "x" * 1000}).end()
    provider.shutdown()

    assert Path(exporter.path).parent == tmp_path / "a" / "b"
    assert [span["name"] for span in spans_of(exporter)] == [f"span {number}" for number in range(10)]
    assert 1 < Path(exporter.path).read_bytes().count(b"\n") < 10


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        (None, None, ".spanloom"),
        (None, "", ".spanloom"),
        (None, " ", ".spanloom"),
        (None, "from/variable", "from/variable"),
        ("given", "from/variable", "given"),
    ],
)
def test_directory(tmp_path, monkeypatch, given, variable, expected):
    if variable is not None:
        monkeypatch.setenv("SPANLOOM_JSONL_DIR", variable)

    assert _settings.directory(given) == tmp_path / expected


def test_directory_below_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert _settings.directory("~/traces") == tmp_path / "home" / "traces"


def test_the_program_may_change_its_directory(tmp_path, monkeypatch, make_spans):
    exporter = JsonlSpanExporter()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")

    exporter.export(make_spans())

    assert Path(exporter.path).parent == tmp_path / ".spanloom"


def test_a_directory_that_cannot_be_made_absolute_does_not_raise(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert str(_settings.directory(None)) == ".spanloom"


@pytest.mark.parametrize(("variable", "expected"), [("4096", 4096), (" 1_000_000 ", 1_000_000), ("", 524_288)])
def test_line_bytes(monkeypatch, caplog, variable, expected):
    monkeypatch.setenv("SPANLOOM_JSONL_MAX_LINE_BYTES", variable)

    assert _settings.max_line_bytes(None) == expected
    assert not caplog.records


@pytest.mark.parametrize("variable", ["4095", "-1", "512k", "1e6", "many"])
def test_a_broken_line_limit_is_named_once_and_the_default_used(monkeypatch, caplog, variable):
    monkeypatch.setenv("SPANLOOM_JSONL_MAX_LINE_BYTES", variable)

    with caplog.at_level(logging.WARNING):
        assert _settings.max_line_bytes(None) == 524_288

    (record,) = caplog.records
    for part in ("SPANLOOM_JSONL_MAX_LINE_BYTES", repr(variable), "4096 or more", "524288"):
        assert part in record.getMessage()


def test_the_argument_beats_the_variable_and_is_named_when_broken(monkeypatch, caplog):
    monkeypatch.setenv("SPANLOOM_JSONL_MAX_LINE_BYTES", "broken")

    assert _settings.max_line_bytes(8192) == 8192
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert _settings.max_line_bytes(0) == 524_288
    assert "max_line_bytes=0" in caplog.text


def test_without_orjson_the_standard_library_quotes(monkeypatch):
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.spec_from_file_location("quote_without_orjson", _quote.__file__)
    module = importlib.util.module_from_spec(spec)

    spec.loader.exec_module(module)

    assert module.literal is module.literal_stdlib
    assert module.quote('ä"\n\ud800') == '"ä\\"\\n\ufffd"'.encode()


def test_a_log_handler_that_makes_spans_does_not_hang(tmp_path, provider, make_spans, spans_of):
    """Some set-ups turn log records into spans; ours come while the exporter is at work."""
    exporter = JsonlSpanExporter(tmp_path, max_line_bytes=4096)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    class SpanHandler(logging.Handler):
        def emit(self, record):
            provider.get_tracer("logs").start_span("log record").end()

    handler = SpanHandler()
    _settings.LOG.addHandler(handler)
    try:
        make_spans(size=5000)
    finally:
        _settings.LOG.removeHandler(handler)

    assert [span["name"] for span in spans_of(exporter)] == ["span", "log record"]
