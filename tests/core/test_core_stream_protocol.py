"""A wrapped generator does exactly what the bare one does, whatever its body and its consumer do."""

import gc
import inspect
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from spanloom.span import current_scope


class Mine(Exception):
    """The user's error."""


class Base(BaseException):
    """The user's error that is none for `except Exception`."""


ERRORS = [Mine, Base, ValueError, GeneratorExit, StopIteration, KeyboardInterrupt]

values = st.one_of(st.none(), st.integers(0, 9))
leaves = st.one_of(
    st.tuples(st.just("yield"), values),
    st.tuples(st.just("yield"), values),
    st.tuples(st.just("return"), values),
    st.tuples(st.just("raise"), st.sampled_from(ERRORS)),
    st.tuples(st.just("reenter")),
    # yields, and meets what is thrown there: (value, what is caught, what then)
    st.tuples(
        st.just("catch"),
        values,
        st.sampled_from([Mine, Exception, BaseException, GeneratorExit]),
        st.sampled_from(["swallow", "again", "return", "other", "from", "reraise"]),
    ),
    st.tuples(st.just("finally"), values, st.sampled_from(["pass", "yield", "return", "raise"])),
)
programs = st.recursive(
    st.lists(leaves, max_size=5),
    lambda inner: st.lists(st.one_of(leaves, st.tuples(st.just("from"), inner)), max_size=5),
    max_leaves=8,
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("next")),
        st.tuples(st.just("next")),
        st.tuples(st.just("send"), values),
        st.tuples(st.just("throw"), st.sampled_from(ERRORS)),
        st.tuples(st.just("close")),
    ),
    max_size=7,
)


def body(program, log, me):
    """A generator that does what `program` says."""
    log.append(("starts",))
    for step in program:
        if step[0] == "yield":
            log.append(("got", (yield step[1])))
        elif step[0] == "return":
            return step[1]
        elif step[0] == "raise":
            raise step[1]("of the body")
        elif step[0] == "reenter":
            try:
                next(me[0])
            except ValueError as exc:
                log.append(("reentered", str(exc)))
        elif step[0] == "from":
            log.append(("from", (yield from body(step[1], log, me))))
        elif step[0] == "finally":
            try:
                log.append(("got", (yield step[1])))
            finally:
                log.append("finally")
                if step[2] == "yield":
                    yield "in finally"
                elif step[2] == "return":
                    return "of finally"
                elif step[2] == "raise":
                    raise Mine("of finally")
        elif step[0] == "catch":
            try:
                log.append(("got", (yield step[1])))
            except step[2] as exc:
                log.append(("caught", type(exc), exc.args))
                if step[3] == "again":
                    yield "instead"
                elif step[3] == "return":
                    return "caught"
                elif step[3] == "other":
                    raise Mine("other") from None
                elif step[3] == "from":
                    raise Mine("from") from exc
                elif step[3] == "reraise":
                    raise
    return "done"


def told(exc, started):
    """What a consumer can tell of an exception. (Thrown before the start, it comes from the wrapper's own frame.)"""
    trace_back = exc.__traceback__
    while trace_back.tb_next is not None:
        trace_back = trace_back.tb_next
    innermost = trace_back.tb_frame.f_code.co_name
    return (
        type(exc),
        str(exc),
        getattr(exc, "value", None),
        type(exc.__cause__),
        type(exc.__context__),
        exc.__suppress_context__,
        innermost == "body" or not started,
    )


def consume(function, program, ops, between):
    """Everything that happens when `ops` are done to `function(...)`, which is dropped then."""
    log, me, happened = [], [], []
    stream = function(program, log, me)
    me.append(stream)
    for op in ops:
        thrown = op[1]("thrown") if op[0] == "throw" else None
        try:
            if op[0] == "next":
                result = next(stream)
            elif op[0] == "send":
                result = stream.send(op[1])
            elif op[0] == "throw":
                result = stream.throw(thrown)
            else:
                result = stream.close()
            happened.append(("value", result))
        except BaseException as exc:
            happened.append(("raised", told(exc, bool(log)), exc is thrown))
        between()
    happened.append(inspect.getgeneratorstate(stream))
    thrown = None
    me.clear()
    ignored, before = [], sys.unraisablehook
    sys.unraisablehook = lambda unraisable: ignored.append((type(unraisable.exc_value), str(unraisable.exc_value)))
    try:
        del stream
    finally:
        sys.unraisablehook = before
    between()
    return happened, log, ignored


def nothing_current():
    """The consumer sees none of our context."""
    assert current_scope() is None
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture(autouse=True)
def _finalisers_may_complain(monkeypatch):
    """Of bodies that go on when they are closed, Python can only print what they raise, whenever it collects them."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(program=programs, ops=operations)
def test_a_wrapped_generator_is_the_bare_one(make_bench, program, ops):
    bench = make_bench()

    bare = consume(body, program, ops, nothing_current)
    wrapped = consume(bench.wrap(body), program, ops, nothing_current)

    if bare[2]:  # dropped, it yielded to its finaliser; the wrapper's end, then its own, give it the chance twice
        wrapped = tuple(part[: len(of_bare)] for part, of_bare in zip(wrapped, bare, strict=True))
    assert wrapped == bare
    if (
        len(bench.recorder.spans) < bench.begun
    ):  # it holds itself by the traceback of what it has caught, as the bare one
        gc.collect()
    bench.recorder.assert_closed()
    started = any("starts" in entry for entry in wrapped[1])
    assert (bench.begun, len(bench.recorder.spans)) == (started, started)
