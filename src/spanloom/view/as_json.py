"""Traces as JSON lines, for scripts and agents: one object per trace, spans nested, attribute values plain.

    {"trace_id": "4bf9...", "name": "invoke_workflow Support", "service": "app",
     "conversations": ["4711"],
     "start_unix_nano": 1763721302000000000, "end_unix_nano": ..., "duration_ms": 1420.5, "partial": false,
     "spans": 31, "not_ended": 0, "errors": 1, "model_calls": 4,
     "tokens": {"input": 1204, "output": 96, "cached": 512, "reasoning": 0},
     "roots": [SPAN, ...]}

`errors`, `model_calls` and `tokens` are computed by the viewer (see `usage`), `partial` says that earlier spans
were not read. Without the tree (`spanloom view --list --json`) there is no `roots`. A SPAN is

    {"span_id": "00f0...", "parent_id": "..." or null, "name": "chat gpt-5", "kind": "client", "scope": "...",
     "start_unix_nano": ..., "end_unix_nano": ..., "duration_ms": 310.0,
     "state": "ended" | "running" | "not ended", "status": "unset" | "ok" | "error", "message": "...",
     "attributes": {...}, "events": [{"name", "time_unix_nano", "attributes"}],
     "links": [{"trace_id", "span_id", "attributes"}],
     "rollup": {"spans", "not_ended", "errors", "model_calls", "tokens": {...}}, "children": [SPAN, ...]}

and a parent that was not recorded is `{"span_id": "...", "missing": true, "rollup": {...}, "children": [...]}`.
Output is ASCII (everything else is escaped), so that it is the same on every terminal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spanloom import names
from spanloom.view.model import KINDS, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.view.tree import Node, Trace
    from spanloom.view.usage import Rollup

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def summary(trace: Trace) -> str:
    """The object of a trace without its tree."""
    return _encode(_summary(trace))


def document(trace: Trace, *, errors_only: bool = False) -> str:
    """The object of a trace, in one line. Written without recursion, so that any depth will do.

    Args:
        trace: the trace.
        errors_only: only the paths to failed spans.
    """
    return _encode(_summary(trace))[:-1] + ',"roots":' + "".join(_tree(trace, errors_only=errors_only)) + "}"


def _tree(trace: Trace, *, errors_only: bool) -> Iterator[str]:
    """Each list of siblings is `[`, spans, `]`; a span is left open before its children and closed after them."""
    yield "["
    levels = [_drawn(trace.tops, errors_only=errors_only)]
    first = True
    while True:
        node = next(levels[-1], None)
        if node is not None:
            yield f'{"" if first else ","}{_encode(_span(node))[:-1]},"children":['
            levels.append(_drawn(node.children, errors_only=errors_only))
            first = True
            continue
        levels.pop()
        if not levels:
            yield "]"
            return
        yield "]}"
        first = False


def _drawn(nodes: list[Node], *, errors_only: bool) -> Iterator[Node]:
    return (node for node in nodes if node.rollup.errors or not errors_only)


def _summary(trace: Trace) -> dict[str, Any]:
    return {
        "trace_id": trace.trace_id,
        "name": trace.name,
        "service": trace.resource.get(names.SERVICE_NAME),
        "conversations": trace.conversations,
        "start_unix_nano": trace.start,
        "end_unix_nano": trace.end,
        "duration_ms": (trace.end - trace.start) / 1e6,
        "partial": trace.partial,
        **_sums(trace.rollup),
    }


def _sums(rollup: Rollup) -> dict[str, Any]:
    return {
        "spans": rollup.spans,
        "not_ended": rollup.open,
        "errors": rollup.errors,
        "model_calls": rollup.model_calls,
        "tokens": rollup.usage._asdict(),
    }


def _span(node: Node) -> dict[str, Any]:
    span = node.span
    if span is None:
        return {"span_id": node.span_id, "missing": True, "rollup": _sums(node.rollup)}
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id or None,
        "name": span.name,
        "kind": KINDS[span.kind] if 0 <= span.kind < len(KINDS) else span.kind,
        "scope": span.scope,
        "start_unix_nano": span.start,
        "end_unix_nano": span.end,
        "duration_ms": (span.end - span.start) / 1e6,
        "state": span.state or "ended",
        "status": STATUSES[span.status] if span.status < len(STATUSES) else span.status,
        "message": span.message,
        "attributes": span.attributes,
        "events": [
            {"name": event.name, "time_unix_nano": event.time, "attributes": event.attributes} for event in span.events
        ],
        "links": [link._asdict() for link in span.links],
        "rollup": _sums(node.rollup),
    }
