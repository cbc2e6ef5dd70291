"""What samplers and providers leave of a trace; and that nothing is done for a span that does not record."""

import pocketflow as pf
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult

from spanloom import names
from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_pocketflow import PocketFlowInstrumentor


class Broken(Exception):
    pass


class Fails(pf.Node):
    def exec(self, prep_res):
        raise Broken("no way")


class Support(pf.Flow):
    pass


# -- sampling -----------------------------------------------------------------------------------------------------


class Except(Sampler):
    """Drops the spans whose name starts so, whatever their parents."""

    def __init__(self, *dropped):
        self._dropped = dropped

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        drop = name.startswith(self._dropped)
        return SamplingResult(Decision.DROP if drop else Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self):
        return "test"


def refuse(text):
    raise AssertionError("nothing may be serialised for a span that does not record")


class Chatty(pf.Node):
    def prep(self, shared):
        return shared["text"]

    def exec(self, prep_res):
        if self.cur_retry == 0:
            raise ValueError(prep_res)
        return prep_res

    def post(self, shared, prep_res, exec_res):
        shared["more"] = exec_res


class Each(pf.BatchFlow):
    def prep(self, shared):
        return [{"i": "some text"}]


@pytest.fixture
def under():
    """`under(sampler)`: a recorder below it, with content on and a redactor that may not be called."""

    def start(sampler, redactor=None):
        recorder = Recorder(sampler=sampler)
        recorders.append(recorder)
        config = Config(content=True, redactor=redactor)
        PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider, config=config)
        return recorder

    recorders = []
    yield start
    PocketFlowInstrumentor().uninstrument()
    for recorder in recorders:
        recorder.assert_closed()


def test_always_off(under):
    recorder = under(ALWAYS_OFF, refuse)
    shared = {"text": "some text", "big": ["x"] * 1000}
    Each(start=Chatty(max_retries=2)).run(shared)
    with pytest.raises(Broken):
        Fails().run(shared)
    assert recorder.spans == []
    assert shared["more"] == "some text"


@pytest.mark.parametrize("parent", [False, True])
def test_the_parent_decides(under, parent):
    recorder = under(ParentBased(ALWAYS_ON), None if parent else refuse)
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent else trace.TraceFlags.DEFAULT)
    remote = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=flags))
    with trace.use_span(remote):
        Each(start=Chatty(max_retries=2)).run({"text": "some text"})
    assert {span.context.trace_id for span in recorder.spans} == ({0xABC} if parent else set())
    assert len(recorder.spans) == (8 if parent else 0)


def test_a_sampler_that_drops_the_phases(under):
    recorder = under(Except("prep", "exec", "post"))
    _ = (chatty := Chatty(max_retries=2)) >> Fails()
    with pytest.raises(Broken):
        Each(start=chatty).run({"text": "t"})
    expected = """
invoke_workflow Each [ERROR]
  invoke_workflow Each [ERROR]
    run_step Chatty [step=1, spanloom.retry]
    run_step Fails [step=2, ERROR, exception]
"""
    assert recorder.tree(names.POCKETFLOW_STEP, "status", "events") == expected


def test_a_sampler_that_drops_one_node(under):
    recorder = under(Except("run_step B", "prep B"))

    def node(name):
        return type(name, (pf.Node,), {"post": lambda self, shared, p, e: shared.update({name: 1})})()

    _ = (start := node("A")) >> node("B") >> node("C")
    Support(start=start).run({})
    expected = """
invoke_workflow Support [changed_keys=('A', 'B', 'C')]
  run_step A [step=1, next=B, changed_keys=('A',)]
    post A
  run_step C [step=3, changed_keys=('C',)]
    post C
"""
    assert recorder.tree(names.POCKETFLOW_STEP, names.POCKETFLOW_NEXT, names.STATE_CHANGED_KEYS) == expected
    (link,) = recorder.only("run_step C").links
    assert link.context.span_id not in {span.context.span_id for span in recorder.spans}  # B's, which was dropped
    assert not link.context.trace_flags.sampled


def test_a_sampler_that_drops_flows(under):
    """Below a span of ours that it does not want it is not asked about ours again, only about the program's."""
    recorder = under(Except("invoke_workflow"), refuse)

    class Manual(Chatty):
        def exec(self, prep_res):
            recorder.provider.get_tracer("user").start_span("mine").end()
            return super().exec(prep_res)

    shared = {"text": "t"}
    pf.Flow(start=Manual(max_retries=2)).run(shared)
    assert [span.name for span in recorder.spans] == ["mine", "mine"]
    assert len({span.context.trace_id for span in recorder.spans}) == 1
    assert shared["more"] == "t"


# -- providers ----------------------------------------------------------------------------------------------------


def run_all():
    shared = {"text": "t"}
    Each(start=Chatty(max_retries=2)).run(shared)
    with pytest.raises(Broken):
        pf.Flow(start=Fails()).run(shared)
    return shared


def test_a_provider_that_does_nothing():
    PocketFlowInstrumentor().instrument(
        tracer_provider=trace.NoOpTracerProvider(), config=Config(content=True, redactor=refuse)
    )
    try:
        assert run_all() == {"text": "t", "more": "t"}
        assert trace.get_current_span() is trace.INVALID_SPAN
    finally:
        PocketFlowInstrumentor().uninstrument()


def test_no_provider_yet_and_one_later(monkeypatch):
    """Instrumented before the program sets its provider: spans begin with it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    recorder = None
    redactor = lambda text: text if recorder else refuse(text)
    PocketFlowInstrumentor().instrument(config=Config(content=True, redactor=redactor))
    try:
        assert run_all() == {"text": "t", "more": "t"}
        recorder = Recorder()
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", recorder.provider)
        pf.Flow(start=pf.Node()).run(None)
        assert recorder.tree() == "\ninvoke_workflow\n  run_step Node\n"
    finally:
        PocketFlowInstrumentor().uninstrument()


def test_a_provider_that_fails(caplog, monkeypatch):
    """Nothing of ours raises into the program, whatever the telemetry does (strict mode off)."""
    from spanloom import guard

    class Failing(trace.NoOpTracerProvider):
        def get_tracer(self, *args, **kwargs):
            class Tracer(trace.NoOpTracer):
                def start_span(self, *args, **kwargs):
                    raise RuntimeError("telemetry is broken")

            return Tracer()

    guard.set_strict(False)
    monkeypatch.setattr(guard._State, "logged", type(guard._State.logged)())
    PocketFlowInstrumentor().instrument(tracer_provider=Failing(), config=Config())
    try:
        assert run_all() == {"text": "t", "more": "t"}
        assert trace.get_current_span() is trace.INVALID_SPAN
    finally:
        PocketFlowInstrumentor().uninstrument()
        guard.set_strict(True)
    lines = [record.getMessage() for record in caplog.records if "telemetry is broken" in record.getMessage()]
    assert len(lines) == 1  # once per site and process


@pytest.mark.parametrize("flags", [trace.TraceFlags.DEFAULT, trace.TraceFlags.SAMPLED])
def test_a_context_attached_below_a_dropped_span_is_asked_about_anew(under, flags):
    """A worker's loop is not sampled; a message that it takes may belong to a trace that is."""
    recorder = under(ParentBased(ALWAYS_OFF))
    message = trace.NonRecordingSpan(
        trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(flags))
    )

    class Worker(pf.Node):
        def exec(self, prep_res):
            with trace.use_span(message):
                Support(start=pf.Node()).run({})

    Support(start=Worker()).run({})
    expected = "\ninvoke_workflow Support\n  run_step Node\n" if flags else "\n\n"
    assert recorder.tree() == expected
    assert {span.context.trace_id for span in recorder.spans} <= {0xABC}
