"""Which of PocketFlow's methods are wrapped, and how a module is checked before it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from spanloom.instrument import LOG, Patches, Telemetry
from spanloom_pocketflow._instrumentation import Instrumentation
from spanloom_pocketflow._standins import AsyncRunStandIn, BatchFlowStandIn, RunStandIn

if TYPE_CHECKING:
    from types import ModuleType

# (class, method) -> the `begin_*` of Instrumentation. A version that lacks one of them is patched without it.
METHODS: Final = {
    ("BaseNode", "run"): "begin_alone",
    ("BaseNode", "_run"): "begin_run",
    ("BaseNode", "_exec"): "begin_exec",
    ("Node", "_exec"): "begin_exec",
    ("BatchNode", "_exec"): "begin_batch",
    ("Flow", "_run"): "begin_run",
    ("Flow", "_orch"): "begin_orch",
    ("BatchFlow", "_run"): "begin_batch_flow",
    ("AsyncNode", "run_async"): "begin_alone",
    ("AsyncNode", "_run_async"): "begin_run_async",
    ("AsyncNode", "_exec"): "begin_exec",
    ("AsyncBatchNode", "_exec"): "begin_batch",
    ("AsyncParallelBatchNode", "_exec"): "begin_batch",
    ("AsyncFlow", "_run_async"): "begin_run_async",
    ("AsyncFlow", "_orch_async"): "begin_orch",
    ("AsyncBatchFlow", "_run_async"): "begin_batch_flow",
    ("AsyncParallelBatchFlow", "_run_async"): "begin_batch_flow",
}

# Those whose `self` a flow or `run` makes at once, without going through the wrapper.
STAND_INS: Final = {
    "begin_run": RunStandIn,
    "begin_run_async": AsyncRunStandIn,
    "begin_batch_flow": BatchFlowStandIn,
}


def patch(module: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap the methods of one PocketFlow module (the package, or a copy of its source).

    Args:
        module: the imported module; it may only import the names from where they are.
        telemetry: where spans go.
        patches: remembers what was replaced.
    """
    base = getattr(module, "BaseNode", None)
    if not isinstance(base, type):
        LOG.warning(
            "%s has no class BaseNode, so it is not PocketFlow and is not traced. "
            "If your copy of PocketFlow has another name, set SPANLOOM_POCKETFLOW_MODULES to it.",
            module.__name__,
        )
        return
    if patches.holds(base):
        return
    home = sys.modules.get(base.__module__, module)
    instrumentation = Instrumentation(telemetry, home)
    for (owner_name, method), begin in METHODS.items():
        owner = getattr(home, owner_name, None)
        # What somebody put in the place of PocketFlow's own is their code, which must get the real node.
        if isinstance(owner, type) and instrumentation.is_own(owner.__dict__.get(method)):
            wrapper = patches.wrap(owner, method, getattr(instrumentation, begin), "spans of PocketFlow nodes")
            original = wrapper.__wrapped__
            if begin in STAND_INS:
                instrumentation.runs[wrapper] = original, STAND_INS[begin]
            elif method == "_exec":
                instrumentation.execs[wrapper] = original if begin == "begin_exec" else None
