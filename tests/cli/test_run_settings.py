"""Where the traces of `spanloom run` go and what is in them: options, variables, and wrong values of both."""

import json
import re

import pytest

pytestmark = pytest.mark.slow

APP = "from hello import flow\nflow.run({'question': 'why?'})\nprint('done')\n"
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.fixture
def app(hello):
    """The workshop with `app.py`, which runs `hello.flow` once."""
    hello.write("app.py", APP)
    return hello


def ran_well(ran):
    """The program was not harmed, and neither Python nor OpenTelemetry complained."""
    assert (ran.code, ran.err) == (0, "")
    assert "done\n" in ran.out
    return ran


def recorded(spans, attributes):
    """What content the spans carry."""
    keys = ("spanloom.input", "spanloom.output", "spanloom.state.changes")
    return {key: value for span in spans for key, value in attributes(span).items() if key in keys}


def test_the_line_at_the_end_says_where_and_what_and_how_to_look(app):
    (line,) = ran_well(app.same("app.py")).said

    (file,) = app.files()
    assert line == (
        f"spanloom: 3 spans in .spanloom/{file.name} (with content, readable by you only). "
        "Look at them with: spanloom view"
    )
    assert re.fullmatch(r"\d{8}T\d{6}-\d+\.traces\.jsonl", file.name)


def test_content_is_on_and_the_service_has_the_programs_name(app, attributes):
    ran_well(app.traced("app.py"))

    assert recorded(app.spans(), attributes)["spanloom.output"]
    assert {span["resource"]["service.name"] for span in app.spans()} == {"app"}
    assert {span["resource"]["telemetry.distro.name"] for span in app.spans()} == {"spanloom"}


@pytest.mark.parametrize(
    ("arguments", "env", "on"),
    [
        (["--no-content"], {}, False),
        (["--content"], {}, True),
        ([], {CONTENT: "NO_CONTENT"}, False),
        ([], {CONTENT: "false"}, False),
        ([], {CONTENT: "SPAN_ONLY"}, True),
        (["--content"], {CONTENT: "false"}, True),
        (["--no-content"], {CONTENT: "true"}, False),
        ([], {"SPANLOOM_CAPTURE": "none"}, False),
    ],
)
def test_what_the_user_says_about_content_holds(app, attributes, arguments, env, on):
    (line,) = ran_well(app.traced(*arguments, "app.py", env=env)).said

    assert len(app.spans()) == 3
    assert bool(recorded(app.spans(), attributes)) == on
    if "SPANLOOM_CAPTURE" not in env:
        assert ("(with content, " if on else "(without content)") in line


def test_official_packages_learn_about_content_from_the_environment(app):
    app.write("app.py", f"import os; print(os.environ.get({CONTENT!r})); print('done')")

    assert ran_well(app.traced("app.py")).out == "SPAN_ONLY\ndone\n"
    assert ran_well(app.traced("--no-content", "app.py")).out == "NO_CONTENT\ndone\n"
    assert ran_well(app.traced("--no-content", "app.py", env={CONTENT: "true"})).out == "NO_CONTENT\ndone\n"
    assert ran_well(app.traced("app.py", env={CONTENT: "false"})).out == "NO_CONTENT\ndone\n"


@pytest.mark.parametrize(
    ("arguments", "env"), [(["--dir", "my traces"], {}), ([], {"SPANLOOM_JSONL_DIR": "my traces"})]
)
def test_another_folder(app, hello_spans, arguments, env):
    (line,) = ran_well(app.traced(*arguments, "app.py", env=env)).said

    assert app.names("my traces") == hello_spans
    assert not (app.folder / ".spanloom").exists()
    assert line.startswith("spanloom: 3 spans in my traces/")
    assert line.endswith("Look at them with: spanloom view 'my traces'")


def test_the_option_wins_over_the_variable_and_a_tilde_is_the_home(app, hello_spans):
    env = {"SPANLOOM_JSONL_DIR": "elsewhere", "HOME": str(app.folder / "home")}

    ran_well(app.traced("--dir", "~/traces", "app.py", env=env))

    assert app.names("home/traces") == hello_spans


def test_quiet(app, hello_spans):
    assert ran_well(app.traced("--quiet", "app.py")).said == []
    assert app.names() == hello_spans


def test_a_program_without_spans_leaves_no_folder(app):
    app.write("app.py", "print('done')")

    (line,) = ran_well(app.traced("app.py")).said

    assert line.startswith("spanloom: no spans were recorded in this process (instrumentors that are on: ")
    assert "PocketFlowInstrumentor" in line
    assert not (app.folder / ".spanloom").exists()


def test_a_configured_exporter_is_obeyed(app, hello_spans):
    ran = ran_well(app.traced("app.py", env={"OTEL_TRACES_EXPORTER": "console"}))

    printed = re.findall(r'"name": "([^"]+)",\n    "context"', ran.out)
    assert sorted(printed) == hello_spans
    assert "question" not in ran.out  # content leaves the process only where somebody asked for it
    assert not (app.folder / ".spanloom").exists()
    assert ran.said == ["spanloom: traces went to console, as the environment says"]


def test_a_configured_exporter_with_content(app):
    ran = ran_well(app.traced("--content", "app.py", env={"OTEL_TRACES_EXPORTER": "console"}))

    assert "question" in ran.out


def test_jsonl_named_as_the_exporter(app, hello_spans):
    ran = ran_well(app.traced("app.py", env={"OTEL_TRACES_EXPORTER": "jsonl"}))

    assert app.names() == hello_spans
    assert ran.said == ["spanloom: traces went to jsonl, as the environment says"]


def test_no_exporter_wanted(app):
    ran = ran_well(app.traced("app.py", env={"OTEL_TRACES_EXPORTER": "none"}))

    assert not (app.folder / ".spanloom").exists()
    assert ran.said == ["spanloom: traces went to nowhere (OTEL_TRACES_EXPORTER=none), as the environment says"]


def test_the_sdk_switched_off(app):
    ran = ran_well(app.traced("app.py", env={"OTEL_SDK_DISABLED": "true"}))

    assert not (app.folder / ".spanloom").exists()
    assert ran.said == ["spanloom: no traces: OTEL_SDK_DISABLED is set"]


def test_instrumentors_switched_off(app):
    ran = ran_well(app.traced("app.py", env={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "pocketflow, langgraph, openai"}))

    assert "(instrumentors that are on: none)" in ran.said[0]


def test_a_sampler_is_obeyed(app):
    ran = ran_well(app.traced("app.py", env={"OTEL_TRACES_SAMPLER": "always_off"}))

    assert ran.said[0].startswith("spanloom: no spans were recorded")


@pytest.mark.parametrize("configured", [False, True])
def test_the_users_service_name_and_resource(app, configured):
    env = {"OTEL_SERVICE_NAME": "desk", "OTEL_RESOURCE_ATTRIBUTES": "team=blue"}
    ran_well(app.traced("app.py", env=env | ({"OTEL_TRACES_EXPORTER": "jsonl"} if configured else {})))

    resources = [span["resource"] for span in app.spans()]
    assert {(r["service.name"], r["team"], r["telemetry.distro.name"]) for r in resources} == {
        ("desk", "blue", "spanloom")
    }


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        (CONTENT, "maybe", "NO_CONTENT, SPAN_ONLY"),
        ("SPANLOOM_CAPTURE", "io,secrets", "io"),
        ("SPANLOOM_CAPTURE_EXCEPTION_MESSAGES", "2", "true, false"),
        ("SPANLOOM_MAX_VALUE_BYTES", "10 MB", "256 or more"),
        ("SPANLOOM_REDACT", "si", "true, false"),
        ("SPANLOOM_REDACT_PATTERNS", "(", "JSON list"),
        ("SPANLOOM_DRAFT_NAMES", "x", "true, false"),
        ("SPANLOOM_POCKETFLOW_PHASES", "prep,exec,post,most", "exec"),
        ("SPANLOOM_POCKETFLOW_MODULES", "pocketflow,1x", "import names"),
        ("SPANLOOM_JSONL_MAX_LINE_BYTES", "12", "4096"),
    ],
)
def test_a_wrong_value_is_one_line_and_no_harm(app, hello_spans, variable, value, accepted):
    ran = app.traced("app.py", env={variable: value})

    assert (ran.code, ran.out) == (0, "done\n")
    (complaint,) = ran.err.splitlines()
    assert complaint.startswith(variable)
    assert accepted in complaint
    assert app.names() == hello_spans


@pytest.mark.parametrize("arguments", [[], ["--content"]])
def test_nothing_is_captured_while_a_redaction_pattern_is_broken(app, attributes, arguments):
    ran = app.traced(*arguments, "app.py", env={"SPANLOOM_REDACT_PATTERNS": "("})

    assert recorded(app.spans(), attributes) == {}
    assert "(without content)" in ran.said[0]
    assert "no content" in ran.err


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_TRACES_EXPORTER": "nothing-like-it"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "nothing-like-it"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "nothing-like-it"},
    ],
)
def test_an_exporter_that_cannot_be_had_is_one_line_and_no_harm(app, env):
    ran = app.traced("app.py", env=env)

    assert (ran.code, ran.out) == (0, "done\n")
    (complaint,) = ran.err.splitlines()
    assert "nothing-like-it" in complaint
    assert "installed: " in complaint
    assert ran.said == ["spanloom: no traces: OpenTelemetry could not be set up from the environment"]


def test_an_endpoint_that_nobody_listens_at_costs_the_trace_only(app):
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    ran = app.traced("app.py", env=env | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})

    assert (ran.code, ran.out) == (0, "done\n")
    assert not (app.folder / ".spanloom").exists()
    assert ran.said == ["spanloom: traces went to otlp, as the environment says"]
    assert "Traceback" not in ran.err


def test_a_broken_variable_of_ours_inherited_from_elsewhere(app):
    """`SPANLOOM_RUN` is between `spanloom run` and its children; garbage in it must not hurt a program."""
    ran = app.plain("app.py", env={"SPANLOOM_RUN": "{", "PYTHONPATH": bootstrap()})

    assert (ran.code, ran.out) == (0, "done\n")
    assert len(ran.err.splitlines()) == 1
    assert "The program runs without it" in ran.err


def test_the_way_in_does_nothing_outside_spanloom_run(app):
    ran = app.plain("app.py", env={"PYTHONPATH": bootstrap()})

    assert ran.behaviour == (0, "done\n", "")
    assert not (app.folder / ".spanloom").exists()


def test_metrics_and_logs_stay_off(app):
    """No exporter of metrics or logs is asked for, so none may try to reach a collector."""
    app.write(
        "app.py",
        """
        from opentelemetry import _logs, metrics
        print(type(metrics.get_meter_provider()).__name__, type(_logs.get_logger_provider()).__name__)
        print("done")
        """,
    )

    ran_well(app.same("app.py"))


def bootstrap():
    """The folder of our `sitecustomize`."""
    from pathlib import Path

    import spanloom

    return str(Path(spanloom.__file__).with_name("bootstrap"))


def test_lines_are_whole_json(app):
    ran_well(app.traced("app.py"))

    for line in app.files()[0].read_text().splitlines():
        assert list(json.loads(line)) == ["resourceSpans"]
