"""Where each node belongs in Langfuse's graph view, from spans that arrive when they end.

The server draws an edge from every node of a step to every node of the next one; steps count over the whole trace, and
any number will do. A framework counts within one run of one graph, so the trace's steps are made here:

- a node comes one after the nodes that its links name, with all that ran inside those;
- a node without links begins a run, or its links are lost. It shares the step of a node with the same number in the
  same run; else it comes after whatever had ended when it started. In a run that is new it leaves one step free, for
  the node that the run may lie inside: that one ends, and is seen, later;
- a node without links with a run inside comes right before the first node of that run.

Runs that a fan-out starts beside each other begin at one step, whichever of them is quicker.

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
    """A node that has ended: when (nanoseconds), the highest step inside, how many runs it may have started at once."""

    time: int
    last: float
    fan_out: int


@dataclass
class _Run:
    """One run of a graph: the nodes below one span.

    Attributes:
        first: the name and the framework's number of the node that was seen first.
        step: the step at which the run begins.
        after: the node that it comes after, wherever that is; None at the beginning of the trace.
        steps: the step of each of the framework's numbers, for nodes without links.
        indexes: PocketFlow's index of the node that each name belongs to.
    """

    first: tuple[str, int | None]
    step: float = 0
    after: int | None = None
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
            ended = _Ended(span.end_time or 0, inside.last, _fan_out(attributes))
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
    above = span.parent.span_id if span.parent else 0
    run = trace.open.get(above)
    is_new = run is None
    if run is None:
        run = _remember(trace.open, above, _Run((name, number)), _NODES)
    before = [trace.ended[link.context.span_id] for link in span.links if link.context.span_id in trace.ended]
    if before:
        step = 1 + math.floor(max(node.last for node in before))
    elif number in run.steps and (inside is None or run.steps[number] < inside.first):
        step = run.steps[number]
    elif inside is not None:
        step = inside.first - 0.5**inside.height
    elif is_new:
        step = _beginning(trace, span, run)
    else:
        step = _following(trace, span)[1] + 1
    if is_new:
        run.step = step
    if not before and number is not None:
        run.steps.setdefault(number, step)
    return Place(_label(run, name, attributes), step)


def _beginning(trace: _Trace, span: ReadableSpan, run: _Run) -> float:
    """The step of the first node of a run."""
    beside = _beside(trace, run, span.attributes or {})
    if beside is not None:
        run.after = beside.after
        return beside.step
    run.after, last = _following(trace, span)
    return last + 2 if last else 1


def _following(trace: _Trace, span: ReadableSpan) -> tuple[int | None, float]:
    """Of the nodes that had ended when `span` started, the one with the highest step, and that step; 0 without any."""
    start = span.start_time or 0
    found = [(node.last, node.fan_out, key) for key, node in trace.ended.items() if node.time <= start]
    if not found:
        return None, 0
    last, _, key = max(found)
    return key, math.floor(last)


def _beside(trace: _Trace, run: _Run, attributes: Mapping[str, Any]) -> _Run | None:
    """A run that goes on, that begins as this one does, and that was started together with it.

    An agent that a tool of another agent calls begins as that one does, too, but nothing has started the two together.
    PocketFlow says of no node how many flows it starts; flows inside each other begin with different nodes.
    """
    flow = names.POCKETFLOW_STEP in attributes
    for other in reversed(trace.open.values()):
        if other is run or other.first != run.first:
            continue
        together = sum(
            one.first == run.first and one.after == other.after for one in trace.open.values() if one is not run
        )
        cause = None if other.after is None else trace.ended.get(other.after)
        if flow or (cause is not None and together < cause.fan_out):
            return other
    return None


def _fan_out(attributes: Mapping[str, Any]) -> int:
    """How many runs a node may have started at once."""
    found = (attributes.get(names.LANGGRAPH_NEXT), attributes.get(names.LANGGRAPH_SEND))
    return sum(len(cast("Sequence[object]", value)) for value in found if isinstance(value, (list, tuple)))


def _label(run: _Run, name: str, attributes: Mapping[str, Any]) -> str:
    """The name of a node's box: two nodes of one class in a flow have two boxes."""
    index = _number(attributes, names.POCKETFLOW_NODE_INDEX)
    if index is None or run.indexes.setdefault(name, index) == index:
        return name
    return f"{name} #{index}"


def _number(attributes: Mapping[str, Any], name: str) -> int | None:
    value = attributes.get(name)
    return value if isinstance(value, int) else None


def _remember(memory: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> _Value:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
    return value
