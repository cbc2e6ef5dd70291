"""The examples that open spans of their own: the same with and without `spanloom run`, and whole trees."""

import json
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture
def ran(workshop):
    """`ran("handwritten_rag")` runs an example both ways, finds no difference, and returns what it has printed."""

    def run(name):
        starter, program = str(EXAMPLES / "offline.py"), str(EXAMPLES / f"{name}.py")
        plain = workshop.run([sys.executable, starter, "python", program])
        traced = workshop.run([sys.executable, starter, "spanloom", "run", program])
        assert traced.behaviour == plain.behaviour
        assert (plain.code, plain.err) == (0, "")
        return traced.out

    return run


@pytest.fixture
def told(workshop, attributes):
    """`told(name)`: the attributes of the spans of that name, in the order of their start."""

    def find(name):
        spans = sorted(workshop.spans(), key=lambda span: int(span["startTimeUnixNano"]))
        return [attributes(span) for span in spans if span["name"] == name]

    return find


def test_tools_without_a_framework(ran, workshop, outlines, told):
    assert "That is 64.40 EUR together." in ran("tools_without_framework")

    assert outlines(workshop.spans()) == [
        "invoke_agent counter\n  chat loopback-chat\n  execute_tool find_part\n  execute_tool find_part\n"
        "  chat loopback-chat"
    ]
    first, second = told("chat loopback-chat")
    assert [first["gen_ai.usage.output_tokens"], second["gen_ai.usage.output_tokens"]] == ["15", "26"]
    asked = json.loads(second["gen_ai.input.messages"])
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool", "tool"]
    assert json.loads(second["gen_ai.output.messages"])[0]["finish_reason"] == "stop"
    tools = told("execute_tool find_part")
    assert [json.loads(tool["gen_ai.tool.call.arguments"])["name"] for tool in tools] == ["chain", "cassette"]
    assert {tool["gen_ai.agent.name"] for tool in tools} == {"counter"}
    assert {tool["gen_ai.conversation.id"] for tool in [*tools, first, second]} == {"customer-4711"}


def test_answers_from_documents_by_hand(ran, workshop, outlines, told):
    out = ran("handwritten_rag")

    assert "2 bar for wide tyres on gravel. (tyres)" in out
    assert out.endswith("Replace brake pads when 1 mm is left. (brakes)\n")
    answer = (
        "invoke_workflow handbook\n  retrieval handbook\n    embeddings loopback-embedding\n"
        "  rerank words-in-common\n  chat loopback-chat"
    )
    assert outlines(workshop.spans()) == ["embeddings loopback-embedding", answer, answer]
    search = told("retrieval handbook")[0]
    assert search["gen_ai.retrieval.query.text"] == "Which pressure do wide tyres need?"
    assert len(json.loads(search["gen_ai.retrieval.documents"])) == 3
    assert json.loads(told("rerank words-in-common")[1]["gen_ai.retrieval.documents"])[0]["id"] == "brakes"
    assert all(int(call["gen_ai.usage.input_tokens"]) > 0 for call in told("embeddings loopback-embedding"))


def test_values_in_closures(ran, workshop, outlines, told):
    assert ran("legacy_closures").count("Your bicycle will be ready on") == 2

    tree = "invoke_workflow letters\n  run_step prepare\n  chat loopback-chat\n  run_step finish"
    assert outlines(workshop.spans()) == [tree, tree]
    first, second = told("chat loopback-chat")
    assert [call["user.id"] for call in (first, second)] == ["Ann Weber", "Ben Okafor"]
    for call in (first, second):
        assert int(call["gen_ai.usage.output_tokens"]) > 0
        assert float(call["gen_ai.response.time_to_first_chunk"]) > 0
        assert "Your bicycle" in call["gen_ai.output.messages"]
    assert [step["letters.lines"] for step in told("run_step finish")] == ["3", "3"]


def test_a_streamed_answer_and_a_client_that_leaves(ran, told):
    for module in ("fastapi", "uvicorn", "httpx"):
        pytest.importorskip(module)

    assert ran("streaming_fastapi").startswith("Ann reads: Count on half as far.")

    ann, ben = told("chat loopback-chat")
    assert [ann["user.id"], ben["user.id"]] == ["ann", "ben"]
    assert int(ann["gen_ai.usage.output_tokens"]) > 0
    assert "assistance on low" in ann["gen_ai.output.messages"]
    assert "spanloom.status" not in ann
    assert ben["spanloom.status"] in ("closed", "cancelled")
    assert "gen_ai.usage.output_tokens" not in ben
    assert "assistance on low" not in ben["gen_ai.output.messages"]
