"""Other tracers of LangChain that are on as well are named once; nothing of theirs is touched."""

import logging
import sys
import types
from typing import TypedDict

import pytest
from langgraph.graph import START, StateGraph

from spanloom.config import Config
from spanloom_langgraph import LangGraphInstrumentor


class State(TypedDict):
    text: str


@pytest.fixture
def graph():
    built = StateGraph(State)
    built.add_node("a", lambda _: {"text": "a"})
    built.add_edge(START, "a")
    return built.compile()


def elsewhere(monkeypatch, module, name, *, on):
    """A module as an installed instrumentor's looks: its class, a singleton that is switched on or not."""

    class Instrumentor:
        _instance = types.SimpleNamespace(_is_instrumented_by_opentelemetry=on)

    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: Instrumentor}))


def lines(caplog):
    return [record.getMessage() for record in caplog.records if "traced twice" in record.getMessage()]


def run_twice(recorder, graph):
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider, config=Config())
    try:
        graph.invoke({"text": ""})
        graph.invoke({"text": ""})
    finally:
        instrumentor.uninstrument()
    assert len(recorder.named("run_step a")) == 2


def test_two_others_are_one_line(recorder, graph, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, logger="spanloom")
    elsewhere(monkeypatch, "openinference.instrumentation.langchain", "LangChainInstrumentor", on=True)
    elsewhere(monkeypatch, "opentelemetry.instrumentation.langchain", "LangchainInstrumentor", on=False)
    monkeypatch.setitem(sys.modules, "langfuse.langchain.CallbackHandler", types.ModuleType("handler"))
    run_twice(recorder, graph)
    (line,) = lines(caplog)
    assert "by OpenInference's LangChainInstrumentor, Langfuse's CallbackHandler." in line
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=langgraph" in line


def test_nothing_is_said_where_we_are_alone(recorder, graph, caplog):
    caplog.set_level(logging.WARNING, logger="spanloom")
    run_twice(recorder, graph)
    assert lines(caplog) == []
