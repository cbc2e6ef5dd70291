"""`spanloom demo langgraph`: the research desk is an ordinary program, and its traces show what it does."""

import argparse
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spanloom.cli import demo_command
from spanloom.demo import research
from spanloom.demo.research_script import ResearchScript
from spanloom.demo.server import ModelServer

PROGRAM = "spanloom.demo.research"
SOURCES = Path(research.__file__).parent


def test_the_program_says_nothing_of_tracing():
    imported = {
        name.partition(".")[0]
        for source in SOURCES.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }

    assert len(list(SOURCES.glob("*.py"))) > 4
    frameworks = {"langchain", "langchain_core", "langchain_openai", "langgraph", "openai", "pydantic"}
    assert imported <= {*sys.stdlib_module_names, *frameworks, "typing_extensions"}


@pytest.fixture
def server():
    with ModelServer(ResearchScript()) as running:
        yield running


ARTICLE = (
    "Old and new lamps would use 1,680,000 kWh and 588,000 kWh a year. The exchange costs 410 EUR for each street "
    "lamp. The fund pays 30 percent of what the exchange of street lamps costs. The fund pays for lamps below 3000 "
    "kelvin, and only until the end of next year. Of 612 residents asked, 71 percent want new lamps, and 58 percent "
    "of these fear glare at night."
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "last"),
    [
        ([], "Print this? yes\nPrinted under the headline: 71 percent want new street lamps\n"),
        (["no"], "Print this? no\nNot printed.\n"),
    ],
)
def test_the_article_is_printed_when_the_editor_says_so(workshop, server, answer, last):
    done = workshop.plain("-W", "error", "-m", PROGRAM, *answer, env=server.environment({}))

    assert (done.code, done.err) == (0, "")
    assert f"\n\n{ARTICLE}\n\n" in done.out
    assert done.out.endswith(last)


@pytest.mark.slow
def test_without_a_key_it_says_so_in_one_line(workshop):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        workshop.env.pop(name, None)

    done = workshop.plain("-m", PROGRAM)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("research: the model service cannot be used: ")
    assert "OPENAI_API_KEY" in done.err


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The command's process and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("demo")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "OTEL_", "SPANLOOM_"))}
    process = subprocess.run(
        [sys.executable, "-m", "spanloom", "demo", "langgraph"],
        cwd=folder,
        # Nobody listens there: the loopback server must be reached past the proxy.
        env={**kept, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return process, folder


@pytest.fixture
def spans(demo, workshop):
    """The spans of the demo's run, in the order of their start."""
    workshop.folder = demo[1]
    return sorted(workshop.spans(), key=lambda span: int(span["startTimeUnixNano"]))


@pytest.fixture
def told(spans, attributes):
    """`told(name)`: spans of that name with their attributes as a dict."""
    return lambda name: [span | {"told": attributes(span)} for span in spans if span["name"] == name]


@pytest.mark.slow
def test_it_prints_the_article_the_trees_and_what_to_do_next(demo):
    process, _ = demo

    assert process.returncode == 0, process.stderr
    order = [
        process.stdout.index(part)
        for part in (
            "A newspaper's research desk in LangGraph",
            ARTICLE,
            "Printed under the headline",
            "conversation street-lamps",
            "invoke_workflow research_desk  interrupted",
            "→ research x3 · 1 retry",
            "• attempt 1 failed with",
            "invoke_workflow research_desk  resumed",
            "• goes on with trace ",
            "  spanloom view --errors",
            "your own LangGraph program",
            f"The demo's program is in {SOURCES}",
        )
    ]
    assert order == sorted(order)
    assert "Traceback" not in process.stderr


TURN = "      run_step model\n        chat loopback-chat\n"
SEARCH = """\
      run_step tools
        execute_tool search_archive
          retrieval InMemoryVectorStore
            embeddings loopback-embedding
"""


def researched(*tools):
    """The part of the tree that researches one question."""
    calls = "".join(f"      run_step tools\n        execute_tool {tool}\n" for tool in tools)
    return (
        "  invoke_workflow research\n    invoke_agent researcher\n"
        f"{TURN}{SEARCH}{TURN}{calls}{TURN}"
        "    run_step check\n      chat loopback-chat\n"
    )


DESK = (
    "invoke_workflow research_desk\n"
    "  run_step open_archive\n    embeddings loopback-embedding\n"
    "  run_step plan\n    chat loopback-chat\n    chat loopback-chat\n"
    f"{researched('lamp_energy', 'lamp_energy')}{researched('read_report')}{researched('read_report')}"
    "  run_step write\n    chat loopback-chat\n"
    "  run_step approve"
)
RESUMED = "invoke_workflow research_desk\n  run_step approve\n  run_step print\n    chat loopback-chat"


@pytest.mark.slow
def test_two_traces_in_one_conversation(spans, outlines, attributes):
    assert outlines(spans) == [DESK, RESUMED]
    assert {attributes(span)["gen_ai.conversation.id"] for span in spans} == {"street-lamps"}
    first, second = (span for span in spans if "parentSpanId" not in span)
    assert attributes(first)["spanloom.status"] == "interrupted"
    assert [link["spanId"] for link in second["links"]] == [first["spanId"]]


@pytest.mark.slow
def test_a_retry_and_a_tool_that_fails_are_no_errors_of_the_run(spans, told):
    failed = {span["name"] for span in spans if span["status"].get("code") == 2}
    (plan,) = told("run_step plan")

    assert failed == {"chat loopback-chat", "execute_tool read_report"}
    assert plan["told"]["langgraph.retry.count"] == "1"
    assert [event["name"] for event in plan["events"]] == ["spanloom.retry"]
    assert sorted(report["told"].get("error.type", "") for report in told("execute_tool read_report")) == [
        "",
        "langchain_core.tools.base.ToolException",
    ]


@pytest.mark.slow
def test_parts_are_sent_out_and_come_together(told):
    (plan,), (write,) = told("run_step plan"), told("run_step write")
    parts = told("invoke_workflow research")

    assert plan["told"]["langgraph.send"]["values"] == [{"stringValue": "research"}] * 3
    assert {link["spanId"] for part in parts for link in part["links"]} == {plan["spanId"]}
    assert {link["spanId"] for link in write["links"]} == {part["spanId"] for part in parts}
    assert max(int(part["startTimeUnixNano"]) for part in parts) < min(int(part["endTimeUnixNano"]) for part in parts)


@pytest.mark.slow
def test_the_article_is_streamed_and_all_calls_have_usage(told):
    chats = [chat["told"] for chat in told("chat loopback-chat") if chat["status"].get("code") != 2]

    assert len(chats) == 15
    assert all(int(chat["gen_ai.usage.input_tokens"]) > 0 for chat in chats)
    streamed = [chat for chat in chats if "gen_ai.response.time_to_first_chunk" in chat]
    assert len(streamed) == 1
    # `spanloom run` records content.
    assert ARTICLE in json.loads(streamed[0]["gen_ai.output.messages"])[0]["parts"][0]["content"]


def options(*given):
    parser = argparse.ArgumentParser()
    demo_command.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize(
    ("given", "program"),
    [((), "spanloom.demo.support"), (("pocketflow",), "spanloom.demo.support"), (("langgraph",), PROGRAM)],
)
def test_which_program_runs(monkeypatch, given, program):
    commands = []

    def run(command, *, env, check):
        commands.append(command)
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", run)

    assert demo_command.run(options(*given)) == 7
    assert commands[0][-2:] == ["-m", program]


def test_another_framework_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit):
        options("crewai")

    assert "pocketflow" in (err := capsys.readouterr().err)
    assert "langgraph" in err


def test_missing_packages_are_one_line_with_the_command(monkeypatch, capsys):
    for name in ("langgraph", "langchain_openai"):
        monkeypatch.setitem(sys.modules, name, None)

    assert demo_command.run(options("langgraph")) == 1
    assert capsys.readouterr() == (
        "",
        "spanloom: the demo needs langgraph, langchain_openai: pip install 'spanloom[demo]'\n",
    )
