"""The demo program: ordinary PocketFlow, working off its tickets against the scripted model."""

import ast
import asyncio
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from spanloom.demo import support
from spanloom.demo.replies import content_text
from spanloom.demo.script import CONTEXT_TOKENS, SupportScript
from spanloom.demo.server import ModelServer
from spanloom.demo.support.data import read_rows
from spanloom.demo.support.desk import SupportDesk
from spanloom.demo.support.knowledge import IndexFlow, KnowledgeBase
from spanloom.demo.support.model import AsyncModel, Model
from spanloom.demo.support.refund import RefundFlow
from spanloom.demo.support.review import ReviewFlow

TICKETS = {ticket["id"]: ticket for ticket in read_rows("tickets")}


@pytest.fixture
def work_off(ask):
    """`work_off("T-1001", ...)` runs the desk over these tickets; gives `shared` and the requests it made."""

    def run(*numbers, tickets=TICKETS):
        requests = []
        script = SupportScript()

        def respond(request):
            requests.append(request)
            return script(request)

        model = Model(ask(respond, context_tokens=CONTEXT_TOKENS))
        knowledge = KnowledgeBase(model)
        shared = {"tickets": tickets, "open": list(numbers), "closed": {}, "failed": {}}
        IndexFlow(knowledge).run(shared)
        SupportDesk(model, knowledge).run(shared)
        return shared, requests

    return run


def test_the_program_says_nothing_of_tracing():
    sources = list(Path(support.__file__).parent.glob("*.py"))
    imported = {
        name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }

    assert len(sources) > 5
    assert {name.partition(".")[0] for name in imported} <= {
        *sys.stdlib_module_names,
        "openai",
        "pocketflow",
        "pydantic",
    }


def test_a_question_is_searched_for_until_nothing_is_open(work_off):
    shared, requests = work_off("T-1001")

    # Sort, search twice, conclude, reply.
    assert [len(request["messages"]) for request in requests] == [2, 2, 4, 6, 2]
    results = [content_text(m) for m in requests[3]["messages"] if m["role"] == "tool"]
    assert "Pair a bulb" in results[0]
    assert "internet is down" in results[1]
    done = shared["closed"]["T-1001"]
    assert done["triage"]["category"] == "question"
    assert done["reply"].startswith("Hello Maria,")
    assert "Add light" in done["reply"]
    assert "keep running without internet" in done["reply"]
    assert shared["open"] == []


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("Please refund LB-20418.", "approved, 59.00 EUR: Light strip, 3 m was delivered 12 days ago"),
        ("Please refund LB-18773.", "declined: Garden spots, set of 2 was delivered 83 days ago"),
        ("Please refund LB-1.", "order LB-1 declined: There is no such order."),
        ("Please refund me.", "order none named declined: There is no such order."),
    ],
)
def test_refunds_are_decided_by_the_order(ask, body, verdict):
    ticket = {**TICKETS["T-1002"], "subject": "Refund", "body": body}
    shared = {"ticket": ticket}

    RefundFlow(Model(ask(SupportScript()))).run(shared)

    assert verdict in shared["notes"]


def test_the_refund_ticket_goes_through_the_nested_flow(work_off):
    shared, requests = work_off("T-1002")

    assert requests[1]["tool_choice"] == "required"
    assert "Refund of order LB-20418 approved, 59.00 EUR" in shared["closed"]["T-1002"]["reply"]


def test_praise_is_closed_without_a_reply(work_off):
    shared, requests = work_off("T-1003")

    assert len(requests) == 1
    assert shared["closed"]["T-1003"]["reply"] is None


def test_a_rate_limit_is_met_once_and_retried(work_off):
    shared, requests = work_off("T-1005")

    assert requests[0] == requests[1]
    assert "six times" in shared["closed"]["T-1005"]["reply"]


def test_when_the_model_is_down_the_customer_gets_the_holding_reply(work_off):
    shared, requests = work_off("T-1006")

    assert [bool(request.get("stream")) for request in requests] == [False, True, True]
    assert "a colleague will answer it in person" in shared["closed"]["T-1006"]["reply"]


def test_other_tickets_get_answers_too(work_off):
    ticket = {**TICKETS["T-1001"], "id": "X-1", "subject": "Late", "body": "When do parcels leave your warehouse?"}

    shared, _ = work_off("X-1", tickets={"X-1": ticket})

    assert "within two working days" in shared["closed"]["X-1"]["reply"]


def test_replies_are_reviewed_at_once_and_summed_up(ask):
    base_url = ask(SupportScript()).base_url
    closed = {
        "A": {"reply": "a colleague will answer"},
        "B": {"reply": "Turn it off and on."},
        "C": {"reply": None},
        "D": {"reply": "step " * 60},
    }
    shared = {"closed": closed}

    async def review():
        async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            await ReviewFlow(AsyncModel(client)).run_async(shared)

    asyncio.run(review())

    assert [(r["ticket"], r["score"]) for r in shared["reviews"]] == [("A", 2), ("B", 4), ("D", 5)]
    assert shared["digest"].startswith("3 replies were reviewed, with 3.7 of 5 points")
    assert "A needs a second look" in shared["digest"]


def test_the_files_hold_together():
    orders = {order["order"] for order in read_rows("orders")}

    assert len(TICKETS) == 6
    assert "LB-20418" in orders
    assert all(date.fromisoformat(ticket["received"]) for ticket in TICKETS.values())
    assert len({article["id"] for article in read_rows("articles")}) == 8


def run_program(**environ):
    command = [sys.executable, "-W", "error", "-X", "dev", "-m", "spanloom.demo.support"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "OTEL_"))}
    return subprocess.run(
        command, env={**kept, **environ}, capture_output=True, encoding="utf-8", check=False, timeout=120
    )


@pytest.mark.slow
def test_the_program_reports_every_ticket_and_fails_for_none():
    with ModelServer(SupportScript(), context_tokens=CONTEXT_TOKENS) as server:
        done = run_program(OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="none")

    assert (done.returncode, done.stderr) == (0, "")
    heads = [line for line in done.stdout.splitlines() if line.startswith("T-")]
    assert [(line[:6], line[line.rindex("[") :]) for line in heads] == [
        ("T-1001", "[question, score 5 of 5]"),
        ("T-1002", "[refund, score 4 of 5]"),
        ("T-1003", "[feedback]"),
        ("T-1004", "[failed]"),
        ("T-1005", "[question, score 5 of 5]"),
        ("T-1006", "[complaint, score 2 of 5]"),
    ]
    assert "maximum context length is 1500 tokens" in " ".join(done.stdout.split())
    assert "6 tickets, 5 closed, 1 failed." in done.stdout
    assert "4 replies were reviewed, with 4.0 of 5 points" in done.stdout


@pytest.mark.slow
def test_without_a_key_it_says_so_in_one_line():
    done = run_program()

    assert done.returncode == 1
    assert done.stdout == ""
    assert "OPENAI_API_KEY" in done.stderr
    assert len(done.stderr.splitlines()) == 1
