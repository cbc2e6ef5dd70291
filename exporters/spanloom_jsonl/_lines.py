"""A batch to lines that stay under a size, because collectors cut the lines that they find too long.

The collector's file receivers stop at 1 MiB by default and then drop both halves. A batch that is too big is
spread over several lines; one span that is too big by itself is shortened, visibly (see `_shrink`).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from spanloom_jsonl._shrink import shrink
from spanloom_jsonl._spans import Frame, Tree, render


class Line(NamedTuple):
    """One line of the file, line end included."""

    data: bytes
    items: int
    shortened: bool


# What a line has around its resources: `{"resourceSpans":[`, `]}` and the line end.
_LINE_FRAME: Final = len(render({}, b"\n"))


def to_lines(tree: Tree, limit: int) -> Iterator[Line]:
    """Yield `tree` as lines of at most `limit` bytes each, spans in their order."""
    for part in _split(tree, limit):
        data = render(part, b"\n")
        count = sum(len(spans) for scopes in part.values() for spans in scopes.values())
        # Only a single span is ever over the limit.
        too_long = len(data) > limit
        if too_long:
            data = shrink(data, limit)
        yield Line(data, count, too_long)


def _split(tree: Tree, limit: int) -> Iterator[Tree]:
    """Cut `tree` before each span with which its line would be longer than `limit`."""
    part: Tree = {}
    size = _LINE_FRAME
    for resource, scopes in tree.items():
        for scope, spans in scopes.items():
            bucket: list[bytes] | None = None
            for span in spans:
                cost = len(span) + 1  # with its comma
                if bucket is None:
                    cost += _cost(scope) + (0 if resource in part else _cost(resource))
                if part and size + cost > limit:
                    yield part
                    part, size, bucket = {}, _LINE_FRAME, None
                    cost = len(span) + 1 + _cost(scope) + _cost(resource)
                if bucket is None:
                    bucket = part.setdefault(resource, {}).setdefault(scope, [])
                bucket.append(span)
                size += cost
    if part:
        yield part


def _cost(frame: Frame) -> int:
    return len(frame.head) + len(frame.tail) + 1
