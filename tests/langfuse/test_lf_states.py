"""Inputs and outputs of graphs that are conversations."""

import json

import pytest

from spanloom_langfuse._states import with_chat

CALL = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


def chat(value):
    return json.loads(with_chat(json.dumps(value, separators=(",", ":"))))


def test_langchains_messages():
    state = {
        "messages": [
            {"type": "human", "content": "1 + 1?", "id": "m1"},
            {"type": "ai", "name": "calc", "id": "m2", "tool_calls": [CALL]},
            {"type": "tool", "content": "2", "name": "add", "tool_call_id": "c1", "status": "success"},
            {"type": "tool", "content": "no", "tool_call_id": "c2", "status": "error"},
            {"type": "system", "content": [{"type": "text", "text": "x"}]},
            {"role": "user", "content": "hi"},
            ["user", "hi"],
            ["one", "two", "three"],
            "text",
            {"type": "remove", "id": "m3"},
        ],
        "asked": 3,
    }

    assert chat(state) == {
        "messages": [
            {"role": "user", "content": "1 + 1?"},
            {
                "role": "assistant",
                "content": "",
                "name": "calc",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "content": "2", "name": "add", "tool_call_id": "c1"},
            {"role": "tool", "content": "no", "tool_call_id": "c2", "status": "error"},
            {"role": "system", "content": [{"type": "text", "text": "x"}]},
            {"role": "user", "content": "hi"},
            {"role": "user", "content": "hi"},
            ["one", "two", "three"],
            "text",
            {"type": "remove", "id": "m3"},
        ],
        "asked": 3,
    }


def test_a_list_of_messages():
    assert chat([{"type": "human", "content": "hi"}]) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1}',
        '"messages"',
        '{"messages":"none"}',
        '{"messages":[{"type":"human"',
        '{"messages": [{"role": "user", "content": "spaces stay"}]}',
        '[{"type":"box","size":1}]',
        "",
    ],
)
def test_anything_else_stays_as_it_is(text):
    assert with_chat(text) == text


@pytest.mark.parametrize(
    "calls", [[{"id": 7, "function": {"name": "a", "arguments": "{}"}}], ["x"], [{"args": None}], "cut…", []]
)
def test_calls_of_other_forms_do_not_fail(calls):
    (message,) = chat({"messages": [{"type": "ai", "content": "x", "tool_calls": calls}]})["messages"]

    assert message["role"] == "assistant"


def test_runs_agents_and_nodes_show_their_conversations(tracer, langfuse):
    state = json.dumps({"messages": [{"type": "human", "content": "hi"}]})
    wrote = json.dumps({"changed": {"messages": {"update": [{"type": "ai", "content": "ho"}]}}})
    run = {"gen_ai.operation.name": "invoke_agent", "spanloom.input": state, "spanloom.output": state}
    tracer.start_span("invoke_agent", attributes=run).end()
    tracer.start_span("run_step", attributes={"spanloom.node.name": "n", "spanloom.state.changes": wrote}).end()
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": state}
    tracer.start_span("execute_tool", attributes=tool).end()

    agent, node, tool = langfuse.observations
    assert json.loads(agent.input) == json.loads(agent.output) == {"messages": [{"role": "user", "content": "hi"}]}
    assert json.loads(node.output) == {"messages": [{"role": "assistant", "content": "ho"}]}
    assert tool.input == state
