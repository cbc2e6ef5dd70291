"""The two commands that need no change of code, on a LangGraph program, without the package `langchain`."""

import json

import pytest

pytestmark = pytest.mark.slow

APP = """
    import importlib.abc, sys

    class NoLangchain(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name.partition(".")[0] == "langchain":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, NoLangchain())

    from typing import TypedDict
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        text: str

    model = FakeListChatModel(responses=["hello"])
    graph = StateGraph(State)
    graph.add_node("greet", lambda state: {"text": model.invoke(state["text"]).content})
    graph.add_edge(START, "greet")
    print(graph.compile(name="Greeter").invoke({"text": "hi"}, {"configurable": {"thread_id": "t1"}}))
"""

TREE = {
    "invoke_workflow Greeter": None,
    "run_step greet": "invoke_workflow Greeter",
    "chat": "run_step greet",
}


def tree(spans):
    names = {span["spanId"]: span["name"] for span in spans}
    return {span["name"]: names.get(span.get("parentSpanId")) for span in spans}


def conversations(spans):
    return {
        pair["value"]["stringValue"]
        for span in spans
        for pair in span["attributes"]
        if pair["key"] == "gen_ai.conversation.id"
    }


def test_spanloom_run(workshop):
    workshop.write("app.py", APP)
    workshop.same("app.py")
    spans = workshop.spans()
    assert tree(spans) == TREE
    assert conversations(spans) == {"t1"}


def test_opentelemetry_instrument(workshop):
    workshop.write("app.py", APP)
    plain = workshop.run([workshop.python, "app.py"])
    env = {"OTEL_TRACES_EXPORTER": "jsonl", "SPANLOOM_JSONL_DIR": "traces"}
    command = [workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"]
    traced = workshop.run(command, env=env)
    assert (traced.code, traced.out) == (plain.code, plain.out) == (0, "{'text': 'hello'}\n")
    spans = workshop.spans("traces")
    assert tree(spans) == TREE
    assert all("hello" not in json.dumps(span) for span in spans)  # content is off by default here
