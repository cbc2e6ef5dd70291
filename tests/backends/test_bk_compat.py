"""`SPANLOOM_COMPAT`: what is written beside the conventions, on copies, and what stays as it is."""

import json
import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanloom_otlp import CompatSpanExporter, Outcome, Verdict


def span(attributes, name="a span"):
    made = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span(name, attributes=attributes)
    made.end()
    return made


def sent(attributes, wanted="openinference,cache_creation"):
    """What is sent of a span in addition to what it has."""
    inner, original = InMemorySpanExporter(), span(attributes)
    assert CompatSpanExporter(inner, wanted).export([original]) is SpanExportResult.SUCCESS
    (copy,) = inner.get_finished_spans()
    assert dict(original.attributes) == attributes
    assert copy.attributes.items() >= attributes.items()
    assert (copy.name, copy.context, copy.parent, copy.start_time) == (
        original.name,
        original.context,
        original.parent,
        original.start_time,
    )
    return {key: value for key, value in copy.attributes.items() if key not in attributes}


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("invoke_workflow", "CHAIN"),
        ("run_step", "CHAIN"),
        ("invoke_agent", "AGENT"),
        ("create_agent", "AGENT"),
        ("chat", "LLM"),
        ("text_completion", "LLM"),
        ("generate_content", "LLM"),
        ("execute_tool", "TOOL"),
        ("retrieval", "RETRIEVER"),
        ("embeddings", "EMBEDDING"),
        ("rerank", "RERANKER"),
    ],
)
def test_the_kind_of_each_operation(operation, kind):
    assert sent({"gen_ai.operation.name": operation}) == {"openinference.span.kind": kind}


def test_a_phase_is_a_chain_and_a_span_of_anybody_elses_nothing():
    assert sent({"pocketflow.phase": "exec"}) == {"openinference.span.kind": "CHAIN"}
    assert sent({"http.request.method": "GET", "input.value": "x"}) == {}
    assert sent({"gen_ai.operation.name": "dance"}) == {}


def test_one_that_needs_nothing_is_sent_itself():
    inner, original = InMemorySpanExporter(), span({"http.request.method": "GET"})
    CompatSpanExporter(inner, "openinference").export([original])

    assert inner.get_finished_spans()[0] is original


@pytest.mark.parametrize(
    ("key", "text", "value", "kind"),
    [
        ("spanloom.input", '{"a":1}', '{"a":1}', "application/json"),
        ("spanloom.input", "[1]", "[1]", "application/json"),
        ("spanloom.input", '"a \\"text\\" of ä"', 'a "text" of ä', "text/plain"),
        ("spanloom.input", "12", "12", "text/plain"),
        ("spanloom.input", "null", "null", "text/plain"),
        ("gen_ai.retrieval.query.text", "[which] lamp", "[which] lamp", "text/plain"),
        ("gen_ai.tool.call.arguments", '{"q":"lamp"}', '{"q":"lamp"}', "application/json"),
        ("gen_ai.input.messages", '[{"role":"user"}]', '[{"role":"user"}]', "application/json"),
        ("pocketflow.params", '{"ticket":1}', '{"ticket":1}', "application/json"),
        ("spanloom.input", "[" * 100_000, "[" * 100_000, "text/plain"),
    ],
)
def test_input(key, text, value, kind):
    added = sent({"gen_ai.operation.name": "run_step", key: text}, "openinference")

    assert added == {"openinference.span.kind": "CHAIN", "input.value": value, "input.mime_type": kind}


@pytest.mark.parametrize(
    "key", ["gen_ai.output.messages", "spanloom.output", "gen_ai.tool.call.result", "spanloom.state.changes"]
)
def test_output(key):
    added = sent({"gen_ai.operation.name": "run_step", key: '{"a":1}'}, "openinference")

    assert (added["output.value"], added["output.mime_type"]) == ('{"a":1}', "application/json")


def test_what_a_node_returned_comes_before_what_it_changed():
    added = sent({"pocketflow.phase": "x", "spanloom.state.changes": "{}", "spanloom.output": '"done"'})

    assert added["output.value"] == "done"


@pytest.mark.parametrize(
    ("operation", "place"), [("retrieval", "retrieval.documents"), ("rerank", "reranker.output_documents")]
)
def test_documents_with_what_they_have(operation, place):
    documents = [{"id": "a", "score": 0.5, "content": "red", "more": 1}, {"content": "blue"}, {"omitted": 3}, "odd"]
    added = sent({"gen_ai.operation.name": operation, "gen_ai.retrieval.documents": json.dumps(documents)})

    assert {key: value for key, value in added.items() if key.startswith(place)} == {
        f"{place}.0.document.id": "a",
        f"{place}.0.document.score": 0.5,
        f"{place}.0.document.content": "red",
        f"{place}.1.document.content": "blue",
    }
    assert json.loads(added["output.value"]) == documents


def test_totals_only_where_there_are_tokens_of_one_direction():
    one = {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 7}

    assert sent(one) == {
        "openinference.span.kind": "EMBEDDING",
        "llm.token_count.prompt": 7,
        "llm.token_count.total": 7,
    }
    assert sent({**one, "gen_ai.usage.output_tokens": 0}) == {"openinference.span.kind": "EMBEDDING"}


def test_what_the_span_has_stays():
    own = {
        "gen_ai.operation.name": "chat",
        "openinference.span.kind": "GUARDRAIL",
        "input.value": "mine",
        "gen_ai.input.messages": "[]",
        "gen_ai.usage.cache_write.input_tokens": 3,
        "gen_ai.usage.cache_creation.input_tokens": 2,
    }

    assert sent(own) == {}


def test_the_older_name_of_tokens_written_to_the_cache():
    own = {"gen_ai.operation.name": "chat", "gen_ai.usage.cache_write.input_tokens": 3}

    assert sent(own, ["cache_creation"]) == {"gen_ai.usage.cache_creation.input_tokens": 3}
    assert "gen_ai.usage.cache_creation.input_tokens" not in sent(own, "openinference")


@pytest.mark.parametrize("text", ["", " , "])
def test_off_by_default(monkeypatch, text):
    monkeypatch.delenv("SPANLOOM_COMPAT", raising=False)
    assert sent({"gen_ai.operation.name": "chat"}, None) == {}

    monkeypatch.setenv("SPANLOOM_COMPAT", text)
    assert sent({"gen_ai.operation.name": "chat"}, None) == {}


def test_a_name_that_is_not_known_is_said_in_one_line_and_the_rest_holds(monkeypatch, caplog):
    monkeypatch.setenv("SPANLOOM_COMPAT", "Cache_Creation, openinferenc,arize")
    with caplog.at_level(logging.WARNING, "spanloom_otlp"):
        added = sent({"gen_ai.operation.name": "chat", "gen_ai.usage.cache_write.input_tokens": 3}, None)

    assert added == {"gen_ai.usage.cache_creation.input_tokens": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "SPANLOOM_COMPAT=openinferenc,arize is not understood; accepted: a list of openinference, cache_creation. "
        "Using the rest of the list."
    ]


class Inner(SpanExporter):
    def __init__(self, result):
        self.result, self.calls = result, []

    def export(self, spans):
        self.calls.append(("export", len(spans)))
        return self.result

    def force_flush(self, timeout_millis=0):
        self.calls.append(("flush", timeout_millis))
        return False

    def shutdown(self):
        self.calls.append("shutdown")


class Delivering(Inner):
    def deliver(self, spans):
        self.calls.append(("deliver", spans[0].attributes["openinference.span.kind"]))
        return Outcome(Verdict.SPLIT, "too much")


def test_it_does_what_the_exporter_inside_does():
    inner = Delivering(SpanExportResult.FAILURE)
    exporter, one = CompatSpanExporter(inner, "openinference"), span({"gen_ai.operation.name": "chat"})

    assert exporter.deliver([one]) == Outcome(Verdict.SPLIT, "too much")
    assert exporter.export([one]) is SpanExportResult.FAILURE
    assert exporter.force_flush(5) is False
    exporter.shutdown()
    assert inner.calls == [("deliver", "LLM"), ("export", 1), ("flush", 5), "shutdown"]


@pytest.mark.parametrize(
    ("result", "verdict"), [(SpanExportResult.SUCCESS, Verdict.DELIVERED), (SpanExportResult.FAILURE, Verdict.LATER)]
)
def test_an_exporter_that_only_exports_can_be_inside_too(result, verdict):
    one = span({"gen_ai.operation.name": "chat"})

    assert CompatSpanExporter(Inner(result), "openinference").deliver([one]).verdict is verdict


def test_a_span_that_cannot_be_copied_is_sent_as_it_is_and_said_once(caplog):
    inner, one = InMemorySpanExporter(), span({})
    one._attributes = "no mapping"
    exporter = CompatSpanExporter(inner, "openinference")
    with caplog.at_level(logging.WARNING, "spanloom_otlp"):
        exporter.export([one, one])

    assert inner.get_finished_spans() == (one, one)
    assert len([record for record in caplog.records if "as it is" in record.getMessage()]) == 1
