"""The programs in `examples/`: the same with and without `spanloom run`, offline, and whole trees of spans."""

import ast
import json
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = ("react_agent", "supervisor", "approval", "rag")
BY_HAND = ("tools_without_framework", "handwritten_rag", "legacy_closures", "streaming_fastapi")


def offline(*command):
    return [sys.executable, str(EXAMPLES / "offline.py"), *command]


@pytest.fixture
def ran(workshop):
    """`ran("rag", stdin="")` runs an example both ways, finds no difference, and returns the traced run."""

    def run(name, stdin=""):
        program = str(EXAMPLES / f"{name}.py")
        plain = workshop.run(offline("python", program), stdin=stdin)
        traced = workshop.run(offline("spanloom", "run", program), stdin=stdin)
        assert traced.behaviour == plain.behaviour
        assert (plain.code, plain.err) == (0, "")
        return traced

    return run


@pytest.fixture
def told(workshop, attributes):
    """`told(name)`: the attributes of the spans of that name, in the order of their start."""

    def find(name):
        spans = sorted(workshop.spans(), key=lambda span: int(span["startTimeUnixNano"]))
        return [attributes(span) for span in spans if span["name"] == name]

    return find


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_every_program_is_ordinary_and_told_in_the_readme():
    programs = {path.stem for path in EXAMPLES.glob("*.py")} - {"offline", "scripted_replies"}
    readme = (EXAMPLES / "README.md").read_text("utf-8")

    assert programs == {*PROGRAMS, *BY_HAND}
    assert all(f"{name}.py" in readme for name in BY_HAND)
    for name in PROGRAMS:
        assert f"{name}.py" in readme
        modules = {module.partition(".")[0] for module in imported(EXAMPLES / f"{name}.py")}
        assert modules <= {
            *sys.stdlib_module_names,
            "langchain",
            "langchain_core",
            "langchain_openai",
            "langgraph",
            "pydantic",
        }


COUNTER = [
    """\
invoke_agent counter
  run_step model
    chat loopback-chat
  run_step tools
    execute_tool find_part
  run_step tools
    execute_tool find_part
  run_step model
    chat loopback-chat""",
    """\
invoke_agent counter
  run_step model
    chat loopback-chat
  run_step tools
    execute_tool free_hours
  run_step model
    chat loopback-chat""",
]


@pytest.mark.slow
def test_an_agent_with_tools_and_memory(ran, workshop, outlines, told, attributes):
    out = ran("react_agent").out

    assert "That is 64.40 EUR together." in out
    assert out.endswith("Yes, on Thursday at 09:00 or 14:00: chain and cassette take about an hour.\n")
    spans = workshop.spans()
    assert outlines(spans) == COUNTER
    # One conversation, two traces.
    assert {attributes(span)["gen_ai.conversation.id"] for span in spans} == {"customer-4711"}
    tools = told("execute_tool find_part")
    assert len({tool["gen_ai.tool.call.id"] for tool in tools}) == 2
    assert sorted(json.loads(tool["gen_ai.tool.call.arguments"])["name"] for tool in tools) == ["cassette", "chain"]
    chats = told("chat loopback-chat")
    assert [chat["gen_ai.usage.output_tokens"] for chat in chats] == ["15", "26", "9", "19"]
    assert ["gen_ai.response.time_to_first_chunk" in chat for chat in chats] == [False, False, True, True]


TEAM = """\
invoke_workflow trip_team
  invoke_agent supervisor
    run_step model
      chat loopback-chat
    run_step tools
      execute_tool ask_route_planner
  invoke_agent route_planner
    run_step model
      chat loopback-chat
    run_step tools
      execute_tool find_routes
    run_step model
      chat loopback-chat
  invoke_agent supervisor
    run_step model
      chat loopback-chat
    run_step tools
      execute_tool ask_caterer
  invoke_agent caterer
    run_step model
      chat loopback-chat
    run_step tools
      execute_tool lunch_price
    run_step model
      chat loopback-chat
  invoke_agent supervisor
    run_step model
      chat loopback-chat"""


@pytest.mark.slow
def test_a_supervisor_of_two_agents(ran, workshop, outlines, told):
    out = ran("supervisor").out

    assert out.endswith("The route is Three lakes, 54 km. Lunch is ordered, 12 x pasta: 144.00 EUR.\n")
    spans = workshop.spans()
    assert outlines(spans) == [TEAM]
    # A hand-over is no error, and says where it goes.
    assert all(span["status"].get("code") != 2 for span in spans)
    supervisor = told("invoke_agent supervisor")
    assert [turn.get("spanloom.status") for turn in supervisor] == ["parent_command", "parent_command", None]
    assert [turn["langgraph.next"]["values"] for turn in supervisor] == [
        [{"stringValue": node}] for node in ("route_planner", "caterer", "__end__")
    ]


@pytest.mark.slow
def test_a_human_in_the_loop(ran, workshop, outlines, attributes):
    out = ran("approval", stdin="say sorry\nyes\n").out

    assert "We are sorry for the delay." in out
    assert out.endswith("The letter was sent.\n")
    spans = workshop.spans()
    assert outlines(spans) == [
        "invoke_workflow letter_desk\n  run_step draft\n    chat loopback-chat\n  run_step review",
        "invoke_workflow letter_desk\n  run_step review\n  run_step draft\n    chat loopback-chat\n  run_step review",
        "invoke_workflow letter_desk\n  run_step review\n  run_step send",
    ]
    assert {attributes(span)["gen_ai.conversation.id"] for span in spans} == {"letter-17"}
    runs = sorted(
        (span for span in spans if "parentSpanId" not in span), key=lambda span: int(span["startTimeUnixNano"])
    )
    assert [attributes(run).get("spanloom.status") for run in runs] == ["interrupted", "interrupted", None]
    # Each resumed run is linked to the one that it goes on with.
    assert [[link["spanId"] for link in run.get("links", [])] for run in runs] == [
        [],
        [runs[0]["spanId"]],
        [runs[1]["spanId"]],
    ]


@pytest.mark.slow
def test_a_letter_that_nobody_approves_is_not_sent(workshop):
    done = workshop.run(offline("python", str(EXAMPLES / "approval.py")), stdin="")

    assert done.code == 0
    assert done.out.endswith("Nobody answered: nothing was sent, and the letter waits for its approval.\n")


SEARCH = """\
  run_step retrieve
    retrieval InMemoryVectorStore
      embeddings loopback-embedding
  run_step grade
    chat loopback-chat
    chat loopback-chat
"""
ANSWER = """\
  run_step answer
    chat loopback-chat"""
HANDBOOK = [
    "embeddings loopback-embedding",
    f"invoke_workflow handbook\n{SEARCH}{ANSWER}",
    f"invoke_workflow handbook\n{SEARCH}  run_step rewrite\n    chat loopback-chat\n{SEARCH}{ANSWER}",
]


@pytest.mark.slow
def test_answers_from_documents(ran, workshop, outlines, told):
    out = ran("rag").out

    assert "2 bar for wide tyres on gravel. (tyres)" in out
    assert out.endswith("keep the battery indoors, at 10 to 20 degrees. (winter)\n")
    assert outlines(workshop.spans()) == HANDBOOK
    searches = told("retrieval InMemoryVectorStore")
    assert [search["gen_ai.retrieval.query.text"] for search in searches] == [
        "Which pressure do wide tyres need?",
        "Why does my e-bike only go half as far when it freezes?",
        "e-bike winter battery",
    ]
    assert {search["gen_ai.retrieval.top_k"] for search in searches} == {"2"}


def test_the_starter_names_what_is_missing(workshop):
    assert workshop.run(offline()).behaviour == (2, "", "usage: python examples/offline.py COMMAND...\n")
    assert workshop.run(offline("no-such-command")).behaviour == (
        127,
        "",
        "offline: there is no command no-such-command\n",
    )


def test_the_starter_gives_its_command_a_server_and_hands_on_its_exit_code(workshop):
    names = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_MODEL", "OPENAI_EMBEDDING_MODEL", "OPENAI_API_KEY")
    check = f"import os, sys; print(*(os.environ[name] for name in {names}), sep='\\n'); sys.exit(5)"
    done = workshop.run(offline("python", "-c", check), env=dict.fromkeys(names, "mine"))

    url, *rest = done.out.splitlines()
    assert done.code == 5
    assert url.startswith("http://127.0.0.1:")
    assert rest == [url, "loopback-chat", "loopback-embedding", "loopback"]


def test_a_command_that_dies_by_a_signal_is_told_as_shells_do(workshop):
    assert workshop.run(offline("python", "-c", "import os; os.kill(os.getpid(), 15)")).code == 143
