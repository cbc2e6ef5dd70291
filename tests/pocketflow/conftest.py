"""Fixtures of the PocketFlow tests: switching the instrumentor on, and running a program with and without it."""

from __future__ import annotations

import dataclasses
import functools
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_pocketflow import PocketFlowInstrumentor

CONTENT = Config(content=True)
MODES = {
    "plain": (Config(), None),
    "content": (CONTENT, None),
    "no phases": (Config(content=True, pocketflow_phases=frozenset()), None),
    "not sampled": (CONTENT, ALWAYS_OFF),
}


@contextmanager
def instrumented(provider: Any, config: Config | None = None):
    """The instrumentor is on inside, and off again behind."""
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=config or Config())
    try:
        yield instrumentor
    finally:
        instrumentor.uninstrument()


@pytest.fixture
def on(recorder):
    """`with on(Config(...)):` traces into `recorder`."""
    return functools.partial(instrumented, recorder.provider)


@pytest.fixture
def traced(on):
    """PocketFlow is traced into `recorder` with the default settings."""
    with on():
        yield


@pytest.fixture
def traced_content(on):
    """As `traced`, with content captured."""
    with on(CONTENT):
        yield


class Log(list):
    """What a program's nodes note; `raised` is an exception object that must come out as it is."""

    raised: BaseException | None = None


@dataclasses.dataclass
class Outcome:
    """Everything that must not depend on us."""

    result: Any
    log: list[Any]
    error: tuple[Any, ...] | None
    warned: list[tuple[Any, ...]]


def _error(exc: BaseException | None, log: Log) -> tuple[Any, ...] | None:
    if exc is None:
        return None
    innermost = traceback.extract_tb(exc.__traceback__)[-1]
    return (
        type(exc).__qualname__,
        repr(exc.args),
        exc is log.raised,
        (innermost.filename, innermost.lineno, innermost.name),
        type(exc.__cause__).__qualname__,
        type(exc.__context__).__qualname__,
        exc.__suppress_context__,
    )


def observe(program: Callable[[Log], Any]) -> Outcome:
    """Run a program, which notes in its log what its nodes see, and returns what it wants compared."""
    log, result, error = Log(), None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = program(log)
        except BaseException as exc:
            error = _error(exc, log)
    warned = [(w.category.__name__, str(w.message), w.filename, w.lineno) for w in caught]
    return Outcome(result, list(log), error, warned)


@pytest.fixture(params=MODES)
def same(request):
    """Runs a program without and with instrumentation, and asserts that it cannot tell; returns the recorder."""

    def compare(program: Callable[[Log], Any]) -> Recorder:
        config, sampler = MODES[request.param]
        without = observe(program)
        recorder = Recorder(sampler=sampler)
        with instrumented(recorder.provider, config):
            within = observe(program)
        assert within == without
        recorder.assert_closed()
        assert bool(recorder.spans) is (sampler is None)
        return recorder

    return compare
