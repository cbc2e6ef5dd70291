"""On and off: what is wrapped comes back, in any order with others; off or dropped, programs run the same."""

import functools
import gc
import logging
import sys
import warnings

import pytest
import wrapt
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.types import RetryPolicy
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider

from spanloom import guard
from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_langgraph import LangGraphInstrumentor


def module(name):
    return sys.modules.get(f"langgraph.pregel._{name}") or sys.modules[f"langgraph.pregel.{name}"]


def everything():
    """Every function and class in LangGraph's modules, and everything in these classes."""
    owners = [value for name, value in sys.modules.items() if name.split(".")[0] == "langgraph"]
    found = {}
    for owner in owners:
        for name, value in vars(owner).items():
            if callable(value):
                found[owner.__name__, name] = value
            if isinstance(value, type) and value.__module__.startswith("langgraph"):
                found |= {
                    (value.__module__, value.__qualname__, key): held
                    for key, held in vars(value).items()
                    if not key.startswith(("__abstractmethods__", "_abc_"))
                }
    return found


def differences(before, after):
    return {key for key in before.keys() | after.keys() if before.get(key) is not after.get(key)}


def test_uninstrument_restores_everything(recorder, on, build, way):
    way.invoke(build(way.steps("a"), "START > a"), {"x": []})  # what is imported or made at the first run is there
    before = everything()
    with on():
        way.invoke(build(way.steps("a"), "START > a"), {"x": []})
        assert {key[1:] for key in differences(before, everything())} >= {
            ("Pregel", "stream"),
            ("Pregel", "astream"),
            ("run_with_retry",),
            ("arun_with_retry",),
        }
    assert differences(before, everything()) == set()


def test_twice_is_once_and_again_is_anew(recorder, on, build, way):
    graph = build(way.steps("a"), "START > a")
    tree = "\ninvoke_workflow\n  run_step a\n    in a\n"
    with on() as instrumentor:
        instrumentor.instrument(tracer_provider=recorder.provider)
        LangGraphInstrumentor().instrument(tracer_provider=recorder.provider)
        way.invoke(graph, {"x": []})
    assert recorder.tree() == tree
    recorder.clear()
    way.invoke(graph, {"x": []})
    assert recorder.tree() == "\nin a\n"
    recorder.clear()
    with on():
        way.invoke(graph, {"x": []})
    assert recorder.tree() == tree


def test_uninstrument_during_a_run(recorder, on, build, sync_way):
    """The run that began keeps its span, what begins later gets none."""
    graph = build(sync_way.steps("ab"), "START > a > b")
    with on():
        stream = graph.stream({"x": []})
        next(stream)
    list(stream)
    assert recorder.tree() == "\ninvoke_workflow\n  run_step a\n    in a\n  in b\n"


def test_instrument_during_a_run(recorder, on, build, sync_way):
    graph = build(sync_way.steps("ab"), "START > a > b")
    stream = graph.stream({"x": []})
    next(stream)
    with on():
        list(stream)
    assert "in b" in recorder.tree()
    recorder.assert_closed()


class Other:
    """Another instrumentor that wraps the same functions, as `wrapt` does."""

    def __init__(self):
        self.calls = []
        self._done = []

    def instrument(self):
        targets = [(Pregel, name) for name in ("stream", "astream", "invoke", "ainvoke")]
        targets += [(module(where), name) for where in ("retry", "runner") for name in RUN]
        for owner, name in targets:
            original = vars(owner)[name]
            wrapper = wrapt.FunctionWrapper(original, self._seen)
            setattr(owner, name, wrapper)
            self._done.append((owner, name, original, wrapper))

    def _seen(self, wrapped, instance, args, kwargs):
        self.calls.append(wrapped.__name__)
        return wrapped(*args, **kwargs)

    def uninstrument(self):
        while self._done:
            owner, name, original, wrapper = self._done.pop()
            if vars(owner)[name] is wrapper:
                setattr(owner, name, original)


RUN = ("run_with_retry", "arun_with_retry")


@pytest.fixture
def two(recorder):
    """Ours and another instrumentor; what a test leaves is put right."""
    originals = [(Pregel, name) for name in ("stream", "astream", "invoke", "ainvoke")]
    originals += [(module(where), name) for where in ("retry", "runner") for name in RUN]
    originals = [(owner, name, vars(owner)[name]) for owner, name in originals]
    ours, other = LangGraphInstrumentor(), Other()
    ours.start = functools.partial(ours.instrument, tracer_provider=recorder.provider, config=Config())
    yield ours, other
    ours.uninstrument()
    for owner, name, original in originals:
        setattr(owner, name, original)


@pytest.mark.parametrize("order", ["ours inside", "ours outside"])
def test_beside_another_instrumentor(recorder, build, way, two, order):
    before = everything()
    ours, other = two
    graph = build(way.steps("ab"), "START > a > b")
    for start in (ours.start, other.instrument) if order == "ours inside" else (other.instrument, ours.start):
        start()
    way.invoke(graph, {"x": []})
    assert recorder.tree() == "\ninvoke_workflow\n  run_step a\n    in a\n  run_step b\n    in b\n"
    assert sum(name in RUN for name in other.calls) >= 2
    stops = [other.uninstrument, ours.uninstrument]
    for stop in stops if order == "ours inside" else reversed(stops):
        stop()
    assert differences(before, everything()) == set()


def test_ours_stops_first_though_it_is_inside(recorder, build, way, two):
    """Our wrapper is held by theirs: it stays, and lets everything through, also while we are on again."""
    ours, other = two
    graph = build(way.steps("a"), "START > a")
    ours.start()
    other.instrument()
    ours.uninstrument()
    assert way.invoke(graph, {"x": []}) == {"x": ["a"]}
    assert recorder.tree() == "\nin a\n"
    assert other.calls
    recorder.clear()
    ours.start()
    way.invoke(graph, {"x": []})
    assert recorder.tree() == "\ninvoke_workflow\n  run_step a\n    in a\n"


# -- nobody wants spans -------------------------------------------------------------------------------------------


def program(build, way):
    """Results of a program of many parts."""
    tries = []

    def flaky(state):
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return {"x": ["flaky"]}

    inner = build({"a": way.node(lambda state: {"x": ["a"]})}, "START > a")
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ValueError)
    outer = build(
        {"sub": inner, "flaky": (way.node(flaky), {"retry_policy": policy}), "b": lambda state: {"x": ["b"]}},
        "START > sub > flaky",
        "START > b",
        checkpointer=InMemorySaver(),
        interrupt_before=["flaky"],
    )
    config = {"configurable": {"thread_id": "1"}}
    return [
        way.stream(outer, {"x": []}, config, stream_mode="values"),
        way.invoke(outer, None, config),
        [state.values for state in outer.get_state_history(config)],
    ]


@pytest.mark.parametrize("kind", ["not sampled", "no-op", "disabled"])
def test_results_without_spans(on, build, way, kind, monkeypatch):
    expected = program(build, way)
    recorder = Recorder(sampler=ALWAYS_OFF)
    provider = recorder.provider if kind != "no-op" else NoOpTracerProvider()
    if kind == "disabled":
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        provider = type(recorder.provider)()
    with on(Config(content=True), provider=provider):
        assert program(build, way) == expected
    assert recorder.spans == []
    recorder.assert_closed()


def test_below_a_span_that_nobody_wants(recorder, on, build, way):
    """A trace that is not sampled stays so."""
    dropped = Recorder(sampler=ALWAYS_OFF)
    tracer = dropped.provider.get_tracer("t")
    graph = build({"sub": build(way.steps("a"), "START > a")}, "START > sub")
    with on(), tracer.start_as_current_span("request"):
        if not way.is_async:
            graph.invoke({"x": []})
    assert recorder.spans == []


def test_values_are_not_looked_at_without_spans(on, build, way):
    class Untouchable:
        def __getattribute__(self, name):
            if name not in ("__class__", "__dict__"):
                raise AssertionError(name)
            return object.__getattribute__(self, name)

    off = Recorder(sampler=ALWAYS_OFF)
    graph = build({"a": way.node(lambda state: {"x": [Untouchable()]})}, "START > a")
    with on(Config(content=True), provider=off.provider):
        assert len(way.invoke(graph, {"x": []})["x"]) == 1


# -- LangGraph without some of its private functions --------------------------------------------------------------

PRIVATE = {
    "_should_retry_on": ("retry", None),
    "should_interrupt": ("loop", None),
    "_first": ("loop", "PregelLoop"),
    "_suppress_interrupt": ("loop", "PregelLoop"),
    "output_writes": ("loop", "PregelLoop"),
    "put_writes": ("loop", "SyncPregelLoop"),
    "run_with_retry": ("retry", None),
    "arun_with_retry": ("retry", None),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_a_function_that_is_missing(recorder, on, build, sync_way, caplog, monkeypatch, name):
    """What only it tells is lost, and one line says so; the rest is there, and everything comes back."""
    graph = build(sync_way.steps("ab"), "START > a > b", checkpointer=InMemorySaver())
    where, kind = PRIVATE[name]
    owner = module(where) if kind is None else getattr(module(where), kind)
    before = everything()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "spanloom"):
        missing = vars(owner)[name]
        patch.delattr(owner, name)
        instrumentor = LangGraphInstrumentor()
        instrumentor.instrument(tracer_provider=recorder.provider, config=Config())
        setattr(owner, name, missing)
        graph.invoke({"x": []}, {"configurable": {"thread_id": "1"}})
        instrumentor.uninstrument()
    assert differences(before, everything()) == set()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "spanloom"]
    assert f"no {name}" in line
    assert "Upgrade" in line
    nodes = "" if name == "run_with_retry" else "  run_step {}\n  "
    a, b = (nodes.format(node) + f"  in {node}\n" for node in "ab")
    assert recorder.tree() == f"\ninvoke_workflow\n{a}{b}"


def test_a_hook_that_breaks_costs_only_what_it_tells(recorder, on, build, way, caplog):
    """LangGraph's private things may change under us."""
    guard.set_strict(False)
    guard._State.logged.clear()
    graph = build(way.steps("ab"), "START > a > b")
    with on(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("spanloom_langgraph._loop.Place.of", None)
        patch.setattr("spanloom_langgraph._nodes.read", None)
        assert way.invoke(graph, {"x": []}) == {"x": ["a", "b"]}
    assert recorder.tree() == "\ninvoke_workflow\n  run_step a\n    in a\n  run_step b\n    in b\n"
    assert all(record.getMessage().count("logged once") for record in caplog.records if record.name == "spanloom")
    guard._State.logged.clear()


# -- nothing stays ------------------------------------------------------------------------------------------------


def test_no_marks_on_what_is_the_programs(recorder, on, build, way):
    def attributes(graph):
        found = [graph, graph.builder, graph.checkpointer, *graph.nodes.values(), *graph.channels.values()]
        found += [node.bound for node in graph.nodes.values()]
        found += [node.bound.func for node in graph.nodes.values() if getattr(node.bound, "func", None)]
        return [sorted(getattr(each, "__dict__", {})) for each in found]

    def run():
        config = {"configurable": {"thread_id": "1"}, "metadata": {"mine": 1}}
        way.invoke(graph, {"x": []}, config)
        return config, attributes(graph)

    graph = build(
        {"sub": build(way.steps("a"), "START > a"), "b": way.step("b")},
        "START > sub > b",
        checkpointer=InMemorySaver(),
    )
    without = run()
    with on(Config(content=True)):
        assert run() == without


def test_no_warnings_and_no_log_lines(recorder, on, build, way, caplog):
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with on():
            program(build, way)
            gc.collect()
    assert [record for record in caplog.records if record.name.startswith(("spanloom", "opentelemetry"))] == []
    assert [each.message for each in caught] == []
