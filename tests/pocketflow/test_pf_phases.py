"""Phases that were switched off have no spans, and lose no facts."""

import pocketflow as pf
import pytest

from spanloom import names
from spanloom.config import Config

WHOLE = """
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


class Each(pf.BatchFlow):
    def prep(self, shared):
        return [{"i": 0}]

    def post(self, shared, prep_res, exec_res):
        return None


class Falls(pf.Node):
    def prep(self, shared):
        return 1

    def exec(self, prep_res):
        raise ValueError

    def exec_fallback(self, prep_res, exc):
        return 1

    def post(self, shared, prep_res, exec_res):
        return None


@pytest.mark.parametrize("phases", ["", "prep", "exec", "post", "prep post", "prep exec post"])
def test_phases_wanted(recorder, on, phases):
    with on(Config(pocketflow_phases=frozenset(phases.split()))):
        Each(start=Falls(max_retries=2)).run({})
    unwanted = {"prep", "exec", "post"} - set(phases.split())
    lines = WHOLE.splitlines(keepends=True)
    expected = [line for line in lines if line.split()[:1] == [] or line.split()[0].split("_")[0] not in unwanted]
    told = (names.POCKETFLOW_BATCH_SIZE, names.POCKETFLOW_RETRY_ATTEMPT, names.POCKETFLOW_RETRY_COUNT)
    assert recorder.tree(*told, names.POCKETFLOW_FALLBACK, "events") == "".join(expected)


def test_spans_of_the_users_move_to_the_node(recorder, on):
    class Manual(pf.Node):
        def exec(self, prep_res):
            recorder.provider.get_tracer("user").start_span("mine").end()

    with on(Config(pocketflow_phases=frozenset())):
        Manual().run({})
    assert recorder.tree() == "\nrun_step Manual\n  mine\n"


def test_an_exec_of_the_users_without_phases(recorder, on):
    class Own(pf.Node):
        def _exec(self, prep_res):
            return 1

    with on(Config(pocketflow_phases=frozenset())):
        Own().run({})
    assert recorder.tree() == "\nrun_step Own\n"


def test_the_decision_in_a_loop_of_the_users_without_phases(recorder, on):
    class Decides(pf.Node):
        def post(self, shared, prep_res, exec_res):
            return "decided"

    class Own(pf.Flow):
        def _orch(self, shared, params=None):
            return Decides()._run(shared)

    with on(Config(pocketflow_phases=frozenset())):
        Own(start=None).run({})
    assert recorder.only("run_step Decides").attributes[names.POCKETFLOW_ACTION] == "decided"
