"""Spans to lines that stay under a size, because collectors cut the lines that they find too long.

The collector's file receivers stop at 1 MiB by default and then drop both halves. A batch that is too big is
spread over several lines; one span that is too big by itself is shortened, visibly (see `_shrink`).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_jsonl._shrink import shrink
from spanloom_jsonl._spans import Frame, encode_span, resource_frame, scope_frame

_HEAD: Final = b'{"resourceSpans":['
_TAIL: Final = b"]}\n"


class Line(NamedTuple):
    """One line of the file, line feed included, and how many spans it holds."""

    data: bytes | bytearray
    items: int
    shortened: bool


def encode_spans(spans: Iterable[ReadableSpan]) -> bytes:
    """Return `spans` as one OTLP/JSON `ExportTraceServiceRequest`, UTF-8, without a line feed.

    Any value goes in: what OTLP has no type for is written as text (see `_values`). Equal resources and equal
    scopes share one entry, in the order of their first span.
    """
    lines = [line.data[: -len(_TAIL)] for line in to_lines(spans, sys.maxsize)] or [_HEAD]
    return b"%b]}" % lines[0]


def _raise(error: Exception) -> None:
    raise error


def to_lines(spans: Iterable[ReadableSpan], limit: int, refuse: Callable[[Exception], None] = _raise) -> Iterator[Line]:
    """Yield `spans` as lines of at most `limit` bytes, each made when it is asked for.

    Args:
        spans: what to encode; grouped by resource and scope, otherwise in their order.
        limit: the longest line, in bytes.
        refuse: takes the error of what is no span at all, which is left out.
    """
    line, items = bytearray(), 0
    place: tuple[Frame, Frame] | None = None  # the resource and the scope that `line` is inside of
    for resource, scopes in _grouped(spans, refuse).items():
        for scope, members in scopes.items():
            start = b"%b%b%b" % (_HEAD, resource.head, scope.head)
            end = b"%b%b%b" % (scope.tail, resource.tail, _TAIL)
            joint = start if place is None else _joint(place, resource, scope)
            for span in members:
                try:
                    encoded = encode_span(span)
                except Exception as error:
                    refuse(error)
                    continue
                if place is not None and len(line) + len(joint) + len(encoded) + len(end) > limit:
                    yield _closed(line, items, place, limit)
                    line, items, joint = bytearray(), 0, start
                line += joint
                line += encoded
                items += 1
                place, joint = (resource, scope), b","
    if place is not None:
        yield _closed(line, items, place, limit)


def _grouped(
    spans: Iterable[ReadableSpan], refuse: Callable[[Exception], None]
) -> dict[Frame, dict[Frame, list[ReadableSpan]]]:
    groups: dict[Frame, dict[Frame, list[ReadableSpan]]] = {}
    resource: Any = None
    scope: Any = None
    group: list[ReadableSpan] | None = None
    for span in spans:
        try:
            # Neighbours mostly share both, so they are looked up only where one of them changes.
            if group is None or span.resource is not resource or span.instrumentation_scope is not scope:
                resource, scope = span.resource, span.instrumentation_scope
                group = groups.setdefault(resource_frame(resource), {}).setdefault(scope_frame(scope), [])
            group.append(span)
        except Exception as error:
            group = None
            refuse(error)
    return groups


def _joint(place: tuple[Frame, Frame], resource: Frame, scope: Frame) -> bytes:
    """Return what leads from the spans of one scope to those of the next."""
    if place[0] is resource:
        return b"%b,%b" % (place[1].tail, scope.head)
    return b"%b%b,%b%b" % (place[1].tail, place[0].tail, resource.head, scope.head)


def _closed(line: bytearray, items: int, place: tuple[Frame, Frame], limit: int) -> Line:
    line += place[1].tail
    line += place[0].tail
    line += _TAIL
    # Only a single span is ever too long.
    return Line(shrink(line, limit), items, shortened=True) if len(line) > limit else Line(line, items, shortened=False)
