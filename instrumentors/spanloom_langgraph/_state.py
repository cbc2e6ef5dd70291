"""What is recorded of a task's values when content is captured: its own input, its result, the keys it wrote.

A node's input is the graph's state, which is recorded once, at the run's start; per node only what it wrote, so that
a trace grows with the work and not with its square. A `Send`'s argument and a functional task's arguments are inputs
of their own. A node's `TracePolicy` replaces what is recorded of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import guarded, names, updates
from spanloom_langgraph._values import plain
from spanloom_langgraph._writes import RETURN, returned, update

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Capture
    from spanloom_langgraph._shape import GraphFacts
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
    return capture.json(plain(value))


def output_texts(
    task: Any, decision: Decision, graph: GraphFacts, result: Any, capture: Capture
) -> dict[str, AttributeValue]:
    """The result of a functional task, or the update of a node.

    Of a key whose values a reducer gathers, what was there before is not repeated: that was recorded when it came.
    """
    written = update(task.writes, decision)
    policy = _processor(task, "process_outputs")
    if policy is not None:
        output = _processed(policy, dict(written) if result is None else result, capture)
        return {} if output is None else {names.OUTPUT: output}
    found: dict[str, str | None] = {}
    if capture.io and any(channel == RETURN for channel, _ in task.writes):
        found[names.OUTPUT] = capture.json(plain(returned(task.writes)))
    if capture.state and written:
        before: Any = None if _processor(task, "process_inputs") is not None else task.input
        shown = [(key, plain(value), key in graph.replaced) for key, value in written]
        found[names.STATE_CHANGES] = updates(before, shown, capture)
    return {key: text for key, text in found.items() if text is not None}


def _processor(task: Any, name: str) -> Any:
    return getattr(getattr(task.proc, "trace_policy", None), name, None)


def _processed(policy: Any, value: Any, capture: Capture) -> str | None:
    """What the user's function leaves of the value; nothing if it fails, as it may have been there to hide it."""
    with guarded("langgraph.trace_policy", _TRACE_POLICY):
        return capture.json(policy(value))
    return None
