"""Whether many runs of a small graph leave something behind: resident memory and Python objects, batch by batch.

What a tracer remembers of a bounded number of runs (interrupted ones, to link their resumes) grows until it is full;
the second half of 100,000 runs should add nothing.
"""

from __future__ import annotations

import gc
import operator
import resource
import sys
from pathlib import Path
from typing import Annotated, Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from measure import provider
from tracers import TRACERS
from typing_extensions import TypedDict

BATCHES = 20
KINDS = 5  # of five runs one fails, one is broken off, one is interrupted and resumed


class State(TypedDict):
    number: int
    seen: Annotated[list[int], operator.add]


def plan(state: State) -> dict[str, int]:
    if state["number"] % KINDS == 1:
        raise ValueError(f"run {state['number']}")
    return {"number": state["number"]}


def work(state: State) -> dict[str, list[int]]:
    if state["number"] % KINDS == 2:
        return {"seen": [interrupt("go on?")]}
    return {"seen": [state["number"]]}


def choose(state: State) -> list[Send]:
    return [Send("work", state)] * (1 if state["number"] % KINDS == 2 else 2)


def graph(saver: Any = None) -> Any:
    made = StateGraph(State)
    made.add_node("plan", plan)
    made.add_node("work", work)
    made.add_edge(START, "plan")
    made.add_conditional_edges("plan", choose, ["work"])
    made.add_edge("work", END)
    return made.compile(saver)


SAVER = InMemorySaver()
PLAIN, SAVED = graph(), graph(SAVER)


def run(number: int, callbacks: list[Any] | None = None) -> None:
    """One of a conversation of its own, so that what is kept for each would show."""
    thread = f"thread {number}"
    config: Any = {"configurable": {"thread_id": thread}, **({"callbacks": callbacks} if callbacks else {})}
    given = {"number": number, "seen": []}
    kind = number % KINDS
    if kind == 1:
        try:
            PLAIN.invoke(given, config)
        except ValueError:
            pass
    elif kind == 2:
        SAVED.invoke(given, config)
        SAVED.invoke(Command(resume=1), config)
        SAVER.delete_thread(thread)
    elif kind == 3:
        for _ in PLAIN.stream(given, config):
            break
    else:
        PLAIN.invoke(given, config)


def resident() -> float:
    """MB in memory now; where the system does not tell, the most there has been."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2 ** (20 if sys.platform == "darwin" else 10)


def memory(name: str, runs: int) -> list[tuple[int, float, int]]:
    """(runs so far, resident MB, objects) after each of `BATCHES`."""
    found = []
    with TRACERS[name].on(provider(), False) as keywords:
        for batch in range(BATCHES):
            for number in range(batch * runs // BATCHES, (batch + 1) * runs // BATCHES):
                run(number, **keywords)
            gc.collect()
            found.append(((batch + 1) * runs // BATCHES, resident(), len(gc.get_objects())))
    return found
