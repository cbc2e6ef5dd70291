"""Where each node belongs in Langfuse's graph view, from spans that arrive when they end.

The server draws an edge from every node of a step to every node of the next one; steps count over the whole trace, and
any number will do. A framework counts within one run of one graph, so the trace's steps are made here:

- a node comes one after the nodes that its links name, with all that ran inside those;
- a node without links begins a run, or its links are lost. It shares the step of a node with the same number in the
  same run; with a run inside, it comes right before the first node of that;
- the first node of a run comes after the nodes that led to one of those around it, which its path names, and after
  runs in the same place that are over, unless one goes on there: then they run beside each other. It leaves one step
  free for the node around it, which ends, and so is seen, later;
- any other node comes after whatever had ended when it started.

So runs that a fan-out starts beside each other begin at one step, whichever of them is quicker.

Memory is bounded in traces and in nodes of each; what is forgotten is numbered as if it began anew.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar, cast

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_langfuse import _names as names
from spanloom_langfuse._kinds import node_name

_TRACES: Final = 256
_NODES: Final = 512  # of a trace, the last ones
_PLACES: Final = 4096  # that were given, for a batch that is sent again

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Place(NamedTuple):
    """Where a node's box stands.

    Attributes:
        node: its label.
        step: its step in the trace, from 1 on, or a little less for a node with a run inside.
    """

    node: str
    step: float


class _Reach(NamedTuple):
    """The steps inside a span.

    Attributes:
        first: the lowest step.
        last: the highest.
        height: how many runs lie inside each other.
    """

    first: float
    last: float
    height: int

    def with_(self, other: "_Reach") -> "_Reach":
        return _Reach(min(self.first, other.first), max(self.last, other.last), max(self.height, other.height))


class _Ended(NamedTuple):
    """A node that has ended.

    Attributes:
        time: when, in nanoseconds.
        last: the highest step inside.
        path: where it lies; its name, if not inside others.
        around: the path of the node that it lies inside; empty outside all others.
        run: the span that its run lies right below.
        next: names of the nodes that it goes on to; None where it does not say.
    """

    time: int
    last: float
    path: str
    around: str
    run: int
    next: set[object] | None


@dataclass
class _Run:
    """One run of a graph: the nodes below one span.

    Attributes:
        around: the path of the node that it lies inside; empty for an outermost one.
        steps: the step of each of the framework's numbers, for nodes without links.
        indexes: PocketFlow's index of the node that each label belongs to.
    """

    around: str
    steps: dict[int | None, float] = field(default_factory=dict["int | None", float])
    indexes: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class _Trace:
    """What is remembered of a trace; keys are span ids."""

    ended: OrderedDict[int, _Ended] = field(default_factory=OrderedDict[int, _Ended])
    open: OrderedDict[int, _Run] = field(default_factory=OrderedDict[int, _Run])
    inside: OrderedDict[int, _Reach] = field(default_factory=OrderedDict[int, _Reach])


class Steps:
    """Gives nodes their places. Not for several threads at once."""

    def __init__(self) -> None:
        self._traces: OrderedDict[int, _Trace] = OrderedDict()
        self._given: OrderedDict[tuple[int, int], Place] = OrderedDict()

    def place(self, span: ReadableSpan) -> Place | None:
        """Take note of the next span that has ended.

        Returns:
            Where its box stands; None if it is no node.
        """
        if span.context is None:
            return None
        again = self._given.get((span.context.trace_id, span.context.span_id))
        if again is not None:
            return again
        attributes: Mapping[str, Any] = span.attributes or {}
        name = node_name(attributes)
        trace = self._traces.get(span.context.trace_id)
        if trace is None:
            if name is None:
                return None
            trace = _remember(self._traces, span.context.trace_id, _Trace(), _TRACES)
        trace.open.pop(span.context.span_id, None)
        inside = trace.inside.pop(span.context.span_id, None)
        place = None
        if name is not None:
            place = _placed(trace, span, name, inside)
            _remember(self._given, (span.context.trace_id, span.context.span_id), place, _PLACES)
            own = _Reach(place.step, place.step, (inside.height if inside else 0) + 1)
            inside = own if inside is None else own.with_(inside)._replace(height=own.height)
            path = _path(attributes, name)
            ended = _Ended(span.end_time or 0, inside.last, path, _around(path), _above(span), _next(attributes))
            _remember(trace.ended, span.context.span_id, ended, _NODES)
        if inside is not None and span.parent is not None:
            above = trace.inside.get(span.parent.span_id)
            _remember(trace.inside, span.parent.span_id, inside.with_(above) if above else inside, _NODES)
        if span.parent is None:
            del self._traces[span.context.trace_id]
        return place


def _placed(trace: _Trace, span: ReadableSpan, name: str, inside: _Reach | None) -> Place:
    attributes: Mapping[str, Any] = span.attributes or {}
    number = _number(attributes, names.LANGGRAPH_STEP) or _number(attributes, names.POCKETFLOW_STEP)
    path = _path(attributes, name)
    run = trace.open.get(_above(span))
    is_new = run is None
    if run is None:
        run = _remember(trace.open, _above(span), _Run(_around(path)), _NODES)
    before = [trace.ended[link.context.span_id] for link in span.links if link.context.span_id in trace.ended]
    if before:
        step = 1 + math.floor(max(node.last for node in before))
    elif number in run.steps and (inside is None or run.steps[number] < inside.first):
        step = run.steps[number]
    elif inside is not None:
        step = inside.first - 0.5**inside.height
    elif is_new:
        last = _before_run(trace, span, run)
        step = last + 2 if last else 1
    else:
        started = span.start_time or 0
        step = 1 + math.floor(max((node.last for node in trace.ended.values() if node.time <= started), default=0))
    if not before and number is not None:
        run.steps.setdefault(number, step)
    return Place(_label(run, path, attributes), step)


def _before_run(trace: _Trace, span: ReadableSpan, run: _Run) -> float:
    """The highest step of what comes before the first node of `run`; 0 where nothing does."""
    # By the path of what is around each run here: what is called the node that leads to `run`.
    towards: dict[str, tuple[str, ...]] = {run.around: ()}
    around = run.around
    while around:
        around, _, node = around.rpartition(":")
        towards[around] = (node, node.partition("#")[0])  # PocketFlow's nodes name the class of the next one
    over = dict.fromkeys(towards, 0)  # when the last one of what is around has ended
    near: list[tuple[int, _Ended]] = []
    for key, node in trace.ended.items():
        if node.time <= (span.start_time or 0):
            if node.path in over:
                over[node.path] = max(over[node.path], node.time)
            if node.around in towards:
                near.append((key, node))
    going_on = {other.around for other in trace.open.values() if other is not run}
    last = 0
    for key, node in near:
        if node.run in trace.open:
            if node.next is None or not node.next.isdisjoint(towards[node.around]):
                last = max(last, node.last)
                trace.ended.move_to_end(key)  # it may start more
        elif node.around not in going_on and node.time > over[node.around]:  # of an earlier run in the same place
            last = max(last, node.last)
    return math.floor(last)


def _above(span: ReadableSpan) -> int:
    return span.parent.span_id if span.parent else 0


def _path(attributes: Mapping[str, Any], name: str) -> str:
    """Where a node lies inside others: `outer:inner`."""
    return str(attributes.get(names.NODE_PATH) or name)


def _around(path: str) -> str:
    return path.rpartition(":")[0]


def _next(attributes: Mapping[str, Any]) -> set[object] | None:
    """Names of the nodes that a node goes on to, None where it does not say; the last one of a flow goes nowhere."""
    found: set[object] = set()
    for name in (names.LANGGRAPH_NEXT, names.LANGGRAPH_SEND, names.POCKETFLOW_NEXT):
        value = attributes.get(name)
        found.update(cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else (value,))
    found.discard(None)
    return found if found or names.POCKETFLOW_STEP in attributes else None


def _label(run: _Run, path: str, attributes: Mapping[str, Any]) -> str:
    """The name of a node's box: its path; two nodes of one class in a flow have two boxes."""
    index = _number(attributes, names.POCKETFLOW_NODE_INDEX)
    if index is None or run.indexes.setdefault(path, index) == index:
        return path
    return f"{path}#{index}"


def _number(attributes: Mapping[str, Any], name: str) -> int | None:
    value = attributes.get(name)
    return value if isinstance(value, int) else None


def _remember(memory: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> _Value:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
    return value
