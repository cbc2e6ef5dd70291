"""`Config.serializers`: what the program wants recorded in the place of values of its own types."""

import dataclasses
import enum
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import spanloom
from spanloom import telemetry
from spanloom.capture import Capture
from spanloom.config import Config
from spanloom.credentials import MARK
from spanloom.instrument import Snapshot
from spanloom.sdk import _settings
from spanloom.testing import Recorder

KEY = "sk-abcdefghijklmnop1234567890"


class Money:
    def __init__(self, cents):
        self.cents = cents


class Tip(Money):
    pass


def euros(money):
    return f"{money.cents / 100:.2f} EUR"


def text(value, serializers, **config):
    return Capture(Config(content=True, serializers=serializers, **config)).json(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Money(250), '"2.50 EUR"'),
        (Tip(5), '"0.05 EUR"'),
        ({"paid": [Money(1), (Money(2),)]}, '{"paid":["0.01 EUR",["0.02 EUR"]]}'),
        ([1, "a", None, 1.5, True, {"b": {}}], '[1,"a",null,1.5,true,{"b":{}}]'),
    ],
)
def test_values_of_a_type_and_its_subclasses_are_replaced_wherever_they_stand(value, expected):
    assert text(value, {Money: euros}) == expected


def test_the_nearest_class_counts():
    both = {Money: euros, Tip: lambda tip: {"tip": tip.cents}}

    assert text([Tip(5), Money(5)], both) == '[{"tip":5},"0.05 EUR"]'


@pytest.mark.parametrize("base", [dict, list, set, str, int, bytes, tuple, ValueError, enum.Enum])
def test_types_that_are_written_otherwise_can_be_replaced_too(base):
    kind = enum.Enum("Kind", {"A": 1}) if base is enum.Enum else type("Kind", (base,), {})
    value = kind.A if base is enum.Enum else kind()

    assert text({"x": value}, {kind: lambda _: "mine"}) == '{"x":"mine"}'


def test_what_is_returned_may_hold_such_values_again():
    @dataclasses.dataclass
    class Node:
        name: str
        below: list

    tree = Node("a", [Node("b", [Node("c", [])]), 3])
    serialized = text(tree, {Node: lambda node: {"n": node.name, "below": node.below}})
    assert json.loads(serialized) == {
        "n": "a",
        "below": [{"n": "b", "below": [{"n": "c", "below": []}]}, 3],
    }
    tree.below.append(tree)
    assert "<cycle>" in text(tree, {Node: lambda node: {"below": node.below}})


def test_a_chain_of_types_is_followed():
    assert text(Money(1), {Money: lambda money: ValueError(money), ValueError: lambda exc: "in the end"}) == (
        '"in the end"'
    )


def test_secrets_in_it_are_hidden_and_it_is_bounded():
    assert text(Money(1), {Money: lambda _: f"key {KEY}"}) == f'"key {MARK}"'
    assert text(Money(1), {Money: lambda _: {"password": "hunter2", "x": 1}}) == f'{{"password":"{MARK}","x":1}}'
    long = text([Money(1)] * 3, {Money: lambda _: "word " * 10_000}, max_value_bytes=1_000)
    assert len(long) <= 1_000
    assert json.loads(long)[0].endswith("50000 chars")


def raises(_):
    raise OSError("no connection")


def recurses(value):
    return recurses(value)


@pytest.mark.parametrize(
    "broken",
    [raises, recurses, lambda money: money, lambda money: Money(money.cents), lambda: None],
    ids=["raises", "recurses", "itself", "another one", "no argument"],
)
def test_a_broken_one_costs_that_value_and_a_line(lenient, broken):
    kept = text({"a": 1, "m": Money(1), "n": [Money(2)]}, {Money: broken})

    name = f"<{__name__}.Money>"
    assert json.loads(kept) == {"a": 1, "m": name, "n": [name]}
    (line,) = lenient.lines
    assert f"values of {__name__}.Money, whose serializer (serializers=) failed" in line


def test_endless_nesting_ends():
    assert "<too deep>" in text(Money(1), {Money: lambda money: [Money(money.cents + 1)]})


def test_a_users_interrupt_is_the_users():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text(Money(1), {Money: interrupted})


def test_no_code_of_a_class_runs_to_find_it():
    class Meta(type):
        def __eq__(cls, other):
            raise AssertionError("compared")

        def __hash__(cls):
            raise AssertionError("hashed")

        def mro(cls):
            return type.mro(cls)

    class Odd(metaclass=Meta):
        pass

    assert "Odd" in text(Odd(), {Money: euros})


@given(st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4)))
def test_nothing_else_changes(value):
    assert text(value, {Money: euros}) == text(value, {})


@pytest.fixture
def asked():
    """A serializer that keeps what it was asked for."""

    class Asked:
        def __init__(self):
            self.values = []

        def __call__(self, value):
            self.values.append(value)
            return "shown"

    return Asked()


def everything(value):
    """Values in all places where content goes."""
    for make in (spanloom.workflow, spanloom.node):
        with make("n") as call:
            call.input(value)
            call.output([value])
    with spanloom.tool("t") as call:
        call.arguments({"x": value})
        call.result(value)
    with spanloom.retrieval("r") as call:
        call.input(value)

    @spanloom.retrieval(capture=True)
    def find(what, more):
        return []

    find(value, value)
    with spanloom.chat("m") as call:
        call.input([{"role": "user", "content": [value]}])
        call.output({"role": "assistant", "content": "", "tool_calls": [{"function": {"arguments": {"x": value}}}]})


@pytest.mark.parametrize(
    ("config", "sampler", "called"),
    [({"content": True}, None, True), ({"content": False}, None, False), ({"content": True}, ALWAYS_OFF, False)],
    ids=["content", "no content", "unsampled"],
)
def test_it_is_called_for_what_is_recorded_only(asked, config, sampler, called):
    recorder = Recorder(sampler=sampler)
    telemetry.use(recorder.provider, Config(serializers={Money: asked}, **config))
    try:
        everything(Money(1))
    finally:
        telemetry.use()

    assert bool(asked.values) is called
    assert [span.name for span in recorder.spans if "shown" in str(dict(span.attributes))] == (
        ["invoke_workflow n", "run_step n", "execute_tool t", "retrieval r", "retrieval find", "chat m"]
        if called
        else []
    )


def test_a_state_is_told_so_too():
    capture = Capture(Config(content=True, serializers={Money: euros}))
    state = {"bill": Money(100)}
    before = Snapshot(state, capture)
    state["bill"] = Money(300)

    assert before.values(state) == '{"changed":{"bill":{"before":"1.00 EUR","after":"3.00 EUR"}}}'


def settings(serializers):
    return _settings(
        content=True,
        capture=None,
        redact_patterns=None,
        redactor=None,
        max_value_bytes=None,
        serializers=serializers,
    )


def test_init_takes_them():
    assert settings({Money: euros}).serializers == {Money: euros}
    assert settings(None).serializers == {}
    assert hash(settings({Money: euros})) is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Money": euros}, "'Money' is not a class"),
        ({str: str}, "str is recorded as it is; a redactor= changes texts"),
        ({dict: len}, "dict is recorded as it is"),
        ({object: repr}, "object is recorded as it is"),
        ({Money: "euros"}, "'euros' for Money cannot be called; give a function of one value"),
    ],
)
def test_init_names_what_is_wrong(given, words):
    with pytest.raises(ValueError, match="serializers: ") as caught:
        settings(given)
    assert words in str(caught.value)
