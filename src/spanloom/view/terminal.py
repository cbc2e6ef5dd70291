"""A trace as text: a header, then a tree with facts, durations and bars on one time axis."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from spanloom import names
from spanloom.view.details import Detail, details
from spanloom.view.facts import Fact, facts, notes, style_of, sums
from spanloom.view.model import LEFT_OPEN
from spanloom.view.text import clean, clip, duration, plural, width, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spanloom.view.look import Look
    from spanloom.view.tree import Node, Trace

_DURATION = 8
_NOTE_LINES = 6


class Columns(NamedTuple):
    """Cells for the tree and for the bar (0: none); durations stand between."""

    tree: int
    bar: int


def columns(cells: int) -> Columns:
    """Divide a line of `cells`."""
    bar = min(cells // 5, 40) if cells >= 70 else 0
    return Columns(cells - _DURATION - 1 - (bar + 1 if bar else 0), bar)


def render(trace: Trace, look: Look, detail: Detail = Detail()) -> Iterator[str]:  # noqa: B008  immutable
    """Yield the lines of `trace`, header first.

    Below a depth at which the indentation would fill half the line, the outer levels are replaced by their
    number. With `detail.errors` only the paths to failed spans are drawn.
    """
    yield from header(trace, look)
    split = columns(look.width)
    glyphs = look.glyphs
    alone = len(trace.tops) == 1
    rails: list[str] = []  # of the levels above the current line
    stack = [(node, 0, True) for node in reversed(_drawn(trace.tops, detail))]
    while stack:
        node, depth, last = stack.pop()
        children = _drawn(node.children, detail)
        del rails[max(depth - 1, 0) :]
        lead = _indent(rails, split, look)
        if depth:
            lead += glyphs.corner if last else glyphs.branch
            rails.append(glyphs.gap if last else glyphs.line)
        yield _line(node, lead, trace, look, split, alone=alone and not depth)
        yield from _below(node, _indent(rails, split, look) + (glyphs.line if children else glyphs.gap), look, detail)
        bottom = len(children) - 1
        stack.extend((children[index], depth + 1, index == bottom) for index in range(bottom, -1, -1))


def header(trace: Trace, look: Look) -> Iterator[str]:
    """What the trace is and adds up to."""
    name = clean(trace.name) or "(unnamed)"
    if all(node.span is None for node in trace.tops):
        name += " (root not recorded)"
    when = f"{duration(trace.end - trace.start)}  {local_time(trace.start)}"
    yield f"{look.paint(name, 'bold')}  {when}  trace {clean(trace.trace_id)}"
    parts = list(sums(trace.rollup))
    if trace.rollup.errors:
        parts[-1] = look.paint(parts[-1], "red")
    service = trace.resource.get(names.SERVICE_NAME)
    if type(service) is str and service:
        parts.append(f"service {clean(service)}")
    if told := conversations(trace):
        parts.append(told)
    yield look.glyphs.dot.join(parts)
    if trace.partial:
        yield look.paint("not all of its spans were read; --trace ID --limit 0 reads every file in full", "yellow")


def conversations(trace: Trace) -> str:
    """`conversation 4711`, or how many there are; empty for none."""
    found = trace.conversations
    if len(found) > 1:
        return plural(len(found), "conversation")
    return f"conversation {clean(found[0])}" if found else ""


def local_time(nanos: int) -> str:
    """Date and time in the local zone, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(nanos // 1_000_000_000)) if nanos else "(no time)"


def _drawn(nodes: Sequence[Node], detail: Detail) -> Sequence[Node]:
    return [node for node in nodes if node.rollup.errors] if detail.errors else nodes


def _indent(rails: list[str], split: Columns, look: Look) -> str:
    most = split.tree // 6
    if len(rails) <= most:
        return "".join(rails)
    return f"{look.glyphs.ellipsis}{len(rails) - most} {''.join(rails[-most:])}"


def _line(node: Node, lead: str, trace: Trace, look: Look, split: Columns, *, alone: bool) -> str:
    span, glyphs = node.span, look.glyphs
    if span is None:
        name, style = "(parent not recorded)", "yellow"
        told = [] if alone else [Fact(text) for text in sums(node.rollup)]
    else:
        name, style = clean(span.name) or "(unnamed)", style_of(span)
        told = list(facts(node, glyphs, alone=alone))
        if node.loop:
            told.insert(0, Fact("its parents form a circle", "yellow"))
    cells = [look.paint(lead, "dim")]
    room = split.tree - width(lead)
    name = clip(name, max(room, 1), glyphs.ellipsis)
    cells.append(look.paint(name, "bold red" if span is not None and span.failed else style))
    room -= width(name)
    gap = "  "
    for fact in told:
        if room < len(gap) + 4:
            break
        text = clip(fact.text, room - len(gap), glyphs.ellipsis)
        cells += look.paint(gap, "dim"), look.paint(text, fact.style or "dim")
        room -= len(gap) + width(text)
        gap = glyphs.dot
    known = node.start and node.end
    took = known and (span is None or span.state != LEFT_OPEN)
    cells.append(" " * max(room, 0))
    cells.append(f" {duration(node.end - node.start) if took else '?':>{_DURATION}}")
    if split.bar and known:
        failed = span is not None and span.failed
        cells.append(" " + look.paint(_bar(node, trace, look, split.bar), "red" if failed else style or "blue"))
    return "".join(cells).rstrip()


def _bar(node: Node, trace: Trace, look: Look, cells: int) -> str:
    """Start and extent of a span on the trace's time axis."""
    whole = max(trace.end - trace.start, 1)
    first = min((node.start - trace.start) * cells // whole, cells - 1)
    glyphs = look.glyphs
    if not glyphs.eighths:
        last = min(-(-(node.end - trace.start) * cells // whole), cells)
        return " " * first + glyphs.full * max(last - first, 1)
    end = min((node.end - trace.start) * cells * 8 // whole, cells * 8)
    full, part = divmod(max(end - first * 8, 1), 8)
    return " " * first + glyphs.full * full + (glyphs.eighths[part - 1] if part else "")


def _below(node: Node, lead: str, look: Look, detail: Detail) -> Iterator[str]:
    """The lines under a span's own, at the width of the whole line."""
    room = max(look.width - width(lead), 8)
    lead = look.paint(lead, "dim")
    for text, style in notes(node, look.glyphs):
        lines = list(islice(wrap(text, room), _NOTE_LINES + 1))
        if len(lines) > _NOTE_LINES:
            lines[_NOTE_LINES:] = [look.glyphs.ellipsis]
        yield from (lead + look.paint(line, style) for line in lines)
    for label, text, style in details(node, detail, room):
        yield (lead + look.paint(label, "dim") + look.paint(text, style)).rstrip()
