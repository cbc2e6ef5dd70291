"""What PocketFlow instrumentation costs, as ratios to a bare span (see `measure`), in one process.

python benchmarks/pocketflow_spans.py
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import contextmanager
from functools import partial

import pocketflow as pf
from measure import Variant, counting, machine, measure, provider
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


def spans_of(function, **settings):
    with counting() as (made, counter), instrumented(made, **settings):
        function()
    return counter.count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    recording, off, disabled = provider(), provider(ALWAYS_OFF), NoOpTracerProvider()
    nodes_only = {"pocketflow_phases": frozenset()}
    rows = {
        "node and phases, per span": (run_sync, recording, {}, spans_of(run_sync)),
        "nodes only, per span": (run_sync, recording, nodes_only, spans_of(run_sync, **nodes_only)),
        "async node and phases, per span": (run_async, recording, {}, spans_of(run_async)),
        "content on, per span": (run_sync, recording, {"content": True}, spans_of(run_sync)),
        "not sampled, per node": (run_sync, off, {}, NODES + 1),
        "SDK disabled, per node": (run_sync, disabled, {}, NODES + 1),
    }
    variants = {
        name: Variant(run, partial(instrumented, made, **settings), units, options.repeat)
        for name, (run, made, settings, units) in rows.items()
    }
    result = measure(variants, options.rounds, options.repeat)
    print(machine())
    print(f"bare span: {result.bare * 1e6:.1f} us\n")
    print(f"{'what':34} {'ratio':>6} {'budget':>7}")
    for name, ratio in result.ratios.items():
        print(f"{name:34} {ratio:6.2f} {BUDGETS[name] or '-':>7}")


if __name__ == "__main__":
    main()
