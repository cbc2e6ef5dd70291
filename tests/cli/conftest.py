"""A PocketFlow program to run."""

import pytest

HELLO = """
from pocketflow import Flow, Node

class Hello(Node):
    def exec(self, prep_res):
        return "hi there"

class Greeting(Flow):
    pass

flow = Greeting(start=Hello())
"""

HELLO_SPANS = ["exec Hello", "invoke_workflow Greeting", "run_step Hello"]


@pytest.fixture
def hello(workshop):
    """The workshop, with a module `hello` whose `flow.run({})` makes the spans `hello_spans`."""
    workshop.write("hello.py", HELLO)
    return workshop


@pytest.fixture
def hello_spans():
    """The sorted names of the spans of one run of `hello.flow`."""
    return list(HELLO_SPANS)
