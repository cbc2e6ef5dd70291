"""Lines of OTLP/JSON back to spans: what goes out through `encode_spans` comes back the same."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_protobuf
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from spanloom_jsonl import encode_spans
from spanloom_otlp import _decode, decode_spans

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text("abc.", min_size=1, max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
plain = texts | st.booleans() | numbers | st.binary(max_size=8)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
attributes = st.dictionaries(keys, values, max_size=4)
times = st.integers(1, 2**64 - 1)
states = st.none() | st.just(TraceState([("vendor", "a"), ("other", "b")]))
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    states,
)
scopes = st.none() | st.builds(
    InstrumentationScope, st.just("scope"), st.none() | st.just("1"), st.none() | st.just("https://schema"), st.none()
)


@st.composite
def spans(draw):
    """A span with anything in it."""
    own, parent = draw(contexts), draw(st.none() | contexts)
    if parent is not None:
        parent = SpanContext(own.trace_id, parent.span_id, parent.is_remote, parent.trace_flags)
    code = draw(st.sampled_from(StatusCode))
    return ReadableSpan(
        name=draw(texts),
        context=SpanContext(own.trace_id, own.span_id, False, own.trace_flags, own.trace_state),
        parent=parent,
        resource=Resource({"service.name": draw(st.sampled_from("ab"))}, draw(st.sampled_from(["", "https://schema"]))),
        attributes=draw(attributes),
        events=draw(st.lists(st.builds(Event, texts, attributes, times), max_size=2)),
        links=draw(st.lists(st.builds(Link, contexts, attributes), max_size=2)),
        kind=draw(st.sampled_from(SpanKind)),
        status=Status(code, draw(texts) if code is StatusCode.ERROR else None),
        start_time=draw(times),
        end_time=draw(times),
        instrumentation_scope=draw(scopes),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(spans(), max_size=4))
def test_what_was_encoded_comes_back(given_spans):
    line = encode_spans(given_spans)

    decoded = decode_spans(line)

    assert encode_spans(decoded) == line
    assert encode_protobuf(decoded) == encode_protobuf(given_spans_in_their_groups(given_spans, decoded))


def given_spans_in_their_groups(given_spans, decoded):
    """The spans in the order in which the line has them, with what is exported marked as sampled."""
    rest = list(given_spans)
    ordered = []
    for one in decoded:
        found = next(s for s in rest if (s.context.span_id, s.name) == (one.context.span_id, one.name))
        rest.remove(found)
        ordered.append(found)
    return ordered


def test_what_was_dropped_stays_counted():
    line = json.dumps(
        request(
            droppedAttributesCount=3,
            droppedEventsCount=4,
            droppedLinksCount=5,
            attributes=[{"key": "k", "value": {"stringValue": "v"}}],
            events=[{"name": "e", "timeUnixNano": "5", "droppedAttributesCount": 6}],
            links=[{"traceId": "1" * 32, "spanId": "2" * 16, "droppedAttributesCount": 7}],
        )
    )

    (span,) = decode_spans(line)

    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (3, 4, 5)
    assert (span.events[0].dropped_attributes, span.links[0].dropped_attributes) == (6, 7)
    assert dict(span.attributes) == {"k": "v"}


@pytest.mark.parametrize("loads", ["orjson", "stdlib"])
def test_lines_of_other_writers_are_read(loads, monkeypatch):
    monkeypatch.setattr(_decode, "_loads", pytest.importorskip("orjson").loads if loads == "orjson" else json.loads)
    line = json.dumps(
        request(
            kind="SPAN_KIND_CLIENT",
            status={"code": "STATUS_CODE_OK", "message": "fine"},
            startTimeUnixNano=5,
            unheardOf={"a": 1},
            attributes=[
                {"key": "i", "value": {"intValue": 7}},
                {"key": "n", "value": {"doubleValue": "NaN"}},
                {"key": "none", "value": {}},
                {"key": "new", "value": {"someValue": 1}},
                {"key": "huge", "value": {"intValue": 2**70}},
            ],
        )
    )

    (span,) = decode_spans(line)

    assert (span.kind, span.status.status_code, span.start_time) == (SpanKind.CLIENT, StatusCode.OK, 5)
    assert span.attributes["i"] == 7
    assert math.isnan(span.attributes["n"])
    assert span.attributes["none"] is span.attributes["new"] is None
    assert span.attributes["huge"] == 2**70


def test_a_span_without_an_end_has_none():
    (span,) = decode_spans(json.dumps(request(endTimeUnixNano="0")))

    assert span.end_time is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"{}",
        b'{"resourceLogs":[]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}',
        b'{"resourceSpans":5}',
        b'{"resourceSpans":[5]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"a","spanId":"b"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%b","spanId":"%b"}]}]}]}' % (b"x" * 32, b"x" * 16),
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_a_value_error(line):
    with pytest.raises(ValueError):
        decode_spans(line)


def request(**fields):
    """A request with one span."""
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "n", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span | fields]}]}]}
