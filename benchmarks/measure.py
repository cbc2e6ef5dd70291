"""What the benchmarks share: the bare span, CPU clocks, and rounds in which everything takes its turn.

A bare span is the SDK's `start_span` + attach + detach + `end` with 8 attributes and a processor that does nothing,
below a current span, as nearly all spans of a run are. Costs are ratios to it: what an instrumented program takes
more than the plain one, per unit (a node, a span), by the same clock in the same process and moment, so that a slow
moment of the machine hits both sides.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace.sampling import Sampler

ATTRIBUTES = {
    "gen_ai.operation.name": "run_step",
    "gen_ai.step.name": "Work",
    "spanloom.node.name": "Work",
    "pocketflow.node.class": "app.Work",
    "pocketflow.node.type": "Node",
    "pocketflow.step": 7,
    "pocketflow.node.index": 0,
    "pocketflow.action": "more",
}
BARE = 100  # bare spans in one measurement


class Variant(NamedTuple):
    """One row of a table.

    Attributes:
        run: the program. Called with what `on` yields as keywords; without any for the plain program.
        on: a context manager in which it is traced.
        units: among how many nodes or spans the cost is divided.
        repeat: how many runs make one measurement.
        turns: how many measurements there are in a round. Where tracing costs little of what the program does,
            many short ones tell more than a long one.
    """

    run: Callable[..., object]
    on: Callable[[], AbstractContextManager[Mapping[str, Any] | None]]
    units: int
    repeat: int
    turns: int = 1


class Result(NamedTuple):
    """Medians over the rounds.

    Attributes:
        bare: seconds for a bare span.
        plain: seconds for a unit of the plain program, by variant.
        ratios: cost of a unit in bare spans, by variant.
    """

    bare: float
    plain: dict[str, float]
    ratios: dict[str, float]


def provider(sampler: Sampler | None = None) -> TracerProvider:
    """Whose spans go to a processor that does nothing."""
    made = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    made.add_span_processor(SpanProcessor())
    return made


class Counter(SpanProcessor):
    """Counts what has ended, and the characters in texts among its attributes."""

    count = 0
    characters = 0

    def on_end(self, span):
        self.count += 1
        self.characters += sum(len(value) for value in span.attributes.values() if isinstance(value, str))


@contextmanager
def counting() -> Iterator[tuple[TracerProvider, Counter]]:
    """A provider and what counts its spans."""
    made, counter = TracerProvider(shutdown_on_exit=False), Counter()
    made.add_span_processor(counter)
    yield made, counter


def clock(function: Callable[[], object], repeat: int) -> float:
    """CPU seconds of one call: less disturbed by whatever else the machine does than the wall clock is."""
    gc.collect()
    begin = time.process_time()
    for _ in range(repeat):
        function()
    return (time.process_time() - begin) / repeat


def bare_spans(tracer: trace.Tracer) -> None:
    """As many as `BARE`, below one that is current."""
    root = tracer.start_span("root")
    token = context.attach(trace.set_span_in_context(root))
    for _ in range(BARE):
        span = tracer.start_span("run_step Work", attributes=ATTRIBUTES)
        inner = context.attach(trace.set_span_in_context(span))
        context.detach(inner)
        span.end()
    context.detach(token)


def measure(variants: Mapping[str, Variant], rounds: int, bare_repeat: int = 10) -> Result:
    """Measure all variants in turn, `rounds` times, after one round that warms up."""
    gc.collect()
    gc.freeze()  # what the imports have made need not be walked through before each measurement
    tracer = provider().get_tracer("bare")
    bares: list[float] = []
    plains: dict[str, list[float]] = {name: [] for name in variants}
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, (run, on, units, repeat, turns) in variants.items():
            for _ in range(turns):
                bare = clock(lambda: bare_spans(tracer), bare_repeat) / BARE
                plain = clock(run, repeat)
                with on() as keywords:
                    traced = clock(partial(run, **(keywords or {})), repeat)
                plain = (plain + clock(run, repeat)) / 2  # before and after: a machine gets slower and faster
                if turn:
                    bares.append(bare)
                    plains[name].append(plain / units)
                    ratios[name].append((traced - plain) / units / bare)
    return Result(
        statistics.median(bares),
        {name: statistics.median(values) for name, values in plains.items()},
        {name: statistics.median(values) for name, values in ratios.items()},
    )


def machine() -> str:
    """What the figures were taken on, in a line."""
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
