"""What stands below a span's line when asked for: its attributes, its content, the stack of its error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom import names
from spanloom.view.content import blocks
from spanloom.view.model import KINDS
from spanloom.view.text import clean, duration, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.view.model import Attributes, Span, Value
    from spanloom.view.tree import Node

_MOST_CHARACTERS: Final = 2000
_MOST_LINES: Final = 16
_STACK_LINES: Final = 12


class Detail(NamedTuple):
    """What to show besides the tree."""

    errors: bool = False
    attributes: bool = False
    content: bool = False


class Row(NamedTuple):
    """One line: a label, the text after it, and the text's style."""

    label: str
    text: str
    style: str = ""


def details(node: Node, detail: Detail, cells: int) -> Iterator[Row]:
    """The rows below a span's line, each at most `cells` wide (a long label alone excepted)."""
    span = node.span
    if span is None:
        return
    if detail.attributes:
        yield from _attributes(span, cells)
    if detail.content:
        for label, text, style in blocks(span):
            yield from _rows(clean(label), text, cells, style)
    if detail.errors and not detail.attributes:
        # Other instrumentations record an exception again on each span that it passes through.
        passed_on = any(child.span is not None and _stack(child.span) for child in node.children)
        yield from _end_of("" if passed_on else _stack(span), cells)


def _attributes(span: Span, cells: int) -> Iterator[Row]:
    parts = [f"span {clean(span.span_id)}", KINDS[span.kind] if span.kind < len(KINDS) else str(span.kind)]
    if span.scope:
        parts.append(f"by {clean(span.scope)}")
    yield Row("", ", ".join(parts), "dim")
    yield from _pairs(span.attributes, cells)
    for event in span.events:
        after = f" +{duration(event.time - span.start)}" if event.time and span.start else ""
        yield Row("", f"event {clean(event.name)}{after}", "yellow")
        yield from _pairs(event.attributes, cells, indent="  ")
    for link in span.links:
        other = "" if link.trace_id == span.trace_id else f" of trace {clean(link.trace_id)}"
        yield Row("", f"link to span {clean(link.span_id)}{other}", "yellow")
        yield from _pairs(link.attributes, cells, indent="  ")


def _pairs(attributes: Attributes, cells: int, indent: str = "") -> Iterator[Row]:
    for key, value in attributes.items():
        yield from _rows(indent + clean(key), _shown(value), cells)


def _shown(value: Value) -> str:
    return value if type(value) is str else json.dumps(value, ensure_ascii=False)


def _stack(span: Span) -> str:
    """The stack trace of the exception that was recorded on a span, if there is one."""
    for event in span.events:
        stack = event.attributes.get(names.EXCEPTION_STACKTRACE)
        if event.name == names.EXCEPTION_EVENT and type(stack) is str:
            return stack
    return ""


def _end_of(stack: str, cells: int) -> Iterator[Row]:
    """Its last lines: that is where the error came up."""
    lines = stack.splitlines()
    if len(lines) > _STACK_LINES:
        yield Row("", f"({len(lines) - _STACK_LINES} lines above; --attributes shows more)", "dim")
    for line in lines[-_STACK_LINES:]:
        yield from (Row("", part, "dim") for part in wrap(line[:_MOST_CHARACTERS], cells))


def _rows(label: str, text: str, cells: int, style: str = "") -> Iterator[Row]:
    """`label: text`, wrapped and bounded, further lines indented."""
    head = f"{label}: " if label else ""
    indent = " " * (len(label) - len(label.lstrip())) + "  "
    lines = list(wrap(head + text[:_MOST_CHARACTERS], max(cells - len(indent), 8)))
    for line in lines[:_MOST_LINES]:
        first = line is lines[0] and line.startswith(head)
        yield Row(head, line[len(head) :], style) if first else Row(indent, line, style)
    if len(lines) > _MOST_LINES or len(text) > _MOST_CHARACTERS:
        yield Row(indent, f"({len(text):,} characters in all)", "dim")
