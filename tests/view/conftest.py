"""OTLP/JSON lines to look at, and `show` with its output as text."""

import io
import json
import time
from pathlib import Path

import pytest

from spanloom.view import ViewOptions, show

MS = 1_000_000
BEGIN = 1_760_000_000_000 * MS  # 2025-10-09 08:53:20 UTC
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def any_value(value):
    """A value as OTLP/JSON writes it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes):
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


class Otlp:
    """Builds spans (times in milliseconds from a fixed begin), lines and files."""

    begin = BEGIN
    trace = TRACE

    @staticmethod
    def span(
        name, span_id, parent="", start=0, end=1, *, trace=TRACE, error=None, events=(), links=(), flags=256, **more
    ):
        """A span; further keywords are attributes, with `__` for dots."""
        attributes = {key.replace("__", "."): value for key, value in more.pop("attributes", {}).items()} | {
            key.replace("__", "."): value for key, value in more.items()
        }
        span = {
            "traceId": trace,
            "spanId": span_id,
            "flags": flags,
            "name": name,
            "kind": 3 if name.startswith("chat") else 1,
            "startTimeUnixNano": str(BEGIN + int(start * MS)),
            "endTimeUnixNano": str(BEGIN + int(end * MS)),
            "attributes": pairs(attributes),
            "status": {},
        }
        if parent:
            span["parentSpanId"] = parent
        if error is not None:
            span["status"] = {"code": 2, "message": error}
        if events:
            span["events"] = [
                {"name": name, "timeUnixNano": str(BEGIN + int(at * MS)), "attributes": pairs(event)}
                for name, at, event in events
            ]
        if links:
            span["links"] = [
                {"traceId": trace_id, "spanId": other, "attributes": pairs(link)} for trace_id, other, link in links
            ]
        return span

    @staticmethod
    def line(*spans, service="support"):
        """One request with these spans."""
        resource = {"attributes": pairs({"service.name": service})}
        scope_spans = [{"scope": {"name": "spanloom.pocketflow"}, "spans": list(spans)}]
        return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scope_spans}]})

    def write(self, path, *spans, per_line=1):
        """A file of `spans`, so many on each line, in the order given."""
        lines = [self.line(*spans[index : index + per_line]) for index in range(0, len(spans), per_line)]
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    def traces(self, count, *, gap=20_000, first=0):
        """So many traces of a root with one child, `gap` milliseconds apart, each span where it ends."""
        found = []
        for number in range(first, first + count):
            trace, at = f"{number:032x}", number * gap
            root = f"{number:08x}aaaaaaaa"
            found.append(self.span("step", f"{number:08x}bbbbbbbb", root, at + 1, at + 5, trace=trace))
            found.append(self.span(f"flow {number}", root, "", at, at + 10, trace=trace))
        return found


@pytest.fixture(scope="session")
def otlp():
    return Otlp()


@pytest.fixture(autouse=True)
def _zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Seen:
    """What `show` returned and wrote."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def view(tmp_path):
    """`view(target, **options)`: `show` with text buffers, by default in the empty folder `.spanloom`."""

    def look(target=None, *, directory=None, **options):
        out, err = io.StringIO(), io.StringIO()
        code = show(
            None if target is None else str(target),
            out=out,
            err=err,
            directory=str(directory or tmp_path / ".spanloom"),
            options=ViewOptions(**options),
        )
        return Seen(code, out.getvalue(), err.getvalue())

    return look
