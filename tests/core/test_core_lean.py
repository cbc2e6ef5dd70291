"""Spans made the short way are the SDK's spans: the same to processors, exporters and whoever holds them."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from spanloom.lean import LeanTracer, lean
from spanloom.testing import SequentialIds

REMOTE = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")]))


class Side:
    """One provider with fixed ids; `lean` or the SDK's own tracer."""

    def __init__(self, short, **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(id_generator=SequentialIds(), shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        own = self.provider.get_tracer("scope", "1.0", attributes={"a": 1})
        self.tracer = lean(own) if short else own

    def below(self, parent, **options):
        return self.tracer.start_span("child", trace.set_span_in_context(parent), **options)

    def told(self):
        return [flat(span) for span in self.exporter.get_finished_spans()]


def flat(span):
    found = json.loads(span.to_json())
    found.pop("start_time"), found.pop("end_time")
    for event in found["events"]:
        event.pop("timestamp")
    scope = span.instrumentation_scope
    return found, scope.name, scope.version, scope.attributes, span.dropped_attributes, span.dropped_events


def both(act, **options):
    """Run `act(side)` on both sides; returns what was exported, which is the same."""
    sides = Side(short=False, **options), Side(short=True, **options)
    for side in sides:
        act(side)
    assert sides[1].told() == sides[0].told()
    return sides[1].told()


VALUES = st.one_of(
    st.text(max_size=8),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=3), max_size=3),
    st.lists(st.integers(0, 9), max_size=3),
    st.none(),
)
ATTRIBUTES = st.dictionaries(st.text(min_size=1, max_size=4), VALUES, max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), ATTRIBUTES),
        st.tuples(st.just("one"), st.tuples(st.text(min_size=1, max_size=3), VALUES)),
        st.tuples(st.just("event"), ATTRIBUTES),
        st.tuples(st.just("link"), ATTRIBUTES),
        st.tuples(st.just("status"), st.text(max_size=5)),
        st.tuples(st.just("name"), st.text(max_size=5)),
        st.tuples(st.just("raise"), st.text(max_size=5)),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(ATTRIBUTES, st.lists(ATTRIBUTES, max_size=2), STEPS, st.sampled_from(list(SpanKind)))
def test_whatever_is_done_to_a_span_is_exported_alike(attributes, links, steps, kind):
    def act(side):
        with side.tracer.start_as_current_span("root") as root:
            linked = [Link(REMOTE, made) if made else Link(root.get_span_context()) for made in links]
            span = side.below(root, attributes=attributes, links=linked, kind=kind)
            for step, value in steps:
                match_step(span, step, value)
            span.end()

    both(act)


def match_step(span, step, value):
    if step == "set":
        span.set_attributes(value)
    elif step == "one":
        span.set_attribute(*value)
    elif step == "event":
        span.add_event("happened", value)
    elif step == "link":
        span.add_link(REMOTE, value)
    elif step == "status":
        span.set_status(Status(StatusCode.ERROR, value))
    elif step == "name":
        span.update_name(value)
    else:
        span.record_exception(ValueError(value))


def test_the_usual_child_is_made_the_short_way():
    side = Side(short=True)
    with side.tracer.start_as_current_span("root") as root:
        span = side.below(root, attributes={"a": 1})
        assert type(span) is not type(root)
        assert isinstance(span, sdk._Span)
        assert type(span).__name__ == type(root).__name__
        below = side.below(span)
        assert type(below) is type(span)
        assert below.parent == span.get_span_context()


@pytest.mark.parametrize(
    "parent",
    [
        trace.INVALID_SPAN,
        NonRecordingSpan(REMOTE),
        NonRecordingSpan(SpanContext(5, 6, is_remote=False, trace_flags=TraceFlags(0))),
    ],
)
def test_below_no_span_of_this_process_the_sdk_decides(parent):
    told = both(lambda side: side.below(parent, attributes={"a": 1}).end())
    assert len(told) == (0 if parent.get_span_context().span_id and not parent.get_span_context().trace_flags else 1)


@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_ON,
        ALWAYS_OFF,
        TraceIdRatioBased(0.5),
        ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
        ParentBased(TraceIdRatioBased(1.0)),
    ],
    ids=str,
)
def test_samplers_are_obeyed(sampler):
    def act(side):
        with side.tracer.start_as_current_span("root") as root:
            side.below(root).end()

    both(act, sampler=sampler)


@pytest.mark.parametrize(
    "limits",
    [
        SpanLimits(max_span_attribute_length=3),
        SpanLimits(max_span_attributes=2),
        SpanLimits(max_events=1),
        SpanLimits(max_links=1),
        SpanLimits(max_event_attributes=1, max_link_attributes=1),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_limits_are_obeyed(limits, caplog):
    caplog.set_level(logging.CRITICAL)

    def act(side):
        with side.tracer.start_as_current_span("root") as root:
            links = [Link(root.get_span_context()), Link(root.get_span_context())]
            span = side.below(root, attributes={"a": "long text", "b": 1, "c": 2}, links=links)
            span.set_attributes({"d": "long text", "e": 1})
            span.add_event("one", {"x": 1, "y": 2})
            span.add_event("two")
            span.add_link(REMOTE, {"x": 1, "y": 2})
            span.end()

    both(act, span_limits=limits)


def test_more_attributes_than_there_is_room_for(caplog):
    many = {f"key.{number}": number for number in range(200)}

    def act(side):
        with side.tracer.start_as_current_span("root") as root:
            span = side.below(root, attributes={"first": 1})
            span.set_attributes(many)
            span.end()
            side.below(root, attributes=many).end()

    both(act)


def test_an_ended_span_takes_nothing_more(caplog):
    def act(side):
        with side.tracer.start_as_current_span("root") as root:
            span = side.below(root, attributes={"a": 1})
            span.end()
            span.set_attributes({"b": 2})
            span.add_event("late")
            span.end()

    (child, *_), _root = both(act)
    assert child["attributes"] == {"a": 1}
    said = [record.getMessage() for record in caplog.records]
    assert said[: len(said) // 2] == said[len(said) // 2 :] != []


def test_an_attribute_written_again_stands_last():
    def act(side):
        with side.tracer.start_as_current_span("root") as root:
            span = side.below(root, attributes={"a": 1, "b": 2})
            span.set_attributes({"c": 3, "a": 4})
            assert list(span.attributes) == ["b", "c", "a"]
            span.end()

    both(act)


def test_processors_see_the_span_itself_and_its_parent_s_context():
    seen = []

    class Look(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append((span, parent_context))
            span.set_attribute("seen", True)

    side = Side(short=True)
    with side.tracer.start_as_current_span("root") as root:
        side.provider.add_span_processor(Look())
        context = trace.set_span_in_context(root)
        span = side.tracer.start_span("child", context)
    assert seen == [(span, context)]
    assert span.attributes == {"seen": True}


def test_spans_share_no_lists():
    side = Side(short=True)
    with side.tracer.start_as_current_span("root") as root:
        one, other = side.below(root), side.below(root)
        one.add_event("mine")
        one.add_link(REMOTE)
        assert len(one.events) == len(one.links) == 1
        assert len(other.events) == len(other.links) == 0
        one.set_attribute("mine", 1)
        assert other.attributes == {}


def test_a_list_given_as_an_attribute_may_change_later():
    side = Side(short=True)
    with side.tracer.start_as_current_span("root") as root:
        names = ["a"]
        span = side.below(root, attributes={"start": names})
        span.set_attributes({"end": names})
        names.append("b")
        assert span.attributes == {"start": ("a",), "end": ("a",)}


def test_a_tracer_that_is_not_the_sdks_is_asked_for_every_span():
    class Mine(trace.NoOpTracer):
        asked = 0

        def start_span(self, *args, **kwargs):
            self.asked += 1
            return super().start_span(*args, **kwargs)

    mine = Mine()
    with Side(short=True).tracer.start_as_current_span("root"):
        short = lean(mine)
        short.start_span("child")
        short.start_span("child")
    assert mine.asked == 2


def test_an_sdk_of_another_make_is_used_as_it_is(monkeypatch):
    made = sdk._Span.__init__

    def other(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self._something_new = 1

    monkeypatch.setattr(sdk._Span, "__init__", other)
    side = Side(short=True)
    with side.tracer.start_as_current_span("root") as root:
        span = side.below(root, attributes={"a": 1})
    assert type(span) is sdk._Span


def test_a_proxy_is_looked_through_once_a_provider_is_set(monkeypatch):
    proxy = trace.ProxyTracer("scope")
    short = lean(proxy)
    assert isinstance(short, LeanTracer)
    assert not short.start_span("early").is_recording()
    side = Side(short=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", side.provider)
    with side.tracer.start_as_current_span("root") as root:
        span = short.start_span("child")
        assert span.is_recording()
        assert type(span) is not type(root)
        span.end()
    assert [found[0]["name"] for found in side.told()] == ["child", "root"]


def test_a_disabled_tracer_makes_none():
    side = Side(short=True)
    config = getattr(side.tracer._tracer, "_tracer_config", None)
    if config is None:
        pytest.skip("this SDK cannot disable a tracer")
    with side.tracer.start_as_current_span("root") as root:
        side.tracer._tracer._set_tracer_config(type(config)(is_enabled=False))
        assert not side.below(root).is_recording()
