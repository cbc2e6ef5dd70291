"""`scripts/framework_suites.py`: what counts as a difference; where asked for, the frameworks' suites themselves."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "framework_suites.py"


@pytest.fixture(scope="module")
def suites():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("framework_suites", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["langgraph", "prebuilt", "pocketflow"])
def test_a_frameworks_own_suite_passes_as_without_us(suite):
    if os.environ.get("SPANLOOM_SUITES") != "1":
        pytest.skip("installs frameworks and takes minutes; set SPANLOOM_SUITES=1 to run it")
    done = subprocess.run([sys.executable, SCRIPT, suite], capture_output=True, text=True, check=False)

    assert "different outcomes: 0" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout


class Replayed:
    """In place of a runner: the outcomes that its next runs have, and which were asked for."""

    def __init__(self, suites, **again):
        self._suites, self._again, self.asked = suites, again, []

    def run(self, way, tests, *, again):
        self.asked.append(tests)
        return ran(self._suites, self._again[way].pop(0))


def ran(suites, *outcomes):
    tests = {f"t{i}": outcome for i, outcome in enumerate(outcomes)}
    return suites.Ran(tests, {}, Counter(), 0.0)


@pytest.mark.parametrize(
    ("plain", "instrumented", "differs"),
    [
        ("ppppp", "fffff", True),
        ("ppppp", "fpppf", True),
        ("ppppp", "fpppp", False),  # once may be luck
        ("fpppp", "ppppp", False),
        ("ffpff", "ppppp", False),  # it passes without us too, at times
        ("fffff", "ppppp", True),  # what only works with us is a difference too
    ],
)
def test_a_difference_counts_where_it_comes_again(suites, plain, instrumented, differs):
    runner = Replayed(suites, plain=list(plain[1:]), instrumented=list(instrumented[1:]))

    found = suites.settled(runner, ran(suites, plain[0], "p"), ran(suites, instrumented[0], "p"))

    line = f"t0: plain {' '.join(plain)}; instrumented {' '.join(instrumented)}"
    assert found == (([line], []) if differs else ([], [line]))
    assert runner.asked == [["t0"]] * 2 * suites.RERUNS  # the other has no part in it


def test_a_test_that_is_missing_on_one_side_differs(suites):
    runner = Replayed(suites, plain=["p"] * 4, instrumented=[] * 4)
    runner.run = lambda way, tests, *, again: ran(suites, *(["p"] if way == "plain" else []))

    found, _ = suites.settled(runner, ran(suites, "p"), ran(suites))

    assert found == [f"t0: plain {'p ' * 4}p; instrumented {'absent ' * 4}absent"]


CASES = """\
import unittest
import warnings
import pytest
from opentelemetry import context, trace
from pocketflow import Flow, Node

def test_passes():
    Flow(start=Node()).run({})

class TestsInAClass(unittest.TestCase):
    def test_fails(self):
        assert False

@pytest.mark.parametrize("value", ["a b", "c"])
def test_skips(value):
    pytest.skip("today")

def test_leaves_a_span_current():
    class Leaves(Node):
        def exec(self, prep_res):
            self.token = context.attach(context.get_current())
            Leaves.left = trace.get_current_span()
    Flow(start=Leaves()).run({})
    context.attach(trace.set_span_in_context(Leaves.left))

def test_has_none_current():
    assert trace.get_current_span() is trace.INVALID_SPAN
    warnings.warn_explicit("at 0x1f2e3d4c, 12345 of them", UserWarning, "here.py", 1)
"""


@pytest.mark.slow
def test_the_plugin_tells_what_it_sees_of_each_process(suites, workshop):
    workshop.write("pytest.ini", "[pytest]\n")
    workshop.write("tests/test_cases.py", CASES)
    env = {"PYTHONPATH": str(SCRIPT.parent), "PYTEST_PLUGINS": "suite_plugin", "SUITE_REPORTS": str(workshop.folder)}
    on = {"SUITE_INSTRUMENTOR": "spanloom_pocketflow:PocketFlowInstrumentor"}
    options = ("-p", "no:cacheprovider", "-p", "no:randomly", "--junitxml=junit.xml", "-o", "junit_family=xunit1")

    assert workshop.plain("-m", "pytest", *options, env=env | on).code == 1

    assert suites.outcomes(workshop.folder / "junit.xml") == {
        "tests/test_cases.py::test_passes": "passed",
        "tests/test_cases.py::TestsInAClass::test_fails": "failure",
        "tests/test_cases.py::test_skips[a b]": "skipped",
        "tests/test_cases.py::test_skips[c]": "skipped",
        "tests/test_cases.py::test_leaves_a_span_current": "passed",
        "tests/test_cases.py::test_has_none_current": "passed",
    }
    found, spans = suites.findings(workshop.folder)
    assert spans["started"] == spans["ended"] > 0
    assert found["open"] == found["logged"] == []
    assert found["current"] == ["tests/test_cases.py::test_leaves_a_span_current: exec Leaves"]
    assert found["warnings"] == ["here.py: UserWarning: at #, # of them"]  # the same in every run
