"""What the spans of flows, nodes and phases say, and the edges between nodes."""

import asyncio
import collections
import enum

import pocketflow as pf
import pytest
from opentelemetry.trace import SpanKind

from spanloom import names
from spanloom.config import Config


class Support(pf.Flow):
    pass


class Ask(pf.Node):
    def post(self, shared, prep_res, exec_res):
        return shared.get("action")


def module(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


# -- names and types ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traced")
def test_every_attribute_of_a_flow_a_node_and_a_phase(recorder):
    Support(start=Ask()).run({"action": "go"})
    assert dict(recorder.only("invoke_workflow Support").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "Support",
        "pocketflow.node.class": module(Support),
        **({"pocketflow.action": "go"} if hasattr(pf.BaseNode, "next") else {}),
    }
    assert dict(recorder.only("run_step Ask").attributes) == {
        "gen_ai.operation.name": "run_step",
        "gen_ai.step.name": "Ask",
        "spanloom.node.name": "Ask",
        "pocketflow.node.class": module(Ask),
        "pocketflow.step": 1,
        "pocketflow.node.index": 0,
        "pocketflow.action": "go",
    }
    assert dict(recorder.only("post Ask").attributes) == {"pocketflow.phase": "post"}
    assert {span.kind for span in recorder.spans} == {SpanKind.INTERNAL}
    assert {span.instrumentation_scope.name for span in recorder.spans} == {"spanloom_pocketflow"}
    assert all(span.status.is_unset and not span.events and not span.links for span in recorder.spans)


@pytest.mark.usefixtures("traced")
def test_a_node_alone_has_no_place_and_decides_only_what_it_says(recorder):
    Ask().run({})
    Ask().run({"action": "said"})
    first, second = recorder.named("run_step Ask")
    assert not {names.POCKETFLOW_STEP, names.POCKETFLOW_NODE_INDEX, names.POCKETFLOW_ACTION} & set(first.attributes)
    assert second.attributes[names.POCKETFLOW_ACTION] == "said"


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "base", [cls for cls in vars(pf).values() if isinstance(cls, type) and issubclass(cls, pf.BaseNode)]
)
def test_names_of_all_eleven_classes(recorder, base):
    Sub = type("Sub", (type("Between", (base,), {}),), {})
    for cls, name in ((base, None), (Sub, "Sub")):
        node = cls(start=None) if issubclass(cls, pf.Flow) else cls()
        if issubclass(cls, pf.AsyncNode):
            node.prep_async = lambda shared: asyncio.sleep(0, [])  # not every version takes None for no items
            asyncio.run(node.run_async({}))
        else:
            node.prep = lambda shared: []
            node.run({})
        span = recorder.spans[-1]
        assert span.attributes[names.POCKETFLOW_NODE_CLASS] == module(cls)
        if issubclass(cls, pf.Flow):
            assert span.name == ("invoke_workflow Sub" if name else "invoke_workflow")
            assert span.attributes.get(names.GEN_AI_WORKFLOW_NAME) == name
        else:
            assert span.name == f"run_step {cls.__name__}"
            assert names.GEN_AI_WORKFLOW_NAME not in span.attributes
        recorder.clear()


@pytest.mark.usefixtures("traced")
def test_a_class_of_the_users_named_as_pocketflows(recorder):
    Flow = type("Flow", (pf.Flow,), {})
    Flow(start=None).run({})
    assert recorder.only("invoke_workflow Flow").attributes[names.GEN_AI_WORKFLOW_NAME] == "Flow"


def test_draft_names_off(recorder, on):
    with on(Config(draft_names=False)):
        Support(start=Ask()).run({})
    attributes = recorder.only("run_step Ask").attributes
    assert names.GEN_AI_STEP_NAME not in attributes
    assert attributes[names.NODE_NAME] == "Ask"


# -- edges --------------------------------------------------------------------------------------------------------


def links(span):
    return [link.context.span_id for link in span.links]


@pytest.mark.usefixtures("traced")
def test_each_node_links_to_the_one_that_led_to_it(recorder):
    class Loop(pf.Node):
        def post(self, shared, prep_res, exec_res):
            shared["n"] = shared.get("n", 0) + 1
            return "again" if shared["n"] < 3 else "done"

    inner = pf.Flow(start=pf.Node())
    loop = Loop()
    _ = loop - "again" >> loop
    _ = loop - "done" >> inner >> Ask()
    Support(start=loop).run({})
    one, two, three = recorder.named("run_step Loop")
    nested, ask = recorder.only("invoke_workflow"), recorder.only("run_step Ask")
    assert links(one) == []
    assert links(two) == [one.context.span_id]
    assert links(three) == [two.context.span_id]
    assert links(nested) == [three.context.span_id]
    assert links(ask) == [nested.context.span_id]
    assert links(recorder.only("run_step Node")) == []  # the first of its own flow
    assert all(link.context.trace_id == ask.context.trace_id for link in ask.links)


class Go(enum.Enum):
    ON = 1


class Text(str, enum.Enum):
    ON = "on"


class Odd:
    """An action that may only be asked once, by PocketFlow."""

    asked = 0

    def __bool__(self):
        self.asked += 1
        return True


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("go", "go"),
        (None, "default"),
        ("", "default"),
        (0, "default"),
        ([], "default"),
        (7, "7"),
        (True, "True"),
        (1.5, "1.5"),
        (10**40, "<int>"),
        (Go.ON, "Go.ON"),
        (Text.ON, "on"),
        (("a", 1), "<tuple>"),
        (object, "<type>"),
        (Odd(), "<Odd>"),
    ],
    ids=str,
)
def test_actions_as_text(recorder, action, text):
    class Gives(pf.Node):
        def post(self, shared, prep_res, exec_res):
            return action

    node = Gives()
    node.successors = {"default" if text == "default" else action: Ask()}
    pf.Flow(start=node).run({})
    span = recorder.only("run_step Gives")
    assert span.attributes[names.POCKETFLOW_ACTION] == text
    assert span.attributes[names.POCKETFLOW_NEXT] == "Ask"
    assert getattr(action, "asked", 1) == 1


@pytest.mark.usefixtures("traced")
def test_a_missing_successor_is_an_event_on_the_flow(recorder):
    node = Ask()
    _ = node - "yes" >> pf.Node()
    node.successors[Go.ON] = node.successors[3] = pf.Node()
    with pytest.warns(UserWarning, match="Flow ends: 'maybe' not found"):
        Support(start=node).run({"action": "maybe"})
    (event,) = recorder.only("invoke_workflow Support").events
    assert event.name == "pocketflow.no_successor"
    assert dict(event.attributes) == {
        "spanloom.node.name": "Ask",
        "pocketflow.action": "maybe",
        "pocketflow.successors": ("yes", "Go.ON", "3"),
    }
    assert names.POCKETFLOW_NEXT not in recorder.only("run_step Ask").attributes


@pytest.mark.usefixtures("traced")
def test_the_end_of_a_flow_is_no_missing_successor(recorder):
    Support(start=Ask()).run({"action": "anything"})
    assert recorder.only("invoke_workflow Support").events == ()


@pytest.mark.usefixtures("traced")
def test_a_missing_successor_inside_a_parameter_set(recorder):
    class Each(pf.BatchFlow):
        def prep(self, shared):
            return [{}]

    node = Ask()
    _ = node >> pf.Node()
    with pytest.warns(UserWarning, match="Flow ends"):
        Each(start=node).run({"action": "lost"})
    inner, outer = recorder.named("invoke_workflow Each")
    assert [event.name for event in inner.events] == ["pocketflow.no_successor"]
    assert outer.events == ()


@pytest.mark.usefixtures("traced")
def test_steps_and_indices_count_per_run_of_a_loop(recorder):
    class Pick(pf.Flow):
        def get_next_node(self, curr, action):
            return nodes.popleft() if nodes else None

    a, b, c = Ask(), type("B", (pf.Node,), {})(), type("C", (pf.Node,), {})()
    nodes = collections.deque([b, a, c, b])
    Pick(start=a).run({})
    expected = """
invoke_workflow Pick
  run_step Ask [step=1, index=0, next=B]
    post Ask
  run_step B [step=2, index=1, next=Ask]
  run_step Ask [step=3, index=0, next=C]
    post Ask
  run_step C [step=4, index=2, next=B]
  run_step B [step=5, index=1]
"""
    assert recorder.tree(names.POCKETFLOW_STEP, names.POCKETFLOW_NODE_INDEX, names.POCKETFLOW_NEXT) == expected
