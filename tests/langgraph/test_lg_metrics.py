"""The metrics of LangGraph's runs, nodes, models and tools, sampled or not."""

import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_langgraph import LangGraphInstrumentor


@tool
def search(query: str) -> str:
    """Search."""
    return query


@pytest.fixture(params=["sampled", "unsampled"])
def counted(request):
    """A function: by name, the attributes and counts of what was measured."""
    recorder = Recorder(sampler=ALWAYS_OFF if request.param == "unsampled" else None)
    reader = InMemoryMetricReader()
    instrumentor = LangGraphInstrumentor()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrumentor.instrument(tracer_provider=recorder.provider, meter_provider=provider, config=Config(content=True))

    def counts():
        data = reader.get_metrics_data()
        return {
            metric.name: sorted(
                (tuple(sorted(point.attributes.items())), point.count) for point in metric.data.data_points
            )
            for one in data.resource_metrics
            for scope in one.scope_metrics
            for metric in scope.metrics
        }

    try:
        yield counts
    finally:
        instrumentor.uninstrument()
    recorder.assert_closed()
    assert bool(recorder.spans) == (request.param == "sampled")


def test_a_graphs_run(build, counted):
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    model = FakeMessagesListChatModel(responses=[AIMessage("hello", usage_metadata=usage)])
    graph = build(
        {"ask": lambda s: {"x": [model.invoke("hi").content]}, "look": lambda s: {"x": [search.invoke("q")]}},
        "START > ask > look > END",
        name="support",
    )
    config = {"configurable": {"thread_id": "thread-1"}}

    for _ in range(2):
        assert graph.invoke({"x": []}, config) == {"x": ["hello", "q"]}

    workflow = ("gen_ai.workflow.name", "support")
    found = counted()
    assert found["gen_ai.invoke_workflow.duration"] == [((workflow,), 2)]
    assert found["spanloom.node.duration"] == [
        ((workflow, ("spanloom.node.name", "ask")), 2),
        ((workflow, ("spanloom.node.name", "look")), 2),
    ]
    ((tool_attributes, tools),) = found["gen_ai.execute_tool.duration"]
    assert (dict(tool_attributes)["gen_ai.tool.name"], tools) == ("search", 2)
    ((call, calls),) = found["gen_ai.client.operation.duration"]
    assert (dict(call)["gen_ai.operation.name"], calls) == ("chat", 2)
    assert [(dict(point)["gen_ai.token.type"], count) for point, count in found["gen_ai.client.token.usage"]] == [
        ("input", 2),
        ("output", 2),
    ]
    assert "thread-1" not in str(found)


def test_a_node_that_fails(build, counted):
    def fail(_):
        raise ValueError("words")

    graph = build({"ask": fail}, "START > ask > END", name="support")
    with pytest.raises(ValueError, match="words"):
        graph.invoke({"x": []})

    found = counted()
    error = ("error.type", "ValueError")
    workflow = ("gen_ai.workflow.name", "support")
    assert found["gen_ai.invoke_workflow.duration"] == [((error, workflow), 1)]
    assert found["spanloom.node.duration"] == [((error, workflow, ("spanloom.node.name", "ask")), 1)]
