import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanloom.view import decode as module
from spanloom.view.decode import BrokenLineError, decode
from spanloom.view.model import Event, Link

# A busy machine is no failure.
calm = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@pytest.fixture(autouse=True, params=["orjson", "stdlib"])
def _parser(request, monkeypatch):
    if request.param == "stdlib":
        monkeypatch.setattr(module, "_fast", None)
    else:
        pytest.importorskip("orjson")


def request_of(*spans, **scope):
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{**scope, "spans": list(spans)}]}]}).encode()


def only(span):
    decoded = decode(request_of(span))
    assert decoded.malformed == 0
    return decoded.spans[0]


def test_every_field_of_a_span(otlp):
    span = otlp.span(
        "chat gpt-5",
        "00f067aa0ba902b7",
        "AAAAAAAAAAAAAAAA",
        1,
        2.5,
        trace="4BF92F3577B34DA6A3CE929D0E0E4736",
        error="ValueError: no",
        events=[("exception", 2, {"exception.type": "ValueError"})],
        links=[("CC" * 16, "DD" * 8, {"spanloom.link.kind": "trigger"})],
        attributes={"a": "text", "b": 7, "c": 1.5, "d": True, "e": ["x", 1], "f": {"g": ["h"]}},
    )
    found = decode(otlp.line(span).encode()).spans[0]
    assert found._asdict() == {
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "parent_id": "aaaaaaaaaaaaaaaa",
        "local_root": False,
        "name": "chat gpt-5",
        "kind": 3,
        "start": otlp.begin + 1_000_000,
        "end": otlp.begin + 2_500_000,
        "attributes": {"a": "text", "b": 7, "c": 1.5, "d": True, "e": ["x", 1], "f": {"g": ["h"]}},
        "events": (Event("exception", otlp.begin + 2_000_000, {"exception.type": "ValueError"}),),
        "links": (Link("cc" * 16, "dd" * 8, {"spanloom.link.kind": "trigger"}),),
        "status": 2,
        "message": "ValueError: no",
        "resource": {"service.name": "support"},
        "scope": "spanloom.pocketflow",
        "state": "",
    }


@pytest.mark.parametrize(
    ("fields", "local_root"),
    [
        ({}, True),
        ({"parentSpanId": ""}, True),
        ({"parentSpanId": "0000000000000000"}, True),
        ({"parentSpanId": "ab"}, False),
        ({"parentSpanId": "ab", "flags": 0x100}, False),
        ({"parentSpanId": "ab", "flags": 0x301}, True),
    ],
)
def test_local_root(fields, local_root):
    assert only({"traceId": "a", "spanId": "b", **fields}).local_root is local_root


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"intValue": 5}, 5),
        ({"intValue": "-5"}, -5),
        ({"intValue": "five"}, "five"),
        ({"doubleValue": "NaN"}, "NaN"),
        ({"doubleValue": "-Infinity"}, "-Infinity"),
        ({"doubleValue": "2.5"}, 2.5),
        ({"boolValue": False}, False),
        ({"bytesValue": "AAEC"}, "AAEC"),
        ({"stringValue": ""}, ""),
        ({"stringValue": 3}, "3"),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "k", "value": {}}]}}, {"k": None}),
        ({"arrayValue": {"values": "no"}}, []),
        ({}, None),
        (None, None),
        ("bare", "bare"),
        ({"inventedValue": [1]}, "[1]"),
    ],
)
def test_values_of_all_writers(value, plain):
    span = only({"traceId": "a", "spanId": "b", "attributes": [{"key": "k", "value": value}]})
    assert span.attributes == {"k": plain}
    assert type(span.attributes["k"]) is type(plain)


def test_not_a_number_in_the_text_and_lone_surrogates_are_read():
    line = request_of({"traceId": "a", "spanId": "b", "attributes": [{"key": "k", "value": {"doubleValue": 1.0}}]})
    assert decode(line.replace(b"1.0", b"NaN")).spans[0].attributes == {"k": "nan"}
    line = request_of({"traceId": "a", "spanId": "b", "name": "half \ud83d"})
    assert decode(line).spans[0].name == "half \ud83d"


@pytest.mark.parametrize("time", [None, "", "soon", -1, 1.5, "1" * 30, 1 << 64, {}])
def test_a_time_that_is_none_is_unknown(time):
    found = only({"traceId": "a", "spanId": "b", "startTimeUnixNano": time, "endTimeUnixNano": "7"})
    assert (found.start, found.end) == (0, 7)


def test_only_attributes_to_keep_are_kept():
    attributes = [{"key": key, "value": {"stringValue": key}} for key in ("keep", "drop")]
    span = {
        "traceId": "a",
        "spanId": "b",
        "attributes": attributes,
        "events": [{"name": "e", "attributes": attributes}],
        "links": [{"traceId": "a", "spanId": "c"}],
    }
    found = decode(request_of(span), frozenset({"keep"})).spans[0]
    assert (found.attributes, found.events, found.links) == ({"keep": "keep"}, (Event("e", 0, {"keep": "keep"}),), ())


def test_several_resources_scopes_and_spans_in_a_line():
    def scope(*ids):
        return {"scope": {"name": ids[0]}, "spans": [{"traceId": "t", "spanId": each} for each in ids]}

    line = json.dumps({"resourceSpans": [{"scopeSpans": [scope("a", "b"), scope("c")]}, {"scopeSpans": [scope("d")]}]})
    assert [(span.span_id, span.scope) for span in decode(line.encode()).spans] == [
        ("a", "a"),
        ("b", "a"),
        ("c", "c"),
        ("d", "d"),
    ]


@pytest.mark.parametrize("line", [b"{}", b'{"resourceLogs":[{}]}', b'{"resourceMetrics":[]}', b'{"resourceSpans":[]}'])
def test_other_signals_and_empty_requests_are_no_error(line):
    assert decode(line) == ([], 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"resourceSpans":[', "not JSON: Expecting value at character 19 of the line"),
        (b"garbage", "not JSON: Expecting value at character 1 of the line"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 7 of the line"),
        (b"[]", "not an OTLP request: no JSON object"),
        (b"7", "not an OTLP request: no JSON object"),
        (b'{"a":1}', "not an OTLP request: no resourceSpans"),
        (b"[" * 200_000, "its values are nested too deeply"),
    ],
)
def test_the_reason_of_a_broken_line(line, reason):
    with pytest.raises(BrokenLineError) as caught:
        decode(line)
    assert str(caught.value) == reason


def test_spans_without_ids_are_counted_and_the_others_kept():
    decoded = decode(request_of({"name": "no ids"}, {"traceId": "a", "spanId": "b"}, {"traceId": "a", "spanId": 5}))
    assert ([span.span_id for span in decoded.spans], decoded.malformed) == (["b"], 2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ("traceId", "spanId", "name", "kind", "flags", "attributes", "events", "links", "status", "startTimeUnixNano")


@calm
@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_spans_of_any_shape_are_read_or_counted(fields):
    decoded = decode(request_of(fields, scope=fields))
    assert len(decoded.spans) + decoded.malformed == 1


def test_values_deeper_than_one_reads_are_replaced():
    value = {"stringValue": "bottom"}
    for _ in range(90):
        value = {"arrayValue": {"values": [value]}}
    span = only({"traceId": "a", "spanId": "b", "attributes": [{"key": "k", "value": value}]})
    shown = span.attributes["k"]
    while isinstance(shown, list):
        shown = shown[0]
    assert shown == "(nested too deeply to show)"
