"""Whatever a span holds, its line is valid for the strictest receiver and the span is there."""

import enum
import json
import math
from collections import UserDict, UserList

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from spanloom_jsonl import encode_spans
from spanloom_jsonl._values import MAX_DEPTH, any_value

CONTEXT = SpanContext(1, 2, is_remote=False)


class Hostile:
    def __repr__(self):
        raise ValueError("no")


class HostileMap(UserDict):
    def items(self):
        raise RuntimeError("no")

    keys = __iter__ = __repr__ = copy = items


class HostileList(UserList):
    def __iter__(self):
        raise RuntimeError("no")

    def __getitem__(self, index):
        raise RuntimeError("no")


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 9


class Half(float):
    def __repr__(self):
        return "half"


def cycle():
    inner = []
    inner += [inner, {"again": inner}]
    return inner


def nested(depth, wrap):
    value = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, {"stringValue": "NaN"}),
        (math.inf, {"stringValue": "Infinity"}),
        (-math.inf, {"stringValue": "-Infinity"}),
        (1e16, {"doubleValue": 1e16}),
        (2**63 - 1, {"intValue": str(2**63 - 1)}),
        (2**63, {"stringValue": str(2**63)}),
        (-(2**63) - 1, {"stringValue": str(-(2**63) - 1)}),
        (10**5000, {"stringValue": hex(10**5000)}),
        ("a\ud800b", {"stringValue": "a\ufffdb"}),
        ("\ud83d\ude00", {"stringValue": "\U0001f600"}),
        (b"\x00\xff", {"bytesValue": "AP8="}),
        (bytearray(b"\x00\xff"), {"bytesValue": "AP8="}),
        ((1, None, "x"), {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": ""}, {"stringValue": "x"}]}}),
        ({"a": None, 1: True}, {"kvlistValue": {"values": [{"key": "1", "value": {"boolValue": True}}]}}),
        (UserDict(a=1), {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}),
        (UserList([1]), {"arrayValue": {"values": [{"intValue": "1"}]}}),
        (Color.RED, {"stringValue": "red"}),
        (Level.HIGH, {"intValue": "9"}),
        (Half(0.5), {"doubleValue": 0.5}),
        ({1}, {"stringValue": "{1}"}),
        (Hostile(), {"stringValue": "<Hostile object whose repr failed>"}),
        (HostileMap(), {"stringValue": "<HostileMap object whose repr failed>"}),
        (HostileList([1]), {"stringValue": "[1]"}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_that_otlp_has_no_type_for(quoting, value, expected):
    assert json.loads(any_value(value)) == expected


def test_what_contains_itself_in_a_foreign_container_ends(spans_in):
    foreign = UserList()
    foreign += [foreign, foreign]

    (span,) = spans_in(encode_spans([_span(attributes={"cycle": foreign})]) + b"\n")

    inner = span["attributes"][0]["value"]["arrayValue"]["values"]
    assert [list(value) for value in inner] == [["stringValue"], ["stringValue"]]


def test_what_contains_itself_ends(spans_in):
    (span,) = spans_in(encode_spans([_span(attributes={"cycle": cycle()})]) + b"\n")

    inner = span["attributes"][0]["value"]["arrayValue"]["values"]
    assert inner[0] == {"stringValue": "[[...], {'again': [...]}]"}


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}], ids=["list", "dict"])
def test_nesting_stops_where_protobuf_decoders_stop(wrap):
    request = json.loads(encode_spans([_span(attributes={"deep": nested(1000, wrap)})]))

    span = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["traceId"] = span["spanId"] = ""  # hexadecimal, not protobuf's base64
    wire = json_format.ParseDict(request, ExportTraceServiceRequest()).SerializeToString()
    assert ExportTraceServiceRequest.FromString(wire).resource_spans
    assert json.dumps(span).count("Value") == MAX_DEPTH + 1


def test_lone_surrogates_everywhere(quoting, spans_in):
    bad = "x\udfffy"
    span = ReadableSpan(
        bad,
        CONTEXT,
        attributes={bad: bad, "long": bad * 100},
        events=[Event(bad, {bad: (bad,)}, 1)],
        links=[Link(CONTEXT, {bad: {bad: bad}})],
        status=Status(StatusCode.ERROR, bad),
        resource=Resource({bad: bad}, bad),
        instrumentation_scope=InstrumentationScope(bad, bad, bad, {bad: bad}),
    )

    data = encode_spans([span])

    assert len(spans_in(data + b"\n")) == 1
    assert data.count("x\ufffdy".encode()) == 118


def test_fields_of_the_wrong_type_do_not_cost_the_span(quoting, spans_in):
    span = ReadableSpan(
        42,
        None,
        attributes={None: 1, 7: "seven"},
        events=[Event(None, None, 1.5), Event("e", {}, math.nan), Event("e", {}, -1)],
        kind="client",
        status=None,
        start_time=-5,
        end_time=2**70,
    )

    (encoded,) = spans_in(encode_spans([span]) + b"\n")

    assert (encoded["name"], encoded["kind"], "status" in encoded) == ("42", 0, False)
    assert [attribute["key"] for attribute in encoded["attributes"]] == ["None", "7"]
    assert [event["timeUnixNano"] for event in encoded["events"]] == ["1", "0", "0"]
    assert (encoded["startTimeUnixNano"], encoded["endTimeUnixNano"]) == ("0", str(2**64 - 1))


poison = st.recursive(
    st.text(st.characters(), max_size=10)
    | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3)
    | st.integers()
    | st.floats()
    | st.binary(max_size=5)
    | st.booleans()
    | st.none()
    | st.builds(Hostile)
    | st.builds(HostileMap)
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(UserList)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(attributes=st.dictionaries(st.text(max_size=5), poison, max_size=4), name=poison)
def test_any_attributes_give_one_valid_span(quoting, spans_in, attributes, name):
    span = ReadableSpan(
        name, CONTEXT, attributes=attributes, events=[Event(name, attributes, 1)], links=[Link(CONTEXT, attributes)]
    )  # fmt: skip

    (encoded,) = spans_in(encode_spans([span]) + b"\n")

    present = [value for value in attributes.values() if value is not None]
    assert len(encoded.get("attributes", ())) == len(present)


def _span(**fields):
    return ReadableSpan("s", CONTEXT, **fields)
