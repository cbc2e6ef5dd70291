"""Spans of other instrumentations in our files: redacted, whoever's provider made them, which itself is left alone."""

import pytest

pytestmark = pytest.mark.slow

KEY = "sk-abcdefghijklmnop1234567890"
APP = f"""
import sys
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class Printing(SpanExporter):
    def export(self, spans):
        for span in spans:
            print(dict(span.attributes), span.status.description, dict(span.events[0].attributes))
        return SpanExportResult.SUCCESS

if sys.argv[1:] == ["own"]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Printing()))
    trace.set_tracer_provider(provider)

def work():
    with trace.get_tracer("theirs").start_as_current_span("chat", record_exception=False) as span:
        span.set_attribute("gen_ai.input.messages", '["I use {KEY}"]')
        span.add_event("exception", {{"exception.message": "bad {KEY}"}})
        raise ValueError("bad {KEY}")

context.attach(context.set_value("spanloom-stamps", {{"gen_ai.conversation.id": "c-1"}}))
try:
    work()
except ValueError:
    pass
"""
ATTRIBUTES = {"gen_ai.input.messages": '["I use [REDACTED]"]', "gen_ai.conversation.id": "c-1"}
PRINTED = f"""\
{{'gen_ai.input.messages': '["I use {KEY}"]'}} ValueError: bad {KEY} {{'exception.message': 'bad {KEY}'}}
"""


def assert_redacted(workshop, attributes):
    (span,) = workshop.spans()
    assert attributes(span) == ATTRIBUTES
    assert span["status"]["message"] == "ValueError: bad [REDACTED]"
    assert [attributes(event) for event in span["events"]] == [{"exception.message": "bad [REDACTED]"}]


@pytest.mark.parametrize("exporter", ["", "jsonl"])
@pytest.mark.parametrize("own", [True, False])
def test_our_files_have_no_secret_and_the_programs_exporter_gets_what_it_gets_without_us(
    workshop, attributes, exporter, own
):
    workshop.write("app.py", APP)

    ran = workshop.same("app.py", *["own"] * own, env={"OTEL_TRACES_EXPORTER": exporter})

    assert ran.out == PRINTED * own
    assert_redacted(workshop, attributes)


def test_under_opentelemetry_instrument(workshop, attributes):
    workshop.write("app.py", APP)
    command = [workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"]

    ran = workshop.run(command, env={"OTEL_TRACES_EXPORTER": "jsonl", "OTEL_METRICS_EXPORTER": "none"})

    assert ran.behaviour == (0, "", "")
    assert_redacted(workshop, attributes)


def test_under_opentelemetry_instrument_with_a_pattern_that_is_broken(workshop):
    """What cannot be redacted is not written: the official instrumentations are told."""
    workshop.write("app.py", "import os\nprint(os.environ['OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT'])\n")
    command = [workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"]
    settings = {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
    }

    assert workshop.run(command, env=settings).out == "SPAN_ONLY\n"
    assert workshop.run(command, env=settings | {"SPANLOOM_REDACT_PATTERNS": "ACME-("}).out == "NO_CONTENT\n"
