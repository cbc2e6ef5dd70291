"""JSONL export against the official OTLP/JSON file exporter: spans per second of CPU time, to a real file.

    python benchmarks/jsonl_export.py

Ratios are medians over repeated runs in one process, the exporters taking turns, so that a busy machine slows all
of them alike. Budget: at least 4 times the official exporter on batches of 512 spans of about 1 KB.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanloom_jsonl import JsonlSpanExporter, _quote, _values, encode_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

try:
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
except ImportError:
    FileSpanExporter = None

BATCH = 512
ROUNDS = 15
BUDGET = 4.0

Export: TypeAlias = "Callable[[Sequence[ReadableSpan]], object]"
NODES = ("Classify", "Route", "Search", "Answer", "Review")
MODELS = ("gpt-4o-mini", "gpt-4o", "o4-mini")


def make_spans(content: int) -> Sequence[ReadableSpan]:
    """A batch as an instrumented flow gives it: half node spans, half model calls; `content` characters each way."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "benchmark"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("spanloom", "1.0")
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Wörter " * (content // 7)}]}])
    for number in range(BATCH // 2):
        name, model = NODES[number % len(NODES)], MODELS[number % len(MODELS)]
        with tracer.start_as_current_span(f"run_step {name}") as node:
            node.set_attributes(
                {
                    "gen_ai.operation.name": "run_step",
                    "spanloom.node.name": name,
                    "pocketflow.node.class": f"support.nodes.{name}",
                    "pocketflow.action": "search",
                    "pocketflow.step": number,
                    "pocketflow.retry.max": 3,
                    "spanloom.state.changed_keys": ("ticket", "category"),
                    "gen_ai.conversation.id": f"conversation-{number // 8}",
                }
            )
            node.add_event("spanloom.retry", {"pocketflow.retry.attempt": 1, "error.type": "TimeoutError"})
            with tracer.start_as_current_span(f"chat {model}") as call:
                call.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": model,
                        "gen_ai.response.model": f"{model}-2024-07-18",
                        "gen_ai.response.finish_reasons": ("stop",),
                        "gen_ai.request.temperature": 0.2,
                        "gen_ai.usage.input_tokens": 1200 + number,
                        "gen_ai.usage.output_tokens": 88,
                        "gen_ai.conversation.id": f"conversation-{number // 8}",
                        **({"gen_ai.input.messages": messages, "gen_ai.output.messages": messages} if content else {}),
                    }
                )
    return kept.get_finished_spans()


def singly(export: Export) -> Export:
    """`export` as `SimpleSpanProcessor` calls it: each span on its own."""

    def export_singly(spans: Sequence[ReadableSpan]) -> None:
        for span in spans:
            export((span,))

    return export_singly


def with_stdlib(export: Export) -> Export:
    """`export` as it is without orjson."""

    def export_with_stdlib(spans: Sequence[ReadableSpan]) -> None:
        fast = _quote.literal
        _quote.literal = _values.literal = _quote.literal_stdlib
        try:
            export(spans)
        finally:
            _quote.literal = _values.literal = fast

    return export_with_stdlib


def measure(exports: dict[str, Export], spans: Sequence[ReadableSpan], directory: Path) -> dict[str, list[float]]:
    """Return the CPU seconds for a span of each of `exports`, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in exports}
    for _ in range(ROUNDS + 1):  # the first round warms up
        for name, export in exports.items():
            start = time.process_time()
            for _ in range(3):
                export(spans)
            seconds[name].append((time.process_time() - start) / (3 * len(spans)))
        for path in directory.iterdir():  # else the disk becomes what is measured
            os.truncate(path, 0)
    return {name: times[1:] for name, times in seconds.items()}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        spanloom = JsonlSpanExporter(directory)
        exports: dict[str, Export] = {}
        if FileSpanExporter is None:
            print("Without the official column: pip install opentelemetry-exporter-otlp-json-file")
        else:
            official = FileSpanExporter(directory / "official.jsonl")
            exports |= {"official": official.export, "official, span by span": singly(official.export)}
        if _quote.literal is _quote.literal_stdlib:
            print("Without the orjson rows: pip install orjson")
        else:
            exports |= {"orjson": spanloom.export, "orjson, span by span": singly(spanloom.export)}
        stdlib = with_stdlib(spanloom.export)
        exports |= {"stdlib": stdlib, "stdlib, span by span": singly(stdlib)}

        for label, content in (("no content", 0), ("short chats", 250), ("chats of 12 KB", 6000)):
            spans = make_spans(content)
            print(f"\n{label}: {len(spans)} spans, {len(encode_spans(spans)) // len(spans)} bytes each")
            print(f"  {'':24} {'µs/span':>8} {'spans/s':>9} {'ratio':>6}")
            seconds = measure(exports, spans, directory)
            for row, times in seconds.items():
                official_times = seconds.get("official, span by span" if "by span" in row else "official", [])
                # Within a round the machine is as busy for one as for the other.
                ratios = [theirs / ours for theirs, ours in zip(official_times, times, strict=False)]
                ratio = f"{statistics.median(ratios):6.1f}" if ratios else "     -"
                median = statistics.median(times)
                print(f"  {row:24} {median * 1e6:8.1f} {1 / median:9.0f} {ratio}")
    print(f"\nBudget: {BUDGET:.0f} times the official exporter in batches of spans of about 1 KB, with orjson.")


if __name__ == "__main__":
    main()
