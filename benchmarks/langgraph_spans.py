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

import graphs
from langgraph_memory import memory
from measure import Variant, counting, machine, measure, provider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider
from tracers import TRACERS

# The program, its nodes (None: per span that the tracer makes), content, runs in a measurement, measurements.
ROWS = {
    "chain of 100, per node": (graphs.run_chain, graphs.CHAIN, False, 2, 4),
    "loop of 1000, per node": (graphs.run_loop, graphs.LOOP, False, 1, 1),
    "async loop of 1000, per node": (graphs.run_async_loop, graphs.LOOP, False, 1, 1),
    "fan-out to 100, per node": (graphs.run_fan, graphs.FAN_OUT + 1, False, 2, 4),
    "agent run, per span": (graphs.run_agent, None, False, 10, 5),
    "agent run with content, per span": (graphs.run_agent, None, True, 10, 5),
}
QUIET = {"not sampled, per node": provider(ALWAYS_OFF), "SDK disabled, per node": NoOpTracerProvider()}
BUDGETS = dict(zip((*ROWS, *QUIET), (2.0, 2.0, 2.0, 2.0, None, 2.5, 0.35, 0.35), strict=True))


def measure_one(name, rounds):
    """What the child process does: `{row: [ratio, spans in a run]}` and the rest that the parent shows."""
    on = TRACERS[name].on
    spans, characters, variants = {}, {}, {}
    recording = provider()
    for row, (run, nodes, content, repeat, turns) in ROWS.items():
        with counting() as (counted, counter):
            with on(counted, content) as keywords:
                run(**keywords)
            spans[row], characters[row] = counter.count, counter.characters
            run()
            if counter.count != spans[row]:
                sys.exit(f"{name} makes spans after it was switched off; the plain program cannot be measured")
        variants[row] = Variant(run, partial(on, recording, content), nodes or max(spans[row], 1), repeat, turns)
    for row, quiet in QUIET.items():
        variants[row] = Variant(graphs.run_chain, partial(on, quiet, False), graphs.CHAIN, 2, 4)
    result = measure(variants, rounds)
    return {"spans": spans, "characters": characters, **result._asdict()}


def table(title, found, cell):
    print(f"\n{title}\n{'':34} {'budget':>6}" + "".join(f"{name:>15}" for name in found))
    for row, budget in BUDGETS.items():
        cells = "".join(f"{cell(result, row):>15}" for result in found.values())
        print(f"{row:34} {budget or '-':>6}{cells}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tracers", help="a list; default: all but none for costs, spanloom and none for --memory")
    parser.add_argument("--memory", action="store_true", help="memory after many runs instead of costs")
    parser.add_argument("--runs", type=int, default=100_000, help="for --memory")
    parser.add_argument("--child", choices=TRACERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result = memory(options.child, options.runs) if options.memory else measure_one(options.child, options.rounds)
        print(json.dumps(result))
        return
    default = ["spanloom", "none"] if options.memory else [name for name in TRACERS if name != "none"]
    found = {}
    for name in options.tracers.split(",") if options.tracers else default:
        tracer = TRACERS[name]
        if tracer.version is None:
            print(f"Without {name}: pip install {tracer.distribution}")
            continue
        arguments = ["--memory", f"--runs={options.runs}"] if options.memory else [f"--rounds={options.rounds}"]
        child = subprocess.run(
            [sys.executable, __file__, "--child", name, *arguments], capture_output=True, text=True, check=False
        )
        if child.returncode:
            print(f"Without {name} {tracer.version}, which failed: {child.stderr.strip().splitlines()[-1]}")
            continue
        found[name] = json.loads(child.stdout.splitlines()[-1])
        print(f"{name}: {tracer.distribution} {tracer.version}" + (f"; {tracer.remark}" if tracer.remark else ""))
    print(machine())
    if options.memory:
        for name, batches in found.items():
            print(f"\n{name}: after so many runs, resident MB and objects")
            for runs, resident, objects in batches:
                print(f"{runs:>10} {resident:8.1f} {objects:>10}")
            (_, half, few), (_, end, many) = batches[len(batches) // 2 - 1], batches[-1]
            print(f"in the second half: {end - half:+.1f} MB, {many - few:+} objects")
        return
    table("bare spans", found, lambda result, row: f"{result['ratios'][row]:.2f}")
    table("spans in a run", found, lambda result, row: str(result["spans"].get(row, "")))
    table("characters in attributes", found, lambda result, row: str(result["characters"].get(row, "")))
    for name, result in found.items():
        plain = result["plain"]["loop of 1000, per node"]
        print(f"\n{name}: a bare span {result['bare'] * 1e6:.1f} us, a plain node of the loop {plain * 1e6:.0f} us")


if __name__ == "__main__":
    main()
