import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanloom.view.decode import decode
from spanloom.view.tree import build, walk

# A busy machine is no failure.
calm = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@pytest.fixture
def trace(otlp):
    """`trace(*spans)`: their tree."""

    def of(*spans):
        return build(otlp.trace, decode(otlp.line(*spans).encode()).spans)

    return of


def outline(trace):
    """The tree as nested lists of ids; a missing parent has a `?`."""
    lines = [f"{'  ' * depth}{node.span_id}{'' if node.span else '?'}" for node, depth in walk(trace.tops)]
    return "\n".join(lines)


def test_children_stand_below_their_parents_in_order_of_their_start(otlp, trace):
    spans = [
        otlp.span("late", "c", "r", 5, 6),
        otlp.span("early", "b", "r", 1, 9),
        otlp.span("leaf", "d", "b", 2, 3),
        otlp.span("root", "r", "", 0, 10),
    ]
    assert outline(trace(*spans)) == "r\n  b\n    d\n  c"


def test_spans_of_a_killed_program_stand_below_their_missing_parents(otlp, trace):
    found = trace(
        otlp.span("a", "a", "gone", 0, 1), otlp.span("c", "c", "lost", 2, 5), otlp.span("b", "b", "gone", 1, 2)
    )
    assert outline(found) == "gone?\n  a\n  b\nlost?\n  c"
    assert (found.name, found.start, found.end) == ("a", otlp.begin, otlp.begin + 5_000_000)


def test_a_span_delivered_twice_is_there_once(otlp, trace):
    once = otlp.span("a", "a", "r")
    found = trace(once, otlp.span("r", "r"), once)
    assert outline(found) == "r\n  a"
    assert found.rollup.spans == 2


@pytest.mark.parametrize("order", [0, 1])
def test_two_spans_under_one_id_are_decided_by_their_end_not_their_order(otlp, trace, order):
    pair = [otlp.span("running", "a", end=1), otlp.span("done", "a", end=2)]
    assert trace(pair[order], pair[1 - order]).name == "done"


def test_parents_in_a_circle_are_cut_at_their_earliest(otlp, trace):
    found = trace(
        otlp.span("tail", "t", "b", 0, 1),
        otlp.span("b", "b", "a", 2, 3),
        otlp.span("a", "a", "b", 1, 4),
        otlp.span("self", "s", "s", 5, 6),
    )
    assert outline(found) == "a\n  b\n    t\ns"
    assert [node.loop for node, _ in walk(found.tops)] == [True, False, False, True]


def test_ten_thousand_levels(otlp, trace):
    depth = 10_000
    chain = [otlp.span("s", str(level), str(level - 1) if level else "", level, 2 * depth) for level in range(depth)]
    found = trace(*chain)
    assert found.tops[0].rollup.spans == depth
    assert max(level for _, level in walk(found.tops)) == depth - 1


def test_tokens_are_those_of_model_calls_and_counted_once(otlp, trace):
    def tokens(into, out):
        return {"gen_ai.usage.input_tokens": into, "gen_ai.usage.output_tokens": out}

    chat = {"gen_ai.operation.name": "chat"}
    found = trace(
        otlp.span("invoke_agent", "r", attributes={"gen_ai.operation.name": "invoke_agent", **tokens(999, 999)}),
        otlp.span(
            "chat outer", "a", "r", attributes={**chat, **tokens(10, 1), "gen_ai.usage.cache_read.input_tokens": 4}
        ),
        otlp.span("chat inner", "b", "a", attributes={**chat, **tokens(10, 1)}),
        otlp.span("chat without counts", "c", "r", 2, 3, attributes=chat),
        otlp.span("chat below it", "d", "c", 2, 3, attributes={**chat, **tokens(5, 2)}),
        otlp.span("embeddings", "e", "r", 3, 4, attributes={"gen_ai.operation.name": "embeddings", **tokens(7, 0)}),
        otlp.span("older writer", "f", "r", 4, 5, attributes={"gen_ai.request.model": "m", **tokens(1, 1)}),
        otlp.span("garbage", "g", "r", 5, 6, attributes={**chat, "gen_ai.usage.input_tokens": "many"}),
    )
    assert found.rollup.model_calls == 5
    assert found.rollup.usage == (23, 4, 4, 0)
    assert found.tops[0].children[0].rollup.usage == (10, 1, 4, 0)


def test_an_error_is_counted_where_it_came_up(otlp, trace):
    def failed(name, span_id, parent, start, kind):
        return otlp.span(name, span_id, parent, start, start + 1, error=f"{kind}: x", attributes={"error.type": kind})

    found = trace(
        failed("flow", "r", "", 0, "KeyError"),
        failed("node", "a", "r", 1, "KeyError"),
        failed("exec", "b", "a", 2, "ValueError"),
        failed("exec", "c", "a", 3, "KeyError"),
    )
    assert found.rollup.errors == 2
    assert [node.span_id for node, _ in walk(found.tops) if node.origin] == ["b", "c"]


ids = st.sampled_from("abcdefgh")
span_facts = st.tuples(ids, ids | st.just(""), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["x", "y"]))


@calm
@given(st.lists(span_facts, min_size=1, max_size=12).flatmap(lambda s: st.tuples(st.just(s), st.permutations(s))))
def test_any_order_of_any_spans_gives_the_same_tree(orders):
    def tree(facts):
        raw = [
            {
                "traceId": "t",
                "spanId": span_id,
                "parentSpanId": parent,
                "startTimeUnixNano": start,
                "endTimeUnixNano": end,
                "name": name,
            }
            for span_id, parent, start, end, name in facts
        ]
        line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": raw}]}]})
        found = build("t", decode(line.encode()).spans)
        return outline(found), [(node.span, node.rollup, node.loop) for node, _ in walk(found.tops)]

    one, other = (tree(order) for order in orders)
    assert one == other
    shown = [span.span_id for span, _, _ in one[1] if span is not None]
    assert sorted(shown) == sorted({span_id for span_id, *_ in orders[0]})
