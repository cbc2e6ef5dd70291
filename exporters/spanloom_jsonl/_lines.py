"""Encoded items to lines that stay under a size, because collectors cut the lines that they find too long.

The collector's file receivers stop at 1 MiB by default and then drop both halves. A batch that is too big is
spread over several lines; one item that is too big by itself is shortened, visibly (see `_shrink`).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_jsonl._frames import Frame, Frames
from spanloom_jsonl._shrink import shrink
from spanloom_jsonl._spans import encode_span

_TAIL: Final = b"]}\n"
_SPANS: Final = Frames(b"Spans", b"spans")

Place: TypeAlias = tuple[Frame, ...]
"""The frames around an item, the outermost first."""

Refuse: TypeAlias = Callable[[Exception], None]
"""Takes the error of what is no telemetry at all, which is left out."""


class Line(NamedTuple):
    """One line of the file, line feed included, and how many items (spans, records, data points) it holds."""

    data: bytes | bytearray
    items: int
    shortened: bool


class Scoped(Protocol):
    """What spans and log records have in common."""

    @property
    def resource(self) -> Any:
        """The resource."""

    @property
    def instrumentation_scope(self) -> Any:
        """The scope."""


_Item = TypeVar("_Item")
_Scoped = TypeVar("_Scoped", bound=Scoped)


def encode_spans(spans: Iterable[ReadableSpan]) -> bytes:
    """Return `spans` as one OTLP/JSON `ExportTraceServiceRequest`, UTF-8, without a line feed.

    Any value goes in: what OTLP has no type for is written as text (see `_values`). Equal resources and equal
    scopes share one entry, in the order of their first span.
    """
    lines = [line.data[: -len(_TAIL)] for line in to_lines(spans, sys.maxsize)] or [_SPANS.head]
    return b"%b]}" % lines[0]


def _raise(error: Exception) -> None:
    raise error


def to_lines(spans: Iterable[ReadableSpan], limit: int, refuse: Refuse = _raise) -> Iterator[Line]:
    """Yield `spans` as lines of at most `limit` bytes, grouped by resource and scope, otherwise in their order."""
    return lines(_SPANS.head, grouped(spans, _SPANS, refuse), encode_span, limit, refuse)


def lines(
    head: bytes,
    groups: Iterable[tuple[Place, Iterable[_Item]]],
    encode: Callable[[_Item], bytes],
    limit: int,
    refuse: Refuse,
) -> Iterator[Line]:
    """Yield items as lines, each made when it is asked for.

    Args:
        head: how a request begins.
        groups: items by the place they belong to; neighbouring places differ.
        encode: makes the JSON object of an item; raises for what is none.
        limit: the longest line, in bytes.
        refuse: told of what is left out.
    """
    line, items = bytearray(), 0
    place: Place = ()  # where `line` is inside of; empty before the first item
    tail = b""  # what ends `line` there
    for wanted, members in groups:
        start, end = head, _TAIL
        for frame in wanted:
            start += frame.head
            end = frame.tail + end
        joint = _joint(place, wanted) if place else start
        for member in members:
            try:
                encoded = encode(member)
            except Exception as error:
                refuse(error)
                continue
            if place and len(line) + len(joint) + len(encoded) + len(end) > limit:
                yield _closed(line, items, tail, limit)
                line, items, joint = bytearray(), 0, start
            line += joint
            line += encoded
            items += 1
            place, tail, joint = wanted, end, b","
    if place:
        yield _closed(line, items, tail, limit)


def grouped(items: Iterable[_Scoped], frames: Frames, refuse: Refuse) -> Iterator[tuple[Place, list[_Scoped]]]:
    """Yield `items` by resource and scope."""
    groups: dict[Frame, dict[Frame, list[_Scoped]]] = {}
    resource: Any = None
    scope: Any = None
    group: list[_Scoped] | None = None
    for item in items:
        try:
            # Neighbours mostly share both, so they are looked up only where one of them changes.
            if group is None or item.resource is not resource or item.instrumentation_scope is not scope:
                resource, scope = item.resource, item.instrumentation_scope
                group = groups.setdefault(frames.resource(resource), {}).setdefault(frames.scope(scope), [])
            group.append(item)
        except Exception as error:
            group = None
            refuse(error)
    for outer, scopes in groups.items():
        for inner, members in scopes.items():
            yield (outer, inner), members


def _joint(place: Place, wanted: Place) -> bytes:
    """Return what leads from the items of one place to those of the next."""
    shared = 0
    while place[shared] is wanted[shared]:
        shared += 1
    tails = [frame.tail for frame in reversed(place[shared:])]
    return b"".join([*tails, b",", *[frame.head for frame in wanted[shared:]]])


def _closed(line: bytearray, items: int, tail: bytes, limit: int) -> Line:
    line += tail
    # Only a single item is ever too long.
    return Line(shrink(line, limit), items, shortened=True) if len(line) > limit else Line(line, items, shortened=False)
