"""Async runs that are cancelled, time out, are interrupted or driven by hand end as without us."""

import asyncio
import contextvars
import gc
import sys
import warnings

import pocketflow as pf
import pytest

# -- cancellation, timeouts, interrupts ---------------------------------------------------------------------------


def hanging(log, gate):
    class Hangs(pf.AsyncNode):
        async def exec_async(self, prep_res):
            try:
                gate.set()
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError as exc:
                log.append(("cancelled", exc.args))
                raise
            finally:
                log.append("cleaned")

    return pf.AsyncFlow(start=pf.AsyncFlow(start=Hangs(max_retries=3)))


def test_a_cancelled_task(same):
    def program(log):
        async def main():
            gate = asyncio.Event()
            task = asyncio.ensure_future(hanging(log, gate).run_async({}))
            await gate.wait()
            task.cancel("because")
            try:
                await task
            except asyncio.CancelledError as exc:
                log.append(exc.args)
            return task.cancelled()

        return asyncio.run(main())

    same(program)


def test_a_cancellation_that_is_survived(same):
    def program(log):
        class Survives(pf.AsyncNode):
            async def exec_async(self, prep_res):
                try:
                    gate.set()
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    return "survived"

            async def post_async(self, shared, prep_res, exec_res):
                return exec_res

        async def main():
            nonlocal gate
            gate = asyncio.Event()
            task = asyncio.ensure_future(pf.AsyncFlow(start=Survives()).run_async({}))
            await gate.wait()
            task.cancel()
            return await task if hasattr(pf.BaseNode, "next") else (await task, "no result in 0.0.1")

        gate = None
        return asyncio.run(main())

    same(program)


@pytest.mark.parametrize("how", ["wait_for", "timeout"])
def test_timeouts(same, how):
    if how == "timeout" and sys.version_info < (3, 11):
        pytest.skip("asyncio.timeout is new in 3.11")

    def program(log):
        async def main():
            flow = hanging(log, asyncio.Event())
            if how == "wait_for":
                await asyncio.wait_for(flow.run_async({}), 0.001)
            else:
                async with asyncio.timeout(0.001):
                    await flow.run_async({})

        try:
            asyncio.run(main())
        except Exception as exc:
            return type(exc).__name__, type(exc.__cause__ or exc.__context__).__name__

    same(program)


def test_cancelled_before_its_parameter_sets_have_begun(same):
    def program(log):
        class Batch(pf.AsyncParallelBatchFlow):
            async def prep_async(self, shared):
                asyncio.current_task().cancel()
                return [{"i": i} for i in range(3)]

        class Leaf(pf.AsyncNode):
            async def prep_async(self, shared):
                log.append("never")

        async def main():
            await Batch(start=Leaf()).run_async({})

        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            return "cancelled"

    same(program)


def test_parameter_sets_that_were_made_and_never_begun(same):
    def program(log):
        class Batch(pf.AsyncParallelBatchFlow):
            async def prep_async(self, shared):
                return [{"i": 0}, {"i": 1}, None]

        class Leaf(pf.AsyncNode):
            async def prep_async(self, shared):
                log.append("never")

        try:
            asyncio.run(Batch(start=Leaf()).run_async({}))
        except TypeError as exc:
            error = exc.args
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        return error, len(caught)

    unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            same(lambda log: quietly(program, log))
    finally:
        sys.unraisablehook = unraisable


def quietly(program, log):
    """Without the warnings about coroutines that were never awaited: they name our functions beside PocketFlow's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return program(log)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_inside_an_async_node(same, error):
    def program(log):
        class Stops(pf.AsyncNode):
            async def exec_async(self, prep_res):
                await asyncio.sleep(0)
                raise error("stop")

        asyncio.run(pf.AsyncFlow(start=Stops(max_retries=2)).run_async({}))

    same(program)


def test_a_failing_item_beside_others_that_go_on(same):
    def program(log):
        class Batch(pf.AsyncParallelBatchNode):
            async def prep_async(self, shared):
                return [0, 5, 9]

            async def exec_async(self, item):
                try:
                    for _ in range(item):
                        await asyncio.sleep(0)
                    if item == 5:
                        raise ValueError(item)
                    log.append(item)
                except asyncio.CancelledError:
                    log.append(f"cancelled {item}")
                    raise

        async def main():
            try:
                await Batch(max_retries=2).run_async({})
            except ValueError as exc:
                log.append(repr(exc))
            for _ in range(20):
                await asyncio.sleep(0)

        asyncio.run(main())

    same(program)


# -- coroutines by hand -------------------------------------------------------------------------------------------


class Suspend:
    def __await__(self):
        yield "suspended"


def stepping(log):
    class Steps(pf.AsyncNode):
        async def exec_async(self, prep_res):
            try:
                log.append("before")
                await Suspend()
                log.append("after")
            except BaseException as exc:
                log.append(type(exc).__name__)
                raise

        async def post_async(self, shared, prep_res, exec_res):
            return "done"

    return pf.AsyncFlow(start=Steps())


def test_a_coroutine_that_is_closed(same):
    def program(log):
        coroutine = stepping(log).run_async({})
        log.append(coroutine.send(None))
        coroutine.close()

    same(program)


def test_a_coroutine_closed_from_another_context(same):
    def program(log):
        coroutine = stepping(log).run_async({})
        log.append(contextvars.copy_context().run(coroutine.send, None))
        coroutine.close()

    same(program)


def test_a_coroutine_thrown_into(same):
    def program(log):
        coroutine = stepping(log).run_async({})
        coroutine.send(None)
        coroutine.throw(ValueError("thrown"))

    same(program)


def test_a_coroutine_driven_to_its_end_in_changing_contexts(same):
    def program(log):
        coroutine = stepping(log).run_async({})
        contextvars.copy_context().run(coroutine.send, None)
        try:
            contextvars.copy_context().run(coroutine.send, None)
        except StopIteration as stop:
            return stop.value

    same(program)


def test_a_coroutine_that_is_dropped(same):
    def program(log):
        coroutine = stepping(log).run_async({})
        coroutine.send(None)
        del coroutine
        gc.collect()

    same(program)
