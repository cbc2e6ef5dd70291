"""Which traces of some files to show, and their spans, reading no more than that takes.

All of it rests on one fact of the format: lines are appended as spans end, so a file is in the order of its spans'
ends, give or take what an exporter's queue delays.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom.view.problems import Problems
from spanloom.view.reader import Batch, iter_batches, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spanloom.view.files import TraceFile
    from spanloom.view.model import Span

# How late a span may be written after one that ended later: the batch processors' default delay, and a second.
_DELAY: Final = 6_000_000_000
# Lines that are looked at together, so that a single span with an end in the far past does not mislead.
_WINDOW: Final = 8
# Reading on for a trace whose root is not found (its program was killed) ends after this many bytes without it.
_PATIENCE: Final = 1 << 26
_NEVER: Final = 1 << 64
_TRACE_ID: Final = re.compile(rb'"traceId"\s*:\s*"([^"\\]*)"')


class Found(NamedTuple):
    """The spans read of one trace; `partial` if earlier ones may lie further back in the files."""

    trace_id: str
    spans: list[Span]
    partial: bool = False


class Selection(NamedTuple):
    """What was found, whether older traces were seen, and whether the limit on spans ended the reading."""

    traces: list[Found]
    older: bool = False
    cut: bool = False


def newest(
    files: Sequence[TraceFile],
    problems: Problems,
    *,
    count: int,
    limit: int,
    keep: frozenset[str] | None = None,
) -> Selection:
    """The `count` traces that ended last, newest first, without reading all of `files`.

    A trace is complete once its root has been read and the lines have come to spans that ended before that root
    began. Where the root is missing (a killed program) reading stops when nothing of the trace has turned up for
    a long stretch; the trace is then marked partial.

    Args:
        files: the files, read backwards together.
        problems: told of what cannot be read.
        count: how many traces.
        limit: how many spans to hold at most; 0 for no limit. Ends come last in a file, so what is left out are
            the earliest spans, never the ancestors of one that is kept.
        keep: names of the attributes to keep; None keeps all.
    """
    chosen: dict[str, list[Span]] = {}
    begun: dict[str, int] = {}  # start of the (earliest local) root of each trace whose root has been read
    recent: deque[int] = deque(maxlen=_WINDOW)
    older = stopped = False
    held = idle = frontier = 0  # no span that is still to be read ended after the frontier
    earliest = _NEVER  # of `begun`
    for batch in _newest_first(files, problems, keep):
        idle += batch.size
        for span in batch.spans:
            spans = chosen.get(span.trace_id)
            if spans is None:
                if len(chosen) >= count:
                    older = True
                    continue
                spans = chosen[span.trace_id] = []
            spans.append(span)
            held += 1
            idle = 0
            if span.local_root:
                begun[span.trace_id] = min(begun.get(span.trace_id, span.start), span.start)
                earliest = min(earliest, span.start)
        recent.append(_last_end(batch.spans))
        frontier = max(recent) + _DELAY
        full = len(chosen) >= count
        complete = full and len(begun) == len(chosen) and frontier < earliest
        stopped = complete or (full and idle > _PATIENCE) or (0 < limit <= held)
        if stopped:
            break
    return Selection(
        [Found(trace_id, spans, stopped and begun.get(trace_id, 0) <= frontier) for trace_id, spans in chosen.items()],
        older,
        stopped and 0 < limit <= held,
    )


def _last_end(spans: Sequence[Span]) -> int:
    return max((span.end for span in spans), default=0)


def _newest_first(files: Sequence[TraceFile], problems: Problems, keep: frozenset[str] | None) -> Iterator[Batch]:
    """The lines of all files, backwards, merged by the end of their latest span.

    A file that has not been opened yet stands at its time of modification: nothing in it ended later.
    """
    readers = [iter_batches(file, problems, keep=keep, backwards=True) for file in files]
    heap: list[tuple[int, int, Batch | None]] = [(-file.modified, index, None) for index, file in enumerate(files)]
    heapq.heapify(heap)
    while heap:
        key, index, batch = heapq.heappop(heap)
        if batch is not None:
            yield batch
        following = next(readers[index], None)
        if following is not None:
            # a line without times (0) keeps the place of the line after it
            heapq.heappush(heap, (-_last_end(following.spans) or key, index, following))


def every(files: Sequence[TraceFile], problems: Problems, *, keep: frozenset[str] | None = None) -> Iterator[Found]:
    """Yield all traces of `files`, each as soon as its last span has been read, holding only those still open.

    The files are read twice: first to learn where each trace's last span stands, without parsing.
    """
    last: dict[str, tuple[int, int]] = {}
    unheard = Problems()  # the second reading tells them
    for index, file in enumerate(files):
        for line in read_lines(file, unheard):
            for trace_id in _TRACE_ID.findall(line.data):
                last[trace_id.decode("utf-8", "replace").lower()] = (index, line.offset)
    still_open: dict[str, list[Span]] = {}
    for index, file in enumerate(files):
        for batch in iter_batches(file, problems, keep=keep):
            for span in batch.spans:
                still_open.setdefault(span.trace_id, []).append(span)
            for trace_id in {span.trace_id: None for span in batch.spans}:
                if last.get(trace_id) == (index, batch.offset):
                    del last[trace_id]
                    yield Found(trace_id, still_open.pop(trace_id))
    # those whose last line turned out broken
    for trace_id, spans in still_open.items():
        yield Found(trace_id, spans)


def matching(
    files: Iterable[TraceFile],
    problems: Problems,
    prefix: str,
    *,
    limit: int,
    keep: frozenset[str] | None = None,
) -> Selection:
    """The traces whose id begins with `prefix`; lines in which these characters do not occur are not parsed.

    Args:
        files: where to look, all of them: a trace may lie in the files of several processes.
        problems: told of what cannot be read.
        prefix: lower-case hexadecimal digits.
        limit: how many spans to hold at most; 0 for no limit.
        keep: names of the attributes to keep; None keeps all.
    """
    found: dict[str, list[Span]] = {}
    held = 0
    needle = prefix.encode("ascii")
    for file in files:
        for batch in iter_batches(file, problems, keep=keep, backwards=True, containing=needle):
            for span in batch.spans:
                if span.trace_id.startswith(prefix):
                    found.setdefault(span.trace_id, []).append(span)
                    held += 1
            if 0 < limit <= held:
                return Selection([Found(trace_id, spans, partial=True) for trace_id, spans in found.items()], cut=True)
    return Selection([Found(trace_id, spans) for trace_id, spans in found.items()])
