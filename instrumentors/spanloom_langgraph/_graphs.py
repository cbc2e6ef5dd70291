"""LangGraph's own functions that are wrapped: runs, tasks, loops.

Private ones have moved between versions; one that is missing costs what it would have told, and one line in the log.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from spanloom.instrument import LOG
from spanloom_langgraph._loop import Loop, at_home
from spanloom_langgraph._nodes import Nodes
from spanloom_langgraph._runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from spanloom.instrument import Begun, Patches, Telemetry


def patch_graphs(_: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap LangGraph, whose `langgraph.pregel` has just been imported, and with it all that belongs to it."""
    pregel: type | None = getattr(_module("langgraph.pregel"), "Pregel", None)
    if pregel is None:
        LOG.warning("LangGraph has no class langgraph.pregel.Pregel; its graphs are not traced. Upgrade spanloom.")
        return
    runs = Runs(telemetry, pregel)
    nodes, loop = Nodes(runs), Loop(runs)

    def has(owner: Any, name: str, lost: str) -> bool:
        found = owner is not None and name in vars(owner)
        if not found:
            LOG.warning(
                "This version of LangGraph has no %s; %s not traced. Upgrade spanloom or LangGraph.", name, lost
            )
        return found

    def wrap(owner: Any, name: str, begin: Callable[..., Begun | None], lost: str) -> Any:
        return patches.wrap(owner, name, begin, lost) if has(owner, name, lost) else None

    for name in ("stream", "astream"):
        wrap(pregel, name, runs.begin_stream, "runs of graphs are")
    for name in ("invoke", "ainvoke"):
        wrap(pregel, name, runs.begin_invoke, "runs of graphs are")
    retry = _module("langgraph.pregel._retry", "langgraph.pregel.retry")
    runner = _module("langgraph.pregel._runner", "langgraph.pregel.runner")
    for name in ("run_with_retry", "arun_with_retry"):
        original = getattr(retry, name, None)
        wrapper = wrap(retry, name, nodes.begin, "nodes are")
        if wrapper is None:
            continue
        if getattr(runner, name, None) is original:  # the runner has imported it by value
            patches.put(runner, name, wrapper)
        else:  # somebody has wrapped that
            wrap(runner, name, nodes.begin, "nodes are")
    wrap(retry, "_should_retry_on", nodes.begin_decide_retry, "retries of nodes are")
    loops = _module("langgraph.pregel._loop", "langgraph.pregel.loop")
    base: Any = getattr(loops, "PregelLoop", None)
    wrap(base, "_first", loop.begin_first, "resumed runs are")
    wrap(base, "_suppress_interrupt", loop.begin_end, "interrupts of runs are")
    wrap(loops, "should_interrupt", loop.begin_should_interrupt, "where runs are told to stop is")
    if has(base, "output_writes", "cached nodes are"):
        patches.before(base, "output_writes", loop.see_output, "that a node was cached")
    sync_loop: Any = getattr(loops, "SyncPregelLoop", None)
    if has(sync_loop, "put_writes", "checkpoint writes of threads are"):
        patches.replace(sync_loop, "put_writes", at_home)


def _module(*candidates: str) -> Any:
    """The first of these modules that is imported: `langgraph.pregel` has imported all that there are."""
    return next((sys.modules[name] for name in candidates if name in sys.modules), None)
