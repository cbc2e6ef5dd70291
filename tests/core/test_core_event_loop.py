"""Coroutines and async generators under an event loop: cancelled, timed out, dropped, finished by somebody else."""

import asyncio
import contextvars
import gc
import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from spanloom.span import current_scope


def status(span):
    return span.attributes.get("spanloom.status"), span.status.status_code


async def forever():
    await asyncio.Event().wait()


async def ticks(cleaned=None):
    """Endless, and with something to await when it is closed."""
    try:
        for number in range(1000):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        if cleaned is not None:
            cleaned.append((current_scope() is not None, trace.get_current_span().get_span_context().span_id))


def run(main):
    """`asyncio.run`, and what the loop's exception handler was told."""
    told = []

    async def with_handler():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["message"]))
        return await main()

    return asyncio.run(with_handler()), told


def test_a_cancelled_task(bench):
    async def main():
        task = asyncio.ensure_future(bench.wrap(forever)())
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError) as info:
            await task
        return info.value.args

    args, told = run(main)
    assert args in (("enough",), ())  # 3.10 makes a new error for the one who awaits
    assert told == []
    assert status(bench.recorder.only("forever")) == ("cancelled", StatusCode.UNSET)


def test_a_timeout_cancels_what_it_waits_for(bench):
    async def outer():
        await asyncio.wait_for(bench.wrap(forever)(), 0.001)

    with pytest.raises(asyncio.TimeoutError):
        run(bench.wrap(outer))
    assert status(bench.recorder.only("forever")) == ("cancelled", StatusCode.UNSET)
    assert status(bench.recorder.only("outer")) == (None, StatusCode.ERROR)
    assert bench.recorder.only("outer").attributes["error.type"].endswith("TimeoutError")


def test_a_cancellation_that_is_survived_is_no_outcome(bench):
    async def survivor():
        try:
            await forever()
        except asyncio.CancelledError:
            return "survived"

    async def main():
        task = asyncio.ensure_future(bench.wrap(survivor)())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert run(main) == ("survived", [])
    assert status(bench.recorder.only("survivor")) == (None, StatusCode.UNSET)


def test_a_coroutine_closed_before_its_end(bench):
    async def pauses():
        await asyncio.sleep(0)

    coroutine = bench.wrap(pauses)()
    coroutine.send(None)
    coroutine.close()
    assert status(bench.recorder.only("pauses")) == ("closed", StatusCode.UNSET)
    assert current_scope() is None


def test_a_coroutine_never_awaited_has_no_span_and_pythons_warning(bench):
    with pytest.warns(RuntimeWarning, match="coroutine 'forever' was never awaited"):
        bench.wrap(forever)()
        gc.collect()
    assert bench.recorder.spans == []


def test_tasks_have_their_own_context(bench):
    async def child(number):
        await asyncio.sleep(0)
        assert current_scope().span is trace.get_current_span()
        return number

    async def parent():
        mine = current_scope()
        results = await asyncio.gather(*(bench.wrap(child)(number) for number in range(3)))
        assert current_scope() is mine
        return results

    assert run(bench.wrap(parent)) == ([0, 1, 2], [])
    assert bench.recorder.tree() == "\nparent\n  child\n  child\n  child\n"


# -- async generators -------------------------------------------------------------------------------------------


def test_an_early_break_closes_in_the_stream_s_own_context(bench):
    cleaned = []

    async def main():
        stream = bench.wrap(ticks)(cleaned)
        async for number in stream:
            assert current_scope() is None
            if number == 2:
                break
        await stream.aclose()

    assert run(main) == (None, [])
    span = bench.recorder.only("ticks")
    assert status(span) == ("closed", StatusCode.UNSET)
    assert cleaned == [(True, span.context.span_id)]


def test_a_cancelled_consumer_cancels_the_stream(bench):
    async def waits():
        yield 1
        await forever()

    async def consume():
        async for _ in bench.wrap(waits)():
            pass

    async def main():
        task = asyncio.ensure_future(consume())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert run(main) == (None, [])
    assert status(bench.recorder.only("waits")) == ("cancelled", StatusCode.UNSET)


def test_a_dropped_stream_is_finished_by_the_loop(bench):
    cleaned = []

    async def main():
        stream = bench.wrap(ticks)(cleaned)
        await anext(stream)
        del stream
        gc.collect()
        while not cleaned:
            await asyncio.sleep(0)

    assert run(main) == (None, [])
    assert status(bench.recorder.only("ticks")) == ("closed", StatusCode.UNSET)


@pytest.mark.parametrize("count", [1, 5])
def test_streams_left_open_are_closed_at_the_loop_s_end_as_the_bare_ones(bench, count):
    def left_open(function):
        cleaned, kept = [], []

        async def main():
            for _ in range(count):
                kept.append(function(cleaned))
                await anext(kept[-1])

        return *run(main), len(cleaned)

    assert left_open(bench.wrap(ticks)) == left_open(ticks) == (None, [], count)
    assert [status(span) for span in bench.recorder.spans] == [("closed", StatusCode.UNSET)] * count


def test_a_stream_finished_in_another_context(bench):
    async def main():
        stream = bench.wrap(ticks)()
        await anext(stream)

        async def finish():
            assert current_scope() is None
            assert await anext(stream) == 1
            await stream.aclose()
            assert current_scope() is None

        await asyncio.get_running_loop().create_task(finish())

    assert run(main) == (None, [])
    assert status(bench.recorder.only("ticks")) == ("closed", StatusCode.UNSET)


def test_a_scope_left_in_another_context_disturbs_neither(bench):
    scope = bench.scope("call")
    elsewhere = contextvars.copy_context()
    elsewhere.run(scope.enter)
    with bench.scope("outer") as outer:
        scope.close()
        scope.leave()
        scope.leave()
        assert current_scope() is outer
        assert trace.get_current_span() is outer.span
    assert [span.name for span in bench.recorder.spans] == ["call", "outer"]


def test_the_loop_s_hooks_are_as_before(bench):
    async def main():
        before = sys.get_asyncgen_hooks()
        stream = bench.wrap(ticks)()
        await anext(stream)
        assert sys.get_asyncgen_hooks() == before
        assert before.firstiter is not None
        await stream.aclose()

    assert run(main) == (None, [])
