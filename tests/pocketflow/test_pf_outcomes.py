"""How spans end: errors, cancellation, closed coroutines, exits."""

import asyncio
import contextvars

import pocketflow as pf
import pytest

from spanloom import names
from spanloom.config import Config

SHOWN = ("status", "events", names.ERROR_TYPE, names.STATUS)


class Broken(Exception):
    pass


class Fails(pf.Node):
    def exec(self, prep_res):
        raise Broken("no way")


class Support(pf.Flow):
    pass


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traced")
def test_one_exception_event_where_it_was_raised(recorder):
    with pytest.raises(Broken):
        Support(start=pf.Flow(start=Fails())).run({})
    kind = f"{Broken.__module__}.Broken"
    expected = f"""
invoke_workflow Support [ERROR, type={kind}]
  invoke_workflow [ERROR, type={kind}]
    run_step Fails [ERROR, type={kind}]
      exec Fails [ERROR, exception, type={kind}]
"""
    assert recorder.tree(*SHOWN) == expected
    assert {span.status.description for span in recorder.spans} == {"Broken: no way"}
    (event,) = recorder.only("exec Fails").events
    assert event.attributes[names.EXCEPTION_TYPE] == kind
    assert event.attributes[names.EXCEPTION_MESSAGE] == "no way"
    assert "in exec\n" in event.attributes[names.EXCEPTION_STACKTRACE]
    assert event.attributes[names.EXCEPTION_STACKTRACE].endswith("Broken: no way\n")


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("where", ["prep", "post", "_exec"])
def test_errors_in_the_other_phases(recorder, where):
    def fail(self, *args):
        raise ValueError(where)

    Node = type("Node", (pf.Node,), {where: fail})
    with pytest.raises(ValueError):
        pf.Flow(start=Node()).run({})
    phase = where.removeprefix("_")
    expected = f"""
invoke_workflow [ERROR, type=ValueError]
  run_step Node [ERROR, type=ValueError]
    {phase} Node [ERROR, exception, type=ValueError]
"""
    assert recorder.tree(*SHOWN) == expected


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("where", ["_run", "set_params", "get_next_node", "__copy__"])
def test_errors_between_the_phases(recorder, where):
    def fail(self, *args):
        raise ValueError(where)

    Node = type("Node", (pf.Node,), {where: fail} if where != "get_next_node" else {})
    Flow = type("Chain", (pf.Flow,), {where: fail} if where == "get_next_node" else {})
    with pytest.raises(ValueError):
        Flow(start=Node()).run({})
    node = {
        "_run": "  run_step Node [ERROR, exception, type=ValueError]\n",
        "get_next_node": "  run_step Node\n",
    }.get(where, "")
    flow = "invoke_workflow Chain [ERROR, type=ValueError]\n"
    if where != "_run":
        flow = flow.replace("ERROR", "ERROR, exception")
    assert recorder.tree(*SHOWN) == f"\n{flow}{node}"


@pytest.mark.usefixtures("traced")
def test_an_error_that_a_node_handles_stays_below_it(recorder):
    class Handles(pf.Node):
        def exec(self, prep_res):
            try:
                Support(start=Fails()).run({})
            except Broken:
                return "handled"

    pf.Flow(start=Handles()).run({})
    expected = """
invoke_workflow
  run_step Handles
    exec Handles
      invoke_workflow Support [ERROR]
        run_step Fails [ERROR]
          exec Fails [ERROR, exception]
"""
    assert recorder.tree("status", "events") == expected


@pytest.mark.usefixtures("traced")
def test_another_error_on_the_way_is_an_event_of_its_own(recorder):
    class Translates(pf.Node):
        def exec(self, prep_res):
            try:
                Fails().run({})
            except Broken as exc:
                raise LookupError("translated") from exc

    with pytest.raises(LookupError):
        Translates().run({})
    expected = """
run_step Translates [ERROR, type=LookupError]
  exec Translates [ERROR, exception, type=LookupError]
    run_step Fails [ERROR, type=Broken]
      exec Fails [ERROR, exception, type=Broken]
"""
    assert recorder.tree(*SHOWN[:3]).replace(Broken.__module__ + ".", "") == expected


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("raises", ["same", "other"])
def test_a_fallback_that_raises(recorder, raises):
    class Falls(Fails):
        def exec_fallback(self, prep_res, exc):
            raise exc if raises == "same" else LookupError("other")

    with pytest.raises((Broken, LookupError)):
        Falls(max_retries=2).run({})
    event = "" if raises == "same" else "exception, "
    error = f"{Broken.__module__}.Broken" if raises == "same" else "LookupError"
    expected = f"""
run_step Falls [ERROR, spanloom.retry, spanloom.retry, type={error}]
  exec Falls [ERROR, exception, type={Broken.__module__}.Broken]
  exec Falls [ERROR, exception, type={Broken.__module__}.Broken]
  exec_fallback Falls [ERROR, {event}type={error}]
"""
    assert recorder.tree("status", "events", names.ERROR_TYPE, names.POCKETFLOW_FALLBACK) == expected


@pytest.mark.usefixtures("traced")
def test_an_error_among_parallel_items(recorder):
    class Parallel(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared):
            return [2, 1, 3]

        async def exec_async(self, item):
            for _ in range(item):
                await asyncio.sleep(0)
            if item == 1:
                raise Broken
            await gate.wait()

    async def main():
        nonlocal gate
        gate = asyncio.Event()
        with pytest.raises(Broken):
            await pf.AsyncFlow(start=Parallel()).run_async({})

    gate = None
    asyncio.run(main())
    expected = """
invoke_workflow [ERROR]
  run_step Parallel [ERROR]
    prep Parallel
    exec Parallel [status=cancelled]
    exec Parallel [ERROR!]
    exec Parallel [status=cancelled]
"""
    assert recorder.tree("status", "events", names.STATUS).replace(", exception]", "!]") == expected


def test_the_event_stays_innermost_without_phases(recorder, on):
    class Outer(pf.Node):
        def exec(self, prep_res):
            Support(start=Fails()).run({})

    with on(Config(pocketflow_phases=frozenset())), pytest.raises(Broken):
        pf.Flow(start=Outer()).run({})
    expected = """
invoke_workflow [ERROR]
  run_step Outer [ERROR]
    invoke_workflow Support [ERROR]
      run_step Fails [ERROR, exception]
"""
    assert recorder.tree("status", "events") == expected


@pytest.mark.usefixtures("traced")
def test_no_decision_where_a_node_failed(recorder):
    _ = (node := Fails()) >> pf.Node()
    with pytest.raises(Broken):
        pf.Flow(start=node).run({})
    attributes = recorder.only("run_step Fails").attributes
    assert not {names.POCKETFLOW_ACTION, names.POCKETFLOW_NEXT} & set(attributes)


@pytest.mark.usefixtures("traced")
def test_what_changed_before_the_error_is_told(recorder):
    class Half(pf.Node):
        def post(self, shared, prep_res, exec_res):
            shared["half"] = 1
            raise Broken

    with pytest.raises(Broken):
        pf.Flow(start=Half()).run({})
    for name in ("run_step Half", "invoke_workflow"):
        assert recorder.only(name).attributes[names.STATE_CHANGED_KEYS] == ("half",)


# -- ends that are no errors --------------------------------------------------------------------------------------


class Waits(pf.AsyncNode):
    async def exec_async(self, prep_res):
        await asyncio.get_running_loop().create_future()


ENDED = """
invoke_workflow [status={0}]
  run_step {1} [status={0}]
    exec {1} [status={0}]
"""


@pytest.mark.usefixtures("traced")
def test_cancelled(recorder):
    async def main():
        task = asyncio.ensure_future(pf.AsyncFlow(start=Waits()).run_async({}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert recorder.tree(*SHOWN) == ENDED.format("cancelled", "Waits")
    assert names.POCKETFLOW_ACTION not in recorder.only("run_step Waits").attributes


@pytest.mark.usefixtures("traced")
def test_timed_out(recorder):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pf.AsyncFlow(start=Waits()).run_async({}), 0.001)

    asyncio.run(main())
    assert recorder.tree(*SHOWN) == ENDED.format("cancelled", "Waits")


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "cancelled"), (SystemExit, "exited")])
def test_interrupted(recorder, error, status):
    class Stops(pf.Node):
        def exec(self, prep_res):
            raise error

    with pytest.raises(error):
        pf.Flow(start=Stops()).run({})
    assert recorder.tree(*SHOWN) == ENDED.format(status, "Stops")


class Suspends:
    def __await__(self):
        yield


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_closed(recorder, elsewhere):
    class Yields(pf.AsyncNode):
        async def exec_async(self, prep_res):
            await Suspends()

    coroutine = pf.AsyncFlow(start=Yields()).run_async({})
    if elsewhere:
        contextvars.copy_context().run(coroutine.send, None)
    else:
        coroutine.send(None)
    coroutine.close()
    assert recorder.tree(*SHOWN) == ENDED.format("closed", "Yields")
    recorder.assert_closed()


@pytest.mark.usefixtures("traced")
def test_parameter_sets_cancelled_before_they_began_have_no_span(recorder):
    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared):
            asyncio.current_task().cancel()
            return [{"i": i} for i in range(3)]

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Each(start=pf.Node()).run_async({}))
    assert recorder.tree(*SHOWN) == "\ninvoke_workflow Each [status=cancelled]\n  prep Each\n"
