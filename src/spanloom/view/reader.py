"""Files to spans, streaming: forwards, backwards, or only the lines in which some text occurs.

Memory is one block of a file and one line. What cannot be read is told to `Problems`, and reading goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from spanloom.view.decode import BrokenLineError, decode
from spanloom.view.files import BLANK, TraceFile, find_file
from spanloom.view.lines import Line, iter_lines, iter_lines_reversed
from spanloom.view.model import LEFT_OPEN, RUNNING
from spanloom.view.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spanloom.view.model import Span

__all__ = ["Batch", "iter_batches", "iter_lines", "iter_lines_reversed", "iter_spans", "read_lines"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Batch(NamedTuple):
    """The spans of one line, and where in the file it stands."""

    spans: list[Span]
    offset: int
    size: int


def iter_spans(path: str, *, keep: frozenset[str] | None = None, problems: Problems | None = None) -> Iterator[Span]:
    """Yield the spans of the file at `path` in the order they were written.

    Args:
        path: an OTLP/JSON lines file of any size.
        keep: names of the attributes to keep (see `decode`); None keeps all.
        problems: told of what cannot be read, broken lines and an unreadable file alike.
    """
    problems = problems or Problems()
    try:
        file = find_file(path)
    except OSError as error:
        problems.unreadable(path, error)
        return
    for batch in iter_batches(file, problems, keep=keep):
        yield from batch.spans


def read_lines(file: TraceFile, problems: Problems, *, backwards: bool = False) -> Iterator[Line]:
    """Yield the lines of `file` that have bytes to look at; over-long ones are reported instead."""
    lines = iter_lines_reversed if backwards else iter_lines
    try:
        if file.running is not None:
            found = _records(file.running)
        else:
            found = _unpacked(file, problems, lines) if file.packed else lines(file.path, file.size)
        for line in found:
            if len(line.data) < line.size:
                problems.broken_line(file.path, line.offset, f"{line.size:,} bytes long, no OTLP request")
            elif line.offset == 0 and line.data.startswith(_BYTE_ORDER_MARK):
                yield line._replace(data=line.data[len(_BYTE_ORDER_MARK) :])
            elif line.data and not line.data.isspace():
                yield line
    except OSError as error:
        problems.unreadable(file.path, error)


def _unpacked(file: TraceFile, problems: Problems, lines: Callable[[str, int], Iterator[Line]]) -> Iterator[Line]:
    from spanloom.view.packed import unpacked

    with unpacked(file.path, lambda error: problems.unreadable(file.path, error)) as (path, size):
        yield from lines(path, size)


def _records(text: bytes) -> Iterator[Line]:
    """The lines of a record of running spans, less what pads them."""
    offset = 0
    for line in text.splitlines(keepends=True):
        data = line.strip(BLANK)
        yield Line(offset, data, len(data), ended=True)
        offset += len(line)


def iter_batches(
    file: TraceFile,
    problems: Problems,
    *,
    keep: frozenset[str] | None = None,
    backwards: bool = False,
    containing: bytes | None = None,
) -> Iterator[Batch]:
    """Yield the spans of `file`, line by line.

    Args:
        file: what to read.
        problems: told of what cannot be read.
        keep: names of the attributes to keep (see `decode`); None keeps all.
        backwards: from the last line to the first.
        containing: skip, without parsing, the lines in which these bytes (lower or upper case) do not occur.
    """
    upper = containing.upper() if containing else b""
    for line in read_lines(file, problems, backwards=backwards):
        if containing and containing not in line.data and upper not in line.data:
            continue
        try:
            spans, malformed = decode(line.data, keep)
        except BrokenLineError as error:
            if file.running is not None:
                pass  # it is being written
            elif line.ended:
                problems.broken_line(file.path, line.offset, str(error))
            else:
                problems.incomplete_line(file.path)
            continue
        if file.running is not None:
            spans = [_open(span, file) for span in spans]
        if malformed:
            problems.broken_line(file.path, line.offset, f"{malformed} of its spans without ids")
        yield Batch(spans, line.offset, line.size)


def _open(span: Span, file: TraceFile) -> Span:
    """A span from a record of running ones: until now, or until the last sign of life of its process."""
    if file.alive:
        return span._replace(end=max(time.time_ns(), span.start), state=RUNNING)
    return span._replace(end=max(file.modified, span.start), state=LEFT_OPEN)
