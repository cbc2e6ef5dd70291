"""Whole programs that know nothing of tracing, sent to Langfuse by environment variables alone."""

import json

import pytest

pytestmark = pytest.mark.slow

# What a program needs to send its spans quickly, and nothing else.
QUIET = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "20"}
CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}


@pytest.fixture
def sent(workshop, keys, langfuse):
    """`sent(command)`: run it under `opentelemetry-instrument`; returns what happened and the observations."""

    def run(*command, **env):
        everything = {"OTEL_TRACES_EXPORTER": "langfuse", **QUIET, **keys, **env}
        ran = workshop.run([workshop.tool("opentelemetry-instrument"), workshop.python, *command], env=everything)
        return ran, langfuse.observations

    return run


def traces(observations):
    """The observations of each trace, in the order in which the traces began."""
    found = {}
    for one in sorted(observations, key=lambda one: one.start):
        found.setdefault(one.trace, []).append(one)
    return list(found.values())


def root(observations):
    (found,) = (one for one in observations if one.parent is None)
    return found


def test_the_support_desk_in_pocketflow(sent, graph, path):
    pytest.importorskip("pocketflow")
    pytest.importorskip("opentelemetry.instrumentation.genai.openai")
    from spanloom.demo.script import SupportScript
    from spanloom.demo.server import ModelServer

    with ModelServer(SupportScript()) as model:
        ran, observations = sent("-m", "spanloom.demo.support", **CONTENT, **model.environment({}))
    assert (ran.code, ran.err) == (0, "")
    index, *desks, review = traces(observations)

    assert [root(one).name for one in (index, review)] == ["IndexFlow", "ReviewFlow"]
    assert graph(index) == path("ReadArticles EmbedArticles")
    assert graph(review) == path("ScoreReplies WriteDigest")
    assert {edge for desk in desks for edge in graph(desk)} >= set(
        path("Classify Research SearchKnowledge Research WriteReply CloseTicket")
    ) - {"CloseTicket -> __end__"}
    # A flow in the flow leads into itself and on.
    assert set(graph(desks[0])) >= {
        "Classify -> RefundFlow",
        "RefundFlow -> RefundFlow:FindOrder",
        "RefundFlow:DecideRefund -> WriteReply",
    }
    assert {root(one).trace_name for one in desks} == {"SupportDesk"}
    assert {one.type for one in observations} == {"chain", "span", "generation", "embedding"}
    assert {one.level for one in observations if one.name.startswith(("prep ", "post "))} == {"DEBUG"}
    calls = [one for one in observations if one.type == "generation" and one.level != "ERROR"]
    assert all(one.messages[-1][0] == "assistant" for one in calls)
    assert all(one.usage["total"] == sum(one.usage.values()) / 2 for one in calls)
    assert any(one.tools == ["search_kb"] for one in calls)
    assert json.loads(root(review).output)["digest"]


def test_the_research_desk_in_langgraph(sent, graph, path):
    pytest.importorskip("langchain_openai")
    pytest.importorskip("numpy")
    from spanloom.demo.research_script import ResearchScript
    from spanloom.demo.server import ModelServer

    with ModelServer(ResearchScript()) as model:
        ran, observations = sent("-m", "spanloom.demo.research", **CONTENT, **model.environment({}))
    assert (ran.code, ran.err) == (0, "")
    asked, resumed = traces(observations)

    # Three sub-graphs, each with an agent, beside each other: the boxes of all three are the same.
    agent = "research:researcher"
    assert graph(asked) == path(
        f"open_archive plan research {agent} {agent}:model {agent}:tools {agent}:model research:check write approve"
    )
    assert graph(resumed) == path("approve print")
    assert {one.session for one in observations} == {"street-lamps"}
    assert root(asked).status_message == "interrupted"
    assert root(asked).trace_name == root(resumed).trace_name == "research_desk"
    assert json.loads(root(resumed).metadata["linked_traces"]) == [root(asked).trace]
    assert {one.type for one in observations} == {"chain", "agent", "generation", "tool", "retriever", "embedding"}
    (search, *_) = (one for one in observations if one.type == "retriever")
    assert search.input
    assert json.loads(search.output)[0]["content"]
    streamed = [one for one in observations if one.first_token]
    assert streamed
    assert all(0 < one.first_token_after < (one.end - one.start) / 1e9 for one in streamed)


APP = """
    from pocketflow import Flow, Node

    class Greet(Node):
        def exec(self, prep_res):
            return "hello"

    Flow(start=Greet()).run({})
    print("done")
"""


def test_content_is_off_by_default(sent, workshop):
    pytest.importorskip("pocketflow")
    workshop.write("app.py", APP)
    ran, observations = sent("app.py")

    assert ran.behaviour == (0, "done\n", "")
    assert {one.name for one in observations} == {"invoke_workflow", "Greet", "exec Greet"}
    assert all(one.input is None and one.output is None for one in observations)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"LANGFUSE_SECRET_KEY": ""}, "LANGFUSE_SECRET_KEY is not set"),
        ({"LANGFUSE_SECRET_KEY": "sk-lf-wrong"}, "keys belong to one project in one region"),
        ({"LANGFUSE_BASE_URL": "http://127.0.0.1:1"}, "LANGFUSE_BASE_URL"),
    ],
)
def test_a_program_is_unharmed_by_wrong_settings(sent, workshop, langfuse, wrong, words):
    pytest.importorskip("pocketflow")
    workshop.write("app.py", APP)
    ran, observations = sent("app.py", **wrong)

    assert (ran.code, ran.out) == (0, "done\n")
    assert observations == []
    (line,) = ran.err.splitlines()
    assert words in line


def test_beside_other_exporters_whose_spans_stay_pure(sent, workshop):
    pytest.importorskip("pocketflow")
    workshop.write("app.py", APP)
    ran, observations = sent("app.py", OTEL_TRACES_EXPORTER="langfuse,jsonl", **CONTENT)

    assert ran.behaviour == (0, "done\n", "")
    assert len(observations) == len(workshop.spans()) == 3
    assert not any("langfuse" in json.dumps(span["attributes"]) for span in workshop.spans())


def test_what_could_not_be_delivered_comes_later(sent, workshop, langfuse):
    pytest.importorskip("pocketflow")
    workshop.write("app.py", APP)
    lost, _ = sent("app.py", LANGFUSE_SECRET_KEY="", SPANLOOM_SPOOL_DIR="spool")
    assert (lost.code, lost.out, langfuse.observations) == (0, "done\n", [])

    ran, _ = sent("app.py", SPANLOOM_SPOOL_DIR="spool")

    assert (ran.code, ran.out) == (0, "done\n")
    assert sorted(one.name for one in langfuse.wait_for(6)) == sorted(["invoke_workflow", "Greet", "exec Greet"] * 2)
    assert {one.type for one in langfuse.observations} == {"chain", "span"}
