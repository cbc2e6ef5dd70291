"""A file of the spool, and how far it was delivered."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

SUFFIX: Final = ".jsonl"
CURSOR: Final = ".cursor"
REFUSED: Final = "refused-"

# A batch: what collectors and backends take by default, whatever the spans are like.
BATCH_SPANS: Final = 512
BATCH_BYTES: Final = 1024**2

# Each span has this once; in a text the quotes would be escaped.
_SPAN: Final = b'"startTimeUnixNano":'
_BLOCK: Final = 1024**2
_CURSOR_FLAGS: Final = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Chunk(NamedTuple):
    """Whole lines of a segment, and where the next one begins."""

    lines: list[bytes]
    end: int


class Segment:
    """Lines that one process has appended, and others may deliver.

    Args:
        path: the file.
        written: whether nobody appends to it any more, since another process has written it.

    Attributes:
        own: whether this process writes it.
        written: whether nobody appends to it any more.
        offset: everything before it is settled.
        tried: whether an attempt to deliver what it holds has failed.
        gone: whether it was removed.
    """

    def __init__(self, path: Path, *, written: bool) -> None:
        self.path: Final = path
        self.own: Final = not written
        self.written = written
        self.tried = self.gone = False
        self.offset = cursor_of(path) if written else 0
        self._seen = time.monotonic()
        self._old = 0.0  # when it was seen first
        if written:
            with suppress(OSError):
                self._old = max(time.time() - path.stat().st_mtime, 0.0)

    @property
    def left(self) -> int:
        """How many bytes are not settled."""
        size = size_of(self.path)
        if size < self.offset:  # somebody has removed it, and it was begun again
            self.offset = 0
        return size - self.offset

    def age(self) -> float:
        """How many seconds ago the last line was written, at least.

        While this process looks at it, that does not depend on the clock of the machine, which people and time
        servers set forth and back.
        """
        with suppress(OSError):
            return min(self.waited(), time.time() - self.path.stat().st_mtime)
        return self.waited()

    def waited(self) -> float:
        """How many seconds ago it was begun, or written to last when this process saw it first."""
        return self._old + self.had_for()

    def had_for(self) -> float:
        """How many seconds this process has had it."""
        return time.monotonic() - self._seen

    def read(self) -> Chunk:
        """Return the next lines that make a batch; none if there is no whole line.

        Raises:
            OSError: it cannot be read.
        """
        lines: list[bytes] = []
        end, spans = self.offset, 0
        with self.path.open("rb") as file:
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):  # being written, or torn by a kill
                    break
                spans += count_spans(line)
                if lines and (spans > BATCH_SPANS or end + len(line) - self.offset > BATCH_BYTES):
                    break
                lines.append(line)
                end += len(line)
        return Chunk(lines, end)

    def advance(self, offset: int) -> None:
        """Settle everything before `offset`, for this process and, where the disk allows, for later ones."""
        if self.gone:
            return
        self.offset = offset
        with suppress(OSError):
            # In place and always as long: neither a full disk nor a kill leaves half a number.
            descriptor = os.open(_cursor_path(self.path), _CURSOR_FLAGS, 0o600)
            try:
                os.write(descriptor, b"%020d\n" % offset)
            finally:
                os.close(descriptor)

    def remove(self) -> None:
        """Remove it: everything in it is settled."""
        self.gone = True
        for path in (self.path, _cursor_path(self.path)):
            with suppress(OSError):
                path.unlink()


def _cursor_path(path: Path) -> Path:
    return path.with_suffix(CURSOR)


def cursor_of(path: Path) -> int:
    """How far the segment at `path` was delivered, as its cursor says."""
    try:
        return int(_cursor_path(path).read_bytes())
    except (OSError, ValueError):
        return 0


def size_of(path: Path) -> int:
    """The size of a file; 0 if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def count_spans(data: bytes) -> int:
    """How many spans there are in OTLP/JSON text."""
    return data.count(_SPAN)


def spans_after(path: Path, offset: int) -> int:
    """How many spans a segment holds after `offset`."""
    spans, rest = 0, b""
    with suppress(OSError), path.open("rb") as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            data = rest + block
            spans += count_spans(data)
            rest = data[-len(_SPAN) + 1 :]
    return spans
