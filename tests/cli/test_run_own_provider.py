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


NESTED = """
import json, sys
from opentelemetry import trace
from pocketflow import Flow, Node
from theirs import set_up
set_up()
tracer = trace.get_tracer("app")

class Sub(Node):
    def exec(self, _):
        with tracer.start_as_current_span("deepest"):
            pass

class Work(Node):
    def exec(self, _):
        trace.get_current_span().set_attribute("set.inside", "a node")
        with tracer.start_as_current_span("inner"):
            Flow(start=Sub()).run({})
            links = [trace.Link(trace.get_current_span().get_span_context())]
            with tracer.start_as_current_span("linked", links=links):
                pass

def whole():
    Flow(start=Work()).run({})

if sys.argv[1:] == ["outer"]:
    with tracer.start_as_current_span("outer"):
        whole()
else:
    whole()
    whole()
"""


def parents_of(spans):
    """Who is below whom, and whether that is in one trace; `{name: parent's name}` for each root."""
    by_id = {span["spanId"]: span for span in spans}
    found = []
    for span in spans:
        parent = by_id.get(span.get("parentSpanId"))
        assert ("parentSpanId" in span) == (parent is not None), f"{span['name']} hangs in the air"
        assert parent is None or parent["traceId"] == span["traceId"]
        assert all(link["traceId"] == span["traceId"] for link in span.get("links", ()))
        found.append((span["name"], parent and parent["name"]))
    return sorted(found, key=str)


INSIDE = [
    ("deepest", "exec Sub"),
    ("exec Sub", "run_step Sub"),
    ("exec Work", "run_step Work"),
    ("inner", "exec Work"),
    ("invoke_workflow", "inner"),
    ("linked", "inner"),
    ("run_step Sub", "invoke_workflow"),
    ("run_step Work", "invoke_workflow"),
]


@pytest.mark.parametrize("exporter", ["", "jsonl"])
def test_its_spans_and_ours_are_one_tree_in_our_files_and_it_sees_none_of_ours(program, exporter):
    program.write("app.py", NESTED)

    # the same parents and attributes as without us
    ran = program.same("app.py", "outer", env={"OTEL_TRACES_EXPORTER": exporter})

    printed = {span["name"]: span for span in map(json.loads, ran.out.splitlines()[:-1])}
    assert {name: span["parent"] for name, span in printed.items()} == {
        "deepest": "?",  # printed before its parent has ended
        "inner": "?",
        "linked": "?",
        "outer": None,
    }
    assert printed["outer"]["attributes"] == {"set.inside": "a node"}
    assert len({span["traceId"] for span in program.spans()}) == 1
    assert parents_of(program.spans()) == sorted([*INSIDE, ("invoke_workflow", "outer"), ("outer", None)], key=str)


def test_what_begins_a_trace_for_the_program_is_inside_ours_in_our_files(program):
    program.write("app.py", NESTED)

    ran = program.same("app.py")

    printed = [json.loads(line) for line in ran.out.splitlines()[:-1]]
    assert [span["name"] for span in printed if span["parent"] is None] == ["inner", "inner"]
    assert len({span["traceId"] for span in program.spans()}) == 2
    assert parents_of(program.spans()) == sorted([*INSIDE, ("invoke_workflow", None)] * 2, key=str)


def test_a_sampler_of_the_programs_own_decides_about_its_spans_only(program):
    program.write("app.py", NESTED)
    program.write(
        "theirs.py",
        SET_UP.replace("provider = TracerProvider(", "provider = TracerProvider(sampler=Never(), ")
        + """
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

class Never(ParentBased):
    def __init__(self):
        super().__init__(ALWAYS_OFF)
""",
    )

    ran = program.same("app.py", "outer")

    assert ran.out == "their exporter is shut down\n"
    assert program.names() == sorted(
        ["exec Sub", "exec Work", "invoke_workflow", "invoke_workflow", "run_step Sub", "run_step Work"]
    )


def test_what_propagators_send_is_the_programs_span(program):
    program.write(
        "app.py",
        """
        from opentelemetry import propagate, trace
        from opentelemetry.trace import get_current_span
        from pocketflow import Flow, Node
        from theirs import set_up
        set_up()
        tracer = trace.get_tracer("app")
        class Send(Node):
            def exec(self, _):
                headers = {}
                propagate.inject(headers)
                current = get_current_span().get_span_context()
                print(bool(headers), f"{current.span_id:016x}" in str(headers), current == outer.get_span_context())
        with tracer.start_as_current_span("outer") as outer:
            Flow(start=Send()).run({})
        outer = trace.INVALID_SPAN
        Flow(start=Send()).run({})
        """,
    )

    ran = program.same("app.py")

    assert ran.out.splitlines()[0] == "True True True"
    assert "False False True" in ran.out


def test_threads_of_a_program_with_its_own_provider(program):
    program.write(
        "app.py",
        """
        import contextvars, threading
        from opentelemetry import trace
        from pocketflow import BatchNode, Flow, Node
        from theirs import Printing, set_up
        Printing.export = lambda self, spans: None
        set_up()
        tracer = trace.get_tracer("app")
        class Work(BatchNode):
            def prep(self, shared):
                return range(5)
            def exec(self, item):
                with tracer.start_as_current_span(f"own {item}"):
                    pass
        flow = Flow(start=Work())
        threads = [threading.Thread(target=lambda: [flow.run({}) for _ in range(10)]) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        from spanloom.provider import YieldingProvider
        import gc
        (ours,) = [one for one in gc.get_objects() if isinstance(one, YieldingProvider)]
        print(ours.apart._homes, len(ours.apart._seen))
        """,
    )

    ran = program.traced("app.py")

    assert ran.behaviour == (0, "{} 0\ntheir exporter is shut down\n", "")
    spans = program.spans()
    assert len({span["traceId"] for span in spans}) == 40
    names = [(name, parent) for name, parent in parents_of(spans) if name.startswith("own")]
    assert len(names) == 200
    assert {parent for _, parent in names} == {"exec Work"}


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


def test_an_instrumentor_that_is_switched_on_late_still_records_for_us_alone(program):
    """The program has its provider by the time it imports the framework."""
    program.write(
        "app.py",
        """
        from theirs import set_up
        set_up()
        from openai import OpenAI
        from spanloom.demo.replies import Reply
        from spanloom.demo.server import ModelServer
        with ModelServer(lambda request: Reply("hi")) as server:
            client = OpenAI(base_url=server.base_url, api_key="none")
            answer = client.chat.completions.create(model="loopback-chat", messages=[{"role": "user", "content": "?"}])
            print(answer.choices[0].message.content)
        """,
    )

    ran = program.same("app.py")

    assert ran.out.startswith("hi\n")
    assert program.names() == ["chat loopback-chat"]
