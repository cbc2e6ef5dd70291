"""What tracing LangGraph costs, spanloom's and others', as ratios to a bare span (see `measure`).

    pip install -r benchmarks/requirements-peers.txt    # optional: whoever is installed is measured
    python benchmarks/langgraph_spans.py
    python benchmarks/langgraph_spans.py --memory       # 100,000 runs; minutes

Each tracer is measured in a process of its own, against the plain program in that same process. Rows of nodes are
taken without content, where a tracer can do without. "By hand" are bare spans written into the same places: between
the framework's steps they cost more than in a loop of their own, as caches are cold there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

try:
    import graphs
    from langgraph_memory import memory
except ImportError as exc:
    sys.exit(f"{exc}. The measured programs need: pip install langgraph langchain")
from measure import Variant, counting, machine, measure, provider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider
from tracers import TRACERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Row(NamedTuple):
    """What is measured.

    Attributes:
        run: the program.
        nodes: how many it runs; None: the cost is divided among the spans that the tracer makes.
        budget: of spanloom, in bare spans (design section 10).
        repeat: runs in a measurement.
        turns: measurements in a round.
        content: whether it is recorded.
        provider: where spans go.
    """

    run: Callable[..., object]
    nodes: int | None
    budget: float | None
    repeat: int
    turns: int
    content: bool = False
    provider: Any = provider()


ROWS = {
    "chain of 100, per node": Row(graphs.run_chain, graphs.CHAIN, 2.0, 2, 4),
    "loop of 1000, per node": Row(graphs.run_loop, graphs.LOOP, 2.0, 1, 1),
    "async loop of 1000, per node": Row(graphs.run_async_loop, graphs.LOOP, 2.0, 1, 1),
    "fan-out to 100, per node": Row(graphs.run_fan, graphs.FAN_OUT + 1, 2.0, 2, 4),
    "agent run, per span": Row(graphs.run_agent, None, None, 10, 5),
    "agent run with content, per span": Row(graphs.run_agent, None, 2.5, 10, 5, content=True),
    "not sampled, per node": Row(graphs.run_chain, graphs.CHAIN, 0.35, 2, 4, provider=provider(ALWAYS_OFF)),
    "SDK disabled, per node": Row(graphs.run_chain, graphs.CHAIN, 0.35, 2, 4, provider=NoOpTracerProvider()),
}
AGENTS = [name for name, row in ROWS.items() if row.nodes is None]
SAMPLED = list(ROWS)[:-2]


def measure_one(name: str, rounds: int) -> dict[str, Any]:
    """What the child process does; its figures by row."""
    on = TRACERS[name].on
    spans: dict[str, int] = {}
    characters: dict[str, int] = {}
    variants: dict[str, Variant] = {}
    for title, row in ROWS.items():
        if title in SAMPLED:
            with counting() as (counted, counter):
                with on(counted, row.content) as keywords:
                    row.run(**keywords)
                spans[title], characters[title] = counter.count, counter.characters
                row.run()
                if counter.count != spans[title]:
                    sys.exit(f"{name} makes spans after it was switched off; the plain program cannot be measured")
        units = row.nodes or max(spans[title], 1)
        variants[title] = Variant(row.run, partial(on, row.provider, row.content), units, row.repeat, row.turns)
    return {"spans": spans, "characters": characters, **measure(variants, rounds)._asdict()}


def child(name: str, *arguments: str) -> Any:
    """What a process for one tracer reports; None where it is not installed or fails, which is said."""
    tracer = TRACERS[name]
    if tracer.version is None:
        print(f"Without {name}: pip install {tracer.distribution}")
        return None
    command = [sys.executable, __file__, "--child", name, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        print(f"Without {name} {tracer.version}, which failed: {ran.stderr.strip().splitlines()[-1]}")
        return None
    print(f"{name}: {tracer.distribution} {tracer.version}" + (f"; {tracer.remark}" if tracer.remark else ""))
    return json.loads(ran.stdout.splitlines()[-1])


def table(title: str, found: dict[str, Any], rows: Iterable[str], cell: Callable[[Any, str], object]) -> None:
    print(f"\n{title}\n{'':34}{'budget':>7}" + "".join(f"{name:>15}" for name in found))
    for row in rows:
        budget = ROWS[row].budget if rows is ROWS else None
        print(f"{row:34}{budget or '':>7}" + "".join(f"{cell(result, row)!s:>15}" for result in found.values()))


def show_costs(found: dict[str, Any]) -> None:
    table("cost in bare spans", found, ROWS, lambda result, row: f"{result['ratios'][row]:.2f}")
    table(
        "the same for all spans of a run",
        found,
        AGENTS,
        lambda result, row: f"{result['ratios'][row] * result['spans'][row]:.0f}",
    )
    table("spans in a run", found, SAMPLED, lambda result, row: result["spans"][row])
    table("characters in a run's attributes", found, SAMPLED, lambda result, row: result["characters"][row])
    print()
    for name, result in found.items():
        plain = result["plain"]["loop of 1000, per node"]
        print(f"{name}: a bare span {result['bare'] * 1e6:.1f} us, a plain node of the loop {plain * 1e6:.0f} us")


def show_memory(found: dict[str, Any]) -> None:
    for name, batches in found.items():
        print(f"\n{name}\n{'runs':>10}{'MB':>10}{'objects':>10}")
        for runs, resident, objects in batches:
            print(f"{runs:>10}{resident:>10.1f}{objects:>10}")
        (_, half, few), (_, end, many) = batches[len(batches) // 2 - 1], batches[-1]
        print(f"in the second half: {end - half:+.1f} MB, {many - few:+} objects")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tracers", nargs="+", choices=TRACERS, help="default: all; with --memory spanloom and none")
    parser.add_argument("--memory", action="store_true", help="memory after many runs instead of costs")
    parser.add_argument("--runs", type=int, default=100_000, help="for --memory")
    parser.add_argument("--child", choices=TRACERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result = memory(options.child, options.runs) if options.memory else measure_one(options.child, options.rounds)
        print(json.dumps(result))
        return
    arguments = ["--memory", f"--runs={options.runs}"] if options.memory else [f"--rounds={options.rounds}"]
    default = ["spanloom", "none"] if options.memory else [name for name in TRACERS if name != "none"]
    results = {name: child(name, *arguments) for name in options.tracers or default}
    found = {name: result for name, result in results.items() if result is not None}
    if not found:
        sys.exit("Nothing to show: none of these is installed and works here.")
    print(machine())
    (show_memory if options.memory else show_costs)(found)


if __name__ == "__main__":
    main()
