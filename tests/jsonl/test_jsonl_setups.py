"""The files in the three ways that spanloom sets things up: `spanloom run`, `opentelemetry-instrument`, `init`."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Prints the names in the record of running spans while two run, with the place of each, and of what has ended.
PROGRAM = """
import glob, json, os
from opentelemetry import trace

tracer = trace.get_tracer("app")

def told():
    text = b"".join(open(path, "rb").read() for path in glob.glob(os.path.join(folder, "*.running")))
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    spans = [line["resourceSpans"][0]["scopeSpans"][0]["spans"][0] for line in lines]
    print(json.dumps([[span["name"], span["traceId"], span.get("parentSpanId")] for span in spans]))

folder = os.environ.get("SPANLOOM_JSONL_DIR", ".spanloom")
with tracer.start_as_current_span("outer"):
    with tracer.start_as_current_span("done"):
        pass
    with tracer.start_as_current_span("inner"):
        told()
"""


def told(ran):
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def left(workshop):
    return sorted(path.name.partition(".")[2] for path in (workshop.folder / ".spanloom").iterdir())


@pytest.mark.parametrize(("variable", "names"), [(None, ["outer", "inner"]), ("true", ["outer", "inner"]), ("no", [])])
def test_spanloom_run_keeps_a_record_unless_told_not_to(workshop, variable, names):
    workshop.write("app.py", PROGRAM)

    ran = workshop.traced("app.py", env={"SPANLOOM_JSONL_RUNNING": variable} if variable else {})

    assert [name for name, _, _ in told(ran)] == names
    assert workshop.names() == ["done", "inner", "outer"]
    assert left(workshop) == ["traces.jsonl"]


def test_the_programs_own_spans_are_recorded_in_their_place(workshop):
    """Below spans of an instrumentor of ours, though the program's own provider knows nothing of those."""
    workshop.write(
        "flow.py", "from pocketflow import Flow, Node\n\nclass Work(Node):\n    def exec(self, _):\n        run()\n"
    )
    workshop.write(
        "app.py",
        PROGRAM.replace(
            "with tracer.start_as_current_span",
            "from opentelemetry.sdk.trace import TracerProvider\n"
            "trace.set_tracer_provider(TracerProvider())\n"
            "tracer = trace.get_tracer('theirs')\n"
            "import flow\n"
            "def run():\n"
            "    with tracer.start_as_current_span('mine'):\n"
            "        told()\n"
            "flow.run = run\n"
            "flow.Flow(start=flow.Work()).run({})\n"
            "if 0:\n  with tracer.start_as_current_span",
            1,
        ),
    )

    ran = workshop.traced("app.py")

    record = told(ran)
    spans = {span["name"]: span for span in workshop.spans()}
    assert {name for name, _, _ in record} == {"invoke_workflow", "run_step Work", "exec Work", "mine"}
    assert {trace_id for _, trace_id, _ in record} == {spans["mine"]["traceId"]}
    assert {name: parent for name, _, parent in record} == {
        name: span.get("parentSpanId") for name, span in spans.items() if name in {name for name, _, _ in record}
    }


@pytest.mark.parametrize("on", [True, False])
def test_opentelemetry_instrument(workshop, on):
    workshop.write("app.py", PROGRAM)

    ran = workshop.run(
        [workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"],
        env={
            "OTEL_TRACES_EXPORTER": "jsonl",
            "OTEL_METRICS_EXPORTER": "jsonl",
            "OTEL_LOGS_EXPORTER": "jsonl",
            "SPANLOOM_JSONL_RUNNING": str(on),
        },
    )

    assert [name for name, _, _ in told(ran)] == (["outer", "inner"] if on else [])
    assert workshop.names() == ["done", "inner", "outer"]
    assert left(workshop) == ["traces.jsonl"]


def test_init_and_rotation_from_the_environment(workshop):
    workshop.write("app.py", "import spanloom\nspanloom.init()\n" + PROGRAM)

    ran = workshop.plain(
        "app.py",
        env={"SPANLOOM_JSONL_DIR": "here", "SPANLOOM_JSONL_RUNNING": "1", "SPANLOOM_JSONL_MAX_BYTES": "10"},
    )

    assert [name for name, _, _ in told(ran)] == ["outer", "inner"]
    assert workshop.names("here") == ["done", "inner", "outer"]
    assert len(workshop.files("here")) == 3


def test_metrics_of_spanloom_run_only_when_asked_for(workshop):
    workshop.write(
        "app.py",
        """
        from opentelemetry import metrics, trace
        metrics.get_meter("app").create_counter("cakes").add(3)
        trace.get_tracer("app").start_span("one").end()
        """,
    )

    assert workshop.traced("app.py").code == 0
    assert left(workshop) == ["traces.jsonl"]
    assert workshop.traced("app.py", env={"OTEL_METRICS_EXPORTER": "jsonl"}).code == 0

    assert left(workshop) == ["metrics.jsonl", "traces.jsonl", "traces.jsonl"]
    (path,) = Path(workshop.folder, ".spanloom").glob("*.metrics.jsonl")
    (line,) = path.read_text().splitlines()
    (resource,) = json.loads(line)["resourceMetrics"]
    assert "cakes" in {metric["name"] for scope in resource["scopeMetrics"] for metric in scope["metrics"]}
    assert path.name.partition(".")[0] in {file.name.partition(".")[0] for file in workshop.files()[1:]}
