"""`spanloom demo` from end to end: what it prints, what it writes, and what it says when it cannot run."""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from spanloom import names
from spanloom.cli import demo_command

EMBEDDINGS = "embeddings loopback-embedding"
CHAT = "chat loopback-chat"


class Traces:
    """The spans of one run, as they lie in its file."""

    def __init__(self, folder):
        lines = [line for file in folder.iterdir() for line in file.read_text("utf-8").splitlines()]
        self.spans = [
            {**span, "attributes": plain(span.get("attributes", [])), "events": span.get("events", [])}
            for line in lines
            for resource in json.loads(line)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
        self.by_id = {span["spanId"]: span for span in self.spans}
        self.children = defaultdict(list)
        for span in sorted(self.spans, key=lambda span: int(span["startTimeUnixNano"])):
            self.children[span.get("parentSpanId", "")].append(span)

    def named(self, name):
        return sorted(
            (span for span in self.spans if span["name"] == name), key=lambda span: int(span["startTimeUnixNano"])
        )

    def below(self, span):
        return [child["name"] for child in self.children[span["spanId"]]]

    def parent(self, span):
        return self.by_id[span["parentSpanId"]]


def plain(attributes):
    """OTLP/JSON attributes as a dict; 64-bit integers are texts there."""

    def value(given):
        ((kind, content),) = given.items()
        if kind == "arrayValue":
            return [value(item) for item in content.get("values", [])]
        return int(content) if kind == "intValue" else content

    return {entry["key"]: value(entry["value"]) for entry in attributes}


def failed(span):
    return span["status"].get("code") == 2


def event_names(span):
    return [event["name"] for event in span["events"]]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command's process and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("demo") / "traces"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "OTEL_", "SPANLOOM_"))}
    process = subprocess.run(
        [sys.executable, "-m", "spanloom", "demo", "--dir", str(folder)],
        # Nobody listens there: the loopback server must be reached past the proxy.
        env={**kept, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return process, folder


@pytest.fixture(scope="module")
def traces(done):
    return Traces(done[1])


@pytest.mark.slow
def test_it_prints_the_report_the_tree_and_what_to_do_next(done):
    process, folder = done

    assert process.returncode == 0, process.stderr
    order = [
        process.stdout.index(part)
        for part in (
            "A support desk in PocketFlow",
            "6 tickets, 5 closed, 1 failed.",
            "invoke_workflow SupportDesk",
            f"spanloom view {folder} --errors",
            "opentelemetry-instrument",
            "The demo's program is in ",
        )
    ]
    assert order == sorted(order)
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_four_traces_and_no_span_left_open(traces):
    roots = traces.children[""]

    assert [(span["name"], failed(span)) for span in roots] == [
        ("invoke_workflow IndexFlow", False),
        ("invoke_workflow SupportDesk", True),
        ("invoke_workflow SupportDesk", False),
        ("invoke_workflow ReviewFlow", False),
    ]
    # Only ended spans are written: one left open would be missed by its children, or in the counts.
    assert all(span["parentSpanId"] in traces.by_id for span in traces.spans if span.get("parentSpanId"))
    assert Counter(span["name"].partition(" ")[0] for span in traces.spans) == {
        "invoke_workflow": 11,
        "run_step": 30,
        "prep": 26,
        "exec": 31,
        "exec_fallback": 1,
        "post": 28,
        "chat": 24,
        "embeddings": 5,
    }


@pytest.mark.slow
def test_every_model_call_lies_under_the_attempt_that_made_it(traces):
    calls = [*traces.named(CHAT), *traces.named(EMBEDDINGS)]

    assert {traces.parent(call)["name"].partition(" ")[0] for call in calls} == {"exec"}
    assert all(call["kind"] == 3 for call in calls)


@pytest.mark.slow
def test_the_batch_flow_has_one_workflow_per_ticket(traces):
    tickets = [
        (json.loads(span["attributes"][names.POCKETFLOW_PARAMS])["ticket"], failed(span))
        for span in traces.named("invoke_workflow SupportDesk")
        if names.POCKETFLOW_BATCH_INDEX in span["attributes"]
    ]

    assert tickets == [(f"T-100{n}", n == 4) for n in range(1, 7)]


@pytest.mark.slow
def test_the_search_loop_runs_a_node_again_and_again(traces):
    question = traces.named("invoke_workflow SupportDesk")[1]

    assert traces.below(question) == [
        "run_step Classify",
        "run_step Research",
        "run_step SearchKnowledge",
        "run_step Research",
        "run_step SearchKnowledge",
        "run_step Research",
        "run_step WriteReply",
        "run_step CloseTicket",
    ]


@pytest.mark.slow
def test_the_nested_flow_is_one_span_between_nodes(traces):
    (refund,) = traces.named("invoke_workflow RefundFlow")

    assert traces.below(traces.parent(refund)) == [
        "run_step Classify",
        "invoke_workflow RefundFlow",
        "run_step WriteReply",
        "run_step CloseTicket",
    ]
    assert traces.below(refund) == ["run_step FindOrder", "run_step DecideRefund"]


@pytest.mark.slow
def test_a_retry_that_succeeds(traces):
    (node,) = [span for span in traces.named("run_step Classify") if span["events"]]
    attempts = [span for span in traces.children[node["spanId"]] if span["name"] == "exec Classify"]

    assert not failed(node)
    assert event_names(node) == [names.RETRY_EVENT]
    assert [(span["attributes"][names.POCKETFLOW_RETRY_ATTEMPT], failed(span)) for span in attempts] == [
        (1, True),
        (2, False),
    ]
    (call,) = traces.children[attempts[0]["spanId"]]
    assert call["attributes"][names.ERROR_TYPE] == "openai.RateLimitError"


@pytest.mark.slow
def test_a_fallback_that_answers_is_no_error(traces):
    (fallback,) = traces.named("exec_fallback WriteReply")
    node = traces.parent(fallback)

    assert node["attributes"][names.POCKETFLOW_FALLBACK] is True
    assert not failed(node)
    assert traces.below(node) == [
        "prep WriteReply",
        "exec WriteReply",
        "exec WriteReply",
        "exec_fallback WriteReply",
        "post WriteReply",
    ]


@pytest.mark.slow
def test_the_failing_ticket_is_red_from_the_call_to_the_root(traces):
    (call,) = [
        span for span in traces.named(CHAT) if span["attributes"].get(names.ERROR_TYPE) == "openai.BadRequestError"
    ]
    path = [call]
    while path[-1].get("parentSpanId"):
        path.append(traces.parent(path[-1]))

    assert [span["name"] for span in path] == [
        CHAT,
        "exec Research",
        "run_step Research",
        "invoke_workflow SupportDesk",
        "invoke_workflow SupportDesk",
    ]
    assert all(failed(span) and "BadRequestError" in span["attributes"][names.ERROR_TYPE] for span in path)
    # Told once, where it was raised, not again on its way up.
    assert sum(event_names(span).count(names.EXCEPTION_EVENT) for span in path) == 1


@pytest.mark.slow
def test_the_parallel_batch_overlaps(traces):
    items = traces.named("exec ScoreReplies")

    assert [span["attributes"][names.POCKETFLOW_BATCH_INDEX] for span in items] == [0, 1, 2, 3]
    assert max(int(span["startTimeUnixNano"]) for span in items) < min(int(span["endTimeUnixNano"]) for span in items)
    assert all(traces.below(span) == [CHAT] for span in items)


@pytest.mark.slow
def test_tool_calls_streams_and_usage_are_recorded(traces):
    chats = [span["attributes"] for span in traces.named(CHAT) if not failed(span)]
    streams = [chat for chat in chats if chat.get(names.GEN_AI_REQUEST_STREAM)]
    tools = [chat for chat in chats if chat[names.GEN_AI_RESPONSE_FINISH_REASONS] == ["tool_calls"]]

    assert (len(chats), len(streams), len(tools)) == (20, 4, 4)
    assert all(chat[names.GEN_AI_USAGE_INPUT_TOKENS] > 0 for chat in chats)
    assert all(chat[names.GEN_AI_USAGE_OUTPUT_TOKENS] > 0 for chat in chats)
    assert all(chat[names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] > 0 for chat in streams)
    assert sum(names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS in chat for chat in chats) == 3
    # `spanloom run` records content.
    assert all("search_kb" in chat[names.GEN_AI_OUTPUT_MESSAGES] for chat in tools[:2])


def options(**given):
    parser = argparse.ArgumentParser()
    demo_command.add_arguments(parser)
    return argparse.Namespace(**{**vars(parser.parse_args([])), **given})


def test_a_missing_package_is_one_line_with_the_command(monkeypatch, capsys):
    # None there is how Python marks a module as not to be found.
    monkeypatch.setitem(sys.modules, "pocketflow", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.genai", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.genai.openai", None)  # another test may have it

    assert demo_command.run(options()) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "spanloom: the demo needs pocketflow, opentelemetry.instrumentation.genai.openai: "
        "pip install 'spanloom[demo]'\n"
    )


def test_real_without_a_key_says_what_to_set(monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert demo_command.run(options(real=True)) == 2

    assert "set OPENAI_API_KEY" in capsys.readouterr().err


@pytest.fixture
def started(monkeypatch):
    """Catches the program's start: what was run, in which environment; `started.code` is its exit code."""

    class Started:
        code = 3

    def run(command, *, env, check):
        Started.command, Started.env = command, env
        return subprocess.CompletedProcess(command, Started.code)

    monkeypatch.setattr(subprocess, "run", run)
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "SPANLOOM_JSONL_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Started


def test_the_program_runs_the_way_any_other_would(started, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("NO_PROXY", "intranet")

    assert demo_command.run(options(directory="kept")) == 3

    assert started.command[1:] == ["-m", "spanloom", "run", "--dir", "kept", "-m", "spanloom.demo.support"]
    assert started.env["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
    assert started.env["OPENAI_API_KEY"] != "secret"
    assert started.env["NO_PROXY"] == started.env["no_proxy"] == "intranet,127.0.0.1"
    assert "OTEL_TRACES_EXPORTER" not in started.env


def test_real_leaves_the_environment_to_the_user(started, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example/v1")

    demo_command.run(options(real=True))

    assert started.env["OPENAI_API_KEY"] == "secret"
    assert started.env["OPENAI_BASE_URL"] == "http://models.example/v1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "console,jsonl"),
        ({"OTEL_TRACES_EXPORTER": "jsonl,otlp"}, "jsonl,otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, "otlp,jsonl"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "jsonl"),
    ],
)
def test_a_configured_exporter_gets_the_traces_beside_the_files(started, monkeypatch, given, expected):
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    demo_command.run(options(directory="kept"))

    assert started.env["OTEL_TRACES_EXPORTER"] == expected
    assert started.env["SPANLOOM_JSONL_DIR"] == "kept"


def test_death_by_a_signal_is_told_as_shells_do(started):
    started.code = -15

    assert demo_command.run(options()) == 143
