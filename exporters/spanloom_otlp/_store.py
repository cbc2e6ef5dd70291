"""The folder of a spool: appending to it, what is next to be delivered, and its bounds."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_jsonl._file import LineFile
from spanloom_jsonl._lines import Line, to_lines
from spanloom_otlp._lock import SUFFIX as LOCK
from spanloom_otlp._lock import RunLock
from spanloom_otlp._segment import REFUSED, SUFFIX, Segment, size_of, spans_after

# A longer line would be a longer message than gRPC servers take by default; the longest values of a single span
# that is bigger are cut, as in any file of `spanloom_jsonl`.
LINE_BYTES: Final = 4 * 1024**2 - 64 * 1024
_MOST_SEGMENT_BYTES: Final = 8 * 1024**2
_MOST_SEGMENT_SECONDS: Final = 3_600.0
_SEGMENTS: Final = 8  # at least, so that little is dropped at a time
# Before the data of another run is too old for us, it has been tried, and the clock has had time to be set right.
_GRACE: Final = 3_600.0


@dataclass
class _Run:
    """Segments that this process delivers, oldest first."""

    lock: RunLock
    segments: deque[Segment] = field(default_factory=deque[Segment])


class Store:
    """Segments of this process, and of those that have ended.

    Args:
        folder: where they are.
        max_bytes: of all files in it.
        max_age: seconds.
        lost: told about spans that had to go: the reason, how many, and whether they are of this process.

    Not for use across a fork: a child makes its own.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age: float, lost: Callable[[str, int, bool], None]) -> None:
        self.folder: Final = folder
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._lost = lost
        self._segment_bytes = min(_MOST_SEGMENT_BYTES, max_bytes // _SEGMENTS)
        # Re-entrant: a signal handler can end a span while this thread is appending another one.
        self._lock = RLock()
        self._own: _Run | None = None
        self._adopted: list[_Run] = []
        self._file: LineFile | None = None
        self._refused: LineFile | None = None
        self._number = 0
        self._begun_at = 0.0
        self._segment_seconds = min(_MOST_SEGMENT_SECONDS, max_age / _SEGMENTS)

    def append(self, line: Line) -> None:
        """Append `line` to this process's segment.

        Raises:
            OSError: it is not there.
        """
        with self._lock:
            file = self._file or self._begin()
            try:
                file.append(line.data)
            except OSError:
                if file.size:
                    self._finish()  # it makes room as soon as it is delivered
                raise
            if file.size >= self._segment_bytes:
                self._finish()
                self.shrink()
            elif self._begun_at + self._segment_seconds < time.monotonic():
                self._finish()  # else the age of its first spans would not show

    def _begin(self) -> LineFile:
        if self._own is None:
            self._own = _Run(RunLock.new(self.folder))
        self._number += 1
        path = self.folder / f"{self._own.lock.run}.{self._number:06d}{SUFFIX}"
        self._own.segments.append(Segment(path, written=False))
        self._begun_at = time.monotonic()
        self._file = LineFile(path)
        return self._file

    def _finish(self) -> None:
        if self._file is not None and self._own is not None:
            self._file.close()
            self._file = None
            self._own.segments[-1].written = True

    def next(self) -> Segment | None:
        """Return the segment to deliver from: of this process if it has any, else of another run."""
        with self._lock:
            for run in self._runs():
                while run.segments:
                    segment = run.segments[0]
                    if segment.left:
                        return segment
                    if not segment.written:
                        break
                    segment.remove()
                    run.segments.popleft()
                if run is not self._own:
                    self._adopted.remove(run)
                    run.lock.remove()
        return None

    def discard(self, segment: Segment) -> None:
        """Take a segment out that cannot be read or delivered any more, and remove it."""
        with self._lock:
            for run in self._runs():
                if segment in run.segments:
                    run.segments.remove(segment)
                    if not segment.written:
                        self._file = None
            segment.remove()

    def _runs(self) -> list[_Run]:
        return [*([self._own] if self._own else []), *self._adopted]

    def adopt(self) -> None:
        """Take over what dead processes have left. Never raises."""
        with self._lock, suppress(OSError):
            runs = {path.name.partition(".")[0] for path in self.folder.glob(f"[!r]*{SUFFIX}")}
            for run in runs - {run.lock.run for run in self._runs()}:  # somebody may have removed its lock file
                lost = self.folder / f"{run}{LOCK}"
                if not lost.exists():
                    lost.touch(mode=0o600)
            for path in sorted(self.folder.glob(f"*{LOCK}")):
                lock = RunLock.of_dead(path)
                if lock is not None:
                    found = sorted(self.folder.glob(f"{lock.run}.*{SUFFIX}"))
                    self._adopted.append(_Run(lock, deque(Segment(one, written=True) for one in found)))

    def refuse(self, spans: Iterable[ReadableSpan]) -> bool:
        """Put spans aside that the backend will never take; return whether all are there."""
        with self._lock:
            try:
                for line in to_lines(spans, LINE_BYTES):
                    if self._refused is None or self._refused.size >= self._segment_bytes:
                        run = self._own or _Run(RunLock.new(self.folder))
                        self._own = run
                        self._number += 1
                        self._refused = LineFile(self.folder / f"{REFUSED}{run.lock.run}.{self._number:06d}{SUFFIX}")
                    self._refused.append(line.data)
            except (OSError, ValueError):
                return False
            return True

    def shrink(self) -> None:
        """Drop the oldest files until the rest, and a segment more, fits in."""
        with self._lock:
            total = sum(size_of(path) for path in self.folder.glob(f"*{SUFFIX}"))
            # Those of other living processes are theirs to drop.
            mine = [segment for run in self._runs() for segment in run.segments if segment.written]
            refused = [Segment(path, written=True) for path in self.folder.glob(f"{REFUSED}*{SUFFIX}")]
            for segment in sorted([*mine, *refused], key=Segment.waited, reverse=True):
                if total <= self._max_bytes - self._segment_bytes:
                    return
                total -= size_of(segment.path)
                self._drop(segment, "size")

    def _drop(self, segment: Segment, reason: str) -> None:
        spans = spans_after(segment.path, segment.offset)
        self.discard(segment)
        if spans:
            self._lost(reason, spans, segment.own)

    def drop_old(self) -> None:
        """Drop what has waited for too long, and was tried in vain."""
        with self._lock:
            for run in self._runs():
                grace = 0.0 if run is self._own else min(_GRACE, self._max_age)
                while run.segments:
                    segment = run.segments[0]
                    if not segment.tried or segment.age() <= self._max_age or segment.had_for() < grace:
                        break
                    if not segment.written:
                        self._finish()
                    self._drop(segment, "age")

    def left(self) -> int:
        """How many bytes this process has to deliver."""
        with self._lock:
            return sum(segment.left for run in self._runs() for segment in run.segments)

    def close(self) -> None:
        """End: remove what is settled, leave the rest to a later process."""
        with self._lock:
            self._finish()
            if self._refused is not None:
                self._refused.close()
            self.next()
            for run in self._runs():
                if run.segments:
                    run.lock.release()
                else:
                    run.lock.remove()
            self._own, self._adopted = None, []

    def let_go(self) -> None:
        """In a forked child: leave everything to the parent, whose it is."""
        for run in self._runs():
            run.lock.release()
        for file in (self._file, self._refused):
            if file is not None:
                file.close()
