"""Attempts of a node: one span, an event for each attempt that was tried again, an error only of the last."""

import pytest
from langgraph.graph import StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from spanloom.config import Config

SHOWN = ("status", "events", "error.type", "langgraph.retry.count", "langgraph.next")


def policy(**settings):
    return RetryPolicy(**{"initial_interval": 0.001, "jitter": False, "retry_on": ValueError, **settings})


def failing(times, kind=ValueError):
    """A node that fails that often, and then is well."""
    left = list(range(times, 0, -1))

    def node(state):
        if left:
            raise kind(f"{left.pop(0)} more")
        return {"x": ["done"]}

    return node


def retrying(build, way, node, *policies, **options):
    return build({"n": (way.node(node), {"retry_policy": policies or [policy()]})}, "START > n", **options)


def test_a_node_that_recovers(spans, build, way, events):
    assert way.invoke(retrying(build, way, failing(2)), {"x": []}) == {"x": ["done"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow
  run_step n [spanloom.retry, spanloom.retry, count=2, next=('__end__',)]
"""
    )
    assert events(spans.only("run_step n")) == [
        (
            "spanloom.retry",
            {
                "langgraph.retry.attempt": attempt,
                "langgraph.retry.max": 3,
                "error.type": "ValueError",
                "exception.message": message,
                "spanloom.retry.delay": delay,
            },
        )
        for attempt, message, delay in ((1, "2 more", 0.001), (2, "1 more", 0.002))
    ]


def test_a_node_that_does_not_recover(spans, build, way, events):
    with pytest.raises(ValueError, match="2 more"):
        way.invoke(retrying(build, way, failing(4)), {"x": []})
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [ERROR, type=ValueError]
  run_step n [ERROR, spanloom.retry, spanloom.retry, exception, type=ValueError, count=2]
"""
    )


def test_no_policy_for_the_error(spans, build, way):
    with pytest.raises(KeyError):
        way.invoke(retrying(build, way, failing(1, KeyError)), {"x": []})
    assert (
        spans.tree(*SHOWN)
        == "\ninvoke_workflow [ERROR, type=KeyError]\n  run_step n [ERROR, exception, type=KeyError]\n"
    )


def test_the_first_policy_that_takes_the_error(spans, build, way, events):
    graph = retrying(
        build, way, failing(1, KeyError), policy(max_attempts=9), policy(max_attempts=5, retry_on=[KeyError])
    )
    way.invoke(graph, {"x": []})
    ((_, attributes),) = events(spans.only("run_step n"))
    assert attributes["langgraph.retry.max"] == 5


def test_a_policy_that_is_a_function(spans, build, way):
    asked = []

    def twice(exc):
        asked.append(exc)
        return len(asked) <= 2

    with pytest.raises(ValueError, match="1 more"):
        way.invoke(retrying(build, way, failing(3), policy(max_attempts=9, retry_on=twice)), {"x": []})
    assert spans.only("run_step n").attributes["langgraph.retry.count"] == 2
    assert len(asked) == 3


def test_a_policy_with_one_attempt(spans, build, way):
    with pytest.raises(ValueError, match="1 more"):
        way.invoke(retrying(build, way, failing(1), policy(max_attempts=1)), {"x": []})
    assert spans.tree(*SHOWN) == (
        "\ninvoke_workflow [ERROR, type=ValueError]\n  run_step n [ERROR, exception, type=ValueError]\n"
    )


def test_delays(spans, build, way, events, monkeypatch):
    """As LangGraph waits: growing up to the most; not told where chance has a part in it."""
    import asyncio

    import langgraph.pregel._retry as retry

    waited = []

    async def asleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(retry, "time", type("Time", (), {"time": retry.time.time, "sleep": waited.append}))
    monkeypatch.setattr(
        retry, "asyncio", type("Asyncio", (), {"sleep": asleep, "CancelledError": asyncio.CancelledError})
    )
    growing = policy(initial_interval=1, backoff_factor=4, max_interval=10, max_attempts=5)
    way.invoke(retrying(build, way, failing(3), growing), {"x": []})
    told = [attributes["spanloom.retry.delay"] for _, attributes in events(spans.only("run_step n"))]
    assert told == waited == [1.0, 4.0, 10.0]
    spans.clear()
    way.invoke(retrying(build, way, failing(1), policy(jitter=True)), {"x": []})
    ((_, attributes),) = events(spans.only("run_step n"))
    assert "spanloom.retry.delay" not in attributes


def test_without_messages(recorder, on, build, way, events):
    with on(Config(exception_messages=False)):
        way.invoke(retrying(build, way, failing(1)), {"x": []})
    ((_, attributes),) = events(recorder.only("run_step n"))
    assert "exception.message" not in attributes


def test_a_policy_for_all_nodes(spans, build, way):
    builder = StateGraph(int)
    builder.add_node("n", way.node(lambda state: state if tries.pop() else None / 0))
    tries = [1, 0]
    builder.add_edge("__start__", "n")
    graph = builder.compile()
    graph.retry_policy = [policy(retry_on=TypeError)]
    assert way.invoke(graph, 1) == 1
    assert spans.only("run_step n").attributes["langgraph.retry.count"] == 1


def test_each_execution_counts_anew(spans, build, way):
    tries = []

    def every_other(state):
        tries.append(1)
        if len(tries) % 2:
            raise ValueError(len(tries))
        return Command(goto="n" if len(tries) < 4 else "__end__", update={"x": [len(tries)]})

    assert way.invoke(retrying(build, way, every_other), {"x": []}) == {"x": [2, 4]}
    assert [span.attributes["langgraph.retry.count"] for span in spans.named("run_step n")] == [1, 1]


def test_what_the_attempts_do_lies_below_one_span(spans, build, way):
    node = failing(1)
    graph = build(
        {"n": (way.step("n", node), {"retry_policy": policy()})},
        "START > n",
    )
    way.invoke(graph, {"x": []})
    assert spans.tree("status") == "\ninvoke_workflow\n  run_step n\n    in n [ERROR]\n    in n\n"


def test_an_interrupt_is_not_tried_again(spans, build, asking):
    from langgraph.checkpoint.memory import InMemorySaver

    graph = retrying(
        build,
        asking,
        lambda state: {"x": [interrupt("?")]},
        policy(retry_on=Exception),
        checkpointer=InMemorySaver(),
    )
    asking.invoke(graph, {"x": []}, {"configurable": {"thread_id": "1"}})
    assert spans.tree(*SHOWN) == "\ninvoke_workflow\n  run_step n [langgraph.interrupt]\n"


def test_a_graph_that_never_recovers_keeps_its_facts(spans, build, way):
    inner = build({"n": way.node(failing(9))}, "START > n", name="Inner")
    outer = build({"sub": (inner, {"retry_policy": policy()})}, "START > sub", name="Outer")
    with pytest.raises(ValueError, match="7 more"):
        way.invoke(outer, {"x": []})
    assert (
        spans.tree("status", "events", "langgraph.retry.count")
        == """
invoke_workflow Outer [ERROR]
  invoke_workflow Inner [ERROR, spanloom.retry, spanloom.retry, count=2]
    run_step n [ERROR, exception]
    run_step n [ERROR, exception]
    run_step n [ERROR, exception]
"""
    )
    attributes = spans.only("invoke_workflow Inner").attributes
    assert attributes["langgraph.checkpoint.ns"] == f"sub:{attributes['langgraph.task.id']}|2"  # the third attempt's
