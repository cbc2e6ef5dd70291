"""Phases that were switched off have no spans, and lose no facts."""

import asyncio

import pocketflow as pf
import pytest

from spanloom import names
from spanloom.config import Config

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


class Support(pf.Flow):
    pass


class SupportAsync(pf.AsyncFlow):
    pass


EDGES = (names.POCKETFLOW_STEP, names.POCKETFLOW_ACTION, names.POCKETFLOW_NEXT)
FULL = """
run_step Full
  prep Full
  exec Full
  post Full
"""


@pytest.mark.usefixtures("traced")
class TestPhases:
    @pytest.fixture
    def traced(self):
        """Each test switches on by itself."""

    @pytest.mark.parametrize("phases", ["", "prep", "exec", "post", "prep post", "prep exec post"])
    def test_phases_wanted(self, recorder, on, phases):
        class Each(pf.BatchFlow):
            def prep(self, shared):
                return [{"i": 0}]

            def post(self, shared, prep_res, exec_res):
                return None

        class Falls(Full):
            def exec(self, prep_res):
                raise ValueError

            def exec_fallback(self, prep_res, exc):
                return 1

        with on(Config(pocketflow_phases=frozenset(phases.split()))):
            Each(start=Falls(max_retries=2)).run({})
        wanted = """
invoke_workflow Each [size=1]
  prep Each
  invoke_workflow Each [size=1]
    run_step Falls [count=1, fallback=True, spanloom.retry, spanloom.retry]
      prep Falls
      exec Falls [attempt=1, exception]
      exec Falls [attempt=2, exception]
      exec_fallback Falls
      post Falls
  post Each
"""
        lines = [
            line
            for line in wanted.splitlines(keepends=True)
            if (line.split() or [""])[0].removesuffix("_fallback") not in {"prep", "exec", "post"} - set(phases.split())
        ]
        shown = (names.POCKETFLOW_BATCH_SIZE, names.POCKETFLOW_RETRY_ATTEMPT, names.POCKETFLOW_RETRY_COUNT)
        assert recorder.tree(*shown, names.POCKETFLOW_FALLBACK, "events") == "".join(lines)

    def test_spans_of_the_users_move_to_the_node(self, recorder, on, tracer):
        class Manual(pf.Node):
            def exec(self, prep_res):
                tracer.start_span("mine").end()

        with on(Config(pocketflow_phases=frozenset())):
            Manual().run({})
        assert recorder.tree() == "\nrun_step Manual\n  mine\n"

    def test_an_exec_of_the_users_without_phases(self, recorder, on):
        class Own(pf.Node):
            def _exec(self, prep_res):
                return 1

        with on(Config(pocketflow_phases=frozenset())):
            Own().run({})
        assert recorder.tree() == "\nrun_step Own\n"
