"""No line is longer than the limit, and what had to be cut says so and is still valid."""

import base64
import json
import logging

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext

from spanloom_jsonl import JsonlSpanExporter
from spanloom_jsonl._lines import to_lines

CONTEXT = SpanContext(1, 2, is_remote=False)
LIMIT = 4096


def lines_of(spans, limit=LIMIT):
    lines = list(to_lines(spans, limit))
    assert all(len(line.data) <= limit for line in lines)
    return lines


def big_span(**fields):
    return ReadableSpan("big", CONTEXT, **fields)


@pytest.mark.parametrize("size", [10, 300, 1700, 3500])
def test_a_batch_is_spread_over_full_lines(make_spans, spans_in, size):
    spans = make_spans(40, size=size)

    lines = lines_of(spans)

    read = [spans_in(line.data) for line in lines]
    assert [span["spanId"] for line in read for span in line] == [f"{span.context.span_id:016x}" for span in spans]
    assert [line.items for line in lines] == [len(spans) for spans in read]
    assert not any(line.shortened for line in lines)
    # Full: the first span of the next line would not have fitted.
    for line, following in zip(lines, read[1:], strict=False):
        assert len(line.data) + len(json.dumps(following[0], separators=(",", ":"))) > LIMIT - 8


def test_the_limit_holds_to_the_byte_and_is_used_to_the_byte():
    resources = [Resource({"service.name": name}) for name in "ab"]
    scopes = [InstrumentationScope(name) for name in ("c", "dd")]
    spans = [
        ReadableSpan("n", CONTEXT, resource=resources[number // 4 % 2], instrumentation_scope=scopes[number // 2 % 2])
        for number in range(16)
    ]
    whole = sum(len(line.data) for line in to_lines(spans, 10**6))

    fewest = [len(lines_of(spans, limit)) for limit in range(1000, whole + 1)]

    assert fewest == sorted(fewest, reverse=True)
    assert fewest[-2:] == [2, 1]


def test_every_line_names_its_resources_and_scopes():
    resources = [Resource({"service.name": name}) for name in "ab"]
    scopes = [InstrumentationScope(name, "1", f"https://{name}") for name in "cd"]
    spans = [
        ReadableSpan(
            f"{resource.attributes['service.name']}{scope.name}{number}",
            CONTEXT,
            attributes={"text": "x" * 700},
            resource=resource,
            instrumentation_scope=scope,
        )
        for number in range(5)
        for resource in resources
        for scope in scopes
    ]

    lines = lines_of(spans)

    seen = []
    for line in lines:
        for resource in json.loads(line.data)["resourceSpans"]:
            service = resource["resource"]["attributes"][0]["value"]["stringValue"]
            for scope in resource["scopeSpans"]:
                assert scope["schemaUrl"] == f"https://{scope['scope']['name']}"
                seen += [(service + scope["scope"]["name"], span["name"][:2]) for span in scope["spans"]]
    assert len(lines) > 3
    assert len(seen) == len(spans)
    assert all(place == name for place, name in seen)


def test_no_span_is_cut_that_fits_exactly(make_spans):
    (span,) = make_spans(size=1000)
    (line,) = to_lines([span], 10**6)

    (whole,) = to_lines([span], len(line.data))
    (cut,) = to_lines([span], len(line.data) - 1)

    assert (whole.data, whole.shortened) == (line.data, False)
    assert cut.shortened
    assert len(cut.data) < len(line.data)


def test_long_texts_are_cut_and_marked(spans_in):
    span = big_span(
        attributes={"long": "ä" * 9000, "short": "kept"},
        events=[Event("exception", {"exception.stacktrace": "y" * 9000}, 1)],
    )

    (line,) = lines_of([span])

    (read,) = spans_in(line.data)
    attributes = {entry["key"]: entry["value"] for entry in read["attributes"]}
    text = attributes["long"]["stringValue"]
    kept = len(text) - len(text.lstrip("ä"))
    assert text[kept:] == f"... [spanloom cut {9000 - kept} characters]"
    assert kept > 200
    assert attributes["short"] == {"stringValue": "kept"}
    trace = read["events"][0]["attributes"][0]["value"]["stringValue"]
    assert trace.startswith("yyy")
    assert trace.endswith(" characters]")
    assert int(attributes["spanloom.truncated_bytes"]["intValue"]) > 20_000
    assert line.items == 1


def test_json_in_a_text_stays_json(spans_in):
    messages = [
        {"role": "user", "parts": [{"type": "text", "content": "q" * 8000}]},
        {"role": "assistant", "parts": [{"type": "text", "content": '"\ud800' * 3000}], "n": 1},
    ]

    (line,) = lines_of([big_span(attributes={"gen_ai.input.messages": json.dumps(messages)})])

    (read,) = spans_in(line.data)
    cut = json.loads(read["attributes"][0]["value"]["stringValue"])
    assert [message["role"] for message in cut] == ["user", "assistant"]
    assert cut[0]["parts"][0]["content"].startswith("qqq")
    assert cut[0]["parts"][0]["content"].endswith(" characters]")


@pytest.mark.parametrize("text", ["[1" * 5000, "[" * 9000, json.dumps(list(range(3000)))])
def test_what_only_looks_like_json_or_is_only_numbers_is_cut_as_text(spans_in, text):
    (line,) = lines_of([big_span(attributes={"text": text})])

    (read,) = spans_in(line.data)
    assert read["attributes"][0]["value"]["stringValue"].startswith(text[:100])


def test_binary_stays_decodable(spans_in):
    (line,) = lines_of([big_span(attributes={"blob": bytes(range(256)) * 40})])

    (read,) = spans_in(line.data)
    kept = base64.b64decode(read["attributes"][0]["value"]["bytesValue"], validate=True)
    assert len(kept) > 500
    assert kept == (bytes(range(256)) * 40)[: len(kept)]


def test_too_many_entries_are_dropped_and_counted(spans_in):
    span = big_span(
        attributes={f"key{number}": number for number in range(200)},
        events=[Event("e", {}, number) for number in range(3000)],
        links=[Link(CONTEXT, {"n": number}) for number in range(300)],
    )

    (line,) = lines_of([span])

    (read,) = spans_in(line.data)
    assert len(read["events"]) + read["droppedEventsCount"] == 3000
    assert len(read["links"]) + read["droppedLinksCount"] == 300
    assert len(read["attributes"]) - 1 + read["droppedAttributesCount"] == 200
    assert len(read["events"]) >= 8


def test_a_long_array_and_a_huge_resource_are_cut_too(spans_in):
    span = big_span(attributes={"array": ["x" * 50] * 1000}, resource=Resource({"huge": "r" * 9000, "k": "v"}))

    (line,) = lines_of([span])

    (read,) = spans_in(line.data)
    assert 0 < len(read["attributes"][0]["value"]["arrayValue"]["values"]) < 1000


def test_the_exporter_counts_cut_spans_and_warns_once(tmp_path, make_spans, spans_of, caplog):
    exporter = JsonlSpanExporter(tmp_path, max_line_bytes=LIMIT)

    with caplog.at_level(logging.WARNING):
        results = [exporter.export(make_spans(2, size=size)) for size in (10, 5000, 5000)]

    assert results == [SpanExportResult.SUCCESS] * 3
    assert (exporter.written_spans, exporter.shortened_spans, exporter.lost_spans) == (6, 4, 0)
    assert len(spans_of(exporter)) == 6
    (record,) = caplog.records
    assert "SPANLOOM_JSONL_MAX_LINE_BYTES" in record.getMessage()
    assert "spanloom.truncated_bytes" in record.getMessage()
