"""Whatever of ours breaks inside user code: the program's result stays, the context is clean, one line is logged."""

import asyncio
import contextlib

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult

from spanloom import span
from spanloom.span import Scope, current_scope
from spanloom.testing import Recorder
from spanloom.wrapping import Switch, wrap


class Broken(RuntimeError):
    """Our bug."""


def plain(fail):
    if fail:
        raise KeyError("the user's")
    return "result"


async def coroutine(fail):
    return plain(fail)


def generator(fail):
    yield 1
    return plain(fail)


async def async_generator(fail):
    yield 1
    yield plain(fail)


KINDS = [plain, coroutine, generator, async_generator]


def outcome(function, fail):
    """What the user sees of a call."""
    try:
        if "generator" not in function.__name__:
            result = function(fail)
            return asyncio.run(result) if function.__name__ == "coroutine" else result
        if function.__name__ == "generator":
            return list(function(fail))

        async def consume():
            return [item async for item in function(fail)]

        return asyncio.run(consume())
    except KeyError as exc:
        names, trace_back = [], exc.__traceback__
        while trace_back is not None:
            names.append(trace_back.tb_frame.f_code.co_name)
            trace_back = trace_back.tb_next
        return names[-1], exc.args, exc.__cause__, exc.__context__


def survives(wrapped, function):
    """Results and errors are the bare function's, and nothing of ours stays current."""
    for fail in (False, True, False):
        assert outcome(wrapped, fail) == outcome(function, fail)
        assert current_scope() is None
        assert trace.get_current_span() is trace.INVALID_SPAN


class BrokenDescription(Scope):
    __slots__ = ()

    def describe(self):
        raise Broken("describe")


@pytest.mark.parametrize("function", KINDS)
def test_a_broken_description(bench, lenient, function):
    survives(bench.wrap(function, scope_class=BrokenDescription), function)

    assert lenient.lines == [
        "spanloom lost the attributes of a span (span.describe: Broken('describe')). "
        "The program is not affected; this is logged once."
    ]
    assert [ended.attributes.get("error.type") for ended in bench.recorder.spans] == [None, "KeyError", None]


@pytest.mark.parametrize("function", KINDS)
def test_a_broken_begin(bench, lenient, function):
    def begin(*args, **kwargs):
        raise Broken("begin")

    survives(wrap(function, begin, "a span", Switch()), function)
    assert [line.split(":")[0] for line in lenient.lines] == [f"spanloom lost a span (begin {function.__name__}"]


class BrokenTracer:
    def start_span(self, *args, **kwargs):
        raise Broken("start_span")


class BrokenSpan(trace.NonRecordingSpan):
    """Raises from everything a recording span is asked."""

    def __init__(self, *methods):
        super().__init__(trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1)))
        self._methods = methods

    def is_recording(self):
        return True

    def __getattribute__(self, name):
        if name != "_methods" and name in self._methods:
            raise Broken(name)
        return super().__getattribute__(name)


class Gives:
    """A tracer that gives one span."""

    def __init__(self, span):
        self._span = span

    def start_span(self, *args, **kwargs):
        return self._span


BREAKS = {
    "start_span": (BrokenTracer(), "span.open"),
    "is_recording": (Gives(BrokenSpan("is_recording")), "span.open"),
    "get_span_context": (Gives(BrokenSpan("get_span_context")), None),
    "end": (Gives(BrokenSpan("end")), "span.end"),
    "set_attributes": (Gives(BrokenSpan("set_attributes")), "span.describe"),
    "set_status": (Gives(BrokenSpan("set_status")), "span.close"),
    "add_event": (Gives(BrokenSpan("add_event")), "span.close"),
}


@pytest.mark.parametrize("function", KINDS)
@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_tracer_or_span(bench, lenient, monkeypatch, broken, function):
    tracer, site = BREAKS[broken]
    object.__setattr__(bench.telemetry, "tracer", tracer)

    survives(bench.wrap(function), function)
    sites = [line.split("(", 1)[1].split(":")[0] for line in lenient.lines]
    assert sites == ([] if site is None else [site])


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
@pytest.mark.parametrize("function", KINDS)
def test_a_broken_processor(make_bench, lenient, moment, function):
    class BrokenProcessor(SpanProcessor):
        pass

    def broken(self, *args, **kwargs):
        raise Broken(moment)

    setattr(BrokenProcessor, moment, broken)
    bench = make_bench()
    bench.recorder.provider.add_span_processor(BrokenProcessor())

    survives(bench.wrap(function), function)
    assert len(lenient.lines) == 1
    assert f"Broken('{moment}')" in lenient.lines[0]


def test_errors_of_ours_are_raised_only_in_spanloom_s_own_tests(bench):
    with pytest.raises(Broken), bench.scope("call", scope_class=BrokenDescription):
        pass
    assert current_scope() is None  # restored even so
    bench.recorder._keeper.started.clear()  # strict mode has stopped before the end


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_the_user_s_is_never_swallowed(bench, lenient, error):
    class Interrupted(Scope):
        __slots__ = ()

        def describe(self):
            raise error

    with pytest.raises(error), bench.scope("call", scope_class=Interrupted):
        pass
    assert lenient.lines == []
    assert current_scope() is None
    bench.recorder._keeper.started.clear()


# -- a runtime context of another kind --------------------------------------------------------------------------


class StackContext:
    """A runtime context (OTEL_PYTHON_CONTEXT) whose tokens are plain numbers."""

    def __init__(self):
        self.stack = [Context()]

    def attach(self, context):
        self.stack.append(context)
        return len(self.stack) - 1

    def get_current(self):
        return self.stack[-1]

    def detach(self, token):
        del self.stack[token:]


@pytest.mark.parametrize("function", KINDS)
def test_another_runtime_context(bench, monkeypatch, function):
    kept = StackContext()
    monkeypatch.setattr(otel_context, "_RUNTIME_CONTEXT", kept)
    monkeypatch.setattr(span, "attach", otel_context.attach)  # chosen at import, as OpenTelemetry's context is
    monkeypatch.setattr(span, "detach", otel_context.detach)
    seen = []

    def look():
        seen.append(trace.get_current_span().get_span_context().span_id)

    look = bench.wrap(look)
    with bench.scope("outer"):
        look()
        survives_inside = outcome(bench.wrap(function), fail=False)
    assert survives_inside == outcome(function, fail=False)
    assert len(kept.stack) == 1
    assert seen == [bench.recorder.only("look").context.span_id]
    assert bench.recorder.only(function.__name__).parent.span_id == bench.recorder.only("outer").context.span_id


# -- unsampled --------------------------------------------------------------------------------------------------


def test_children_of_an_unsampled_root_stay_unsampled_and_the_context_is_attached_once(make_bench, monkeypatch):
    asked = []

    class Root(Sampler):
        """Says no to the first root, yes to later ones."""

        def should_sample(self, parent_context, trace_id, name, *args, **kwargs):
            asked.append(name)
            return SamplingResult(Decision.DROP if len(asked) == 1 else Decision.RECORD_AND_SAMPLE)

        def get_description(self):
            return "Root"

    bench = make_bench(Recorder(sampler=ParentBased(Root())))
    attached = []
    attach = span.attach
    monkeypatch.setattr(span, "attach", lambda *args: (attached.append(args), attach(*args))[1])

    def leaf():
        assert current_scope() is not None
        return trace.get_current_span().get_span_context()

    def middle():
        return bench.wrap(leaf)()

    def root():
        return bench.wrap(middle)(), trace.get_current_span().get_span_context()

    below, own = bench.wrap(root)()
    assert (below.trace_id, below.trace_flags, below.is_valid) == (own.trace_id, 0, True)
    assert asked == ["root"]
    assert len(attached) == 1
    assert bench.recorder.spans == []
    bench.wrap(root)()
    assert bench.recorder.tree() == "\nroot\n  middle\n    leaf\n"


def test_nothing_is_described_for_a_span_that_is_not_recorded(make_bench):
    bench = make_bench(Recorder(sampler=ALWAYS_OFF))

    class Never(Scope):
        __slots__ = ()

        def describe(self):
            raise AssertionError("described")

    class Unprintable(Exception):
        def __str__(self):
            raise AssertionError("asked for its message")

    with contextlib.suppress(Unprintable), bench.scope("call", scope_class=Never):
        raise Unprintable
    assert bench.recorder.spans == []


def test_a_remote_unsampled_parent(make_bench):
    bench = make_bench()
    remote = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(0))
    token = otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
    try:
        with bench.scope("call") as scope:
            assert (scope.recording, scope.span.get_span_context().trace_id) == (False, 7)
    finally:
        otel_context.detach(token)
    assert bench.recorder.spans == []


def test_no_sdk_at_all(bench):
    object.__setattr__(bench.telemetry, "tracer", trace.NoOpTracer())
    assert outcome(bench.wrap(plain), fail=False) == "result"
    with bench.scope("call") as scope:
        assert not scope.recording
        assert trace.get_current_span() is trace.INVALID_SPAN


def test_the_fast_way_to_attach_is_opentelemetry_s_own(bench):
    """What spanloom puts into the context is what `attach(set_span_in_context(...))` would have put there."""
    context = Context({"key": "kept"})
    ours = bench.scope("call").span
    token = span.attach(span.with_span(context, ours))
    try:
        assert otel_context.get_current() == trace.set_span_in_context(ours, context)
        assert type(otel_context.get_current()) is Context
        assert otel_context.get_value("key") == "kept"
        assert trace.get_current_span() is ours
    finally:
        span.detach(token)
    assert otel_context.get_current() == {}
    ours.end()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["own", "inherits"])
def test_a_runtime_context_from_the_environment(workshop, kind):
    """One that OpenTelemetry loads for `OTEL_PYTHON_CONTEXT` is asked for every change of context."""
    base = "object" if kind == "own" else "ContextVarsRuntimeContext"
    workshop.write("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    workshop.write("mine-1.dist-info/entry_points.txt", "[opentelemetry_context]\nmine = mine:Mine\n")
    workshop.write(
        "mine.py",
        f"""
        from opentelemetry.context.context import Context
        from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
        calls, stack = [], [Context()]

        class Mine({base}):
            def attach(self, context):
                calls.append("attach")
                stack.append(context)
                return super().attach(context) if {kind == "inherits"} else len(stack) - 1

            def get_current(self):
                return stack[-1]

            def detach(self, token):
                calls.append("detach")
                stack.pop()
        """,
    )
    program = workshop.write(
        "program.py",
        """
        from opentelemetry import trace
        import mine
        from spanloom.instrument import Scope, Telemetry
        from spanloom.testing import Recorder

        recorder = Recorder()
        telemetry = Telemetry.create("test", recorder.provider)
        with Scope(telemetry).open("outer"), Scope(telemetry).open("second"):
            assert trace.get_current_span().get_span_context().span_id == 2
        assert mine.calls == ["attach", "attach", "detach", "detach"], mine.calls
        print(len(mine.stack))
        """,
    )
    ran = workshop.plain(str(program), env={"OTEL_PYTHON_CONTEXT": "mine", "PYTHONPATH": "."})
    assert (ran.code, ran.out, ran.err) == (0, "1\n", "")
