"""A process in which nobody has set OpenTelemetry up, and stand-ins for what is installed."""

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

import spanloom
from spanloom import installed, sdk

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Point:
    """An entry point, as far as spanloom looks at one."""

    dist = None

    def __init__(self, name, loaded):
        self.name = name
        self.value = f"elsewhere:{name}"
        self._loaded = loaded

    def load(self):
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    """A process in which nobody has set OpenTelemetry up, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(sdk._Active, "made", None)
    for name in (
        "OTEL_TRACES_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_SERVICE_NAME",
        "SPANLOOM_JSONL_DIR",
        CONTENT,
    ):
        monkeypatch.setenv(name, "")  # so that what init sets is undone
    yield
    spanloom.shutdown()


@pytest.fixture
def install(monkeypatch):
    """`install(group, **loaded)`: the installed entry points of a group are these."""
    groups = {"opentelemetry_instrumentor": [], "opentelemetry_traces_exporter": []}
    real = installed.entry_points
    groups["opentelemetry_traces_exporter"] += real(group="opentelemetry_traces_exporter")
    monkeypatch.setattr(installed, "entry_points", lambda *, group: groups[group])

    def add(group, **loaded):
        groups[f"opentelemetry_{group}"] += [Point(name, value) for name, value in loaded.items()]

    return add


@pytest.fixture(autouse=True)
def _no_instrumentors(install):
    install("instrumentor")
