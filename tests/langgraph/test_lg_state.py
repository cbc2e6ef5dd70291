"""What is told of state: changed keys always; inputs, updates and results with content, each kind by its own switch."""

import dataclasses
import json
import operator
from typing import Annotated, Any

import pytest
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import TypedDict

from spanloom import guard
from spanloom.config import Config

CONTENT = ("spanloom.input", "spanloom.output", "spanloom.state.changes")


class Order(TypedDict, total=False):
    item: str
    notes: Annotated[list, operator.add]
    api_key: str
    secret_plan: str


def of(span):
    """What a span tells of values."""
    return {key: json.loads(span.attributes[key]) for key in CONTENT if key in span.attributes}


@pytest.fixture
def order(build, way):
    """A graph whose nodes change some keys."""
    return build(
        {
            "one": way.node(lambda state: {"item": "tea", "notes": ["first"]}),
            "none": way.node(lambda state: None),
            "two": way.node(lambda state: Command(update={"notes": ["second"]}, goto=[])),
        },
        "START > one > none > two",
        state=Order,
        name="Order",
    )


def test_names_of_changed_keys(spans, order, way):
    way.invoke(order, {"item": "?", "notes": []})
    assert (
        spans.tree("spanloom.state.changed_keys")
        == """
invoke_workflow Order
  run_step one [changed_keys=('item', 'notes')]
  run_step none
  run_step two [changed_keys=('notes',)]
"""
    )
    assert not any(set(CONTENT) & set(span.attributes) for span in spans.spans)


def test_values_with_content(content, order, way):
    """A node's input is the state, which the run has; so each node tells only what it wrote."""
    way.invoke(order, {"item": "?", "notes": ["asked"]})
    assert {span.name: of(span) for span in content.spans} == {
        "invoke_workflow Order": {
            "spanloom.input": {"item": "?", "notes": ["asked"]},
            "spanloom.output": {"item": "tea", "notes": ["asked", "first", "second"]},
        },
        "run_step one": {
            "spanloom.state.changes": {
                "changed": {
                    "item": {"before": "?", "update": "tea"},
                    "notes": {"update": ["first"]},
                }
            }
        },
        "run_step none": {},
        "run_step two": {"spanloom.state.changes": {"changed": {"notes": {"update": ["second"]}}}},
    }


KINDS = {
    "messages": set(),
    "tools": set(),
    "io": {"spanloom.input", "spanloom.output"},
    "state": {"spanloom.state.changes"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_by_itself(recorder, on, order, way, kind):
    with on(Config(content=True, capture=frozenset({kind}))):
        way.invoke(order, {"item": "?", "notes": []})
    assert {key for span in recorder.spans for key in of(span)} == KINDS[kind]


def test_arguments_of_sends(content, build, way):
    graph = build(
        {"work": way.node(lambda text: {"notes": [text["n"]]})},
        state=Order,
        conditions=[(START, lambda state: [Send("work", {"n": n}) for n in range(2)], ["work"])],
    )
    way.invoke(graph, {"notes": []})
    assert sorted(span.attributes["spanloom.input"] for span in content.named("run_step work")) == [
        '{"n":0}',
        '{"n":1}',
    ]


def test_arguments_and_results_of_tasks(content):
    @task
    def add(a, b=1):
        return {"sum": a + b}

    @task
    def nothing():
        return None

    @entrypoint()
    def flow(value):
        nothing().result()
        return [add(value["n"]).result(), add(1, b=2).result()]

    flow.invoke({"n": 4})
    assert of(content.only("invoke_workflow flow")) == {
        "spanloom.input": {"n": 4},
        "spanloom.output": [{"sum": 5}, {"sum": 3}],
    }
    assert [of(span) for span in content.named("run_step add")] == [
        {"spanloom.input": {"args": [4]}, "spanloom.output": {"sum": 5}},
        {"spanloom.input": {"args": [1], "kwargs": {"b": 2}}, "spanloom.output": {"sum": 3}},
    ]
    assert of(content.only("run_step nothing")) == {"spanloom.input": {"args": []}, "spanloom.output": None}
    assert of(content.only("run_step flow")) == {}


def test_results_of_graphs_below(content, build, way):
    """A graph that is a node tells what it changed; one that is called, what it was given and what it gave."""
    inner = build({"a": way.step("a")}, "START > a", name="Inner")

    async def acall(state):
        return await inner.ainvoke({"x": [1]})

    outer = build(
        {"sub": inner, "call": acall if way.is_async else lambda state: inner.invoke({"x": [1]})},
        "START > sub > call",
        name="Outer",
    )
    way.invoke(outer, {"x": []})
    sub, called = sorted(content.named("invoke_workflow Inner"), key=lambda span: span.start_time)
    assert of(sub) == {"spanloom.state.changes": {"changed": {"x": {"update": ["a"]}}}}
    assert of(called) == {"spanloom.input": {"x": [1]}, "spanloom.output": {"x": [1, "a"]}}


class Model(BaseModel):
    item: str = "?"
    notes: Annotated[list, operator.add] = []


@dataclasses.dataclass
class Data:
    item: str = "?"
    notes: Annotated[list, operator.add] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("state", [Model, Data])
def test_states_that_are_objects(content, build, way, state):
    """As states that are dicts: the run's input once, and what each node changed."""
    graph = build(
        {
            "one": way.node(lambda state: {"item": state.item + "!"}),
            "two": way.node(lambda given: state(item="two", notes=[given.item])),
        },
        "START > one > two",
        state=state,
    )
    way.invoke(graph, state(item="tea"))
    assert {span.name: of(span) for span in content.spans} == {
        "invoke_workflow": {
            "spanloom.input": {"<type>": f"{__name__}.{state.__name__}", "item": "tea", "notes": []},
            "spanloom.output": {"item": "two", "notes": ["tea!"]},
        },
        "run_step one": {"spanloom.state.changes": {"changed": {"item": {"before": "tea", "update": "tea!"}}}},
        "run_step two": {
            "spanloom.state.changes": {
                "changed": {
                    "item": {"before": "tea!", "update": "two"},
                    "notes": {"update": ["tea!"]},
                }
            }
        },
    }


def test_a_state_without_keys(content, way):
    builder = StateGraph(Annotated[list, operator.add])
    builder.add_node("n", way.node(lambda state: ["more"]))
    builder.add_edge(START, "n")
    assert way.invoke(builder.compile(), ["given"]) == ["given", "more"]
    assert {span.name: of(span) for span in content.spans} == {
        "invoke_workflow": {"spanloom.input": ["given"], "spanloom.output": ["given", "more"]},
        "run_step n": {"spanloom.state.changes": {"changed": {"__root__": {"update": ["more"]}}}},
    }


def test_a_nodes_own_input_type_is_still_the_state(content, way):
    class Part(TypedDict):
        item: str

    def node(state: Part):
        return {"notes": [state["item"]]}

    builder = StateGraph(Order)
    builder.add_node("n", way.node(node))
    builder.add_edge(START, "n")
    way.invoke(builder.compile(), {"item": "tea", "notes": []})
    assert of(content.only("run_step n")) == {"spanloom.state.changes": {"changed": {"notes": {"update": ["tea"]}}}}


def test_many_writes_to_one_key_are_one_name(spans, way):
    """Of a sequence of updates too."""

    class Keyed(TypedDict):
        a: Annotated[list, operator.add]
        b: str

    builder = StateGraph(Keyed)
    builder.add_node(
        "n", way.node(lambda state: [Command(update={"a": [1]}), Command(update={"a": [2], "b": "x"}), {"a": [3]}])
    )
    builder.add_edge(START, "n")
    assert way.invoke(builder.compile(), {"a": []}) == {"a": [1, 2, 3], "b": "x"}
    assert spans.only("run_step n").attributes["spanloom.state.changed_keys"] == ("a", "b")


# -- bounds and secrets -------------------------------------------------------------------------------------------


def test_a_large_state_costs_little(recorder, on, build, way):
    large = {"item": "x" * 300_000, "notes": [{"n": n, "text": "y" * 1000} for n in range(300)]}
    config = Config(content=True)
    graph = build({name: way.node(lambda state: dict(large)) for name in "abc"}, "START > a > b > c", state=Order)
    with on(config):
        way.invoke(graph, large)
    for span in recorder.spans:
        for key in set(CONTENT) & set(span.attributes):
            text = span.attributes[key]
            assert len(text.encode()) <= config.max_value_bytes
            json.loads(text)
    assert len(recorder.spans) == 4


def test_secrets(content, build, way):
    key = "sk-proj-" + "a1B2" * 12
    graph = build(
        {"n": way.node(lambda state: {"api_key": "hunter2", "item": f"the key is {key}"})}, "START > n", state=Order
    )
    way.invoke(graph, {"item": "?", "api_key": "hunter1"})
    told = json.dumps([dict(span.attributes) for span in content.spans])
    assert "hunter" not in told
    assert key not in told
    assert "the key is" in told


def test_a_secret_in_the_name_of_a_key(spans, way):
    """Keys of a state are the program's, but who knows."""
    key = "sk-proj-" + "a1B2" * 12
    builder = StateGraph(TypedDict("Odd", {key: str}))
    builder.add_node("n", way.node(lambda state: {key: "x"}))
    builder.add_edge(START, "n")
    way.invoke(builder.compile(), {key: ""})
    assert key not in str([dict(span.attributes) for span in spans.spans if span.name == "run_step n"])


class Poison:
    def __repr__(self):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = object.__hash__

    def __getattr__(self, name):
        raise RuntimeError(name)


def poisons():
    cycle: list = []
    cycle.append(cycle)
    return [Poison(), float("nan"), "\ud800", 2**80, b"\xff", cycle, (n for n in range(3)), {1: {2: 3}}, type, len]


GENERATOR = 6


@pytest.mark.parametrize("number", range(len(poisons())))
def test_odd_values(content, build, way, number):
    odd = poisons()[number]

    class Any_(TypedDict):
        value: Any

    graph = build({"n": way.node(lambda state: {"value": odd})}, "START > n", state=Any_)
    assert way.invoke(graph, {"value": odd})["value"] is odd
    for span in content.spans:
        assert of(span)
    assert number != GENERATOR or list(odd) == [0, 1, 2]


def test_an_input_that_breaks_us(content, build, sync_way):
    """It looks like LangGraph's `Command`, and is not."""
    guard.set_strict(False)

    class Command(dict):
        resume = property(lambda self: 1 / 0)

    assert build(sync_way.steps("a"), "START > a").invoke(Command(x=[])) == {"x": ["a"]}
    assert content.tree() == "\ninvoke_workflow\n  run_step a\n    in a\n"
    assert "spanloom.input" not in content.only("invoke_workflow").attributes


# -- trace policies -----------------------------------------------------------------------------------------------


def policies():
    try:
        from langgraph.types import TracePolicy
    except ImportError:
        pytest.skip("this LangGraph has no trace policies")
    return TracePolicy


def test_a_trace_policy(content, build, way):
    policy = policies()(process_inputs=lambda value: {"seen": sorted(value)}, process_outputs=lambda value: "reduced")
    graph = build(
        {
            "n": (way.node(lambda state: {"item": "private"}), {"trace_policy": policy}),
            "plain": way.node(lambda state: {"notes": ["x"]}),
        },
        "START > n > plain",
        state=Order,
    )
    way.invoke(graph, {"item": "?", "notes": []})
    assert of(content.only("run_step n")) == {
        "spanloom.input": {"seen": ["item", "notes"]},
        "spanloom.output": "reduced",
    }
    assert "spanloom.state.changes" in of(content.only("run_step plain"))
    assert content.only("run_step n").attributes["spanloom.state.changed_keys"] == ("item",)


def test_a_trace_policy_of_inputs_only(content, build, way):
    """The values before are inputs too."""
    policy = policies()(process_inputs=lambda value: "reduced")
    graph = build({"n": (way.node(lambda state: {"item": "new"}), {"trace_policy": policy})}, "START > n", state=Order)
    way.invoke(graph, {"item": "private"})
    assert of(content.only("run_step n")) == {
        "spanloom.input": "reduced",
        "spanloom.state.changes": {"changed": {"item": {"update": "new"}}},
    }


def test_a_trace_policy_that_fails(content, build, way, caplog):
    """Nothing of the value is told, the program runs on, and one line says so."""
    guard.set_strict(False)
    guard._State.logged.pop("langgraph.trace_policy", None)

    def fails(value):
        raise ValueError("policy")

    policy = policies()(process_inputs=fails, process_outputs=fails)
    graph = build({"n": (way.node(lambda state: {"x": ["private"]}), {"trace_policy": policy})}, "START > n")
    assert way.invoke(graph, {"x": []}) == {"x": ["private"]}
    assert of(content.only("run_step n")) == {}
    assert [record.message for record in caplog.records if record.name == "spanloom"] == [
        "spanloom lost a value that a TracePolicy was to reduce (langgraph.trace_policy: ValueError('policy')). "
        "The program is not affected; this is logged once."
    ]


def test_a_trace_policy_is_asked_by_nobody_else_without_content(recorder, on, build, way):
    asked = []
    policy = policies()(process_inputs=asked.append, process_outputs=asked.append)
    graph = build({"n": (way.node(lambda state: {"x": [1]}), {"trace_policy": policy})}, "START > n")
    way.invoke(graph, {"x": []})
    without = len(asked)
    with on():
        way.invoke(graph, {"x": []})
    assert len(asked) == 2 * without
