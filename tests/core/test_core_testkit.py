"""The public test kit and the pure GenAI operations do what they say."""

import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, Status, StatusCode

from spanloom import genai, names
from spanloom.instrument import Telemetry
from spanloom.span import Scope
from spanloom.testing import Recorder, SequentialIds, tree


@pytest.fixture
def tracer(recorder):
    return recorder.provider.get_tracer("test")


def test_ids_and_times_are_fixed(recorder, tracer):
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
        pass
    tracer.start_span("next").end()

    inner, outer, following = recorder.spans
    assert [span.context.trace_id for span in (outer, inner, following)] == [1, 1, 2]
    assert [span.context.span_id for span in (outer, inner, following)] == [1, 2, 3]
    second = 1_000_000_000
    assert (outer.start_time, inner.start_time, inner.end_time, outer.end_time) == (
        second,
        2 * second,
        3 * second,
        4 * second,
    )


def test_two_recorders_count_alike():
    def record():
        recorder = Recorder()
        with recorder.provider.get_tracer("test").start_as_current_span("x", attributes={"a": 1}):
            pass
        return recorder.spans[0].to_json()

    assert record() == record()


def test_a_retimed_span_keeps_everything_else(recorder, tracer):
    other = trace.SpanContext(5, 6, is_remote=False)
    with tracer.start_as_current_span("x", kind=SpanKind.CLIENT, links=[trace.Link(other)]) as span:
        span.set_attribute("a", 1)
        span.add_event("e")
        span.set_status(Status(StatusCode.ERROR, "why"))
    kept = recorder.only("x")
    assert (kept.kind, kept.attributes, kept.status.description) == (SpanKind.CLIENT, {"a": 1}, "why")
    assert [event.name for event in kept.events] == ["e"]
    assert [link.context.span_id for link in kept.links] == [6]
    assert kept.instrumentation_scope.name == "test"
    assert kept.resource.attributes["service.name"] == "test"


def test_not_fixed_uses_the_sdk_s_own():
    recorder = Recorder(fixed=False)
    recorder.provider.get_tracer("test").start_span("x").end()
    (span,) = recorder.spans
    assert span.context.trace_id > 1 << 64
    assert span.start_time > 1_600_000_000_000_000_000


def test_a_sampler():
    recorder = Recorder(sampler=ALWAYS_OFF)
    recorder.provider.get_tracer("test").start_span("x").end()
    assert recorder.spans == []


def test_sequential_ids():
    ids = SequentialIds()
    assert [ids.generate_trace_id(), ids.generate_span_id(), ids.generate_span_id()] == [1, 1, 2]
    assert ids.generate_trace_id() == 2
    assert ids.is_trace_id_random() is False


def test_finding_spans(recorder, tracer):
    for name in ("a", "b", "a"):
        tracer.start_span(name).end()
    assert [span.name for span in recorder.spans] == ["a", "b", "a"]
    assert len(recorder.named("a")) == 2
    assert recorder.only("b").name == "b"
    with pytest.raises(AssertionError, match=r"2 spans named 'a'; there are:\n\na\nb\na\n"):
        recorder.only("a")
    with pytest.raises(AssertionError, match="0 spans named 'c'"):
        recorder.only("c")
    recorder.clear()
    assert recorder.spans == []


def test_the_list_of_spans_is_a_copy(recorder, tracer):
    tracer.start_span("a").end()
    recorder.spans.clear()
    assert len(recorder.spans) == 1


def test_trees(recorder, tracer):
    with tracer.start_as_current_span("root", attributes={"x.y.number": 3}):
        with tracer.start_as_current_span("first") as first:
            first.add_event("seen")
            first.set_status(StatusCode.ERROR)
        with tracer.start_as_current_span("second"), tracer.start_as_current_span("leaf", attributes={"n": "v"}):
            pass
    tracer.start_span("other").end()

    assert recorder.tree() == "\nroot\n  first\n  second\n    leaf\nother\n"
    assert recorder.tree("x.y.number", "n", "status", "events") == (
        "\nroot [number=3]\n  first [ERROR, seen]\n  second\n    leaf [n=v]\nother\n"
    )
    assert tree(span for span in recorder.spans if span.name != "root") == "\nfirst\nsecond\n  leaf\nother\n"
    assert tree([]) == "\n\n"


def test_a_tree_of_great_depth(recorder, tracer):
    context = None
    spans = []
    for number in range(3000):
        spans.append(tracer.start_span(str(number), context))
        context = trace.set_span_in_context(spans[-1])
    for span in spans:
        span.end()
    lines = recorder.tree().splitlines()
    assert lines[-1] == "  " * 2999 + "2999"


def test_an_open_span_is_named():
    recorder = Recorder()
    span = recorder.provider.get_tracer("test").start_span("forgotten")
    with pytest.raises(AssertionError, match=r"spans left open: \['forgotten'\]"):
        recorder.assert_closed()
    span.end()
    recorder.assert_closed()


def test_a_span_that_is_still_current_is_found(recorder, tracer):
    with tracer.start_as_current_span("x") as span:
        pass
    with trace.use_span(span), pytest.raises(AssertionError, match="still current"):
        recorder.assert_closed()
    scope = Scope(Telemetry.create("test", recorder.provider))
    scope.enter()
    with pytest.raises(AssertionError, match="still current"):
        recorder.assert_closed()
    scope.leave()
    recorder.assert_closed()


def test_many_threads(recorder, tracer):
    def work():
        for _ in range(100):
            tracer.start_span("x").end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = recorder.spans
    assert len(spans) == 400
    assert len({span.context.span_id for span in spans}) == 400
    moments = sorted(moment for span in spans for moment in (span.start_time, span.end_time))
    assert moments == [number * 1_000_000_000 for number in range(1, 801)]


# -- operations -------------------------------------------------------------------------------------------------


def test_workflow():
    assert genai.workflow("Support") == (
        "invoke_workflow Support",
        {names.GEN_AI_OPERATION_NAME: "invoke_workflow", names.GEN_AI_WORKFLOW_NAME: "Support"},
    )
    assert genai.workflow(None) == ("invoke_workflow", {names.GEN_AI_OPERATION_NAME: "invoke_workflow"})


def test_step():
    assert genai.step("Answer") == (
        "run_step Answer",
        {
            names.GEN_AI_OPERATION_NAME: "run_step",
            names.NODE_NAME: "Answer",
            names.GEN_AI_STEP_NAME: "Answer",
        },
    )
    assert names.GEN_AI_STEP_NAME not in genai.step("Answer", draft=False).attributes
    assert genai.step("Answer").attributes is not genai.step("Answer").attributes


def test_every_name_is_written_once():
    values = [value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)]
    assert len(values) == len(set(values)) > 40
    ours = ("spanloom.", "pocketflow.", "langgraph.", "langchain.")
    prefixes = ("gen_ai.", "error.", "exception", "service.", "server.", "session.", "user.", *ours)
    named = [v for k, v in vars(names).items() if k.isupper() and not k.startswith(("OP_", "SEMCONV"))]
    assert [value for value in named if not value.startswith(prefixes)] == []
