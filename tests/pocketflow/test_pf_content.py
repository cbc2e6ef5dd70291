"""State changes and captured content as the spans tell them."""

import json
import types

import pocketflow as pf
import pytest

from spanloom import names
from spanloom.config import Config


class Support(pf.Flow):
    pass


class Ask(pf.Node):
    def post(self, shared, prep_res, exec_res):
        return shared.get("action")


# -- state --------------------------------------------------------------------------------------------------------


class Changes(pf.Node):
    def exec(self, prep_res):
        return None

    def post(self, shared, prep_res, exec_res):
        shared["added"] = 1
        shared["changed"] = "new"
        shared["in_place"].append(2)
        del shared["removed"]
        shared["same"] = shared["same"]


def state():
    return {"changed": "old", "in_place": [1], "removed": 0, "same": {"k": [1]}, "deep": {"k": {"l": 1}}, 7: 1}


@pytest.mark.usefixtures("traced")
def test_names_of_changed_keys(recorder):
    _ = (first := Changes()) >> Ask()
    Support(start=first).run(state())
    assert recorder.only("run_step Changes").attributes[names.STATE_CHANGED_KEYS] == (
        "added",
        "changed",
        "in_place",
        "removed",
    )
    assert names.STATE_CHANGED_KEYS not in recorder.only("run_step Ask").attributes
    assert set(recorder.only("invoke_workflow Support").attributes[names.STATE_CHANGED_KEYS]) == {
        "added",
        "changed",
        "in_place",
        "removed",
    }
    assert not any(names.STATE_CHANGES in span.attributes for span in recorder.spans)


@pytest.mark.usefixtures("traced")
def test_a_set_that_did_not_change_is_not_reported(recorder):
    """The copy of a set that items were removed from may have another order."""
    members = set(range(8, 40))
    for member in range(8, 36):
        members.discard(member)
    crowded = {"ab" * n for n in range(20)}
    crowded -= {"ab" * n for n in range(3, 20)}
    Ask().run({"members": members, "crowded": crowded})
    assert names.STATE_CHANGED_KEYS not in recorder.only("run_step Ask").attributes


@pytest.mark.usefixtures("traced_content")
def test_values_of_changes_with_content(recorder):
    Support(start=Changes()).run(state())
    changes = json.loads(recorder.only("run_step Changes").attributes[names.STATE_CHANGES])
    assert changes == {
        "added": {"added": 1},
        "changed": {"changed": {"before": "old", "after": "new"}, "in_place": {"before": [1], "after": [1, 2]}},
        "removed": {"removed": 0},
    }


@pytest.mark.usefixtures("traced_content")
def test_state_of_an_object(recorder):
    class Sets(pf.Node):
        def post(self, shared, prep_res, exec_res):
            shared.answer = 42

    shared = types.SimpleNamespace(question="?")
    pf.Flow(start=Sets()).run(shared)
    span = recorder.only("run_step Sets")
    assert span.attributes[names.STATE_CHANGED_KEYS] == ("answer",)
    assert json.loads(span.attributes[names.STATE_CHANGES]) == {"added": {"answer": 42}}


# -- content ------------------------------------------------------------------------------------------------------


class Says(pf.Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, prep_res):
        return {"answer": prep_res.upper()}

    def post(self, shared, prep_res, exec_res):
        shared["answer"] = exec_res["answer"]


class Each(pf.BatchFlow):
    def prep(self, shared):
        return [{"i": 0}, {"i": 1}]


@pytest.mark.usefixtures("traced")
def test_no_content_unless_it_is_asked_for(recorder):
    Each(start=Says()).run({"question": "secret"})
    told = {key for span in recorder.spans for key in span.attributes}
    assert not told & {names.INPUT, names.OUTPUT, names.STATE_CHANGES, names.POCKETFLOW_PARAMS}
    assert "secret" not in str([dict(span.attributes) for span in recorder.spans]).lower()


@pytest.mark.usefixtures("traced_content")
def test_content_where_it_is_asked_for(recorder):
    Each(start=Says()).run({"question": "q"})
    expected = """
invoke_workflow Each [input={"question":"q"}, output={"question":"q","answer":"Q"}]
  prep Each [output=[{"i":0},{"i":1}]]
  invoke_workflow Each [params={"i":0}, changes={"added":{"answer":"Q"}}]
    run_step Says [changes={"added":{"answer":"Q"}}]
      prep Says [output="q"]
      exec Says [input="q", output={"answer":"Q"}]
      post Says
  invoke_workflow Each [params={"i":1}]
    run_step Says
      prep Says [output="q"]
      exec Says [input="q", output={"answer":"Q"}]
      post Says
"""
    assert recorder.tree(names.INPUT, names.OUTPUT, names.POCKETFLOW_PARAMS, names.STATE_CHANGES) == expected


@pytest.mark.parametrize("kind", ["io", "state", "params"])
def test_kinds_of_content(recorder, on, kind):
    with on(Config(content=True, capture=frozenset({kind}))):
        Each(start=Says()).run({"question": "q"})
    told = {key for span in recorder.spans for key in span.attributes}
    about_state = {span.name for span in recorder.spans if names.OUTPUT in span.attributes}
    assert (names.POCKETFLOW_PARAMS in told) is (kind == "params")
    assert (names.STATE_CHANGES in told) is (kind == "state")
    expected = {"io": {"prep Each", "prep Says", "exec Says"}, "state": {"invoke_workflow Each"}, "params": set()}
    assert about_state == expected[kind]


@pytest.mark.usefixtures("traced_content")
def test_secrets_are_redacted_everywhere(recorder):
    class Leaks(pf.Node):
        def prep(self, shared):
            return {"api_key": shared["key"], "text": f"use {shared['key']}"}

        def exec(self, prep_res):
            raise ValueError(f"refused {prep_res['api_key']}")

        def exec_fallback(self, prep_res, exc):
            return prep_res

        def post(self, shared, prep_res, exec_res):
            shared["copied"] = exec_res

    key = "sk-" + "Ab3dEf6hIj9k" * 2
    _ = (leaks := Leaks(max_retries=2)) >> type("Fails", (pf.Node,), {"prep": lambda s, shared: _fail(key)})()
    with pytest.raises(LookupError):
        Each(start=leaks).run({"key": key})
    told = str(
        [(dict(s.attributes), s.status.description, [dict(e.attributes) for e in s.events]) for s in recorder.spans]
    )
    assert key not in told
    assert told.count("[REDACTED]") > 10


def _fail(text):
    raise LookupError(text)


@pytest.mark.usefixtures("traced_content")
def test_poison_is_told_and_never_touched(recorder):
    class Rude:
        def __repr__(self):
            raise RuntimeError

        __str__ = __eq__ = __bool__ = __len__ = __iter__ = __getattr__ = __repr__
        __hash__ = None

    def generate():
        yield from (1, 2)

    class Gives(pf.Node):
        def prep(self, shared):
            return [generate(), Rude(), float("nan"), "\ud800", 1 << 70, b"x", shared]

        def exec(self, prep_res):
            return prep_res

        def post(self, shared, prep_res, exec_res):
            shared["rude"] = exec_res[1]
            shared["left"] = list(exec_res[0])

    shared = {}
    shared["me"] = shared
    Gives().run(shared)
    assert shared["left"] == [1, 2]
    assert len(json.loads(recorder.only("exec Gives").attributes[names.OUTPUT])) == 7


def test_values_are_bounded(recorder, on):
    class Big(pf.Node):
        def prep(self, shared):
            return ["x" * 100] * 100_000

        def exec(self, prep_res):
            return prep_res

        def post(self, shared, prep_res, exec_res):
            shared.update({f"k{i}": "y" * 5000 for i in range(50)})

    with on(Config(content=True, max_value_bytes=1000)):
        pf.Flow(start=Big()).run({})
    for span in recorder.spans:
        for key in (names.INPUT, names.OUTPUT, names.STATE_CHANGES):
            if key in span.attributes:
                assert len(span.attributes[key].encode()) <= 1000
                json.loads(span.attributes[key])


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traced")
def test_names_that_the_program_makes_up_are_redacted_and_bounded_without_content_too(recorder):
    """Actions and keys stand in every trace, and may be a model's own words."""
    secret = "sk-proj-A1b2C3d4E5f6G7h8I9"

    class Speaks(pf.Node):
        def post(self, shared, prep_res, exec_res):
            shared[secret] = 1
            return f"use {secret} " + "and so on " * 100

    _ = (node := Speaks()) - secret >> pf.Node()
    with pytest.warns(UserWarning, match="Flow ends"):
        Support(start=node).run({})
    span = recorder.only("run_step Speaks")
    (event,) = recorder.only("invoke_workflow Support").events
    written = json.dumps([dict(span.attributes), dict(event.attributes)])
    assert secret not in written
    assert len(span.attributes[names.POCKETFLOW_ACTION].encode()) <= 256
    assert "[REDACTED]" in span.attributes[names.STATE_CHANGED_KEYS][0]


@pytest.mark.usefixtures("traced")
def test_a_flow_that_makes_up_its_nodes_keeps_few_of_them(recorder, monkeypatch):
    monkeypatch.setattr("spanloom_pocketflow._loop._MOST_NODES", 2)

    class Endless(pf.Flow):
        def get_next_node(self, curr, action):
            return pf.Node() if len(recorder.named("run_step Node")) < 4 else None

    Endless(start=pf.Node()).run({})
    indices = [span.attributes[names.POCKETFLOW_NODE_INDEX] for span in recorder.named("run_step Node")]
    assert indices == [0, 1, 2, 2, 2]
