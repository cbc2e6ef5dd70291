"""Copies of ended spans with other attributes."""

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from spanloom_jsonl import encode_spans as encode_json
from spanloom_otlp import event_with_attributes, with_attributes


@pytest.fixture
def span():
    """A span with everything on it, and something dropped from each of its lists."""
    limits = SpanLimits(max_span_attributes=2, max_events=1, max_links=1, max_event_attributes=1)
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), span_limits=limits, shutdown_on_exit=False)
    tracer = provider.get_tracer("tests", "1.0")
    other = tracer.start_span("other").get_span_context()
    with tracer.start_as_current_span("parent"):
        made = tracer.start_span("child", kind=SpanKind.CLIENT, links=[Link(other), Link(other, {"l": 1})])
    made.set_attributes({"a": 1, "b": "two", "c": (1.5, 2.5)})
    made.add_event("first")
    made.add_event("second", {"e": 1, "f": 2})
    made.set_status(Status(StatusCode.ERROR, "broken"))
    made.end()
    return made._readable_span()


def test_a_copy_without_changes_is_exported_as_the_span_itself(span):
    copied = with_attributes(span, {})

    assert encode_spans([copied]) == encode_spans([span])
    assert encode_json([copied]) == encode_json([span])
    assert (copied.dropped_attributes, copied.dropped_events, copied.dropped_links) == (1, 1, 1)


def test_attributes_are_set_and_removed_on_the_copy_only(span):
    before = encode_spans([span])

    copied = with_attributes(span, {"b": "other", "new": "x" * 10}, remove=["c", "absent"])

    assert dict(copied.attributes) == {"b": "other", "new": "x" * 10}
    assert encode_spans([span]) == before


def test_everything_else_can_be_changed(span):
    copied = with_attributes(span, {}, name="named", status=Status(StatusCode.OK), parent=None, events=[])

    assert (copied.name, copied.status.status_code, copied.parent) == ("named", StatusCode.OK, None)
    assert copied.dropped_events == 1
    assert (list(copied.events), copied.context, copied.kind) == ([], span.context, span.kind)
    assert span.parent is not None


def test_a_removed_attribute_can_be_set_anew(span):
    assert with_attributes(span, {"b": 5}, remove=["b"]).attributes["b"] == 5


def test_events_are_copied_with_their_drop_counter(span):
    (event,) = span.events

    copied = event_with_attributes(event, {"g": True})

    assert dict(copied.attributes) == {"f": 2, "g": True}
    assert (copied.name, copied.timestamp, copied.dropped_attributes) == ("second", event.timestamp, 1)
    assert dict(event.attributes) == {"f": 2}


def test_nothing_is_lost_of_a_span_that_dropped_nothing(make_spans):
    (span,) = make_spans(plain="text")

    copied = with_attributes(span, {"more": [1, 2]})

    assert copied.dropped_attributes == 0
    assert dict(copied.attributes) == {**span.attributes, "more": [1, 2]}
