"""Spans of one trace to a tree, whatever their order, and whatever is missing, doubled or circular among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spanloom import names
from spanloom.view.usage import Rollup, with_self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spanloom.view.model import Attributes, Span


class Node:
    """A span in its tree, or (`span` None) a parent that was not recorded. Children stand in order of their start."""

    __slots__ = ("children", "loop", "rollup", "span", "span_id")

    def __init__(self, span_id: str, span: Span | None) -> None:
        self.span_id = span_id
        self.span = span
        self.children: list[Node] = []
        self.rollup = Rollup()
        # its parents form a circle, which was cut here
        self.loop = False

    @property
    def start(self) -> int:
        """Start of the span; of a missing one, of its first child."""
        return self.span.start if self.span is not None else self.children[0].start

    @property
    def end(self) -> int:
        """End of the span; of a missing one, of its last child."""
        return self.span.end if self.span is not None else max(child.end for child in self.children)

    @property
    def origin(self) -> bool:
        """Whether an error came up here, and was not merely passed on by a child (that failed with the same)."""
        span = self.span
        return span is not None and span.failed and _error(span) not in map(_child_error, self.children)


def _child_error(node: Node) -> object:
    return _error(node.span) if node.span is not None and node.span.failed else None


def _error(span: Span) -> object:
    return span.attributes.get(names.ERROR_TYPE) or span.message


class Trace(NamedTuple):
    """One trace: its trees, usually one, in order of their start."""

    trace_id: str
    tops: list[Node]
    rollup: Rollup
    start: int
    end: int
    partial: bool

    @property
    def name(self) -> str:
        """The name of the (first) root that was recorded, else of the first span."""
        spans = [node.span for node in self.tops if node.span is not None]
        first = spans[0] if spans else self.tops[0].children[0].span
        return first.name if first is not None else ""

    @property
    def conversations(self) -> list[str]:
        """The conversations that its spans belong to, in order of their start; most often one, or none."""
        ids = (node.span.attributes.get(names.GEN_AI_CONVERSATION_ID) for node, _ in walk(self.tops) if node.span)
        return list(dict.fromkeys(one for one in ids if type(one) is str and one))

    @property
    def resource(self) -> Attributes:
        """The resource of its first span."""
        for node, _ in walk(self.tops):
            if node.span is not None:
                return node.span.resource
        return {}


def build(trace_id: str, spans: Iterable[Span], *, partial: bool = False) -> Trace:
    """The trace of `spans`, at least one, all with `trace_id`, in any order. No recursion: any depth.

    A span that was delivered twice is there once. Spans whose parent is not among them stand below a node without
    a span, one for each missing parent.

    Args:
        trace_id: the trace.
        spans: its spans.
        partial: whether earlier ones are known to be missing.
    """
    nodes = _nodes(spans)
    tops: list[Node] = []
    missing: dict[str, Node] = {}
    for node in sorted(nodes.values(), key=_order):
        parent_id = _parent_id(node)
        if not parent_id:
            tops.append(node)
        elif parent_id in nodes:
            nodes[parent_id].children.append(node)
        else:
            missing.setdefault(parent_id, Node(parent_id, None)).children.append(node)
    tops += missing.values()
    _cut_circles(nodes, tops)
    tops.sort(key=_order)
    for node, _ in reversed(list(walk(tops))):
        _roll_up(node)
    total = Rollup()
    for node in tops:
        total = total.plus(node.rollup)
    known = [(node.start, node.end) for node in nodes.values() if node.start and node.end]
    start = min((start for start, _ in known), default=0)
    return Trace(trace_id, tops, total, start, max((end for _, end in known), default=0), partial)


def walk(tops: Iterable[Node]) -> Iterator[tuple[Node, int]]:
    """Every node with its depth, parents before children, in the order of display."""
    stack = [(node, 0) for node in tops][::-1]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in reversed(node.children))


def _nodes(spans: Iterable[Span]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for span in spans:
        known = found.get(span.span_id)
        if known is None:
            found[span.span_id] = Node(span.span_id, span)
        elif known.span is not None and span != known.span:
            # Two spans under one id: one that has ended counts, and else the choice must not depend on the order.
            known.span = max(known.span, span, key=lambda each: (not each.state, each.end, repr(each)))
    return found


def _order(node: Node) -> tuple[int, int, str]:
    return node.start, node.end, node.span_id


def _cut_circles(nodes: dict[str, Node], tops: list[Node]) -> None:
    """Give each circle of parents a top: its earliest span, taken from its parent."""
    reached = {node.span_id for node, _ in walk(tops) if node.span is not None}
    if len(reached) == len(nodes):
        return
    for node in nodes.values():
        if node.span_id not in reached:
            top = min(_circle_above(node, nodes), key=_order)
            nodes[_parent_id(top)].children.remove(top)
            top.loop = True
            tops.append(top)
            reached.update(below.span_id for below, _ in walk([top]))


def _circle_above(node: Node, nodes: dict[str, Node]) -> list[Node]:
    """The circle that the parents of `node` run into."""
    path: dict[str, Node] = {}
    while node.span_id not in path:
        path[node.span_id] = node
        node = nodes[_parent_id(node)]
    ids = list(path)
    return [path[span_id] for span_id in ids[ids.index(node.span_id) :]]


def _parent_id(node: Node) -> str:
    return node.span.parent_id if node.span is not None else ""


def _roll_up(node: Node) -> None:
    below = Rollup()
    for child in node.children:
        below = below.plus(child.rollup)
    node.rollup = below if node.span is None else with_self(below, node.span, origin=node.origin)
