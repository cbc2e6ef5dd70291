"""`init` in real programs: what reaches the exporters when the program does nothing more about it."""

import re

import pytest

pytestmark = pytest.mark.slow

FLOW = """
from pocketflow import Flow, Node
class Work(Node):
    def exec(self, _):
        return "done"
flow = Flow(start=Work())
"""
SPANS = ["exec Work", "invoke_workflow", "run_step Work"]


def printed(text):
    """The names of the spans that the console exporter has printed."""
    return sorted(re.findall(r'"name": "([^"]+)",\n    "context"', text))


@pytest.fixture
def program(workshop):
    """`program(source)` runs a program that can import `work.flow`."""
    workshop.write("work.py", FLOW)

    def run(source, **options):
        workshop.write("app.py", source)
        ran = workshop.plain("app.py", **options)
        assert (ran.code, ran.err) == (0, "")
        return ran

    return run


@pytest.mark.parametrize(
    "source", ["import work, spanloom\nspanloom.init()\n", "import spanloom\nspanloom.init()\nimport work\n"]
)
def test_one_line_before_or_after_the_framework(program, workshop, source):
    program(source + "work.flow.run({})")

    assert workshop.names() == SPANS


def test_spans_are_handed_over_at_exit(program):
    ran = program("import spanloom, work\nspanloom.init(exporters='console')\nwork.flow.run({})\n")

    assert printed(ran.out) == SPANS


def test_spans_are_handed_over_at_exit_after_a_second_init(program):
    again = "spanloom.init(exporters='console')\nwork.flow.run({})\n"
    ran = program(f"import spanloom, work\n{again}spanloom.shutdown()\n{again}")

    assert printed(ran.out) == sorted(SPANS * 2)


def test_forks_of_the_program(program, workshop):
    program(
        """
        import os, spanloom, work
        spanloom.init()
        work.flow.run({})
        child = os.fork()
        work.flow.run({})
        if child:
            os.waitpid(child, 0)
        """
    )

    assert workshop.names() == sorted(SPANS * 3)
    assert len(workshop.files()) == 2


def test_nothing_is_recorded_where_the_sdk_is_off(program, workshop):
    program("import spanloom, work\nspanloom.init()\nwork.flow.run({})\n", env={"OTEL_SDK_DISABLED": "true"})

    assert workshop.files() == []
