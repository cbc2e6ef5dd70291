"""LangGraph's spans as the viewer shows them: edges, retries, interrupts, resumes, conversations, messages."""

import json

import pytest

EARLIER = "e" * 32


@pytest.fixture
def resumed(otlp):
    """A run that resumed an interrupted one: it retries, sends, hands over to a parent graph, and stops again."""

    def step(name, span_id, parent, start, end, *, events=(), links=(), **attributes):
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        return otlp.span(
            f"run_step {name}",
            span_id,
            parent,
            start,
            end,
            events=events,
            links=links,
            attributes={"gen_ai.operation.name": "run_step"} | named,
        )

    failed = {
        "langgraph.retry.attempt": 1,
        "error.type": "openai.RateLimitError",
        "exception.message": "slow down",
        "spanloom.retry.delay": 0.5,
    }
    team = {"gen_ai.operation.name": "invoke_agent", "spanloom.status": "parent_command", "langgraph.next": ["cook"]}
    chat = {"gen_ai.operation.name": "chat", "langchain.cache_hit": True}
    root = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.conversation.id": "thread-7",
        "spanloom.status": "interrupted",
        "langgraph.checkpoint.resumed_from": "1f1e",
        "langgraph.cached": ["load"],
    }
    return [
        step(
            "plan",
            "a",
            "r",
            1,
            30,
            events=[("spanloom.retry", 5, failed)],
            links=[(otlp.trace, "b", {})],  # within the trace: an edge, which is not drawn
            langgraph__send=["part", "part"],
            langgraph__next=["log"],
            langgraph__retry__count=1,
        ),
        step("part", "b", "r", 30, 40, langgraph__next=["__end__"]),
        step("ask", "c1", "c", 42, 50, langgraph__goto_parent=["cook"], spanloom__status="parent_command"),
        otlp.span("invoke_agent team", "c", "r", 41, 51, attributes=team),
        step("handler", "d", "r", 60, 61, langgraph__error_handler__for="part"),
        step("slow", "s", "r", 61, 62, spanloom__status="cancelled", spanloom__cancelled__cause="app.TooLate"),
        otlp.span("chat gpt-5-mini", "e", "r", 62, 63, attributes=chat),
        otlp.span(
            "invoke_workflow desk",
            "r",
            end=100,
            attributes=root,
            events=[
                ("langgraph.resume", 0, {"langgraph.checkpoint.id": "1f1e"}),
                (
                    "langgraph.interrupt",
                    99,
                    {"langgraph.status": "interrupt_before", "langgraph.interrupt.nodes": ["send"]},
                ),
            ],
            links=[(EARLIER, "f" * 16, {})],
        ),
    ]


TREE = f"""
invoke_workflow desk  100ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
8 spans · 1 model call · service support · conversation thread-7
invoke_workflow desk  interrupted · cached: load · resumed                                100ms ████████████████████████
│  • goes on with trace {EARLIER}
│  • interrupt before: send
├─ run_step plan  → part x2, log · 1 retry                                                 29ms ███████▏
│     • attempt 1 failed with RateLimitError: slow down (next after 500ms)
├─ run_step part  → END                                                                    10ms        ██▌
├─ invoke_agent team  → cook · 2 spans                                                     10ms          ███▏
│  └─ run_step ask  → cook of the parent graph                                           8.00ms           ██
├─ run_step handler  handles errors of part                                              1.00ms               ▋
├─ run_step slow  cancelled (TooLate)                                                    1.00ms               ▉
└─ chat gpt-5-mini  from cache                                                           1.00ms               █
"""


def test_a_resumed_run(view, otlp, tmp_path, resumed):
    assert view(otlp.write(tmp_path / "a.jsonl", *resumed)).out == TREE.removeprefix("\n")


def test_the_conversation_stands_in_the_list_and_in_json(view, otlp, tmp_path, resumed):
    path = otlp.write(tmp_path / "a.jsonl", *resumed)

    assert view(path, listing=True).out.splitlines()[1].endswith("invoke_workflow desk  conversation thread-7")
    assert json.loads(view(path, listing=True, json=True).out)["conversations"] == ["thread-7"]


def test_a_trace_of_several_conversations_says_how_many(view, otlp, tmp_path):
    spans = [
        otlp.span("a", "a", "r", 1, 2, gen_ai__conversation__id="one"),
        otlp.span("b", "b", "r", 3, 4, gen_ai__conversation__id="two"),
        otlp.span("batch", "r", "", 0, 5),
    ]
    path = otlp.write(tmp_path / "a.jsonl", *spans)

    assert "service support · 2 conversations\n" in view(path).out
    assert json.loads(view(path, json=True).out)["conversations"] == ["one", "two"]


def message(kind, content, **more):
    return {"<type>": f"langchain_core.messages.{kind}", "type": kind, "content": content, **more}


CONTENT = [
    "state ~ messages + human: Where is it?",
    'state ~ messages + ai calls [call_1]: find({"q": "it"})',
    "state ~ messages + tool [call_1]: on the shelf",
    "state ~ messages + ai: On the shelf.",
    'state ~ messages: {"…": "3 more"}',
    "state ~ count: 2",
    "interrupt: Send it?",
]


def test_what_a_node_wrote_and_what_it_waits_for(view, otlp, tmp_path):
    messages = [
        message("human", "Where is it?"),
        message("ai", "", tool_calls=[{"name": "find", "args": {"q": "it"}, "id": "call_1", "type": "tool_call"}]),
        message("tool", "on the shelf", tool_call_id="call_1"),
        message("ai", "On the shelf.", tool_calls=[]),
        {"…": "3 more"},
    ]
    changes = {"changed": {"messages": {"before": [], "update": messages}, "count": {"before": 1, "update": 2}}}
    span = otlp.span(
        "run_step model",
        "a",
        attributes={"spanloom.state.changes": json.dumps(changes)},
        events=[("langgraph.interrupt", 0, {"langgraph.interrupt.value": '"Send it?"'})],
    )
    path = otlp.write(tmp_path / "a.jsonl", span)

    lines = [line.strip() for line in view(path, content=True).out.splitlines()[3:]]
    assert lines == CONTENT
    assert "Send it?" not in view(path).out


@pytest.mark.parametrize(
    ("documents", "lines"),
    [
        ('[{"id": "A-1", "score": 0.5}, "text"]', ['found: {"id": "A-1", "score": 0.5}', "found: text"]),
        ('[{"id": "cut', ['found: [{"id": "cut']),
    ],
)
def test_what_was_searched_and_found(view, otlp, tmp_path, documents, lines):
    attributes = {"gen_ai.retrieval.query.text": "lamps", "gen_ai.retrieval.documents": documents}
    path = otlp.write(tmp_path / "a.jsonl", otlp.span("retrieval archive", "a", attributes=attributes))

    assert [line.strip() for line in view(path, content=True).out.splitlines()[3:]] == ["query: lamps", *lines]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "ai", "content": "x", "tool_calls": 7}],
        [{"type": "ai", "content": "x", "tool_calls": ["?", {}]}],
        {"type": "ai", "content": [{"type": "text", "text": "x"}]},
        [{"type": "ai"}],
        [],
        None,
    ],
)
def test_no_shape_of_messages_breaks_it(view, otlp, tmp_path, messages):
    changes = json.dumps({"changed": {"messages": {"update": messages}}})
    span = otlp.span("run_step a", "a", attributes={"spanloom.state.changes": changes})

    seen = view(otlp.write(tmp_path / "a.jsonl", span), content=True)
    assert (seen.code, seen.err) == (0, "")
    assert "state ~ messages" in seen.out
