"""Events are off until the environment or the program asks for them, and redacted whoever writes them."""

import json

import pytest

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EVENT = "gen_ai.client.inference.operation.details"
KEY = "sk-abcdefghijklmnop1234567890"
CALL = f"""
    from opentelemetry._logs import LogRecord, get_logger
    import spanloom

    {{init}}
    with spanloom.chat("m-1", provider="acme") as call:
        call.input("my key is {KEY}")
    get_logger("theirs").emit(LogRecord(event_name="gen_ai.choice", body="my key is {KEY}"))
"""
PROGRAM = CALL.format(init='spanloom.init(exporters=[], service_name="support")') + (
    "    assert spanloom.flush()\n    spanloom.shutdown()\n"
)
RUN = CALL.format(init="")


def records(out):
    """The records that the console exporter has written, by event."""
    found, decoder, at = {}, json.JSONDecoder(), out.find("{")
    while at >= 0:
        record, end = decoder.raw_decode(out[at:])
        found[record["event_name"]] = record
        at = out.find("{", at + end)
    return found


def check(out, service):
    found = records(out)
    assert found.keys() == {EVENT, "gen_ai.choice"}
    said = found[EVENT]["attributes"]["gen_ai.input.messages"]
    assert said == [{"role": "user", "parts": [{"type": "text", "content": "my key is [REDACTED]"}]}]
    assert found["gen_ai.choice"]["body"] == "my key is [REDACTED]"
    assert found[EVENT]["resource"]["attributes"]["service.name"] == service


def test_init_obeys_the_variables(workshop):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_LOGS_EXPORTER": "console", CONTENT: "EVENT_ONLY"})

    assert (ran.code, ran.err) == (0, "")
    check(ran.out, "support")


@pytest.mark.parametrize("value", ["", "none"])
def test_init_leaves_events_off(workshop, value):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_LOGS_EXPORTER": value, CONTENT: "SPAN_AND_EVENT"})

    assert ran.behaviour == (0, "", "")


def test_without_the_mode_for_events_there_are_none_of_ours(workshop):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_LOGS_EXPORTER": "console", CONTENT: "SPAN_ONLY"})

    assert records(ran.out).keys() == {"gen_ai.choice"}


def test_init_names_an_exporter_that_is_not_there(workshop):
    workshop.write("app.py", PROGRAM)
    ran = workshop.plain("app.py", env={"OTEL_LOGS_EXPORTER": "nothing-like-it"})

    assert ran.code == 1
    assert "ValueError: there is no logs exporter 'nothing-like-it'; installed: " in ran.err


def test_a_logger_provider_of_the_programs_own_is_used_as_it_is(workshop):
    workshop.write(
        "app.py",
        """
        import spanloom
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, SimpleLogRecordProcessor

        provider = LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(ConsoleLogRecordExporter()))
        _logs.set_logger_provider(provider)
        spanloom.init(exporters=[])
        assert _logs.get_logger_provider() is provider
        with spanloom.chat("m-1", provider="acme") as call:
            call.input("hi")
        """,
    )
    ran = workshop.plain("app.py", env={"OTEL_LOGS_EXPORTER": "console", CONTENT: "EVENT_ONLY"})

    assert (ran.code, ran.err) == (0, "")
    assert records(ran.out).keys() == {EVENT}


def test_run_obeys_the_variables(workshop):
    workshop.write("app.py", RUN)
    ran = workshop.traced("app.py", env={"OTEL_LOGS_EXPORTER": "console", CONTENT: "SPAN_AND_EVENT"})

    assert (ran.code, ran.err) == (0, "")
    check(ran.out, "app")
    (span,) = workshop.spans()
    assert "gen_ai.input.messages" in str(span["attributes"])


def test_run_without_the_exporter_that_is_named_still_traces(workshop):
    workshop.write("app.py", RUN)
    ran = workshop.traced("app.py", env={"OTEL_LOGS_EXPORTER": "nothing-like-it"})

    assert (ran.code, ran.out) == (0, "")
    assert "There are no log records: there is no logs exporter 'nothing-like-it'; installed: " in ran.err
    assert workshop.names() == ["chat m-1"]


@pytest.mark.slow
def test_opentelemetrys_own_launcher_obeys_the_variables(workshop):
    workshop.write("app.py", RUN)
    env = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": "launched"}
    env |= {"OTEL_LOGS_EXPORTER": "console", CONTENT: "EVENT_ONLY"}
    ran = workshop.run([workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"], env=env)

    assert ran.code == 0
    check(ran.out, "launched")
