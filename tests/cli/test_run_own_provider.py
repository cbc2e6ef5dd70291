"""A traced program that sets OpenTelemetry up itself: it gets what it gets without us, and our files have it all."""

import json

import pytest

pytestmark = pytest.mark.slow

# The program's own set-up prints what its exporter gets, ids aside.
SET_UP = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class Printing(SpanExporter):
    names = {}
    def export(self, spans):
        for span in spans:
            self.names[span.context.span_id] = span.name
            print(json.dumps({
                "name": span.name,
                "parent": span.parent and self.names.get(span.parent.span_id, "?"),
                "attributes": dict(span.attributes),
                "scope": span.instrumentation_scope.name,
                "service": span.resource.attributes["service.name"],
            }))
        return SpanExportResult.SUCCESS
    def shutdown(self):
        print("their exporter is shut down")

def set_up():
    provider = TracerProvider(resource=Resource.create({"service.name": "theirs"}))
    provider.add_span_processor(SimpleSpanProcessor(Printing()))
    trace.set_tracer_provider(provider)
    return provider
"""


@pytest.fixture
def program(hello):
    """The workshop with `hello` and `theirs`, the program's own set-up."""
    hello.write("theirs.py", SET_UP)
    return hello


def by_scope(spans):
    found = {}
    for span in spans:
        found.setdefault(span["scope"], []).append(span["name"])
    return {scope: sorted(names) for scope, names in found.items()}


def test_its_exporter_gets_what_it_gets_without_us_and_our_files_have_everything(program, hello_spans):
    program.write(
        "app.py",
        """
        from opentelemetry import trace
        early = trace.get_tracer("early", "1.0")
        from theirs import set_up
        import hello
        with early.start_as_current_span("before set-up"):
            pass
        provider = set_up()
        late = trace.get_tracer("late")
        with late.start_as_current_span("late", attributes={"a": 1}) as span:
            assert trace.get_current_span() is span
            with early.start_as_current_span("early"):
                pass
            span.set_attribute("b", [1, 2])
        hello.flow.run({})
        print(trace.get_tracer_provider() is provider)
        """,
    )

    ran = program.same("app.py")

    printed = [json.loads(line) for line in ran.out.splitlines() if line.startswith("{")]
    assert [span["name"] for span in printed] == ["early", "late"]
    assert by_scope(program.spans()) == {
        "early": ["before set-up", "early"],
        "late": ["late"],
        "spanloom_pocketflow": hello_spans,
    }
    assert ran.said[0].startswith("spanloom: 6 spans in ")


def test_one_trace_in_our_files_where_the_program_nests_its_spans_and_ours(program):
    program.write(
        "app.py",
        """
        from opentelemetry import trace
        from pocketflow import Flow, Node
        from theirs import set_up
        set_up()
        tracer = trace.get_tracer("app")
        class Work(Node):
            def exec(self, _):
                with tracer.start_as_current_span("inner"):
                    pass
        with tracer.start_as_current_span("outer"):
            Flow(start=Work()).run({})
        """,
    )
    program.traced("app.py")
    spans = {span["spanId"]: span for span in program.spans()}

    assert len({span["traceId"] for span in spans.values()}) == 1
    parents = {span["name"]: spans.get(span.get("parentSpanId"), {}).get("name") for span in spans.values()}
    assert parents == {
        "outer": None,
        "invoke_workflow": "outer",
        "run_step Work": "invoke_workflow",
        "exec Work": "run_step Work",
        "inner": "exec Work",
    }


def test_a_provider_that_is_shut_down_early_does_not_end_our_files(program, hello_spans):
    program.write(
        "app.py",
        """
        from opentelemetry import trace
        import hello
        from theirs import set_up
        set_up().shutdown()
        hello.flow.run({})
        """,
    )

    ran = program.same("app.py")

    assert ran.out == "their exporter is shut down\n"
    assert program.names() == hello_spans


def test_a_second_provider_is_refused_as_without_us(program):
    program.write("app.py", "from theirs import set_up\nset_up()\nset_up()\n")

    assert "Overriding of current TracerProvider is not allowed" in program.same("app.py").err


def test_a_program_that_asks_what_provider_there_is_gets_a_working_one(program, hello_spans):
    """Programs that add a processor to whatever SDK provider there is add it to ours."""
    program.write(
        "app.py",
        """
        import hello
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from theirs import Printing
        provider = trace.get_tracer_provider()
        assert isinstance(provider, TracerProvider)
        provider.add_span_processor(SimpleSpanProcessor(Printing()))
        hello.flow.run({})
        provider.force_flush()
        """,
    )
    ran = program.traced("app.py")

    assert ran.code == 0
    assert sorted(json.loads(line)["name"] for line in ran.out.splitlines() if line[0] == "{") == hello_spans
    assert program.names() == hello_spans


@pytest.mark.parametrize("is_global", [True, False])
def test_instrumentors_that_the_program_switches_on_itself(program, hello_spans, is_global):
    program.write(
        "app.py",
        f"""
        from spanloom_pocketflow import PocketFlowInstrumentor
        import hello
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from theirs import Printing, set_up
        if {is_global}:
            provider = set_up()
        else:
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(Printing()))
        PocketFlowInstrumentor().instrument(tracer_provider=provider)
        PocketFlowInstrumentor().instrument(tracer_provider=provider)
        hello.flow.run({{}})
        """,
    )

    ran = program.same("app.py", env={"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"})

    assert sorted(json.loads(line)["name"] for line in ran.out.splitlines() if line[0] == "{") == hello_spans
    assert program.names() == hello_spans


def test_an_official_instrumentor_that_the_program_switches_on_itself(program):
    """Without a word on stderr about being on already."""
    program.write(
        "app.py",
        """
        from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
        from theirs import set_up
        OpenAIInstrumentor().instrument(tracer_provider=set_up())
        """,
    )

    assert program.same("app.py").err == ""


def test_a_program_that_calls_init_itself(program, hello_spans):
    program.write(
        "app.py",
        """
        import spanloom
        import hello
        spanloom.init(service_name="mine")
        hello.flow.run({})
        spanloom.shutdown()
        """,
    )
    ran = program.traced("app.py")

    assert (ran.code, ran.err) == (0, "")
    assert program.names() == hello_spans
