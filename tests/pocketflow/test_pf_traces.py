"""What lies below which span: manual spans, threads, tasks; and what is a trace of its own."""

import asyncio
import contextvars
import threading

import pocketflow as pf
import pytest
from opentelemetry import trace

from spanloom import names

pytestmark = pytest.mark.usefixtures("traced")


class Full(pf.Node):
    """A node with all three phases."""

    def prep(self, shared):
        return 1

    def exec(self, prep_res):
        return prep_res

    def post(self, shared, prep_res, exec_res):
        return shared.get("action")


class FullAsync(pf.AsyncNode):
    async def prep_async(self, shared):
        return [1, 2]

    async def exec_async(self, prep_res):
        await asyncio.sleep(0)
        return prep_res

    async def post_async(self, shared, prep_res, exec_res):
        return shared.get("action")


class SupportAsync(pf.AsyncFlow):
    pass


# -- what else runs inside ----------------------------------------------------------------------------------------


@pytest.fixture
def tracer(recorder):
    return recorder.provider.get_tracer("user")


def test_spans_of_the_users_in_every_phase(recorder, tracer):
    class Manual(pf.Node):
        def prep(self, shared):
            with tracer.start_as_current_span("in prep"):
                return 1

        def exec(self, prep_res):
            tracer.start_span("in exec").end()
            with tracer.start_as_current_span("around"):
                Full().run({})

        def post(self, shared, prep_res, exec_res):
            tracer.start_span("in post").end()

    class Around(pf.Flow):
        def get_next_node(self, curr, action):
            tracer.start_span("choosing").end()
            return super().get_next_node(curr, action)

    Around(start=Manual()).run({})
    expected = """
invoke_workflow Around
  run_step Manual
    prep Manual
      in prep
    exec Manual
      in exec
      around
        run_step Full
          prep Full
          exec Full
          post Full
    post Manual
      in post
  choosing
"""
    assert recorder.tree() == expected


def test_a_span_of_the_users_around_everything(recorder, tracer):
    with tracer.start_as_current_span("request") as span:
        Full().run({})
        assert trace.get_current_span() is span
        pf.Flow(start=pf.Node()).run({})
    expected = """
request
  run_step Full
    prep Full
    exec Full
    post Full
  invoke_workflow
    run_step Node
"""
    assert recorder.tree() == expected


def test_threads_with_a_copied_context(recorder, tracer):
    class Threads(pf.Node):
        def exec(self, prep_res):
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(self.work,))
            thread.start()
            thread.join()
            bare = threading.Thread(target=Full().run, args=({},))
            bare.start()
            bare.join()

        def work(self):
            with tracer.start_as_current_span("in a thread"):
                pf.Flow(start=pf.Node()).run({})

    Threads().run({})
    expected = """
run_step Threads
  exec Threads
    in a thread
      invoke_workflow
        run_step Node
run_step Full
  prep Full
  exec Full
  post Full
"""
    assert recorder.tree() == expected


def test_a_background_task_lies_under_the_phase_that_started_it(recorder, tracer):
    class Starts(pf.AsyncNode):
        async def exec_async(self, prep_res):
            async def later():
                await gate.wait()
                with tracer.start_as_current_span("background"):
                    await FullAsync().run_async({})

            tasks.append(asyncio.ensure_future(later()))

    async def main():
        nonlocal gate
        gate = asyncio.Event()
        await SupportAsync(start=Starts()).run_async({})
        gate.set()
        await tasks[0]

    gate, tasks = None, []
    asyncio.run(main())
    expected = """
invoke_workflow SupportAsync
  run_step Starts
    exec Starts
      background
        run_step FullAsync
          prep FullAsync
          exec FullAsync
          post FullAsync
"""
    assert recorder.tree() == expected


# -- traces -------------------------------------------------------------------------------------------------------


def traces(recorder):
    """The names of each trace's spans."""
    found = {}
    for span in recorder.spans:
        found.setdefault(span.context.trace_id, []).append(span.name)
    return [sorted(found[key]) for key in sorted(found)]


def test_two_runs_are_two_traces(recorder):
    flow = pf.Flow(start=pf.Node())
    flow.run({})
    flow.run({})
    assert traces(recorder) == [["invoke_workflow", "run_step Node"]] * 2


def test_one_flow_in_six_threads_is_six_traces(recorder):
    barrier = threading.Barrier(6)

    class Meets(pf.Node):
        def exec(self, prep_res):
            barrier.wait(10)

        def post(self, shared, prep_res, exec_res):
            barrier.wait(10)
            shared["n"] += 1
            return "again" if shared["n"] < 2 else "end"

    node = Meets()
    _ = node - "again" >> node
    _ = node - "end" >> pf.Node()
    flow = pf.Flow(start=node)
    threads = [threading.Thread(target=flow.run, args=({"n": 0},)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    two = ["exec Meets"] * 2 + ["invoke_workflow"] + ["post Meets"] * 2 + ["run_step Meets"] * 2 + ["run_step Node"]
    assert traces(recorder) == [two] * 6
    for trace_id in range(1, 7):
        assert_shape(recorder, trace_id)


def assert_shape(recorder, trace_id):
    from spanloom.testing import tree

    spans = [span for span in recorder.spans if span.context.trace_id == trace_id]
    assert (
        tree(spans, names.POCKETFLOW_STEP)
        == """
invoke_workflow
  run_step Meets [step=1]
    exec Meets
    post Meets
  run_step Meets [step=2]
    exec Meets
    post Meets
  run_step Node [step=3]
"""
    )


def test_one_async_flow_in_five_tasks_is_five_traces(recorder):
    flow = SupportAsync(start=FullAsync())

    async def main():
        await asyncio.gather(*(flow.run_async({}) for _ in range(5)))

    asyncio.run(main())
    one = ["exec FullAsync", "invoke_workflow SupportAsync", "post FullAsync", "prep FullAsync", "run_step FullAsync"]
    assert traces(recorder) == [one] * 5
    assert recorder.tree().count("\ninvoke_workflow SupportAsync\n  run_step FullAsync\n    prep") == 5


def test_gathered_flows_below_one_span(recorder, tracer):
    async def main():
        with tracer.start_as_current_span("request"):
            await asyncio.gather(*(SupportAsync(start=FullAsync()).run_async({}) for _ in range(2)))

    asyncio.run(main())
    one = """  invoke_workflow SupportAsync
    run_step FullAsync
      prep FullAsync
      exec FullAsync
      post FullAsync
"""
    assert recorder.tree() == f"\nrequest\n{one}{one}"
