"""Switching on and off: what is patched and restored, beside others' patches; and the version gate."""

import functools
import logging

import pocketflow as pf
import pytest
from opentelemetry.instrumentation.dependencies import DependencyConflictError

from spanloom_pocketflow import PocketFlowInstrumentor

CLASSES = [cls for cls in vars(pf).values() if isinstance(cls, type) and cls.__module__ == pf.__name__]


@pytest.fixture(autouse=True)
def _off():
    yield
    PocketFlowInstrumentor().uninstrument()


def contents():
    return {cls: dict(vars(cls)) for cls in CLASSES}


class Step(pf.Node):
    def exec(self, prep_res):
        return 1


TREE = "\ninvoke_workflow\n  run_step Step\n    exec Step\n"


# -- on and off ---------------------------------------------------------------------------------------------------


def test_every_class_is_restored(recorder):
    before = contents()
    for _ in range(2):
        PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
        assert contents() != before
        PocketFlowInstrumentor().uninstrument()
        after = contents()
        assert after.keys() == before.keys()
        for cls, attributes in before.items():
            assert list(after[cls]) == list(attributes)  # also their order
            assert all(after[cls][name] is value for name, value in attributes.items())


def test_nothing_of_the_users_is_patched(recorder, on):
    node, flow = Step(), pf.Flow(start=Step())
    flow.run({})  # copies a node, which `copy` remembers on its class
    before = dict(vars(Step))
    with on():
        node.run({})
        flow.run({})
        assert dict(vars(Step)) == before
    assert sorted(vars(node)) == sorted(vars(Step()) | {"cur_retry": 0})


def test_twice_is_once(recorder, on):
    with on():
        assert PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider) is None
        pf.Flow(start=Step()).run({})
    assert recorder.tree() == TREE
    before = contents()
    assert PocketFlowInstrumentor().uninstrument() is None
    assert contents() == before


def test_objects_from_before_and_from_while_it_was_on(recorder, on):
    before = pf.Flow(start=Step())
    with on():
        before.run({})
        during = pf.Flow(start=Step())
        held = during.run
        during.run({})
    assert recorder.tree() == TREE + TREE.removeprefix("\n")
    recorder.clear()
    before.run({})
    during.run({})
    held({})
    assert recorder.spans == []


def test_off_in_the_middle_of_a_run(recorder):
    class Off(Step):
        def post(self, shared, prep_res, exec_res):
            PocketFlowInstrumentor().uninstrument()

    PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
    _ = (start := Off()) >> Step()
    flow = pf.Flow(start=start)
    flow.run({})
    assert recorder.only("run_step Off")
    recorder.assert_closed()
    recorder.clear()
    flow.run({})
    assert recorder.spans == []


def test_somebody_elses_wrapper_on_top(recorder, monkeypatch):
    calls = []

    def wrapping(original):
        def theirs(self, shared):
            calls.append(type(self).__name__)
            return original(self, shared)

        return theirs

    original = pf.BaseNode.run
    PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
    ours = pf.BaseNode.run
    pf.BaseNode.run = wrapping(ours)
    try:
        Step().run({})
        assert recorder.tree() == "\nrun_step Step\n  exec Step\n"
        recorder.clear()
        PocketFlowInstrumentor().uninstrument()
        Step().run({})  # theirs still works; ours below it is silent
        assert (calls, recorder.spans) == (["Step", "Step"], [])
        PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
        Step().run({})  # on again, above theirs: traced once
        assert recorder.tree() == "\nrun_step Step\n  exec Step\n"
        PocketFlowInstrumentor().uninstrument()
    finally:
        assert pf.BaseNode.run is not ours
        pf.BaseNode.run = original


@pytest.mark.parametrize("wraps", [functools.wraps, lambda original: lambda theirs: theirs])
@pytest.mark.parametrize(
    ("cls", "name"),
    [(pf.BaseNode, "run"), (pf.BaseNode, "_run"), (pf.Node, "_exec"), (pf.Flow, "_run"), (pf.Flow, "_orch")],
)
def test_somebody_elses_wrapper_below_gets_the_real_node(recorder, on, cls, name, wraps):
    original, seen = vars(cls)[name], []

    @wraps(original)
    def theirs(self, *args):
        seen.append(type(self))
        return original(self, *args)

    setattr(cls, name, theirs)
    try:
        with on():
            pf.Flow(start=Step(max_retries=2)).run({})
    finally:
        setattr(cls, name, original)
    assert seen == [Step if cls is pf.Node or (cls, name) == (pf.BaseNode, "_run") else pf.Flow]
    assert recorder.tree() == TREE


def test_a_phase_that_somebody_put_into_pocketflow_is_no_placeholder(recorder, on, monkeypatch):
    monkeypatch.setattr(pf.BaseNode, "prep", lambda self, shared: "theirs")
    with on():
        Step().run({})
        monkeypatch.setattr(pf.BaseNode, "post", lambda self, shared, p, e: "theirs too")
        assert Step().run({}) == "theirs too"
    expected = """
run_step Step
  prep Step
  exec Step
run_step Step
  prep Step
  exec Step
  post Step
"""
    assert recorder.tree() == expected


# -- the version gate ---------------------------------------------------------------------------------------------


@pytest.fixture
def version_is(monkeypatch):
    """Makes another PocketFlow the installed one, or none."""
    from opentelemetry.instrumentation import dependencies

    def set_version(text):
        def version(name):
            if text is None:
                raise dependencies.PackageNotFoundError(name)
            return text

        monkeypatch.setattr(dependencies, "version", version)

    return set_version


def test_the_gate_holds_under_the_loader(version_is, caplog, recorder):
    version_is("0.0.0")
    before = contents()
    with caplog.at_level(logging.DEBUG), pytest.raises(DependencyConflictError) as caught:
        PocketFlowInstrumentor().instrument(skip_dep_check=True, tracer_provider=recorder.provider)
    assert contents() == before
    assert not PocketFlowInstrumentor().is_instrumented_by_opentelemetry
    assert caught.value.conflict.required == "pocketflow >= 0.0.1"
    assert [record for record in caplog.records if record.name == "spanloom"] == []  # the loader logs it


def test_the_gate_by_hand_says_what_to_install(version_is, caplog):
    version_is("0.0.0")
    before = contents()
    with caplog.at_level(logging.DEBUG):
        assert PocketFlowInstrumentor().instrument() is None
    assert contents() == before
    (line,) = [record for record in caplog.records if record.name == "spanloom"]
    assert line.levelno == logging.ERROR
    assert "pip install 'pocketflow >= 0.0.1'" in line.getMessage()


@pytest.mark.parametrize("by_loader", [True, False])
def test_none_installed_is_one_line_and_a_copy_under_its_name_is_traced(version_is, caplog, recorder, by_loader):
    version_is(None)
    with caplog.at_level(logging.DEBUG):
        PocketFlowInstrumentor().instrument(skip_dep_check=by_loader, tracer_provider=recorder.provider)
    try:
        pf.Flow(start=pf.Node()).run({})  # as far as the gate can tell, the program's own copy
    finally:
        PocketFlowInstrumentor().uninstrument()
    (line,) = [record for record in caplog.records if record.name == "spanloom"]
    assert line.levelno == logging.INFO
    assert '"pocketflow >= 0.0.1" has no installed version' in line.getMessage()
    assert recorder.tree() == "\ninvoke_workflow\n  run_step Node\n"


# -- in a process of its own --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_instrumented_before_the_import_and_never_importing_it(workshop):
    program = """
        import sys
        from spanloom.testing import Recorder
        from spanloom_pocketflow import PocketFlowInstrumentor

        recorder = Recorder()
        PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
        assert "pocketflow" not in sys.modules, "the framework must not be imported for the program"
        import pocketflow
        pocketflow.Flow(start=pocketflow.Node()).run({})
        recorder.assert_closed()
        print(recorder.tree())
    """
    done = workshop.plain("-W", "error", workshop.write("program.py", program))
    assert done.behaviour == (0, "\ninvoke_workflow\n  run_step Node\n\n", "")
