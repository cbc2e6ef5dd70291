"""What a wrapper looks like, what its body sees, and what it keeps alive: nothing."""

import asyncio
import gc
import inspect
import pickle
import types
import weakref

import pytest
from opentelemetry import trace

from spanloom.span import Scope, current_scope
from spanloom.wrapping import Begun, Switch, await_in, call_in, drive, drive_async, wrap


def plain(a, /, b: int = 2, *args, c, **kwargs) -> tuple:
    """Docs of plain."""
    return a, b, args, c, kwargs


async def coroutine(a, b=2, *, c):
    """Docs of coroutine."""
    return a, b, c


def generator(a, b=2, *, c):
    """Docs of generator."""
    got = yield a
    got = yield got
    return b, c


async def async_generator(a, b=2, *, c):
    """Docs of async_generator."""
    got = yield a
    yield got, b, c


KINDS = [plain, coroutine, generator, async_generator]
FLAGS = [inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]


@pytest.mark.parametrize("function", KINDS)
def test_a_wrapper_shows_the_function_it_wraps(bench, function):
    function.mark = "kept"
    wrapped = bench.wrap(function)

    assert [flag(wrapped) for flag in FLAGS] == [flag(function) for flag in FLAGS]
    assert inspect.signature(wrapped) == inspect.signature(function)
    assert wrapped.__wrapped__ is function
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "mark"):
        assert getattr(wrapped, name) == getattr(function, name)


def test_results_of_all_kinds(bench):
    assert bench.wrap(plain)(1, 3, 4, c=5, d=6) == (1, 3, (4,), 5, {"d": 6})
    assert asyncio.run(bench.wrap(coroutine)(1, c=5)) == (1, 2, 5)

    stream = bench.wrap(generator)(1, c=5)
    assert (next(stream), stream.send("x")) == (1, "x")
    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert stop.value.value == (2, 5)

    async def consume():
        stream = bench.wrap(async_generator)(1, c=5)
        return [await stream.asend(None), await stream.asend("x"), [item async for item in stream]]

    assert asyncio.run(consume()) == [1, ("x", 2, 5), []]
    assert [span.name for span in bench.recorder.spans] == [function.__name__ for function in KINDS]


def test_a_generator_as_part_of_another_and_as_a_coroutine(bench):
    wrapped = bench.wrap(generator)

    def outer():
        return (yield from wrapped(1, c=5))

    stream = outer()
    assert [next(stream), stream.send("x")] == [1, "x"]
    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert stop.value.value == (2, 5)

    @types.coroutine
    def old_style():
        yield "pause"
        return "value"

    awaited = bench.wrap(old_style)

    async def main():
        return await awaited()

    running = main()
    assert running.send(None) == "pause"
    with pytest.raises(StopIteration) as stop:
        running.send(None)
    assert stop.value.value == "value"


class Job:
    """A class whose methods are patched, as instrumentors do it."""

    def run(self, x):
        return self, x

    @staticmethod
    def build():
        return Job()


def test_a_patched_method_binds_and_pickles(bench, monkeypatch):
    # pickled by name, so the class must be importable by it
    monkeypatch.setitem(__import__("sys").modules, Job.__module__, inspect.getmodule(Job) or _module())
    monkeypatch.setattr(Job, "run", bench.wrap(Job.run))
    job = Job()

    assert job.run(1) == (job, 1)
    assert pickle.loads(pickle.dumps(Job.run)) is Job.run
    assert pickle.loads(pickle.dumps(Job().run))(2)[1] == 2
    assert [span.name for span in bench.recorder.spans] == ["run", "run"]


def _module():
    module = types.ModuleType(Job.__module__)
    module.Job = Job
    return module


# -- context ----------------------------------------------------------------------------------------------------


def test_the_body_runs_in_its_span_and_the_consumer_does_not(bench):
    seen = []

    def look():
        seen.append((current_scope() is not None, trace.get_current_span().get_span_context().span_id))

    def stream():
        look()
        yield 1
        look()
        yield 2
        look()

    with bench.scope("outer") as outer:
        for _ in bench.wrap(stream)():
            assert current_scope() is outer
            assert trace.get_current_span() is outer.span
    (inner,) = bench.recorder.named("stream")

    assert seen == [(True, inner.context.span_id)] * 3
    assert bench.recorder.tree() == "\nouter\n  stream\n"


def test_interleaved_streams_keep_their_own_children(bench):
    def leaf():
        return 1

    leaf = bench.wrap(leaf)

    def stream():
        for _ in range(2):
            leaf()
            yield

    stream = bench.wrap(stream)
    first, second = stream(), stream()
    for step in (first, second, first, second):
        next(step)
    leaf()
    first.close()
    second.close()

    assert bench.recorder.tree() == "\nstream\n  leaf\n  leaf\nstream\n  leaf\n  leaf\nleaf\n"


def test_a_stream_consumed_under_another_span_keeps_the_parent_of_its_first_step(bench):
    def stream():
        yield 1
        yield 2

    with bench.scope("first"):
        items = bench.wrap(stream)()
        next(items)
    with bench.scope("second"):
        assert list(items) == [2]

    assert bench.recorder.tree() == "\nfirst\n  stream\nsecond\n"


def test_nothing_begins_before_the_first_step(bench):
    def stream():
        yield 1

    unused, closed, thrown = (bench.wrap(stream)() for _ in range(3))
    closed.close()
    with pytest.raises(KeyError):
        thrown.throw(KeyError("k"))
    del unused

    async def astream():
        yield 1

    asyncio.run(bench.wrap(astream)().aclose())
    assert (bench.begun, bench.recorder.spans) == (0, [])


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
def test_wrong_arguments_raise_what_python_raises_and_leave_no_span_open(bench, function):
    wrapped = bench.wrap(function)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        if function is generator:
            next(wrapped(nope=1))
        elif function is coroutine:
            asyncio.run(wrapped(nope=1))
        else:
            asyncio.run(anext(wrapped(nope=1)))
    (span,) = bench.recorder.spans
    assert span.attributes["error.type"] == "TypeError"


# -- switching off ----------------------------------------------------------------------------------------------


def test_off_and_declined_calls_pass_unobserved(bench):
    def begin(*args, **kwargs):
        return None

    for wrapper in (bench.wrap, lambda function: wrap(function, begin, "", Switch())):
        bench.switch.on = False
        assert wrapper(plain)(1, c=2) == (1, 2, (), 2, {})
        assert asyncio.run(wrapper(coroutine)(1, c=2)) == (1, 2, 2)
        stream = wrapper(generator)(1, c=2)
        assert [next(stream), stream.send(3)] == [1, 3]
        with pytest.raises(ZeroDivisionError) as info:
            stream.throw(ZeroDivisionError())
        assert info.traceback[-1].name == "generator"

        async def consume(wrapper=wrapper):
            return [item async for item in wrapper(async_generator)(1, c=2)]

        assert asyncio.run(consume()) == [1, (None, 2, 2)]
    assert bench.recorder.spans == []


def test_a_stream_switched_off_in_the_middle_ends_its_span(bench):
    def stream():
        yield 1
        yield 2

    items = bench.wrap(stream)()
    next(items)
    bench.switch.on = False
    assert list(items) == [2]
    assert len(bench.recorder.spans) == 1


def test_begin_may_replace_the_positional_arguments(bench):
    def begin(first, *rest, **kwargs):
        return Begun(bench.scope(), (first * 10, *rest))

    def stream(a, b, *, c):
        yield a, b, c

    assert wrap(plain, begin, "", bench.switch)(1, 2, c=3) == (10, 2, (), 3, {})
    assert list(wrap(stream, begin, "", bench.switch)(1, 2, c=3)) == [(10, 2, 3)]


# -- the helpers of instrumentors -------------------------------------------------------------------------------


class Telling(Scope):
    __slots__ = ()

    def describe(self):
        return {"result": str(self.result)}


def test_call_in_and_await_in_tell_the_result(bench):
    async def double(x):
        return 2 * x

    assert call_in(bench.scope("call", scope_class=Telling), abs, (-3,)) == 3
    assert asyncio.run(await_in(bench.scope("await", scope_class=Telling), double, (4,))) == 8
    with pytest.raises(TypeError):
        call_in(bench.scope("fails", scope_class=Telling), abs, ("x",))

    told = [span.attributes["result"] for span in bench.recorder.spans]
    assert told == ["3", "8", "None"]


def test_drive_closes_the_scope_with_the_stream(bench):
    def stream():
        yield 1
        yield 2
        return "end"

    driven = drive(bench.scope("all"), stream())
    assert [next(driven), next(driven)] == [1, 2]
    with pytest.raises(StopIteration, match="end"):
        next(driven)

    async def astream():
        yield 1

    async def consume():
        return [item async for item in drive_async(bench.scope("async"), astream())]

    assert asyncio.run(consume()) == [1]
    early = drive(bench.scope("early"), stream())
    next(early)
    early.close()

    statuses = {span.name: span.attributes.get("spanloom.status") for span in bench.recorder.spans}
    assert statuses == {"all": None, "async": None, "early": "closed"}


# -- lifetimes --------------------------------------------------------------------------------------------------


class Thing:
    """Something one can hold weakly."""


def test_a_stream_holds_no_item_that_its_consumer_lets_go(bench):
    def stream():
        yield Thing()
        yield Thing()

    items = bench.wrap(stream)()
    first = weakref.ref(next(items))
    assert first() is None

    async def astream():
        yield Thing()
        yield Thing()

    async def consume():
        items = bench.wrap(astream)()
        dead = weakref.ref(await anext(items))() is None
        await items.aclose()
        return dead

    assert asyncio.run(consume())
    items.close()


def test_a_dropped_stream_ends_at_once(bench):
    def stream():
        yield 1

    items = bench.wrap(stream)()
    next(items)
    del items
    (span,) = bench.recorder.spans
    assert span.attributes == {"spanloom.status": "closed"}


class Failure(Exception):
    """An error that one can hold weakly."""


@pytest.mark.parametrize("throw", [False, True])
def test_an_error_is_freed_as_soon_as_its_handler_ends(bench, throw):
    def stream():
        yield 1
        raise Failure("late")

    def function():
        raise Failure("now")

    def provoke():
        try:
            if throw:
                items = bench.wrap(stream)()
                next(items)
                items.throw(Failure("thrown"))
            else:
                bench.wrap(function)()
        except Failure as exc:
            return weakref.ref(exc)
        raise AssertionError("nothing was raised")

    gc.disable()
    try:
        assert provoke()() is None  # no cycle through our frames keeps it
    finally:
        gc.enable()


def test_many_calls_leave_nothing_behind(bench):
    class Seen(Scope):
        made = weakref.WeakSet()

        def __init__(self, telemetry):
            super().__init__(telemetry)
            self.made.add(self)

    def function(fail):
        if fail:
            raise Failure

    wrapped = bench.wrap(function, scope_class=Seen)
    for number in range(50):
        try:
            wrapped(number % 2)
        except Failure:
            continue
    gc.collect()
    assert len(Seen.made) == 0
