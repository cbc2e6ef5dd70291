"""The wheel in clean environments: with OpenTelemetry alone, and with the demo's packages."""

import json
import re

import pytest

pytestmark = pytest.mark.slow

HELLO_SPANS = ["exec Hello", "invoke_workflow Greeting", "run_step Hello"]
APP = "import hello\nhello.flow.run({})\nprint('done')\n"


def instrumented(shop, *command, **env):
    """`opentelemetry-instrument COMMAND`."""
    return shop.run([shop.tool("opentelemetry-instrument"), *command], env=env)


def printed(text):
    """The names of the spans that the console exporter has printed."""
    return sorted(re.findall(r'"name": "([^"]+)",\n    "context"', text))


# -- OpenTelemetry and nothing else --------------------------------------------------------------------------------


def test_the_base_environment_is_sound_and_has_no_framework(base):
    listed = {name.lower() for name in base.plain("-m", "pip", "list", "--format=freeze").out.splitlines()}
    names = {line.partition("==")[0].partition(" ")[0] for line in listed}

    assert base.plain("-m", "pip", "check").code == 0
    assert not names & {"pocketflow", "openai", "orjson", "pydantic", "pytest", "requests-mock"}


def test_the_command(base):
    assert base.run([base.tool("spanloom"), "--version"]).out == "spanloom 0.1.0\n"
    assert base.plain("-m", "spanloom", "--version").out == "spanloom 0.1.0\n"
    assert "run a program" in base.run([base.tool("spanloom"), "--help"]).out


def test_types_are_there_for_users(base):
    base.write(
        "app.py", "import spanloom, importlib.resources as r; print(r.files('spanloom').joinpath('py.typed').is_file())"
    )

    assert base.plain("app.py").out == "True\n"


def test_a_program_without_a_framework_runs_in_silence(base):
    base.write("app.py", "print('done')")

    assert instrumented(base, base.python, "app.py", OTEL_TRACES_EXPORTER="console").behaviour == (0, "done\n", "")
    assert base.traced("app.py").behaviour == (0, "done\n", "")


def test_spans_of_the_programs_own_in_a_base_install(base):
    base.write(
        "app.py",
        "from opentelemetry import trace\nwith trace.get_tracer('app').start_as_current_span('mine'): print('done')\n",
    )

    ran = instrumented(base, base.python, "app.py", OTEL_TRACES_EXPORTER="console")
    assert (ran.code, printed(ran.out)) == (0, ["mine"])
    assert base.traced("app.py").behaviour == (0, "done\n", "")
    assert base.names() == ["mine"]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (None, 'INFO:spanloom:PocketFlowInstrumentor: .*"pocketflow >= 0.0.1".*no installed version'),
        ("0.0.0", 'ERROR:.*pocketflow .*"pocketflow >= 0.0.1".*pocketflow 0.0.0'),
    ],
)
def test_the_version_gate_holds_under_the_loader_and_says_one_line(base, installed, expected):
    """`opentelemetry-instrument` passes `skip_dep_check=True`, so the check is ours."""
    if installed:
        base.write("site/pocketflow.py", "class BaseNode: pass\n")
        base.write(f"site/pocketflow-{installed}.dist-info/METADATA", f"Name: pocketflow\nVersion: {installed}\n")
    base.write(
        "app.py",
        """
        import logging
        logging.basicConfig(level=logging.INFO)
        from opentelemetry.instrumentation.auto_instrumentation import initialize
        initialize()
        from spanloom_pocketflow import PocketFlowInstrumentor
        print(PocketFlowInstrumentor().is_instrumented_by_opentelemetry)
        """,
    )
    ran = base.plain("app.py", env={"OTEL_TRACES_EXPORTER": "none", "PYTHONPATH": "site" if installed else ""})

    about = [line for line in ran.err.splitlines() if "pocketflow" in line.lower()]
    # without an installed one it waits, patching nothing, for a copy that the program may carry
    assert (ran.code, ran.out) == (0, f"{installed is None}\n")
    assert len(about) == 1
    assert re.match(expected, about[0])


def test_a_framework_that_is_too_old_is_one_line_under_spanloom_run(base):
    base.write("site/pocketflow.py", "class BaseNode: pass\n")
    base.write("site/pocketflow-0.0.0.dist-info/METADATA", "Name: pocketflow\nVersion: 0.0.0\n")
    base.write("app.py", "import pocketflow; print(pocketflow.BaseNode.__dict__.keys() & {'run'})")

    ran = base.traced("app.py", env={"PYTHONPATH": "site"})

    assert (ran.code, ran.out) == (0, "set()\n")
    assert len(ran.err.splitlines()) == 1
    assert "pocketflow 0.0.0" in ran.err


def test_the_demo_says_what_it_needs(base):
    ran = base.run([base.tool("spanloom"), "demo"])

    assert ran.code == 1
    assert len(ran.said) == 1
    assert ran.said[0].startswith("spanloom: the demo needs pocketflow, openai, ")
    assert ran.said[0].endswith("pip install 'spanloom[demo]'")


# -- with the frameworks -------------------------------------------------------------------------------------------


def test_opentelemetry_instrument_with_the_console_exporter(full):
    full.write("app.py", APP)

    ran = instrumented(full, full.python, "app.py", OTEL_TRACES_EXPORTER="console")

    assert (ran.code, ran.err) == (0, "")
    assert printed(ran.out) == HELLO_SPANS


def test_opentelemetry_instrument_with_our_exporter(full, attributes):
    full.write("app.py", APP)

    ran = instrumented(
        full, full.python, "app.py", OTEL_TRACES_EXPORTER="jsonl", SPANLOOM_JSONL_DIR="traces", OTEL_SERVICE_NAME="desk"
    )

    assert ran.behaviour == (0, "done\n", "")
    spans = full.spans("traces")
    assert sorted(span["name"] for span in spans) == HELLO_SPANS
    assert {span["resource"]["service.name"] for span in spans} == {"desk"}
    assert {span["resource"]["telemetry.distro.name"] for span in spans} == {"spanloom"}
    assert not any("spanloom.output" in attributes(span) for span in spans)  # content is off here


def test_opentelemetry_instrument_with_several_exporters_and_content(full, attributes):
    full.write("app.py", APP)

    ran = instrumented(
        full,
        full.python,
        "app.py",
        OTEL_TRACES_EXPORTER="console,jsonl",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true",
    )

    assert (ran.code, ran.err) == (0, "")
    assert printed(ran.out) == HELLO_SPANS == full.names()
    assert {attributes(span).get("spanloom.output") for span in full.spans()} >= {'"hi there"'}


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
def test_an_unknown_exporter_under_opentelemetry_instrument_is_one_line(full, variable):
    full.write("app.py", APP)

    ran = instrumented(full, full.python, "app.py", **{"OTEL_TRACES_EXPORTER": "jsonl", variable: "nonsense"})

    assert (ran.code, ran.out) == (0, "done\n")
    (complaint,) = ran.err.splitlines()
    assert "nonsense" in complaint
    assert "The program is not affected" in complaint


def test_run_view_and_a_corrupt_line(full):
    full.write("app.py", APP)
    assert full.traced("app.py").behaviour == (0, "done\n", "")
    with full.files()[0].open("a") as file:
        file.write('{"resourceSpans": [\n')

    seen = full.run([full.tool("spanloom"), "view"])

    assert seen.code == 0
    assert [name for name in ("Greeting", "Hello") if name in seen.out] == ["Greeting", "Hello"]
    as_json = full.run([full.tool("spanloom"), "view", "--json"])
    assert all(json.loads(line) for line in as_json.out.splitlines())


def test_the_demo_from_the_wheel(full):
    ran = full.run([full.tool("spanloom"), "demo"])

    assert ran.code == 0, ran.err
    names = full.names()
    assert any(name.startswith("invoke_workflow") for name in names)
    assert any(name.startswith("chat ") for name in names)
    assert "spanloom view" in ran.out


# -- somebody else's distribution ----------------------------------------------------------------------------------

GADGET = "from gadget import Gadget\nprint(Gadget().turn(3))\n"


def test_a_foreign_instrumentor_and_exporter_work_by_entry_point_alone(full, foreign_site):
    full.write("app.py", GADGET)

    ran = instrumented(full, full.python, "app.py", OTEL_TRACES_EXPORTER="foreign,jsonl", PYTHONPATH=foreign_site)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "xxx\nforeign: turn gadget {'gadget.times': 3}\n"
    assert full.names() == ["turn gadget"]


def test_a_foreign_instrumentor_under_spanloom_run(full, foreign_site):
    full.write("app.py", GADGET + "Gadget().turn(-1)\n")

    ran = full.traced("app.py", env={"PYTHONPATH": foreign_site})

    assert (ran.code, ran.out) == (1, "xxx\n")
    assert ran.err.endswith("ValueError: backwards\n")
    good, bad = full.spans()
    assert (good["name"], good["scope"], good["status"]) == ("turn gadget", "gadget_telemetry", {})
    assert bad["status"]["code"] == 2


def test_foreign_parts_in_init(full, foreign_site):
    full.write("app.py", "import spanloom\nspanloom.init(exporters='foreign', instrumentors=['gadget'])\n" + GADGET)

    ran = full.plain("app.py", env={"PYTHONPATH": foreign_site})

    assert ran.behaviour == (0, "xxx\nforeign: turn gadget {'gadget.times': 3}\n", "")


def test_the_version_gate_of_a_foreign_instrumentor(full, foreign_site):
    full.write("older/gadget-0.5.dist-info/METADATA", "Name: gadget\nVersion: 0.5\n")
    full.write("app.py", GADGET)

    ran = full.traced("app.py", env={"PYTHONPATH": f"older:{foreign_site}"})

    assert (ran.code, ran.out) == (0, "xxx\n")
    assert len(ran.err.splitlines()) == 1
    assert "gadget 0.5" in ran.err
    assert full.files() == []
