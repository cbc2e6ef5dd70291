"""With nothing but OpenTelemetry's API: everything runs, nothing is recorded, nothing is kept."""

import pytest

PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "wrapt" or name.startswith(("opentelemetry.sdk", "opentelemetry.instrumentation")):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Absent())

import asyncio
import spanloom
from opentelemetry import trace

@spanloom.workflow
def run():
    with spanloom.session(user_id="u"), spanloom.chat("m", provider="acme", temperature=1) as call:
        call.input([{"role": "user", "content": "Hi"}])
        call.usage(input=1)
        call.set("a.b", 1)
        stream = iter([1, 2])
        assert call.stream(stream) is stream
        call.record({})
    return list(answer())

@spanloom.chat("m")
def answer():
    spanloom.current().finish("stop")
    yield from "ab"

@spanloom.tool(capture=True)
async def tool(x):
    with spanloom.retrieval("r") as call:
        call.documents(["x"])
    async with spanloom.embeddings("e") as call:
        call.output([[1.0]])
    return x

print(run(), asyncio.run(tool(5)), spanloom.current().recording)
assert not any(name.startswith("opentelemetry.sdk") for name in sys.modules)
assert trace.get_current_span() is trace.INVALID_SPAN
"""


def test_it_runs_with_the_api_alone(workshop):
    workshop.write("app.py", PROGRAM)

    ran = workshop.plain("-W", "error", "app.py")

    assert ran.behaviour == (0, "['a', 'b'] 5 False\n", "")


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_SAMPLER=always_off"])
def test_a_disabled_sdk_records_nothing(workshop, variable):
    source = PROGRAM.replace("sys.meta_path.insert(0, Absent())", "").replace(
        'assert not any(name.startswith("opentelemetry.sdk") for name in sys.modules)', ""
    )
    workshop.write("app.py", "import spanloom\nspanloom.init(exporters='jsonl', instrumentors=())\n" + source)
    name, _, value = variable.partition("=")

    ran = workshop.plain("-W", "error", "app.py", env={name: value})

    assert ran.behaviour == (0, "['a', 'b'] 5 False\n", "")
    assert not [path for path in workshop.files() if path.stat().st_size and b'"spans"' in path.read_bytes()]


def test_init_is_all_it_needs(workshop):
    workshop.write(
        "app.py",
        """
        import spanloom

        @spanloom.tool
        def before():
            return 1

        spanloom.init(instrumentors=())

        with spanloom.session(conversation_id="c-1"), spanloom.workflow("w"):
            before()
        """,
    )

    assert workshop.plain("-W", "error", "app.py").code == 0
    assert workshop.names() == ["execute_tool before", "invoke_workflow w"]
    assert {span["scope"] for span in workshop.spans()} == {"spanloom"}
