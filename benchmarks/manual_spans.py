"""What spans of a program's own cost: each operation as a ratio to a bare span (see `measure`), streams per item.

python benchmarks/manual_spans.py
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import contextmanager
from functools import partial

from measure import Variant, machine, measure, provider
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import spanloom
from spanloom import telemetry
from spanloom.config import Config

SPANS = 50
ITEMS = 2000
RATIO = 1.6
PER_ITEM = 2.0  # microseconds
OFF = 1.0  # microseconds beyond a no-op tracer's block

OPERATIONS = {
    "workflow": partial(spanloom.workflow, "Support"),
    "agent": partial(spanloom.agent, "Clerk"),
    "node": partial(spanloom.node, "grade"),
    "tool": partial(spanloom.tool, "search", call_id="call-1"),
    "chat": partial(spanloom.chat, "gpt-5", provider="openai", temperature=0.2, max_tokens=100),
    "embeddings": partial(spanloom.embeddings, "e-1", provider="openai"),
    "retrieval": partial(spanloom.retrieval, "handbook", top_k=3),
    "rerank": partial(spanloom.rerank, "r-1", provider="cohere"),
}


def blocks(make):
    """SPANS spans below one, or the same work without them."""

    def run(traced=False):
        if not traced:
            for _ in range(SPANS):
                pass
            return
        with spanloom.workflow("all"):
            for _ in range(SPANS):
                with make():
                    pass

    return run


def told(traced=False):
    """As a program tells what it knows of a model call."""
    if not traced:
        return
    with spanloom.workflow("all"):
        for _ in range(SPANS):
            with spanloom.chat("gpt-5", provider="openai") as call:
                call.input("why?")
                call.usage(input=10, output=20)
                call.finish("stop")
                call.response(model="gpt-5-0001", id="r-1")
                call.output("because")


@spanloom.node
def step():
    return 1


def plain_step():
    return 1


def decorated(traced=False):
    function = step if traced else plain_step
    with spanloom.workflow("all"):
        for _ in range(SPANS):
            function()


@contextmanager
def recorded(sampler=None, **settings):
    telemetry.use(provider(sampler), Config(**settings))
    try:
        yield {"traced": True}
    finally:
        telemetry.use()


def chunk():
    """A client's chunk, as a dict."""
    return {
        "id": "c-1",
        "model": "gpt-5",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": "word "}}],
    }


def seconds(function):
    began = time.process_time()
    function()
    return time.process_time() - began


def per_item(items, *, content, outside, is_async=False):
    """Microseconds that a streamed item costs more than the same stream costs alone."""

    async def gone():
        for item in items:
            yield item

    def drain(stream):
        if is_async:

            async def all_of_it():
                async for _ in stream:
                    pass

            asyncio.run(all_of_it())
        else:
            for _ in stream:
                pass

    def source():
        return gone() if is_async else (item for item in items)

    def traced():
        with spanloom.chat("gpt-5", provider="openai") as call:
            stream = call.stream(source())
            if not outside:
                drain(stream)
        if outside:
            drain(stream)

    with recorded(content=content):
        costs = [(seconds(traced) - seconds(lambda: drain(source()))) / len(items) for _ in range(15)]
    return statistics.median(costs) * 1e6


def off():
    """Microseconds of a block where nothing is recorded: with a no-op tracer, and ours."""
    tracer = trace.get_tracer("program")
    times = 20_000

    def theirs():
        for _ in range(times):
            with tracer.start_as_current_span("chat"):
                pass

    def ours():
        for _ in range(times):
            with spanloom.chat("gpt-5", provider="openai"):
                pass

    pairs = [(seconds(theirs), seconds(ours)) for _ in range(7)]
    return tuple(statistics.median(column) / times * 1e6 for column in zip(*pairs, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(machine())

    noop, ours = off()
    print(f"\nno provider: a block {ours:.2f} µs, a no-op tracer's {noop:.2f} µs (budget: {OFF} more)")

    variants = {name: Variant(blocks(make), recorded, SPANS + 1, 20) for name, make in OPERATIONS.items()}
    variants["decorated node"] = Variant(decorated, recorded, SPANS + 1, 20)
    variants["chat, told all"] = Variant(told, recorded, SPANS + 1, 20)
    variants["chat, told all, content on"] = Variant(told, partial(recorded, content=True), SPANS + 1, 20)
    variants["not sampled"] = Variant(blocks(OPERATIONS["chat"]), partial(recorded, ALWAYS_OFF), SPANS + 1, 20)
    result = measure(variants, rounds)
    print(f"\nbare span: {result.bare * 1e6:.1f} µs; a span of each kind, in bare spans (budget: {RATIO})")
    for name, ratio in result.ratios.items():
        print(f"{name:30} {ratio:6.2f}")

    print(f"\nper streamed item, µs (budget without content: {PER_ITEM})")
    for name, items in (("texts", ["word "] * ITEMS), ("chunks", [chunk() for _ in range(ITEMS)])):
        for is_async in (False, True):
            for outside in (False, True):
                for content in (False, True):
                    where = "in another place" if outside else "in the block"
                    words = ("async" if is_async else "sync", where, "content" if content else "no content")
                    cost = per_item(items, content=content, outside=outside, is_async=is_async)
                    print(f"{name:8} {', '.join(words):40} {cost:6.2f}")


if __name__ == "__main__":
    main()
