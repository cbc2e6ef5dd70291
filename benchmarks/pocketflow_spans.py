"""What PocketFlow instrumentation costs, as ratios to a bare span, in one process.

    python benchmarks/pocketflow_spans.py

A bare span is the SDK's `start_span` + attach + detach + `end` with 8 attributes and a processor that does nothing,
below a current span, as nearly all spans of a run are.
Each figure is the median of repeated rounds; the variants are measured in turn within a round, so that a slow moment
of the machine hits all of them. Cost is the instrumented program's time less the plain one's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import statistics
import time
from contextlib import contextmanager

import pocketflow as pf
from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider

from spanloom.config import Config
from spanloom_pocketflow import PocketFlowInstrumentor

NODES = 50
BUDGETS = {
    "node and phases, per span": 1.5,
    "nodes only, per span": None,
    "async node and phases, per span": 1.5,
    "content on, per span": None,
    "not sampled, per node": 0.35,
    "SDK disabled, per node": 0.35,
}
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


class Work(pf.Node):
    """Loops NODES times through all three phases, with the little work such programs do between model calls."""

    def prep(self, shared):
        return shared["count"]

    def exec(self, prep_res):
        return prep_res + 1

    def post(self, shared, prep_res, exec_res):
        shared["count"] = exec_res
        return "more" if exec_res < NODES else "done"


class AsyncWork(pf.AsyncNode):
    async def prep_async(self, shared):
        return shared["count"]

    async def exec_async(self, prep_res):
        return prep_res + 1

    async def post_async(self, shared, prep_res, exec_res):
        shared["count"] = exec_res
        return "more" if exec_res < NODES else "done"


def build(node, flow):
    node - "more" >> node
    node - "done" >> pf.Node()
    return flow(start=node)


SYNC, ASYNC = build(Work(), pf.Flow), build(AsyncWork(), pf.AsyncFlow)


def state():
    return {"count": 0, "question": "why is the sky blue?", "context": ["a", "b"], "history": [{"role": "user"}]}


def run_sync():
    SYNC.run(state())


def run_async(loop=asyncio.new_event_loop()):  # noqa: B008  one loop for all rounds
    loop.run_until_complete(ASYNC.run_async(state()))


@contextmanager
def instrumented(provider, **settings):
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config(**settings))
    try:
        yield
    finally:
        instrumentor.uninstrument()


def provider(sampler=None):
    made = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    made.add_span_processor(SpanProcessor())
    return made


def clock(function, repeat):
    """CPU seconds of one call: less disturbed by whatever else the machine does than the wall clock is."""
    gc.collect()
    begin = time.process_time()
    for _ in range(repeat):
        function()
    return (time.process_time() - begin) / repeat


def hundred_bare(tracer):
    root = tracer.start_span("root")
    token = context.attach(trace.set_span_in_context(root))
    for _ in range(100):
        bare(tracer)
    context.detach(token)


def bare(tracer):
    span = tracer.start_span("run_step Work", attributes=ATTRIBUTES)
    token = context.attach(trace.set_span_in_context(span))
    context.detach(token)
    span.end()


class Counter(SpanProcessor):
    count = 0

    def on_end(self, span):
        self.count += 1


def spans_of(function, **settings):
    made, counter = TracerProvider(shutdown_on_exit=False), Counter()
    made.add_span_processor(counter)
    with instrumented(made, **settings):
        function()
    return counter.count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    recording, off = provider(), provider(ALWAYS_OFF)
    tracer = recording.get_tracer("bare")
    nodes_only = {"pocketflow_phases": frozenset()}
    variants = {
        "node and phases, per span": (run_sync, recording, {}, spans_of(run_sync)),
        "nodes only, per span": (run_sync, recording, nodes_only, spans_of(run_sync, **nodes_only)),
        "async node and phases, per span": (run_async, recording, {}, spans_of(run_async)),
        "content on, per span": (run_sync, recording, {"content": True}, spans_of(run_sync)),
        "not sampled, per node": (run_sync, off, {}, NODES + 1),
        "SDK disabled, per node": (run_sync, NoOpTracerProvider(), {}, NODES + 1),
    }
    samples = {name: [] for name in variants}
    bares = []
    for _ in range(options.rounds):
        bare_time = clock(lambda: hundred_bare(tracer), options.repeat) / 100
        bares.append(bare_time)
        plain = {function: clock(function, options.repeat) for function in (run_sync, run_async)}
        for name, (function, made, settings, units) in variants.items():
            with instrumented(made, **settings):
                cost = clock(function, options.repeat) - plain[function]
            samples[name].append(cost / units / bare_time)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    print(f"bare span: {statistics.median(bares) * 1e6:.1f} us\n")
    print(f"{'what':34} {'ratio':>6} {'budget':>7}")
    for name, values in samples.items():
        budget = BUDGETS[name]
        print(f"{name:34} {statistics.median(values):6.2f} {budget or '-':>7}")


if __name__ == "__main__":
    main()
