"""Attempts, retry events, fallbacks and batch items as the spans tell them."""

import asyncio
import collections
import types

import pocketflow as pf
import pytest

from spanloom import names
from spanloom.config import Config


class Flaky(pf.Node):
    """Fails until its attempt `good` (from 1)."""

    good = 3

    def exec(self, prep_res):
        if self.cur_retry + 1 < self.good:
            raise ValueError(f"attempt {self.cur_retry + 1}")
        return "ok"


def events(span):
    return [(event.name, dict(event.attributes)) for event in span.events]


@pytest.mark.usefixtures("traced")
def test_attempts_are_spans_and_failed_ones_events_of_the_node(recorder):
    Flaky(max_retries=5, wait=0.001).run({})
    node, attempts = recorder.only("run_step Flaky"), recorder.named("exec Flaky")
    assert [span.attributes[names.POCKETFLOW_RETRY_ATTEMPT] for span in attempts] == [1, 2, 3]
    assert {span.attributes[names.POCKETFLOW_RETRY_MAX] for span in attempts} == {5}
    assert [span.status.is_ok or span.status.is_unset for span in attempts] == [False, False, True]
    assert node.status.is_unset
    assert node.attributes[names.POCKETFLOW_RETRY_COUNT] == 2
    assert names.POCKETFLOW_FALLBACK not in node.attributes
    assert events(node) == [
        (
            "spanloom.retry",
            {
                "pocketflow.retry.attempt": attempt,
                "error.type": "ValueError",
                "exception.message": f"attempt {attempt}",
                "spanloom.retry.delay": 0.001,
            },
        )
        for attempt in (1, 2)
    ]


@pytest.mark.usefixtures("traced")
def test_events_of_failed_attempts_are_timed_when_they_failed(recorder, monkeypatch):
    """Not when the delay is known, which is after it has been slept."""
    now = [1000]
    monkeypatch.setattr("spanloom_pocketflow._phases.time", types.SimpleNamespace(time_ns=lambda: now[0]))
    monkeypatch.setattr("time.sleep", lambda seconds: now.append(now.pop() + int(seconds)))
    Flaky(max_retries=5, wait=10).run({})
    assert [event.timestamp for event in recorder.only("run_step Flaky").events] == [1000, 1010]


@pytest.mark.usefixtures("traced")
def test_no_delay_where_nothing_was_waited_for(recorder):
    Flaky(max_retries=3).run({})
    assert names.RETRY_DELAY not in recorder.only("run_step Flaky").events[0].attributes


def test_exception_messages_off(recorder, on):
    with on(Config(exception_messages=False)):
        Flaky(max_retries=3).run({})
    node = recorder.only("run_step Flaky")
    assert events(node)[0][1] == {"pocketflow.retry.attempt": 1, "error.type": "ValueError"}
    first = recorder.named("exec Flaky")[0]
    assert events(first) == [("exception", {"exception.type": "ValueError"})]
    assert first.status.description == "ValueError"


@pytest.mark.usefixtures("traced")
def test_the_last_failure_counts_as_an_attempt_too(recorder):
    Flaky.good, good = 9, Flaky.good
    try:
        with pytest.raises(ValueError, match="attempt 2"):
            Flaky(max_retries=2).run({})
    finally:
        Flaky.good = good
    node = recorder.only("run_step Flaky")
    assert [e[1]["pocketflow.retry.attempt"] for e in events(node)] == [1, 2]
    assert node.attributes[names.POCKETFLOW_RETRY_COUNT] == 1
    assert not node.status.is_ok
    assert node.attributes["error.type"] == "ValueError"


@pytest.mark.usefixtures("traced")
def test_a_single_attempt_is_no_retry(recorder):
    class Fails(pf.Node):
        def exec(self, prep_res):
            raise ValueError

    with pytest.raises(ValueError):
        Fails().run({})
    node = recorder.only("run_step Fails")
    assert node.events == ()
    assert names.POCKETFLOW_RETRY_COUNT not in node.attributes


@pytest.mark.usefixtures("traced")
def test_a_fallback_that_answers_is_seen_and_is_no_error(recorder):
    class Falls(Flaky):
        good = 9

        def exec_fallback(self, prep_res, exc):
            return "instead"

    _ = (node := Falls(max_retries=2)) >> pf.Node()
    pf.Flow(start=node).run({})
    expected = """
invoke_workflow
  run_step Falls [spanloom.retry, spanloom.retry, fallback=True, count=1]
    exec Falls [ERROR, exception, phase=exec]
    exec Falls [ERROR, exception, phase=exec]
    exec_fallback Falls [phase=exec_fallback]
  run_step Node
"""
    told = (names.POCKETFLOW_FALLBACK, names.POCKETFLOW_RETRY_COUNT, names.POCKETFLOW_PHASE)
    assert recorder.tree("status", "events", *told) == expected


@pytest.mark.usefixtures("traced")
def test_async_attempts_and_fallback(recorder):
    class Falls(pf.AsyncNode):
        async def exec_async(self, prep_res):
            await asyncio.sleep(0)
            raise ValueError("no")

        async def exec_fallback_async(self, prep_res, exc):
            await asyncio.sleep(0)
            return "instead"

    asyncio.run(Falls(max_retries=2, wait=0.001).run_async({}))
    expected = """
run_step Falls [spanloom.retry, spanloom.retry, fallback=True]
  exec Falls [ERROR, exception, attempt=1, max=2]
  exec Falls [ERROR, exception, attempt=2, max=2]
  exec_fallback Falls
"""
    told = (names.POCKETFLOW_FALLBACK, names.POCKETFLOW_RETRY_ATTEMPT, names.POCKETFLOW_RETRY_MAX)
    assert recorder.tree("status", "events", *told) == expected
    first, second = recorder.only("run_step Falls").events
    assert first.attributes[names.RETRY_DELAY] == 0.001
    assert names.RETRY_DELAY not in second.attributes


@pytest.mark.usefixtures("traced")
def test_retries_inside_a_batch_name_their_item(recorder):
    class Batch(pf.BatchNode):
        def prep(self, shared):
            return ["a", "b", "c"]

        def exec(self, item):
            if item == "b" and self.cur_retry == 0:
                raise KeyError(item)

        def exec_fallback(self, item, exc):
            raise AssertionError

    Batch(max_retries=2).run({})
    expected = """
run_step Batch
  prep Batch
  exec Batch [index=0, attempt=1]
  exec Batch [index=1, attempt=1, ERROR]
  exec Batch [index=1, attempt=2]
  exec Batch [index=2, attempt=1]
"""
    assert recorder.tree(names.POCKETFLOW_BATCH_INDEX, names.POCKETFLOW_RETRY_ATTEMPT, "status") == expected
    (event,) = recorder.only("run_step Batch").events
    assert event.attributes[names.POCKETFLOW_BATCH_INDEX] == 1


@pytest.mark.usefixtures("traced")
def test_parallel_items_keep_their_index_through_retries(recorder):
    class Batch(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared):
            return [2, 0, 1]

        async def exec_async(self, item):
            for _ in range(item):
                await asyncio.sleep(0)
            tried[item] += 1
            if tried[item] <= item:
                raise ValueError(item)

    tried = collections.Counter()
    asyncio.run(Batch(max_retries=3).run_async({}))
    spans = recorder.named("exec Batch")
    found = {(s.attributes[names.POCKETFLOW_BATCH_INDEX], s.attributes[names.POCKETFLOW_RETRY_ATTEMPT]) for s in spans}
    assert found == {(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (2, 2)}
    told = [
        (e.attributes[names.POCKETFLOW_BATCH_INDEX], e.attributes[names.POCKETFLOW_RETRY_ATTEMPT])
        for e in recorder.only("run_step Batch").events
    ]
    assert sorted(told) == [(0, 1), (0, 2), (2, 1)]


class Lying(list):
    def __len__(self):
        return 99


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("items", "size"),
    [
        ([1, 2], 2),
        ((1,), 1),
        ({"a": 1}, 1),
        (range(3), 3),
        ([], 0),
        (Lying([1]), 1),
        ("text", None),
        (iter([1, 2]), None),
        (collections.deque([1]), None),
    ],
    ids=str,
)
def test_sizes_are_only_known_of_plain_containers(recorder, items, size):
    Batch = type("Batch", (pf.BatchNode,), {"prep": lambda self, shared: items, "exec": lambda self, item: item})
    Batch().run({})
    assert recorder.only("run_step Batch").attributes.get(names.POCKETFLOW_BATCH_SIZE) == size
    assert {s.attributes.get(names.POCKETFLOW_BATCH_SIZE) for s in recorder.named("exec Batch")} <= {size}
