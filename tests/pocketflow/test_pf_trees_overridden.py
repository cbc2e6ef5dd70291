"""The tree of spans where the program overrides PocketFlow's own methods."""

import pocketflow as pf
import pytest

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


class Support(pf.Flow):
    pass


@pytest.mark.parametrize(("times", "below"), [(0, ""), (1, "  exec Own\n"), (2, "  exec Own\n  exec Own\n")])
def test_a_run_of_the_users_is_one_node(recorder, times, below):
    class Own(pf.Node):
        def _run(self, shared):
            for _ in range(times):
                super()._run(shared)
            return "mine"

        def exec(self, prep_res):
            return None

    Own().run({})
    assert recorder.tree(names.POCKETFLOW_ACTION).replace("[action=mine]", "!") == f"\nrun_step Own !\n{below}"
    recorder.clear()
    pf.Flow(start=Own()).run({})
    assert recorder.tree() == "\ninvoke_workflow\n" + "".join(
        f"  {line}\n" for line in f"run_step Own\n{below}".splitlines()
    )


def test_an_exec_of_the_users_is_a_span_with_its_attempts_below(recorder):
    class Own(pf.Node):
        def _exec(self, prep_res):
            return [super(Own, self)._exec(i) for i in (1, 2)]

        def exec(self, prep_res):
            return prep_res

    Own().run({})
    expected = """
run_step Own
  exec Own
    exec Own [attempt=1]
    exec Own [attempt=1]
"""
    assert recorder.tree(names.POCKETFLOW_RETRY_ATTEMPT) == expected


def test_nodes_of_a_loop_of_the_users(recorder):
    class Own(pf.Flow):
        def _orch(self, shared, params=None):
            for node in (Full(), Support(start=Full())):
                node._run(shared)

    Own(start=None).run({"action": "decided"})
    expected = """
invoke_workflow Own
  run_step Full [action=decided]
    prep Full
    exec Full
    post Full
  invoke_workflow Support
    run_step Full [step=1, action=decided]
      prep Full
      exec Full
      post Full
"""
    assert recorder.tree(names.POCKETFLOW_STEP, names.POCKETFLOW_ACTION) == expected


def test_a_node_that_runs_itself_and_others(recorder):
    class Outer(pf.Node):
        def exec(self, prep_res):
            if prep_res is None:
                self._exec(1)
                Full().run({})
                self.run({"deep": True})

        def prep(self, shared):
            return shared.get("deep")

    Outer().run({})
    expected = """
run_step Outer
  prep Outer
  exec Outer
    exec Outer
    run_step Full
      prep Full
      exec Full
      post Full
    run_step Outer
      prep Outer
      exec Outer
"""
    assert recorder.tree() == expected
