"""What is recorded of a task's values when content is captured: its own input, its result, the keys it wrote.

A node's input is the graph's state, which is recorded once, at the run's start; per node only what it wrote, so that
a trace grows with the work and not with its square. A `Send`'s argument and a functional task's arguments are inputs
of their own. A node's `TracePolicy` replaces what is recorded of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import guarded, names, updates
from spanloom_langgraph._writes import RETURN, returned

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Capture
    from spanloom_langgraph._writes import Decision

_PUSH: Final = "__pregel_push"
_TRACE_POLICY: Final = "a value that a TracePolicy was to reduce"


def input_text(task: Any, capture: Capture) -> str | None:
    """JSON text of an input that is the task's own: a `Send`'s or a functional task's; else it is the graph's state."""
    policy = _processor(task, "process_inputs")
    if policy is not None:
        return _processed(policy, task.input, capture)
    if task.path[0] != _PUSH:
        return None
    value: Any = task.input
    if task.path[-1] is True:  # a functional task: (args, kwargs)
        args, kwargs = value
        value = {"args": list(args), **({"kwargs": kwargs} if kwargs else {})}
    return capture.json(value)


def output_texts(
    task: Any, decision: Decision, result: Any, capture: Capture, found: dict[str, AttributeValue]
) -> None:
    """Put the result of a functional task, or the update of a node, into `found`."""
    policy = _processor(task, "process_outputs")
    if policy is not None:
        text = _processed(policy, dict(decision.update) if result is None else result, capture)
        if text is not None:
            found[names.OUTPUT] = text
        return
    if capture.io and any(channel == RETURN for channel, _ in task.writes):
        text = capture.json(returned(task.writes))
        if text is not None:
            found[names.OUTPUT] = text
    if capture.state and decision.update:
        before: Any = None if _processor(task, "process_inputs") is not None else task.input
        text = updates(before, decision.update, capture)
        if text is not None:
            found[names.STATE_CHANGES] = text


def _processor(task: Any, name: str) -> Any:
    return getattr(getattr(task.proc, "trace_policy", None), name, None)


def _processed(policy: Any, value: Any, capture: Capture) -> str | None:
    """What the user's function leaves of the value; nothing if it fails, as it may have been there to hide it."""
    with guarded("langgraph.trace_policy", _TRACE_POLICY):
        return capture.json(policy(value))
    return None
