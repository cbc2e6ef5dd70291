"""Metrics are off until the environment or the program asks for them."""

import json

import pytest

PROGRAM = """
    import spanloom

    spanloom.init(exporters=[], service_name="support")
    with spanloom.tool("search"):
        pass
    assert spanloom.flush()
    print("---")
    spanloom.shutdown()
"""


def measured(out):
    """Names of the metrics that the console exporter has written, and the service."""
    start = out.find("{")
    if start < 0:
        return None, set()
    (resource,) = json.JSONDecoder().raw_decode(out[start:])[0]["resource_metrics"]
    names = {
        metric["name"] for scope in resource["scope_metrics"] for metric in scope["metrics"] if "spanloom" in str(scope)
    }
    return resource["resource"]["attributes"]["service.name"], names


def test_init_obeys_the_variable(workshop):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_METRICS_EXPORTER": "console"})

    assert (ran.code, ran.err) == (0, "")
    assert measured(ran.out.partition("---")[0]) == ("support", {"gen_ai.execute_tool.duration"})


@pytest.mark.parametrize("value", ["", "none"])
def test_init_leaves_metrics_off(workshop, value):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_METRICS_EXPORTER": value})

    assert ran.behaviour == (0, "---\n", "")


def test_init_names_an_exporter_that_is_not_there(workshop):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_METRICS_EXPORTER": "nothing-like-it"})

    assert ran.code == 1
    assert "ValueError: there is no metrics exporter 'nothing-like-it'; installed: console, jsonl, " in ran.err


def test_a_meter_provider_of_the_programs_own_is_used(workshop):
    workshop.write(
        "app.py",
        """
        import spanloom
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        spanloom.init(exporters=[])
        with spanloom.tool("before"):
            pass
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        with spanloom.tool("search"):
            pass
        print(reader.get_metrics_data().to_json())
        """,
    )
    ran = workshop.plain("app.py")

    assert (ran.code, ran.err) == (0, "")
    assert measured(ran.out)[1] == {"gen_ai.execute_tool.duration"}
    assert "search" in ran.out
    assert "before" not in ran.out


RUN = """
    import spanloom

    with spanloom.tool("search"):
        pass
"""


def test_run_obeys_the_variable(workshop):
    workshop.write("app.py", RUN)
    ran = workshop.traced("app.py", env={"OTEL_METRICS_EXPORTER": "console"})

    assert (ran.code, ran.err) == (0, "")
    assert measured(ran.out) == ("app", {"gen_ai.execute_tool.duration"})
    assert workshop.names() == ["execute_tool search"]


def test_run_without_the_exporter_that_is_named_still_traces(workshop):
    workshop.write("app.py", RUN)
    ran = workshop.traced("app.py", env={"OTEL_METRICS_EXPORTER": "nothing-like-it"})

    assert (ran.code, ran.out) == (0, "")
    assert "There are no metrics: there is no metrics exporter 'nothing-like-it'; installed: console" in ran.err
    assert workshop.names() == ["execute_tool search"]


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["console", "none"])
def test_opentelemetrys_own_launcher_obeys_the_variable(workshop, exporter):
    workshop.write("app.py", RUN)
    env = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": exporter}
    ran = workshop.run([workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"], env=env)

    assert ran.code == 0
    assert measured(ran.out)[1] == ({"gen_ai.execute_tool.duration"} if exporter == "console" else set())
