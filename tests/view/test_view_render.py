"""What a trace looks like, written out."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanloom import names
from spanloom.view.decode import decode
from spanloom.view.details import Detail
from spanloom.view.look import ASCII, Look
from spanloom.view.terminal import render
from spanloom.view.text import width
from spanloom.view.tree import build

STACK = (
    "Traceback (most recent call last):\n"
    + "\n".join(f'  File "app.py", line {line}, in f{line}\n    f{line + 1}()' for line in range(9))
    + "\napp.BookingError: full"
)


@pytest.fixture
def support(otlp):
    """A support flow with everything PocketFlow does: a loop, a batch, retries, a fallback, a nested batch flow."""
    span = otlp.span

    def step(name, span_id, parent, start, end, **more):
        return span(f"run_step {name}", span_id, parent, start, end, gen_ai__operation__name="run_step", **more)

    def edge(action, following):
        return {"pocketflow.action": action, "pocketflow.next": following}

    def chat(span_id, parent, start, end, **more):
        tokens = {"gen_ai.usage.input_tokens": 1200, "gen_ai.usage.output_tokens": 48}
        model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5-mini"}
        return span("chat gpt-5-mini", span_id, parent, start, end, attributes=model | tokens | more)

    retried = (
        "spanloom.retry",
        260,
        {"pocketflow.retry.attempt": 1, "error.type": "TimeoutError", "spanloom.retry.delay": 0.05},
    )
    lost = {
        "pocketflow.action": "escalate",
        "pocketflow.successors": ["default", "again"],
        "spanloom.node.name": "Answer",
    }
    return [
        span("prep Search", "a1", "a", 1, 2, pocketflow__phase="prep"),
        chat(
            "a3",
            "a2",
            5,
            180,
            **{
                "gen_ai.response.model": "gpt-5-mini-2025-08-07",
                "gen_ai.usage.cache_read.input_tokens": 1024,
                "gen_ai.usage.reasoning.output_tokens": 32,
                "gen_ai.response.finish_reasons": ["tool_calls"],
                "gen_ai.response.time_to_first_chunk": 0.021,
            },
        ),
        span(
            "execute_tool lookup",
            "a4",
            "a2",
            181,
            195,
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "lookup",
                "gen_ai.tool.call.id": "call_7",
            },
        ),
        span("exec Search", "a2", "a", 4, 200, attributes={"pocketflow.retry.attempt": 1, "pocketflow.retry.max": 1}),
        step(
            "Search",
            "a",
            "r",
            0.5,
            205,
            attributes=edge("again", "Search") | {"spanloom.state.changed_keys": ["hits", "query"]},
        ),
        span(
            "exec Answer",
            "b1",
            "b",
            210,
            260,
            error="TimeoutError: no answer in 50 ms",
            attributes={
                "error.type": "TimeoutError",
                "pocketflow.retry.attempt": 1,
                "pocketflow.retry.max": 3,
            },
        ),
        span("exec Answer", "b2", "b", 310, 330, attributes={"pocketflow.retry.attempt": 2, "pocketflow.retry.max": 3}),
        step(
            "Answer",
            "b",
            "r",
            206,
            331,
            events=[retried],
            attributes=edge("done", "Mail") | {"pocketflow.retry.count": 1},
        ),
        span("exec Mail", "c1", "c", 340, 345, attributes={"pocketflow.batch.index": 0, "pocketflow.batch.size": 2}),
        span("exec Mail", "c2", "c", 345, 350, attributes={"pocketflow.batch.index": 1, "pocketflow.batch.size": 2}),
        step(
            "Mail",
            "c",
            "r",
            335,
            352,
            attributes=edge("default", "Digest") | {"pocketflow.batch.size": 2, "pocketflow.fallback": True},
        ),
        chat("d2", "d1", 360, 380),
        span(
            "invoke_workflow Digest",
            "d1",
            "d",
            355,
            390,
            attributes={"gen_ai.operation.name": "invoke_workflow", "pocketflow.batch.index": 0},
        ),
        span(
            "invoke_workflow Digest",
            "d",
            "r",
            354,
            391,
            attributes={"gen_ai.operation.name": "invoke_workflow", "pocketflow.batch.size": 1},
        ),
        step("Stream", "e", "r", 392, 393, attributes={"spanloom.status": "cancelled"}),
        span(
            "exec Book",
            "f1",
            "f",
            394,
            398,
            error="BookingError: full",
            events=[
                (
                    "exception",
                    397,
                    {"exception.type": "app.BookingError", "exception.message": "full", "exception.stacktrace": STACK},
                ),
            ],
            attributes={"error.type": "app.BookingError"},
        ),
        step("Book", "f", "r", 393, 399, error="BookingError: full", attributes={"error.type": "app.BookingError"}),
        span(
            "invoke_workflow Support",
            "r",
            "",
            0,
            400,
            error="BookingError: full",
            attributes={
                "gen_ai.operation.name": "invoke_workflow",
                "error.type": "app.BookingError",
            },
            events=[("pocketflow.no_successor", 331, lost)],
        ),
    ]


@pytest.fixture
def drawn(otlp):
    """`drawn(spans, ...)`: the rendered lines as one text."""

    def draw(spans, *, cells=120, glyphs=None, colour=False, partial=False, **detail):
        look = Look(cells, colour, glyphs) if glyphs else Look(cells, colour)
        trace = build(otlp.trace, decode(otlp.line(*spans).encode()).spans, partial=partial)
        return "\n".join(render(trace, look, Detail(**detail)))

    return draw


SUPPORT = """
invoke_workflow Support  400ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
18 spans · 2 model calls · 2,400 in (1,024 cached) / 96 out (32 reasoning) · 2 errors · service support
invoke_workflow Support  ✗ BookingError                                                   400ms ████████████████████████
│  • no successor for action escalate of Answer (it has: default, again)
├─ run_step Search  again → Search · changed: hits, query                                 204ms ████████████▎
│  ├─ prep Search                                                                        1.00ms ▏
│  └─ exec Search                                                                         196ms ████████████
│     ├─ chat gpt-5-mini  gpt-5-mini-2025-08-07 · 1,200 in (1,024 cached) / 48 out (3…    175ms ██████████▊
│     └─ execute_tool lookup  call_7                                                       14ms           █▋
├─ run_step Answer  done → Mail · 1 retry                                                 125ms             ███████▊
│  │  • attempt 1 failed with TimeoutError (next after 50ms)
│  ├─ exec Answer  ✗ TimeoutError · attempt 1/3                                            50ms             ███▌
│  │     TimeoutError: no answer in 50 ms
│  └─ exec Answer  attempt 2/3                                                             20ms                   █▊
├─ run_step Mail  default → Digest · batch of 2 · fallback                                 17ms                     █
│  ├─ exec Mail  item [0] of 2                                                           5.00ms                     ▋
│  └─ exec Mail  item [1] of 2                                                           5.00ms                     █
├─ invoke_workflow Digest  batch of 1 · 3 spans · 1 model call · 1,200 in / 48 out         37ms                      ██▍
│  └─ invoke_workflow Digest  item [0] · 2 spans · 1 model call · 1,200 in / 48 out        35ms                      ██▍
│     └─ chat gpt-5-mini  1,200 in / 48 out                                                20ms                      █▊
├─ run_step Stream  cancelled                                                            1.00ms                        ▌
└─ run_step Book  ✗ BookingError                                                         6.00ms                        ▉
   └─ exec Book  ✗ BookingError                                                          4.00ms                        ▉
         BookingError: full
"""
NARROW = """
invoke_workflow Support  400ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
18 spans, 2 model calls, 2,400 in (1,024 cached) / 96 out (32 reasoning), 2 errors, service support
invoke_workflow Support  x BookingError                400ms
|  * no successor for action escalate of Answer (it has:
|  default, again)
|- run_step Search  again -> Search, changed: hi...    204ms
|  |- prep Search                                     1.00ms
|  `- exec Search                                      196ms
|     |- chat gpt-5-mini  gpt-5-mini-2025-08-07        175ms
|     `- execute_tool lookup  call_7                    14ms
|- run_step Answer  done -> Mail, 1 retry              125ms
|  |  * attempt 1 failed with TimeoutError (next after 50ms)
|  |- exec Answer  x TimeoutError, attempt 1/3          50ms
|  |     TimeoutError: no answer in 50 ms
|  `- exec Answer  attempt 2/3                          20ms
|- run_step Mail  default -> Digest, batch of 2         17ms
|  |- exec Mail  item [0] of 2                        5.00ms
|  `- exec Mail  item [1] of 2                        5.00ms
|- invoke_workflow Digest  batch of 1, 3 spans          37ms
|  `- invoke_workflow Digest  item [0], 2 spans         35ms
|     `- chat gpt-5-mini  1,200 in / 48 out             20ms
|- run_step Stream  cancelled                         1.00ms
`- run_step Book  x BookingError                      6.00ms
   `- exec Book  x BookingError                       4.00ms
         BookingError: full
"""
ERRORS = """
invoke_workflow Support  400ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
18 spans · 2 model calls · 2,400 in (1,024 cached) / 96 out (32 reasoning) · 2 errors · service support
invoke_workflow Support  ✗ BookingError                                                   400ms ████████████████████████
│  • no successor for action escalate of Answer (it has: default, again)
├─ run_step Answer  done → Mail · 1 retry                                                 125ms             ███████▊
│  │  • attempt 1 failed with TimeoutError (next after 50ms)
│  └─ exec Answer  ✗ TimeoutError · attempt 1/3                                            50ms             ███▌
│        TimeoutError: no answer in 50 ms
└─ run_step Book  ✗ BookingError                                                         6.00ms                        ▉
   └─ exec Book  ✗ BookingError                                                          4.00ms                        ▉
         BookingError: full
         (8 lines above; --attributes shows more)
             f4()
           File "app.py", line 4, in f4
             f5()
           File "app.py", line 5, in f5
             f6()
           File "app.py", line 6, in f6
             f7()
           File "app.py", line 7, in f7
             f8()
           File "app.py", line 8, in f8
             f9()
         app.BookingError: full
"""
KILLED = """
exec Search (root not recorded)  394ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
6 spans · 1 model call · 1,200 in (1,024 cached) / 48 out (32 reasoning) · 1 error · service support
not all of its spans were read; --trace ID --limit 0 reads every file in full
(parent not recorded)  3 spans · 1 model call · 1,200 in (1,024 cached) / 48 out (32 …    196ms ███████████▉
└─ exec Search                                                                            196ms ███████████▉
   ├─ chat gpt-5-mini  gpt-5-mini-2025-08-07 · 1,200 in (1,024 cached) / 48 out (32 r…    175ms ██████████▋
   └─ execute_tool lookup  call_7                                                          14ms           █▋
(parent not recorded)  2 spans                                                             39ms                      ██▋
├─ invoke_workflow Digest  batch of 1 · 1 span                                             37ms                      ██▌
└─ run_step Stream  cancelled                                                            1.00ms                        ▋
(parent not recorded)  1 span · 1 error                                                  4.00ms                        █
└─ exec Book  ✗ BookingError                                                             4.00ms                        █
      BookingError: full
"""


def test_a_support_flow(drawn, support):
    assert drawn(support) == SUPPORT.strip("\n")


def test_a_narrow_terminal_without_unicode(drawn, support):
    assert drawn(support, cells=60, glyphs=ASCII) == NARROW.strip("\n")


def test_only_the_errors(drawn, support):
    assert drawn(support, errors=True) == ERRORS.strip("\n")


def test_a_killed_program_of_which_not_all_was_read(drawn, support):
    assert drawn(support[-5:-2] + support[1:4], partial=True) == KILLED.strip("\n")


def test_colours_change_nothing_else(drawn, support):
    coloured = drawn(support, colour=True)
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == SUPPORT.strip("\n")
    assert "\x1b[31m✗ TimeoutError\x1b[0m" in coloured
    assert "\x1b[33mcancelled\x1b[0m" in coloured
    assert "\x1b[31m2 errors\x1b[0m" in coloured


CONTENT = """
chat gpt-5-mini  100ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
3 spans · 1 model call · service support
chat gpt-5-mini                                                                           100ms ████████████████████████
│  system: Be brief.
│  (1 earlier message)
│  user: two
│    lines
│  assistant calls [call_1]: lookup({"q": "é"})
│  tool [call_1]: {"hits": 3}
│  user: plain content
│  user: {"type": "blob", "mime_type": "image/png"}
│  message: neither role nor parts
│  assistant (reasoning): hm
│  assistant: \\x1b]0;title\\x07 done
├─ execute_tool lookup                                                                   9.00ms ██▏
│     arguments: {"q": "x"}
│     result: 3 hits
└─ run_step Store                                                                        9.00ms     ██▉
      params: {"row": 1}
      input: one
        two
      output: [1, "é"]
      state + added: 1
      state ~ hits: was 0
        now 3
      state - gone: "x"
      state omitted: 4
"""


def test_content(drawn, otlp):
    messages = [
        {"role": "user", "parts": [{"type": "text", "content": "history"}]},
        {"role": "user", "parts": [{"type": "text", "content": "two\nlines"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call_1", "name": "lookup", "arguments": {"q": "é"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": {"hits": 3}}]},
        {"role": "user", "content": "plain content"},
        {"role": "user", "parts": [{"type": "blob", "mime_type": "image/png"}]},
        "neither role nor parts",
    ]
    answer = [
        {
            "role": "assistant",
            "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "\x1b]0;title\x07 done"}],
        }
    ]
    changes = {
        "added": {"added": 1},
        "changed": {"hits": {"before": 0, "after": 3}},
        "removed": {"gone": "x"},
        "omitted": 4,
    }
    spans = [
        otlp.span("chat gpt-5-mini", "a", "", 0, 100, attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
            "gen_ai.input.messages": json.dumps(messages),
            "gen_ai.output.messages": json.dumps(answer),
        }),
        otlp.span("execute_tool lookup", "b", "a", 0, 9, attributes={
            "gen_ai.tool.call.arguments": '{"q": "x"}', "gen_ai.tool.call.result": "3 hits",
        }),
        otlp.span("run_step Store", "c", "a", 20, 29, attributes={
            "pocketflow.params": '{"row":1}', "spanloom.input": '"one\\ntwo"', "spanloom.output": '[1,"é"]',
            "spanloom.state.changes": json.dumps(changes),
        }),
    ]  # fmt: skip
    assert drawn(spans, content=True) == CONTENT.strip("\n")


@pytest.mark.parametrize("text", ['[{"role": "user", "par', "7", '{"a": 1}', "null"])
def test_messages_that_were_cut_or_are_none_are_shown_as_they_are(drawn, otlp, text):
    shown = drawn([otlp.span("chat", "a", attributes={"gen_ai.input.messages": text})], content=True)
    assert shown.endswith(f"messages: {text}")


def test_content_is_bounded(drawn, otlp):
    span = otlp.span(
        "s", "a", attributes={"spanloom.input": json.dumps("word " * 10_000), "spanloom.output": "x\n" * 100}
    )
    shown = drawn([span], content=True).splitlines()
    assert len(shown) < 45
    assert "     (50,000 characters in all)" in shown
    assert "     (200 characters in all)" in shown


ATTRIBUTES = """
chat gpt-5-mini  100ms  2025-10-09 08:53:20  trace 4bf92f3577b34da6a3ce929d0e0e4736
1 span · 1 error · service support
chat gpt-5-mini  ✗ ValueError                                                             100ms ████████████████████████
   ValueError: no
   span 00f067aa0ba902b7, client, by spanloom.pocketflow
   error.type: ValueError
   text: it has
     lines
   number: 7
   list: ["a", 1.5, {"k": true}]
   event exception +40ms
     exception.type: ValueError
     exception.stacktrace: one
       two
   link to span bbbbbbbbbbbbbbbb
     spanloom.link.kind: trigger
   link to span dddddddddddddddd of trace cccccccccccccccccccccccccccccccc
"""


def test_attributes(drawn, otlp):
    span = otlp.span(
        "chat gpt-5-mini",
        "00f067aa0ba902b7",
        "",
        0,
        100,
        error="ValueError: no",
        attributes={"error.type": "ValueError", "text": "it has\nlines", "number": 7, "list": ["a", 1.5, {"k": True}]},
        events=[("exception", 40, {"exception.type": "ValueError", "exception.stacktrace": "one\ntwo"})],
        links=[(otlp.trace, "b" * 16, {"spanloom.link.kind": "trigger"}), ("c" * 32, "d" * 16, {})],
    )
    assert drawn([span], attributes=True, errors=True) == ATTRIBUTES.strip("\n")


def test_a_retry_event_tells_the_message_where_no_attempt_is_a_span(drawn, otlp):
    event = {
        "pocketflow.retry.attempt": 2,
        "pocketflow.batch.index": 4,
        "error.type": "OSError",
        "exception.message": "gone",
    }
    shown = drawn([otlp.span("run_step A", "a", events=[("spanloom.retry", 0, event)])])
    assert shown.endswith("\n   • attempt 2 failed on item [4] with OSError: gone")


@pytest.mark.parametrize(
    ("kind", "message", "name", "told"),
    [
        ("app.BookingError", "BookingError: full", "BookingError", "BookingError: full"),
        ("500", "Internal Server Error", "500", "Internal Server Error"),
        ("timeout", "", "timeout", None),
        (None, "app.BookingError: full", "BookingError", "app.BookingError: full"),
        (None, "it just failed", "error", "it just failed"),
        (None, "ValueError", "ValueError", None),
        (None, "", "error", None),
    ],
)
def test_errors_of_all_writers(drawn, otlp, kind, message, name, told):
    attributes = {"error.type": kind} if kind else {}
    first, *others = drawn([otlp.span("s", "a", error=message, attributes=attributes)]).splitlines()[2:]
    assert f"s  ✗ {name}  " in first
    assert others == ([f"   {told}"] if told else [])


def test_ten_thousand_levels_fit_the_line(drawn, otlp):
    chain = [otlp.span("s", str(level), str(level - 1) if level else "", level, 20_000) for level in range(10_000)]
    shown = drawn(chain, cells=80)
    lines = shown.splitlines()[2:]
    assert len(lines) == 10_000
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith("…9989 ")


def test_names_of_wide_characters_keep_the_columns(drawn, otlp):
    spans = [
        otlp.span("root", "r", "", 0, 10),
        otlp.span("検索" * 40, "a", "r", 0, 10),
        otlp.span("é", "b", "r", 0, 10),
    ]
    lines = drawn(spans).splitlines()[2:]
    assert len({width(line) for line in lines}) == 1
    assert "…" in lines[1]


values = st.recursive(
    st.text() | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted(key for name, key in vars(names).items() if name.isupper() and isinstance(key, str))
json_like = values | values.map(lambda value: json.dumps(value))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    attributes=st.dictionaries(st.sampled_from(KEYS) | st.text(), json_like, max_size=8),
    name=st.text(),
    cells=st.integers(40, 130),
    times=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_any_attribute_is_shown_without_harm(drawn, otlp, attributes, name, cells, times):
    event = ("spanloom.retry", 0, attributes)
    missed = ("pocketflow.no_successor", 0, attributes)
    raw = [
        otlp.span(name, "a", "", *times, attributes=attributes, events=[event, missed]),
        otlp.span(name, "b", "a", *times, error=name, attributes=attributes, events=[("exception", 0, attributes)]),
    ]
    shown = drawn(raw, cells=cells, attributes=True, content=True)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert drawn(raw, cells=cells, errors=True)
    for line in drawn(raw, cells=cells).splitlines()[2:]:
        assert width(line) <= cells


def test_a_message_of_a_megabyte_is_cut(drawn, otlp):
    stack = [("exception", 0, {"exception.stacktrace": "y" * 1_000_000})]
    shown = drawn([otlp.span("s", "a", error="-" * 1_000_000, events=stack)], errors=True).splitlines()
    assert shown[3:9] == ["   " + "-" * 117] * 6
    assert shown[9] == "   …"
    assert len(shown) == 10 + 18


def test_orphans_beside_a_root_do_not_hide_it(drawn, otlp):
    lines = drawn([otlp.span("orphan", "a", "gone", 0, 1), otlp.span("root", "r", "", 1, 2)]).splitlines()
    assert lines[0].startswith("root  2.00ms")
    assert [line.split("  ")[0] for line in lines[2:]] == ["(parent not recorded)", "└─ orphan", "root"]
