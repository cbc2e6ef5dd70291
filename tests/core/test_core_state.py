"""What changed in the shared state: never a rebinding missed, never an untouched key named, always bounded JSON."""

import collections
import copy
import dataclasses
import enum
import json
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanloom.capture import Capture
from spanloom.config import Config
from spanloom.state import Snapshot

CAPTURE = Capture(Config(content=True))


def changes(state, act, capture=None):
    """(added, changed, removed) of `act(state)`."""
    before = Snapshot(state, capture)
    act(state)
    return before.changed(state)


def values(state, act, limit=16_384):
    """The values that `act(state)` changed."""
    capture = Capture(Config(content=True, max_value_bytes=limit))
    before = Snapshot(state, capture)
    act(state)
    text = before.values(state)
    assert text is None or len(text.encode()) <= limit
    return None if text is None else json.loads(text)


def test_added_changed_removed():
    def act(state):
        state["new"] = 1
        state["b"] = 2
        del state["a"]

    assert changes({"a": 1, "b": 1, "c": 1}, act) == (["new"], ["b"], ["a"])
    assert values({"a": 1, "b": 1, "c": 1}, act) == {
        "added": {"new": 1},
        "changed": {"b": {"before": 1, "after": 2}},
        "removed": {"a": 1},
    }


def test_nothing_changed():
    state = {"a": 1, "b": [1], "c": {"d": {1}}, "e": object()}
    assert changes(state, lambda _: None) == ([], [], [])
    assert values(state, lambda _: None) is None


def test_names_come_in_the_state_s_own_order():
    def act(state):
        for key in "zyx":
            state[key] = 1
        state["c"], state["a"] = 2, 2
        del state["m"], state["l"]

    assert changes(dict.fromkeys("calm", 1), act) == (["z", "y", "x"], ["c", "a"], ["l", "m"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, 1.0), (1, True), (0, None), ("a", b"a"), ("", None), (1, 2), ("a", "b"), ([], []), ({}, {}),
        ((1, 2), (1, 3)), (1.5, 2.5), (object(), object()), (b"a", b"b"),
    ],
)  # fmt: skip
def test_a_rebinding_is_seen(before, after):
    assert changes({"a": before}, lambda state: state.update(a=after)) == ([], ["a"], [])


@pytest.mark.parametrize("value", [1, 10**30, 1.5, "text", b"bytes", True, None, 1j])
def test_an_equal_plain_value_is_no_change(value):
    state = {"a": value}
    equal = (
        copy.copy(value)
        if not isinstance(value, (str, int))
        else type(value)(str(value))
        if value is not True
        else True
    )
    assert changes(state, lambda state: state.update(a=equal)) == ([], [], [])


IN_PLACE = [
    ([1], lambda v: v.append(2)),
    ([1, 2], lambda v: v.reverse()),
    ([1], lambda v: v.__setitem__(0, "x")),
    ({"a": 1}, lambda v: v.update(b=2)),
    ({"a": 1}, lambda v: v.update(a=2)),
    ({"a": 1}, lambda v: (v.pop("a"), v.update(b=1))),
    ({1}, lambda v: v.add(2)),
    ({1}, lambda v: (v.discard(1), v.add(2))),
    (collections.deque([1], maxlen=2), lambda v: v.append(2)),
    (bytearray(b"ab"), lambda v: v.__setitem__(0, 0)),
    (list(range(1000)), lambda v: v.append(1)),
    (dict.fromkeys(range(1000)), lambda v: v.pop(5)),
]


@pytest.mark.parametrize(("value", "act"), IN_PLACE)
def test_changes_in_place_are_seen_one_level_below(value, act):
    value = copy.deepcopy(value)
    untouched = copy.deepcopy(value)
    state = {"value": value, "untouched": untouched}
    assert changes(state, lambda _: act(value)) == ([], ["value"], [])


def test_in_place_changes_below_that_are_found_by_their_text():
    def act(state):
        state["deep"]["a"]["b"].append(1)

    state = {"deep": {"a": {"b": []}}, "other": 1}
    assert changes(copy.deepcopy(state), act) == ([], [], [])
    assert values(state, act) == {
        "changed": {"deep": {"before": {"a": {"b": []}}, "after": {"a": {"b": [1]}}}},
    }


def test_an_untouched_set_is_untouched_whatever_its_order():
    numbers = set(range(1000))
    numbers.intersection_update({1, 33, 64})
    shrunken = set(range(1000))
    for number in shrunken - {1, 33, 64}:
        shrunken.discard(number)  # the table keeps its size, and so the order; a copy's is smaller
    assert list(shrunken) != list(shrunken.copy())
    assert changes({"a": numbers, "b": shrunken}, lambda _: None) == ([], [], [])


# -- kinds of state ---------------------------------------------------------------------------------------------


class Overridden(dict):
    """Overrides everything; none of it is called."""

    def _no(self, *args, **kwargs):
        raise AssertionError("called")

    __getitem__ = __iter__ = __len__ = __contains__ = __eq__ = __repr__ = keys = items = values = get = copy = _no
    __hash__ = None


@dataclasses.dataclass
class Fields:
    a: int = 1
    b: list = dataclasses.field(default_factory=list)

    def __getattribute__(self, name):
        raise AssertionError(name)


class Proxy:
    __slots__ = ()
    __dict__ = property(lambda self: pytest.fail("asked"))
    __class__ = property(lambda self: dict)


def test_dict_subclasses():
    state = Overridden(a=1, b=[1])
    assert changes(state, lambda s: dict.__setitem__(s, "a", 2)) == ([], ["a"], [])
    ordered = collections.OrderedDict(a=1)
    assert changes(ordered, lambda s: s.update(b=1)) == (["b"], [], [])
    default = collections.defaultdict(list)
    assert changes(default, lambda s: s["x"].append(1)) == (["x"], [], [])


def test_objects():
    state = types.SimpleNamespace(a=1)
    assert changes(state, lambda s: setattr(s, "b", 2)) == (["b"], [], [])
    state = Fields()
    assert changes(state, lambda s: object.__setattr__(s, "a", 2)) == ([], ["a"], [])
    assert values(Fields(), lambda s: object.__setattr__(s, "a", 2)) == {"changed": {"a": {"before": 1, "after": 2}}}


@pytest.mark.parametrize("state", [None, 1, "text", [1], (1,), Proxy(), object(), iter([]), dict, {}])
def test_states_without_keys(state):
    before = Snapshot(state, CAPTURE)
    assert before.changed(state) == ([], [], [])
    assert before.values(state) is None


def test_a_state_that_became_another_kind():
    before = Snapshot({"a": 1}, CAPTURE)
    assert before.changed(None) == ([], [], [])
    assert before.values(None) is None
    before = Snapshot(None, CAPTURE)
    assert before.changed({"a": 1}) == ([], [], [])
    assert before.values({"a": 1}) is None
    assert Snapshot({"a": 1}).changed(types.SimpleNamespace(a=2)) == ([], ["a"], [])


class Evil:
    """Raises from everything a comparison might ask."""

    def _no(self, *args):
        raise AssertionError("called")

    __eq__ = __ne__ = __bool__ = __len__ = __iter__ = __repr__ = __str__ = __copy__ = __deepcopy__ = __getattr__ = _no
    __hash__ = None


class EvilType(type):
    def __hash__(cls):
        raise AssertionError("hashed")

    def __eq__(cls, other):
        raise AssertionError("compared")


class OfEvilType(metaclass=EvilType):
    pass


def test_values_are_never_asked():
    evil = Evil()
    state = {"a": evil, "b": [evil], "c": {"x": evil}, "d": collections.deque([evil]), "e": OfEvilType(), "f": (evil,)}
    assert changes(state, lambda _: None, CAPTURE) == ([], [], [])
    assert values(state, lambda _: None) is None
    assert changes(state, lambda s: s["b"].append(Evil())) == ([], ["b"], [])
    assert changes(state, lambda s: s.update(a=Evil(), e=OfEvilType())) == ([], ["a", "e"], [])


class Key(enum.Enum):
    ONE = 1


class Word(str, enum.Enum):
    YES = "yes"


def test_keys_of_other_kinds():
    keys = {1: 0, None: 0, (1, "a"): 0, Key.ONE: 0, Word.YES: 0, b"by": 0, 1.5: 0, object: 0}

    def act(state):
        for key in state:
            state[key] = 1

    _, changed, _ = changes(dict(keys), act)
    assert changed == ["1", "None", "1,a", "ONE", "yes", "by", "1.5", "<builtins.type>"]
    assert list(values(dict(keys), act)["changed"]) == changed


class Grumpy:
    """A key that can be hashed once."""

    grumpy = False

    def __hash__(self):
        if self.grumpy:
            raise ValueError("no more")
        return 1

    def __eq__(self, other):
        raise ValueError("never")


def test_a_key_that_refuses_to_be_hashed_costs_the_changes_only(lenient):
    key = Grumpy()
    state = collections.OrderedDict({key: [1]})
    key.grumpy = True
    before = Snapshot(state, CAPTURE)
    assert before.changed({"a": 1}) == ([], [], [])
    assert before.values({"a": 1}) is None
    assert lenient.lines == [
        "spanloom lost what a node changed in the shared state (state: ValueError('no more')). "
        "The program is not affected; this is logged once."
    ]


# -- names are told even without content ------------------------------------------------------------------------


def test_names_are_short_and_encodable():
    def act(state):
        state["x" * 100_000] = 1
        state["a\ud800"] = 1

    for capture in (None, CAPTURE):
        long, odd = changes({}, act, capture)[0]
        assert len(long.encode()) <= 256
        assert odd == "a?"


def test_names_are_redacted():
    def act(state):
        state["sk-a1B2c3D4e5F6g7H8i9J0"] = state["jane@example.com"] = state["plain"] = 1

    assert changes({}, act, CAPTURE)[0] == ["[REDACTED]", "[REDACTED]", "plain"]
    assert changes({}, act, Capture(Config(redact=False)))[0][1] == "jane@example.com"


def test_names_without_values():
    before = Snapshot({"a": 1}, CAPTURE, values=False)
    assert before.changed({"a": 2, "jane@example.com": 1}) == (["[REDACTED]"], ["a"], [])
    assert before.values({"a": 2}) is None


def test_many_names_are_counted():
    def act(state):
        state.clear()
        state.update({f"new{n}": n for n in range(1000)})

    added, changed, removed = changes({f"old{n}": n for n in range(129)}, act)
    assert (added[0], added[127:], len(added)) == ("new0", ["new127", "… 872 more"], 129)
    assert changed == []
    assert (removed[127:], len(removed)) == (["old127", "… 1 more"], 129)


# -- values -----------------------------------------------------------------------------------------------------


def test_secrets_in_values():
    def act(state):
        state["api_key"] = "new secret"
        state["note"] = "mail jane@example.com"
        state["headers"] = {"Authorization": "x"}
        state[b"password"] = "p"
        del state["old_password"]

    shown = values({"api_key": "old secret", "note": "", "old_password": "gone"}, act)
    assert shown == {
        "added": {"headers": {"Authorization": "[REDACTED]"}, "password": "[REDACTED]"},
        "changed": {
            "api_key": {"before": "[REDACTED]", "after": "[REDACTED]"},
            "note": {"before": "", "after": "mail [REDACTED]"},
        },
        "removed": {"old_password": "[REDACTED]"},
    }


def test_values_only_with_a_capture():
    before = Snapshot({"a": 1})
    assert before.values({"a": 2}) is None


def test_long_values_are_cut_each():
    shown = values({"a": "x" * 10_000, "b": 1}, lambda state: state.update(a="y" * 10_000, b=2))
    assert shown["changed"]["a"]["after"].endswith("… 10000 chars")
    assert shown["changed"]["b"] == {"before": 1, "after": 2}


def test_what_there_is_no_room_for_is_counted():
    shown = values({}, lambda state: state.update({f"k{n}": "x" * 100 for n in range(50)}), limit=1000)
    assert len(shown["added"]) + shown["omitted"] == 50
    assert len(shown["added"]) > 5
    shown = values({f"k{n}": "x" * 300 for n in range(50)}, lambda state: state.clear(), limit=256)
    assert shown == {"omitted": 50}


def test_a_state_too_large_to_keep_is_kept_in_part():
    state = {f"k{n}": "x" * 500 for n in range(1000)}

    def act(state):
        state["k999"] = "changed"
        state["k0"] = "changed"
        del state["k998"]

    shown = values(state, act, limit=2000)
    assert shown["changed"]["k999"] == {"before": "…", "after": "changed"}
    assert shown["changed"]["k0"] == {"before": "x" * 500, "after": "changed"}
    assert shown["removed"] == {"k998": "…"}


def test_a_large_state_is_not_written_out_for_each_node(monkeypatch):
    asked = []

    class Asking(Capture):
        __slots__ = ()

        def field(self, key, value, limit):
            asked.append(key)
            return super().field(key, value, limit)

    capture = Asking(Config(content=True, max_value_bytes=1000))
    state = {f"k{n}": "x" * 500 for n in range(10_000)}
    before = Snapshot(state, capture)
    for key in state:
        state[key] = "y"
    before.values(state)
    assert len(asked) < 100


# -- anything ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=8,
)
KEYS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=3)
STATES = st.dictionaries(KEYS, JSON, max_size=8)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(state=STATES, data=st.data(), limit=st.integers(256, 3000))
def test_a_rebinding_is_never_missed_and_an_untouched_key_never_named(state, data, limit):
    capture = Capture(Config(content=True, redact=False, max_value_bytes=limit))
    snapshots = [Snapshot(state), Snapshot(state, capture)]
    old = dict(state)
    for key, value in data.draw(
        st.dictionaries(st.one_of(KEYS, st.sampled_from([*state] or [""])), JSON, max_size=4)
    ).items():
        state[key] = value
    for key in data.draw(st.sets(st.sampled_from([*state] or [""]), max_size=2)):
        state.pop(key, None)

    rebound = {
        key
        for key in state.keys() & old.keys()
        if state[key] is not old[key]
        and not (
            type(state[key]) is type(old[key]) and type(old[key]) in (str, int, float, bool) and state[key] == old[key]
        )
    }
    for snapshot in snapshots:
        added, changed, removed = snapshot.changed(state)
        assert (set(added), set(changed), set(removed)) == (
            state.keys() - old.keys(),
            rebound,
            old.keys() - state.keys(),
        )
    text = snapshots[1].values(state)
    assert (text is None) == (not (added or rebound or removed))
    if text is not None:
        shown = json.loads(text)
        assert len(text.encode()) <= limit
        told = sum(len(group) for group in shown.values() if isinstance(group, dict)) + shown.get("omitted", 0)
        assert told == len(added) + len(changed) + len(removed)
