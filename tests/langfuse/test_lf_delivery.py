"""What goes over the wire to Langfuse, and what is said when it does not arrive."""

import base64
import logging
import os
import threading

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from spanloom_langfuse import LangfuseSpanExporter, _exporter
from spanloom_otlp import Verdict

PATH = "/api/public/otel/v1/traces"


@pytest.fixture
def said(caplog):
    """`said()`: the exporter's log lines."""
    with caplog.at_level(logging.INFO):
        yield lambda: [record.getMessage() for record in caplog.records if record.name == "spanloom_langfuse"]


def test_only_its_own_headers(langfuse, keys, ended, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret-of-another-backend")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-other=1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    assert LangfuseSpanExporter().export([ended()]) is SpanExportResult.SUCCESS
    ((path, headers, _),) = langfuse.requests
    sent = {name.lower(): value for name, value in headers.items()}

    assert path == PATH
    assert base64.b64decode(sent["authorization"].removeprefix("Basic ")) == b"pk-lf-tests:sk-lf-tests"
    assert sent["x-langfuse-ingestion-version"] == "4"
    assert sent["content-encoding"] == "gzip"
    assert sent["content-type"] == "application/x-protobuf"
    assert sent["user-agent"].startswith("spanloom-langfuse/")
    assert set(sent) <= {
        *("authorization", "x-langfuse-ingestion-version", "content-encoding", "content-type", "user-agent"),
        *("host", "content-length", "connection", "accept", "accept-encoding"),
    }


@pytest.mark.parametrize("more", ["", "/", "//", "/api/public/otel", "/api/public/otel/", PATH, f"{PATH}/"])
def test_whatever_part_of_the_address_was_copied(langfuse, keys, ended, more):
    exporter = LangfuseSpanExporter(base_url=f" {langfuse.address}{more}\n")

    assert exporter.export([ended()]) is SpanExportResult.SUCCESS
    assert langfuse.requests[0][0] == PATH


@pytest.mark.parametrize(
    ("base", "endpoint"),
    [
        (None, f"https://cloud.langfuse.com{PATH}"),
        ("us.cloud.langfuse.com", f"https://us.cloud.langfuse.com{PATH}"),
        ("localhost:3000", f"http://localhost:3000{PATH}"),
        ("http://[::1]:3000/", f"http://[::1]:3000{PATH}"),
        ("https://tools.example/langfuse", f"https://tools.example/langfuse{PATH}"),
    ],
)
def test_addresses(monkeypatch, base, endpoint):
    for name in ("LANGFUSE_BASE_URL", "LANGFUSE_HOST"):
        monkeypatch.delenv(name, raising=False)

    assert LangfuseSpanExporter("pk", "sk", base).endpoint == endpoint


def test_the_older_name_of_the_address(langfuse, keys, monkeypatch):
    monkeypatch.setenv("LANGFUSE_HOST", "http://127.0.0.1:1")
    assert LangfuseSpanExporter().endpoint == f"{langfuse.address}{PATH}"

    monkeypatch.delenv("LANGFUSE_BASE_URL")
    monkeypatch.setenv("LANGFUSE_HOST", langfuse.address)
    assert LangfuseSpanExporter().endpoint == f"{langfuse.address}{PATH}"


def test_arguments_go_before_the_environment(langfuse, keys, ended, monkeypatch):
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-wrong")
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://127.0.0.1:1")
    exporter = LangfuseSpanExporter(secret_key="sk-lf-tests", base_url=langfuse.address, release="r", environment="e")

    assert exporter.export([ended()]) is SpanExportResult.SUCCESS
    assert (langfuse.observations[0].release, langfuse.observations[0].environment) == ("r", "e")


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (("LANGFUSE_PUBLIC_KEY",), "LANGFUSE_PUBLIC_KEY is not set. Set the key"),
        (("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"), "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are not set"),
    ],
)
def test_without_keys_nothing_is_exported_and_one_line_says_so(langfuse, keys, ended, monkeypatch, said, missing, line):
    for name in missing:
        monkeypatch.setenv(name, " ")
    exporter = LangfuseSpanExporter()

    assert [exporter.export([ended()]) for _ in range(3)] == [SpanExportResult.FAILURE] * 3
    assert langfuse.requests == []
    assert exporter.lost_spans == 3
    assert len(said()) == 1
    assert line in said()[0]
    assert exporter.deliver([ended()]).verdict is Verdict.MISCONFIGURED


def test_keys_that_are_each_others(keys, ended, said):
    LangfuseSpanExporter("sk-lf-1", "pk-lf-1").export([ended()])

    (line,) = said()
    assert "exchange them" in line
    assert "lf-1" not in line


@pytest.mark.parametrize("base", ["http://", "ftp://x", "http://a b", "http://x:port"])
def test_an_address_that_is_none(keys, ended, said, base):
    LangfuseSpanExporter(base_url=base).export([ended()])

    (line,) = said()
    assert "LANGFUSE_BASE_URL is no address of a server. Set it to one such as https://cloud.langfuse.com." in line


def test_an_environment_that_langfuse_would_not_take(langfuse, keys, ended, said):
    exporter = LangfuseSpanExporter(environment="My Env")

    assert exporter.export([ended()]) is SpanExportResult.SUCCESS
    assert langfuse.observations[0].environment == "default"
    (line,) = said()
    assert "LANGFUSE_TRACING_ENVIRONMENT='My Env'" in line


def test_wrong_keys_or_the_wrong_region(langfuse, keys, ended, said):
    exporter = LangfuseSpanExporter(secret_key="sk-lf-of-another-region")

    assert [exporter.export([ended()]) for _ in range(2)] == [SpanExportResult.FAILURE] * 2
    (line,) = said()
    assert "401" in line
    assert "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, and LANGFUSE_BASE_URL" in line
    assert "US https://us.cloud.langfuse.com" in line
    assert "sk-lf-of-another-region" not in line


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (403, {}, ["403", "LANGFUSE_SECRET_KEY"]),
        (404, {"Content-Type": "text/html"}, ["404", "Langfuse 3.22 or later", "LANGFUSE_BASE_URL"]),
        (405, {}, ["405", "LANGFUSE_BASE_URL"]),
        (308, {"Location": f"https://new.example{PATH}"}, ["308", f"https://new.example{PATH}", "LANGFUSE_BASE_URL"]),
        (301, {"Location": "https://new.example/"}, ["301", "https://new.example/", "LANGFUSE_BASE_URL"]),
        (200, {"Content-Type": "text/html"}, ["web page", "LANGFUSE_BASE_URL"]),
    ],
)
def test_what_a_changed_setting_would_mend(langfuse, exporter, ended, said, status, headers, words):
    langfuse.answers += [(status, headers)] * 2

    assert exporter.deliver([ended()]).verdict is Verdict.MISCONFIGURED
    assert exporter.export([ended()]) is SpanExportResult.FAILURE
    (line,) = said()
    assert [word for word in words if word not in line] == []


def test_a_redirects_address_as_the_setting(langfuse, keys, ended):
    """What the log line tells people to do."""
    assert LangfuseSpanExporter(base_url=f"{langfuse.address}{PATH}").export([ended()]) is SpanExportResult.SUCCESS


def test_a_host_where_nobody_answers(keys, ended):
    outcome = LangfuseSpanExporter(base_url="http://127.0.0.1:1").deliver([ended()])

    assert outcome.verdict is Verdict.LATER
    assert "LANGFUSE_BASE_URL" in outcome.detail


def test_it_waits_as_long_as_it_is_asked_to(langfuse, exporter, ended):
    langfuse.answers.append((429, {"Retry-After": "17"}))
    outcome = exporter.deliver([ended()])
    langfuse.answers.append((429, {"Retry-After": "0"}))

    assert (outcome.verdict, outcome.retry_after) == (Verdict.LATER, 17.0)
    assert exporter.export([ended()]) is SpanExportResult.SUCCESS
    assert len(langfuse.observations) == 1


def test_trouble_of_the_server_is_outlived(langfuse, exporter, ended, monkeypatch):
    monkeypatch.setattr(exporter, "_wait", lambda seconds: True)
    langfuse.answers += [(500, {}), (503, {})]

    assert exporter.export([ended()]) is SpanExportResult.SUCCESS
    assert len(langfuse.observations) == 1


def test_a_batch_that_is_refused_is_told_and_costs_no_other(langfuse, exporter, ended, said):
    langfuse.answers.append((400, {}))
    spans = [ended("a"), ended("b")]

    assert exporter.export(spans) is SpanExportResult.SUCCESS  # one by one
    assert exporter.deliver(spans).verdict is Verdict.DELIVERED
    langfuse.answers.append((400, {}))
    assert exporter.export([ended()]) is SpanExportResult.FAILURE
    assert len(said()) == 1


def test_a_span_that_cannot_be_translated_is_sent_as_it_is(langfuse, exporter, ended, said, monkeypatch):
    def fails(span, about):
        raise RuntimeError("a fault")

    monkeypatch.setattr(_exporter, "translate", fails)

    assert exporter.export([ended("chat m", {"gen_ai.operation.name": "chat"})]) is SpanExportResult.SUCCESS
    assert exporter.export([ended("b")]) is SpanExportResult.SUCCESS
    assert [one.type for one in langfuse.observations] == ["generation", "span"]
    (line,) = said()
    assert "RuntimeError: a fault" in line


def test_traces_that_cannot_be_followed(langfuse, exporter, ended, said, monkeypatch):
    monkeypatch.setattr(exporter._traces, "about", lambda spans: 1 / 0)

    assert exporter.export([ended("chat m", {"gen_ai.operation.name": "chat"})]) is SpanExportResult.SUCCESS
    assert langfuse.observations[0].type == "generation"
    assert "ZeroDivisionError" in said()[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_exports_whatever_its_parent_was_doing(langfuse, exporter, ended):
    span = ended()
    with exporter._lock:
        child = os.fork()
        if not child:
            try:
                os._exit(0 if exporter.export([span]) is SpanExportResult.SUCCESS else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(langfuse.wait_for(1)) == 1


def test_several_threads(langfuse, exporter, ended):
    spans = [ended(f"s{number}", {"spanloom.node.name": f"n{number}"}) for number in range(40)]
    threads = [threading.Thread(target=exporter.export, args=([span],)) for span in spans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(one.name for one in langfuse.observations) == sorted(f"n{number}" for number in range(40))


def test_memory_of_traces_is_bounded(exporter, ended):
    traces = exporter._traces
    for _ in range(700):
        nodes = []
        ended("root", prepare=lambda span, nodes=nodes: nodes.append(ended("p", {"spanloom.node.name": "p"})))
        list(traces.about(nodes))  # the root's end is never seen

    assert len(traces._steps._traces) <= 256
    assert len(traces._names) <= 512
    assert len(traces._work) <= 256


def test_memory_of_a_long_trace_is_bounded(exporter, ended):
    traces, spans = exporter._traces, []

    def root(span):
        for number in range(2000):
            spans.append(ended("run_step p", {"spanloom.node.name": "p", "pocketflow.step": number + 1}))

    ended("root", prepare=root)
    steps = [about.step for _, about in traces.about(spans)]

    assert steps == list(range(1, 2001))
    (trace,) = traces._steps._traces.values()
    assert max(map(len, (trace.ended, trace.open, trace.inside))) <= 512
    assert len(traces._steps._given) <= 4096


def test_nothing_is_left_of_a_trace_that_is_over(exporter, ended):
    spans = []

    def root(span):
        spans.append(ended("run_step p", {"spanloom.node.name": "p"}))

    spans.append(ended("root", prepare=root))
    list(exporter._traces.about(spans))

    assert not exporter._traces._steps._traces
    assert not exporter._traces._work
