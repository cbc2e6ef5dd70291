import json

from spanloom.view.as_json import document, summary
from spanloom.view.decode import decode
from spanloom.view.tree import build, walk


def of(otlp, *spans, **how):
    return build(otlp.trace, decode(otlp.line(*spans).encode()).spans, **how)


def test_a_trace_as_json(otlp):
    tokens = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2}
    trace = of(
        otlp,
        otlp.span(
            "chat é",
            "c",
            "r",
            1,
            2.5,
            error="ValueError: no",
            attributes=tokens | {"list": ["\x1b[2J", 1.5]},
            events=[("exception", 2, {"exception.type": "ValueError"})],
            links=[("f" * 32, "e" * 16, {"spanloom.link.kind": "trigger"})],
        ),
        otlp.span("invoke_workflow A", "r", "", 0, 4),
        otlp.span("late", "l", "gone", 3, 5),
        partial=True,
    )
    text = document(trace)
    assert text.isascii()
    assert "\n" not in text
    counts = {
        "spans": 1,
        "not_ended": 0,
        "errors": 1,
        "model_calls": 1,
        "tokens": {"input": 5, "output": 2, "cached": 0, "reasoning": 0},
    }
    none = {"spans": 1, "not_ended": 0, "errors": 0, "model_calls": 0, "tokens": dict.fromkeys(counts["tokens"], 0)}
    plain = {"scope": "spanloom.pocketflow", "message": "", "attributes": {}, "events": [], "links": []}
    chat = {
        "span_id": "c",
        "parent_id": "r",
        "name": "chat é",
        "kind": "client",
        "scope": "spanloom.pocketflow",
        "start_unix_nano": otlp.begin + 1_000_000,
        "end_unix_nano": otlp.begin + 2_500_000,
        "duration_ms": 1.5,
        "state": "ended",
        "status": "error",
        "message": "ValueError: no",
        "attributes": tokens | {"list": ["\x1b[2J", 1.5]},
        "events": [
            {
                "name": "exception",
                "time_unix_nano": otlp.begin + 2_000_000,
                "attributes": {"exception.type": "ValueError"},
            }
        ],
        "links": [{"trace_id": "f" * 32, "span_id": "e" * 16, "attributes": {"spanloom.link.kind": "trigger"}}],
        "rollup": counts,
        "children": [],
    }
    root = {
        "span_id": "r",
        "parent_id": None,
        "name": "invoke_workflow A",
        "kind": "internal",
        "start_unix_nano": otlp.begin,
        "end_unix_nano": otlp.begin + 4_000_000,
        "duration_ms": 4.0,
        "state": "ended",
        "status": "unset",
        **plain,
        "rollup": counts | {"spans": 2},
        "children": [chat],
    }
    late = {
        "span_id": "l",
        "parent_id": "gone",
        "name": "late",
        "kind": "internal",
        "start_unix_nano": otlp.begin + 3_000_000,
        "end_unix_nano": otlp.begin + 5_000_000,
        "duration_ms": 2.0,
        "state": "ended",
        "status": "unset",
        **plain,
        "rollup": none,
        "children": [],
    }
    head = {
        "trace_id": otlp.trace,
        "name": "invoke_workflow A",
        "service": "support",
        "conversations": [],
        "start_unix_nano": otlp.begin,
        "end_unix_nano": otlp.begin + 5_000_000,
        "duration_ms": 5.0,
        "partial": True,
        **counts,
        "spans": 3,
    }
    gone = {"span_id": "gone", "missing": True, "rollup": none, "children": [late]}
    assert json.loads(text) == head | {"roots": [root, gone]}
    assert json.loads(summary(trace)) == head


def test_only_the_paths_to_errors(otlp):
    trace = of(
        otlp,
        otlp.span("r", "r"),
        otlp.span("good", "a", "r"),
        otlp.span("bad", "b", "r", error="x"),
        otlp.span("below", "c", "b"),
    )
    found = json.loads(document(trace, errors_only=True))["roots"]
    assert [(span["name"], [child["name"] for child in span["children"]]) for span in found] == [("r", ["bad"])]
    assert found[0]["children"][0]["children"] == []


def test_ten_thousand_levels(otlp):
    spans = [otlp.span("s", str(level), str(level - 1) if level else "", level, 20_000) for level in range(10_000)]
    text = document(of(otlp, *spans))
    assert text.count('"span_id"') == 10_000
    assert text.endswith('"children":[]}' + "]}" * 10_000)


def test_siblings_and_their_children_keep_their_places(otlp):
    spans = [
        otlp.span(name, name, name[:-1], int(name[-1]), 9) for name in ("1", "11", "12", "121", "122", "13", "2", "21")
    ]
    trace = of(otlp, *spans)

    def outline(nodes):
        return [(node["name"], outline(node["children"])) for node in nodes]

    assert outline(json.loads(document(trace))["roots"]) == [
        ("1", [("11", []), ("12", [("121", []), ("122", [])]), ("13", [])]),
        ("2", [("21", [])]),
    ]
    assert [node.span_id for node, _ in walk(trace.tops)] == ["1", "11", "12", "121", "122", "13", "2", "21"]
