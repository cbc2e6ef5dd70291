"""Make one over-long item fit its line and say so: the long texts are cut first, entries are dropped last.

Rare and therefore simple: the finished line is parsed, cut with ever smaller limits and written again. A cut
text ends in a mark that says how much is missing; a text that is itself JSON (messages, tool definitions) is
cut inside, so that it still parses. Entries that are dropped are added to the OTLP drop counters. Numbers of a
metric's data point are never dropped: half a histogram is a wrong one.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final, cast

# On the item: by how many bytes its line was shortened.
TRUNCATED_BYTES: Final = "spanloom.truncated_bytes"

# No text is cut below this: ids, times and the marks themselves are shorter.
_SHORTEST_TEXT: Final = 128
_FEWEST_WORTH_A_TRY: Final = 4096

# The way from a request to its item, of any signal: what is there is entered, in this order.
_WAY: Final = (
    *("resourceSpans", "scopeSpans", "spans", "resourceLogs", "scopeLogs", "logRecords"),
    *("resourceMetrics", "scopeMetrics", "metrics", "gauge", "sum", "histogram", "exponentialHistogram", "dataPoints"),
)
_POINTS: Final = b'"dataPoints":['

_COUNTERS: Final = {
    "attributes": "droppedAttributesCount",
    "events": "droppedEventsCount",
    "links": "droppedLinksCount",
}


def shrink(line: bytes | bytearray, limit: int) -> bytes:
    """Return `line`, a request of one item, in at most `limit` bytes.

    Only its skeleton (ids, times, one entry of each list) cannot be cut; that is shorter than the smallest
    limit the exporter takes, but for values nested to the last level and for data points of very many buckets.
    """
    original: Any = json.loads(line)
    shorter = bytes(line)
    for text_limit, entry_limit in _limits(limit):
        if entry_limit < sys.maxsize and _POINTS in line:
            break
        request = _cut_tree(original, text_limit, entry_limit)
        mark = {"intValue": str(len(line) - len(_dump(request)))}
        _item(request).setdefault("attributes", []).append({"key": TRUNCATED_BYTES, "value": mark})
        shorter = _dump(request) + b"\n"
        if len(shorter) <= limit:
            break
    return shorter


def _item(node: Any) -> dict[str, Any]:
    """Return the one item of a request."""
    for name in _WAY:
        if name in node:
            node = node[name]
            if isinstance(node, list):
                node = cast("list[Any]", node)[0]
    return node


def _limits(size: int) -> Iterator[tuple[int, int]]:
    """Yield limits for texts (characters) and for lists (entries), each pair tighter than the one before."""
    text_limit = size // 2
    while text_limit > _SHORTEST_TEXT:
        yield text_limit, sys.maxsize
        text_limit //= 2
    entry_limit = _FEWEST_WORTH_A_TRY
    while entry_limit:
        yield _SHORTEST_TEXT, entry_limit
        entry_limit //= 2


def _cut_tree(node: Any, text_limit: int, entry_limit: int) -> Any:
    """Return a copy of the JSON tree `node` in which no text and no list is longer than the limits."""
    if isinstance(node, str):
        return _cut_text(node, text_limit)
    if isinstance(node, list):
        entries = cast("list[Any]", node)[:entry_limit]
        return [_cut_tree(entry, text_limit, entry_limit) for entry in entries]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    copy: dict[str, Any] = {
        # Base64 is cut between its groups of four, where it stays decodable; it has no room for a mark.
        name: value[: text_limit // 4 * 4] if name == "bytesValue" else _cut_tree(value, text_limit, entry_limit)
        for name, value in fields.items()
    }
    for name, counter in _COUNTERS.items():
        entries = fields.get(name)
        if isinstance(entries, list) and len(cast("list[Any]", entries)) > entry_limit:
            copy[counter] = fields.get(counter, 0) + len(cast("list[Any]", entries)) - entry_limit
    return copy


def _cut_text(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    if text[0] in "[{":
        try:
            return _cut_json(json.loads(text), limit)
        except (ValueError, RecursionError):  # no JSON, or too many short texts
            pass
    kept = limit - 64  # leaves room for the mark
    return f"{text[:kept]}... [spanloom cut {len(text) - kept} characters]"


def _cut_json(document: Any, limit: int) -> str:
    """Return `document` as JSON text of at most `limit` characters by cutting the texts in it.

    Raises:
        ValueError: cutting texts is not enough.
    """
    text_limit = limit // 2
    while text_limit >= _SHORTEST_TEXT:
        text = _dump(_cut_tree(document, text_limit, sys.maxsize)).decode()
        if len(text) <= limit:
            return text
        text_limit //= 2
    raise ValueError


def _dump(node: Any) -> bytes:
    # "replace": JSON inside a text may spell out a lone surrogate, which parsing brings to life.
    return json.dumps(node, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
