"""LangGraph under instrumentation: a recorder to look at, content on or off."""

import importlib.util

import pytest

from spanloom.config import Config

if importlib.util.find_spec("langgraph") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from spanloom_langgraph import LangGraphInstrumentor


def instrumented(recorder, config):
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider, config=config)
    return instrumentor


@pytest.fixture
def spans(recorder):
    """The recorder, with LangGraph traced into it and no content captured."""
    instrumentor = instrumented(recorder, Config())
    yield recorder
    instrumentor.uninstrument()


@pytest.fixture
def content(recorder):
    """The same with content captured."""
    instrumentor = instrumented(recorder, Config(content=True))
    yield recorder
    instrumentor.uninstrument()
