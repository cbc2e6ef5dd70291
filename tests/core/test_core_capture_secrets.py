"""No secret leaves in any captured value, wherever it stands, however deep, however it is cut."""

import dataclasses
import json
import re
import string
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanloom.capture import Capture
from spanloom.config import Config
from spanloom.state import Snapshot

ALNUM = string.ascii_letters + string.digits


def run_of(length, alphabet=ALNUM):
    """Characters as keys have them: a random run is no word."""
    return st.text(alphabet, min_size=length, max_size=length).filter(
        lambda text: sum(a.isdigit() for a in text) > 1 and len(set(text)) > length // 3
    )


# Each gives (text, what must not be seen of it)
def token(form, length, alphabet=ALNUM):
    return run_of(length, alphabet).map(lambda body: (form.format(body), body))


def luhn(digits):
    """`digits` with the check digit that makes them a card's number."""
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


SECRETS = st.one_of(
    token("sk-{}", 48),
    token("sk-proj-{}", 120, ALNUM + "_-"),
    token("sk-ant-api03-{}", 95, ALNUM + "_-"),
    token("ghp_{}", 36),
    token("AKIA{}", 16, string.ascii_uppercase + string.digits),
    token("AIza{}", 35),
    token("hf_{}", 34),
    token("xoxb-123456789012-{}", 24),
    token("eyJhbGciOiJIUzI1NiJ9.eyJ{}.sig", 60),
    token("Bearer {}", 40),
    token("postgres://user:{}@db/x", 16),
    token("{}@example.com", 14, string.ascii_lowercase + string.digits),
    token("-----BEGIN PRIVATE KEY-----\nMII{}\n-----END PRIVATE KEY-----", 300, ALNUM + "+/"),
    token("password={}", 12),
    token('"api_key": "{}"', 12),
    token("<secret>{}</secret>", 12),
    token("Authorization: Token {}", 20),
    st.text(string.digits, min_size=14, max_size=14).map(lambda d: luhn("4" + d)).map(lambda card: (card, card)),
)
BEFORE = st.one_of(
    st.just(""),
    st.text(string.ascii_letters + " \n\t\"'\\:=éß€𝄞", max_size=30).map(lambda text: text + " "),
    st.sampled_from(["\n", "\t", "'", '"', "(", "é", "key=", "x: ", "\\n", "_"]),
)
AFTER = st.one_of(st.just(""), st.text(string.ascii_letters + " \n\"'\\é", max_size=30).map(lambda text: " " + text))
FILLERS = ["word ", "ab\n", "é ", '"\\ ', "x=1, "]


@dataclasses.dataclass
class Record:
    field: object
    other: int = 1


class Slotted:
    __slots__ = ("field",)

    def __init__(self, field):
        self.field = field


class MyStr(str):
    __slots__ = ()


class MyDict(dict):
    pass


PLACES = [
    lambda inner: [inner],
    lambda inner: [1, inner, None],
    lambda inner: (inner, inner),
    lambda inner: {"a": inner},
    lambda inner: {"a": 1, "b": [inner]},
    lambda inner: MyDict(x=inner),
    lambda inner: Record(inner),
    lambda inner: Slotted(inner),
    lambda inner: types.SimpleNamespace(x=inner),
    lambda inner: ValueError("message", inner),
    lambda inner: {"filler": "word " * 40, "b": inner},
    lambda inner: ["word"] * 20 + [inner],
]
AS_TEXT = [
    lambda text: text,
    lambda text: MyStr(text),
    lambda text: {text: 1},
    lambda text: {("a", text): 1},
    lambda text: {text.encode(): 1},
    lambda text: json.dumps({"a": text}),
    lambda text: json.dumps({"a": [text]}, ensure_ascii=False),
    lambda text: json.dumps(json.dumps([text])),
    lambda text: repr([text]),
    lambda text: json.dumps({"messages": [{"content": json.dumps({"x": text})}]}),
]


def seen(output, secret):
    """Whether a piece of the secret that somebody could use is in the output. (No digits are in what is around it.)"""
    piece = max(8, len(secret) // 3)
    pieces = (secret[at : at + piece] for at in range(len(secret) - piece + 1))
    return any(text in output for text in pieces if any(char.isdigit() for char in text))


@st.composite
def hidden_somewhere(draw):
    """(value, secret): a secret inside a text inside a value."""
    text, secret = draw(SECRETS)
    filler = draw(st.sampled_from(FILLERS)) * draw(st.one_of(st.just(0), st.integers(0, 400)))
    whole = draw(st.sampled_from(AS_TEXT))(filler + draw(BEFORE) + text + draw(AFTER))
    for place in draw(st.lists(st.sampled_from(PLACES), max_size=4)):
        whole = place(whole)
    return whole, secret


LIMITS = st.one_of(st.just(16_384), st.integers(256, 2500))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(case=hidden_somewhere(), limit=LIMITS)
def test_in_values(case, limit):
    value, secret = case
    text = Capture(Config(content=True, max_value_bytes=limit)).json(value)
    json.loads(text)
    assert len(text.encode()) <= limit
    assert not seen(text, secret)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    secret=SECRETS,
    limit=st.integers(256, 700),
    place=st.integers(-120, 40),
    tail=st.integers(0, 1200),
    expand=st.sampled_from(["", "password=abcdefgh ", "4111111111111111 " * 20]),
)
def test_at_the_cut(secret, limit, place, tail, expand):
    """A secret that begins anywhere around the limit, also where redaction before it moves the cut."""
    text, body = secret
    whole = expand + "word " * ((limit + place) // 5) + text + " tail" * (tail // 5)
    capture = Capture(Config(content=True, max_value_bytes=limit))
    for output in (capture.json(whole), capture.json({"k": whole}), capture.message(ValueError(whole))):
        assert len(output.encode()) <= limit
        assert not seen(output, body)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(secret=SECRETS, limit=st.integers(256, 700), filler=st.integers(0, 2000), tail=st.integers(0, 1200))
def test_in_stack_traces(secret, limit, filler, tail):
    text, body = secret
    capture = Capture(Config(content=True, max_value_bytes=limit))
    try:
        raise ValueError("line\n" * (filler // 5) + text + " tail" * (tail // 5))
    except ValueError as exc:
        stack, message = capture.stacktrace(exc), capture.message(exc)
    for output in (stack, message):
        assert len(output.encode()) <= limit
        assert not seen(output, body)


NAMES = ["password", "api_key", "clientSecret", "Authorization", "AWS_SECRET_ACCESS_KEY", "cookie", "token", "pwd"]
VALUES = st.one_of(
    st.text(min_size=1, max_size=30).map(lambda text: f"Zq7{text}Zq7"),
    st.lists(st.text(max_size=5).map(lambda text: f"Zq7{text}"), min_size=1, max_size=3),
    st.fixed_dictionaries({"inner": st.text(max_size=5).map(lambda text: f"Zq7{text}")}),
    st.just(b"Zq7"),
    st.just(Record("Zq7")),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    value=VALUES,
    places=st.lists(st.sampled_from(PLACES), max_size=3),
    limit=LIMITS,
    as_key=st.sampled_from([str, MyStr, str.encode, lambda name: ("user", name)]),
)
def test_below_a_key_that_names_a_credential(name, value, places, limit, as_key):
    whole = {"before": "x", as_key(name): value, "after": "y"}
    for place in places:
        whole = place(whole)
    text = Capture(Config(content=True, max_value_bytes=limit)).json(whole)
    json.loads(text)
    assert "Zq7" not in text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    value=st.text(st.characters(blacklist_categories=("Cs",)), max_size=30).map(lambda text: f"Zq7{text}Zq7"),
    levels=st.integers(1, 4),
    ascii_only=st.booleans(),
    limit=LIMITS,
)
def test_below_such_a_key_in_json_inside_strings(name, value, levels, ascii_only, limit):
    whole = {"before": "x", name: value, "after": "y"}
    for _ in range(levels):
        whole = json.dumps(whole, ensure_ascii=ascii_only)
    capture = Capture(Config(content=True, max_value_bytes=limit))
    for output in (capture.json(whole), capture.json([whole]), capture.message(ValueError(whole))):
        assert "Zq7" not in output


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n"
PASSWORD = "S3cr3t" * 100


def test_a_secret_cut_in_two_does_not_come_into_view_where_others_before_it_shrink():
    """The limit cuts the password off from the `@` that tells it; what is left moves forward by what was hidden."""
    whole = PRIVATE_KEY.format("MIIEvQIB\n" * 40) + f"redis://:{PASSWORD}@host"
    capture = Capture(Config(max_value_bytes=256))
    for output in (capture.json(whole), capture.json([whole]), capture.message(ValueError(whole))):
        assert "S3cr3t" not in output


def test_nor_where_others_behind_it_shrink():
    """The same in a stack trace, which is cut at its beginning."""
    capture = Capture(Config(max_value_bytes=1000))
    for lines in range(880, 960, 4):
        keys = PRIVATE_KEY.format("MIIEvQIB\n" * lines)
        output = capture.stacktrace(ValueError(f"{'x' * 5000}redis://:{PASSWORD}@host {keys} end"))
        assert "S3cr3t" not in output
        assert output.endswith("end\n")


def test_json_inside_a_string_stays_json():
    inner = json.dumps({"user": "u", "password": "p", "list": [1], "contact": "a\na@b.de", "token": 5})
    shown = json.loads(Capture(Config()).json(inner))
    assert json.loads(shown) == {
        "user": "u",
        "password": "[REDACTED]",
        "list": [1],
        "contact": "a\n[REDACTED]",
        "token": "[REDACTED]",
    }


@pytest.mark.parametrize(
    "number", [4111111111111111, 4111111111111111.0, 378282246310005, 6304000000000000000, True + 4111111111111110]
)
def test_a_card_number_stored_as_a_number(number):
    assert json.loads(Capture(Config()).json([number])) == ["[REDACTED]"]
    assert json.loads(Capture(Config(redact=False)).json([number])) == [number]


def test_patterns_of_the_user_mean_numbers_too():
    capture = Capture(Config(redact_patterns=(re.compile(r"\b\d{5}\b"),)))
    assert json.loads(capture.json({"id": 12345, "n": 1234, "x": 12345.0, "t": "12345"})) == {
        "id": "[REDACTED]",
        "n": 1234,
        "x": "[REDACTED]",
        "t": "[REDACTED]",
    }


def test_none_is_no_secret():
    capture = Capture(Config())
    assert json.loads(capture.json({"password": None})) == {"password": None}
    assert capture.field("password", None, 500) == "null"
    assert capture.field("password", "x", 500) == '"[REDACTED]"'
    assert capture.field("other", "x", 500) == '"x"'


# -- a redactor that fails ----------------------------------------------------------------------------------


def broken(text):
    if "boom" in text:
        raise RuntimeError(text)
    return text


@pytest.mark.parametrize("value", ["boom", ["a", "boom"], {"a": {"b": "boom"}}, {"boom": 1}, Record("boom")])
def test_nothing_of_a_value_is_kept_where_a_redactor_fails(lenient, value):
    capture = Capture(Config(redactor=broken))
    assert capture.json(value) is None
    assert capture.field("key", value, 500) is None
    assert capture.json("fine") == '"fine"'
    assert len(lenient.lines) == 1
    assert "a redactor" in lenient.lines[0]


@pytest.mark.parametrize("redactor", [broken, lambda text: None if "boom" in text else text])
def test_exceptions_where_a_redactor_fails(lenient, redactor):
    capture = Capture(Config(redactor=redactor))
    try:
        raise ValueError("boom")
    except ValueError as exc:
        assert capture.message(exc) is None
        assert capture.stacktrace(exc) is None
    assert capture.message(ValueError("fine")) == "fine"
    assert capture.name("boom") == "[REDACTED]"
    assert len(lenient.lines) == 1


def test_a_state_where_a_redactor_fails(lenient):
    capture = Capture(Config(content=True, redactor=broken))
    state = {"a": "boom", "b": 1, "boom": 1}
    before = Snapshot(state, capture)
    state |= {"a": "fine", "b": "boom", "boom": 2}
    assert before.changed(state) == ([], ["a", "b", "[REDACTED]"], [])
    assert json.loads(before.values(state)) == {
        "changed": {
            "a": {"before": None, "after": "fine"},
            "b": {"before": 1, "after": None},
            "[REDACTED]": {"before": 1, "after": 2},
        }
    }
