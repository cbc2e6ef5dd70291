"""Arguments, environment variables and the entry point."""

import importlib.util
import logging
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from spanloom_jsonl import JsonlSpanExporter, _packing, _quote, _settings
from spanloom_jsonl._settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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


@pytest.mark.parametrize(
    ("setting", "variable", "text", "expected"),
    [
        ("max_line_bytes", "MAX_LINE_BYTES", "4096", 4096),
        ("max_line_bytes", "MAX_LINE_BYTES", " 1_000_000 ", 1_000_000),
        ("max_line_bytes", "MAX_LINE_BYTES", "", 524_288),
        ("max_bytes", "MAX_BYTES", "", 104_857_600),
        ("max_bytes", "MAX_BYTES", "0", 0),
        ("max_bytes", "MAX_BYTES", "1_000", 1000),
        ("max_bytes", "MAX_BYTES", "10MB", 10_485_760),
        ("max_bytes", "MAX_BYTES", "2 GiB", 2_147_483_648),
        ("max_bytes", "MAX_BYTES", "5k", 5120),
        ("max_age", "MAX_AGE", "", 0),
        ("max_age", "MAX_AGE", "90", 90),
        ("max_age", "MAX_AGE", "1.5H", 5400),
        ("max_age", "MAX_AGE", "7 d", 604_800),
        ("max_files", "MAX_FILES", "", 0),
        ("max_files", "MAX_FILES", "12", 12),
        ("packing", "COMPRESS", "", ""),
        ("packing", "COMPRESS", "None", ""),
        ("packing", "COMPRESS", "GZIP", "gzip"),
        ("fsync", "FSYNC", "", False),
        ("fsync", "FSYNC", "True", True),
        ("fsync", "FSYNC", "0", False),
    ],
)
def test_variables(monkeypatch, caplog, setting, variable, text, expected):
    monkeypatch.setenv(f"SPANLOOM_JSONL_{variable}", text)

    assert getattr(Settings.read(), setting) == expected
    assert not caplog.records


@pytest.mark.parametrize(
    ("setting", "variable", "text", "told", "default"),
    [
        *(
            ("max_line_bytes", "MAX_LINE_BYTES", text, "4096 or more", 524_288)
            for text in ("4095", "-1", "512k", "1e6")
        ),
        *(("max_bytes", "MAX_BYTES", text, "0 for no limit", 104_857_600) for text in ("-1", "1.5MB", "MB", "many")),
        *(("max_age", "MAX_AGE", text, "such as 12h", 0) for text in ("-1", "1w", "h", "1" * 400)),
        *(("max_files", "MAX_FILES", text, "0 to keep all", 0) for text in ("-1", "1.5", "all")),
        ("packing", "COMPRESS", "bzip2", "none, gzip, zstd", ""),
        ("fsync", "FSYNC", "maybe", "true, false", False),
    ],
)
def test_a_broken_value_is_named_once_and_the_default_used(monkeypatch, caplog, setting, variable, text, told, default):
    monkeypatch.setenv(f"SPANLOOM_JSONL_{variable}", text)

    assert getattr(Settings.read(), setting) == default

    (record,) = caplog.records
    for part in (f"SPANLOOM_JSONL_{variable}", repr(text), told):
        assert part in record.getMessage()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("max_line_bytes", 8192, 0),
        ("max_bytes", 10, 1.5),
        ("max_age", 0.5, float("nan")),
        ("max_files", 3, -1),
        ("compress", "gzip", b"gzip"),
        ("fsync", True, "perhaps"),
    ],
)
def test_the_argument_beats_the_variable_and_is_named_when_broken(monkeypatch, caplog, name, good, bad):
    monkeypatch.setenv(f"SPANLOOM_JSONL_{name.upper()}", "broken")
    setting = "packing" if name == "compress" else name

    assert getattr(Settings.read(**{name: good}), setting) == good
    assert not caplog.records
    assert getattr(Settings.read(**{name: bad}), setting) == getattr(Settings(Path()), setting)
    assert f"{name}={bad!r}" in caplog.text


def test_zstd_that_is_not_there_names_the_extra_and_gzip_is_used(monkeypatch, caplog):
    monkeypatch.setitem(_packing._MODULES, "zstd", "no_such_package.zstd")

    assert Settings.read(compress="zstd").packing == "gzip"

    (record,) = caplog.records
    assert "pip install 'spanloom[zstd]'" in record.getMessage()
    assert "gzip" in record.getMessage()


def test_an_unknown_argument_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="max_byte"):
        JsonlSpanExporter(tmp_path, max_byte=1)


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
