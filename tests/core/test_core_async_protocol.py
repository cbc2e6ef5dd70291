"""Wrapped coroutines and async generators do exactly what the bare ones do, step by step, without an event loop."""

import asyncio
import gc
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from spanloom.span import current_scope


class Mine(Exception):
    """The user's error."""


class Base(BaseException):
    """The user's error that is none for `except Exception`."""


ERRORS = [Mine, Base, GeneratorExit, StopIteration, StopAsyncIteration, asyncio.CancelledError]

values = st.one_of(st.none(), st.integers(0, 9))
caught = st.sampled_from([Mine, Exception, BaseException, GeneratorExit, asyncio.CancelledError])
after = st.sampled_from(["swallow", "await", "return", "other", "from", "reraise", "again"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("yield"), values),
        st.tuples(st.just("await"), values),
        st.tuples(st.just("return")),
        st.tuples(st.just("raise"), st.sampled_from(ERRORS)),
        st.tuples(st.just("reenter")),
        st.tuples(st.just("catch"), st.sampled_from(["yield", "await"]), caught, after),
        st.tuples(st.just("finally"), st.sampled_from(["yield", "await"]), st.sampled_from(["pass", "await", "yield"])),
    ),
    max_size=5,
)
# How each awaitable is driven: an error to throw at one of its pauses, or None
at_a_pause = st.sampled_from([error for error in ERRORS if error is not GeneratorExit])
drives = st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 1), at_a_pause))
operations = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("asend"), st.just(None)),
            st.tuples(st.just("asend"), values),
            st.tuples(st.just("athrow"), st.sampled_from(ERRORS)),
            st.tuples(st.just("aclose"), st.none()),
        ),
        drives,
    ),
    max_size=6,
)


@types.coroutine
def pause(value):
    """Hands `value` to whoever drives the coroutine."""
    return (yield value)


async def stream(program, log, me):
    """An async generator that does what `program` says."""
    log.append("starts")
    for step in program:
        if step[0] == "yield":
            log.append(("got", (yield step[1])))
        elif step[0] == "await":
            log.append(("resumed", await pause(step[1])))
        elif step[0] == "return":
            return
        elif step[0] == "raise":
            raise step[1]("of the body")
        elif step[0] == "reenter":
            try:
                await me[0].asend(None)
            except RuntimeError as exc:
                log.append(("reentered", str(exc)))
        elif step[0] == "finally":
            try:
                if step[1] == "yield":
                    yield "tried"
                else:
                    await pause("tried")
            finally:
                log.append("finally")
                if step[2] == "await":
                    await pause("finally")
                elif step[2] == "yield":
                    yield "finally"
        elif step[0] == "catch":
            try:
                if step[1] == "yield":
                    log.append(("got", (yield "tried")))
                else:
                    await pause("tried")
            except step[2] as exc:
                log.append(("caught", type(exc), exc.args))
                if step[3] == "again":
                    yield "again"
                elif step[3] == "await":
                    await pause("caught")
                elif step[3] == "return":
                    return
                elif step[3] == "other":
                    raise Mine("other") from None
                elif step[3] == "from":
                    raise Mine("from") from exc
                elif step[3] == "reraise":
                    raise


async def job(program, log, me):
    """A coroutine that does what `program` says, as far as it can."""
    log.append("starts")
    for step in program:
        if step[0] in ("yield", "await"):
            log.append(("resumed", await pause(step[1])))
        elif step[0] == "return":
            return "value"
        elif step[0] == "raise":
            raise step[1]("of the body")
        elif step[0] == "finally":
            try:
                await pause("tried")
            finally:
                log.append("finally")
                if step[2] != "pass":
                    await pause("finally")
        elif step[0] == "catch":
            try:
                await pause("tried")
            except step[2] as exc:
                log.append(("caught", type(exc), exc.args))
                if step[3] in ("await", "again"):
                    await pause("caught")
                elif step[3] == "return":
                    return "caught"
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
    return (
        type(exc),
        str(exc),
        getattr(exc, "value", None),
        type(exc.__cause__),
        type(exc.__context__),
        trace_back.tb_frame.f_code.co_name in ("stream", "job", "pause") or not started,
    )


def drive(awaitable, thrown_at, paused):
    """Run an awaitable to its end, as an event loop does; throw into it at one of its pauses."""
    count = 0
    try:
        value = awaitable.send(None)
        while True:
            paused.append(value)
            if thrown_at is not None and thrown_at[0] == count:
                value = awaitable.throw(thrown_at[1]("at a pause"))
            else:
                value = awaitable.send(count)
            count += 1
    except StopIteration as stop:
        return stop.value


def watched(action):
    """What Python can only print while `action` runs."""
    ignored, before = [], sys.unraisablehook
    sys.unraisablehook = lambda unraisable: ignored.append((type(unraisable.exc_value), str(unraisable.exc_value)))
    try:
        action()
    finally:
        sys.unraisablehook = before
    return ignored


def consume_stream(function, program, ops):
    """Everything that happens when `ops` are done to `function(...)`, which is dropped then."""
    log, me, happened = [], [], []
    me.append(function(program, log, me))
    for (name, argument), thrown_at in ops:
        thrown = argument("thrown") if name == "athrow" else None
        paused = []
        try:
            if name == "aclose":
                awaitable = me[0].aclose()
            else:
                awaitable = getattr(me[0], name)(argument if thrown is None else thrown)
            happened.append(("value", drive(awaitable, thrown_at, paused), paused))
        except BaseException as exc:
            happened.append(("raised", told(exc, bool(log)), exc is thrown, paused))
        assert current_scope() is None
        assert trace.get_current_span() is trace.INVALID_SPAN
    thrown = awaitable = None
    ignored = watched(me.clear)
    return happened, log, ignored


def consume_job(function, program, ops):
    """The same for a coroutine. (`GeneratorExit` thrown by hand closes what is awaited: so Python has it.)"""
    log, happened = [], []
    held = [function(program, log, None)]
    for (name, argument), _ in ops:
        if argument is GeneratorExit:
            continue
        thrown = argument("thrown") if name == "athrow" else None
        try:
            if name == "aclose":
                happened.append(("value", held[0].close()))
            elif thrown is not None:
                happened.append(("value", held[0].throw(thrown)))
            else:
                happened.append(("value", held[0].send(argument)))
        except BaseException as exc:
            happened.append(("raised", told(exc, bool(log)), exc is thrown))
            if "ignored GeneratorExit" in str(
                exc
            ):  # a broken body; what awaits one is finished then, by Python's rules
                break
    if not log:
        held[0].close()  # never awaited, and so no RuntimeWarning
    thrown = None
    ignored = watched(held.clear)
    return happened, log, ignored


def same(bench, consume, function, program, ops):
    bare = consume(function, program, ops)
    wrapped = consume(bench.wrap(function), program, ops)
    if bare[2]:  # dropped, it went on in its finaliser; the wrapper's end, then its own, give it the chance twice
        wrapped = tuple(part[: len(of_bare)] for part, of_bare in zip(wrapped, bare, strict=True))
        bare = tuple(part[: len(of_wrapped)] for part, of_wrapped in zip(bare, wrapped, strict=True))
    assert wrapped == bare
    if len(bench.recorder.spans) < bench.begun:
        gc.collect()
    assert (bench.begun, len(bench.recorder.spans)) == (bool(bare[1]), bool(bare[1]))


@pytest.fixture(autouse=True)
def _finalisers_may_complain(monkeypatch):
    """Of bodies that go on when they are closed, Python can only print what they raise, whenever it collects them."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(program=steps, ops=operations)
def test_a_wrapped_async_generator_is_the_bare_one(make_bench, program, ops):
    bench = make_bench()
    same(bench, consume_stream, stream, program, ops)
    bench.recorder.assert_closed()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(program=steps, ops=operations)
def test_a_wrapped_coroutine_is_the_bare_one(make_bench, program, ops):
    bench = make_bench()
    same(bench, consume_job, job, program, ops)
    bench.recorder.assert_closed()
