"""Lines of a file, first to last or last to first, in constant memory.

Backwards matters because a program appends its spans as they end: what one wants to see first stands last, and a
file of many gigabytes must not be read for it. The file is opened for each block, not held, so that a run of
thousands of forked processes needs no thousands of descriptors and nobody's rotation is blocked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 1 << 18
# A line beyond this is no OTLP request (collectors stop at 1 MiB by default); it is skipped, not held in memory.
MAX_LINE: Final = 1 << 26


class Line(NamedTuple):
    """One line without its line end.

    Attributes:
        offset: where it begins in the file.
        data: its bytes; empty if it is longer than the limit.
        size: its length in bytes, also where `data` is left out.
        ended: False for a last line without a line end.
    """

    offset: int
    data: bytes
    size: int
    ended: bool


def iter_lines(path: str, size: int, *, limit: int = MAX_LINE) -> Iterator[Line]:
    """Yield the lines among the first `size` bytes of `path`, in order.

    Args:
        path: the file.
        size: how much of it to read; what is appended meanwhile belongs to the next look.
        limit: the longest line whose bytes are kept.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123  a third of the time of Path.open on a large folder
        offset = 0
        while offset < size:
            data = file.readline(min(limit, size - offset) + 1)[: size - offset]
            if not data:
                return
            length, ended = len(data), data.endswith(b"\n")
            kept = data[:-1] if ended else data if length <= limit else b""
            while not ended and length < size - offset and (more := file.readline(_BLOCK)):
                more = more[: size - offset - length]
                length += len(more)
                ended = more.endswith(b"\n")
            yield Line(offset, kept, length - ended, ended)
            offset += length


def iter_lines_reversed(path: str, size: int, *, limit: int = MAX_LINE, block: int = _BLOCK) -> Iterator[Line]:
    """Yield the lines among the first `size` bytes of `path`, last line first; the same lines as `iter_lines`.

    Args:
        path: the file.
        size: where to begin (the end of the file as it was found).
        limit: the longest line whose bytes are kept.
        block: how many bytes are read at once.

    Raises:
        OSError: the file cannot be read, or another one has taken its place meanwhile (its offsets mean nothing).
    """
    end, ended = (
        size,
        False,
    )  # the end of the line that is being collected, and whether a line end stands there
    pieces: list[bytes] = []  # of that line, last piece first
    position, identity = size, None
    while position > 0:
        stop = min(block, position)
        position -= stop
        with open(path, "rb") as file:  # noqa: PTH123  as above
            status = os.fstat(file.fileno())
            if identity not in (None, (status.st_dev, status.st_ino)) or status.st_size < size:
                raise OSError("it was replaced or cut while it was read")
            identity = (status.st_dev, status.st_ino)
            file.seek(position)
            data = file.read(stop)
        while (newline := data.rfind(b"\n", 0, stop)) >= 0:
            offset = position + newline + 1
            pieces.append(data[newline + 1 : stop])
            if ended or end > offset:
                yield _joined(offset, pieces, end - offset, limit, ended)
            pieces.clear()
            end, ended, stop = position + newline, True, newline
        if end - position <= limit:
            pieces.append(data[:stop])
        else:  # only the length is of interest now, and the offsets tell it
            pieces.clear()
    if end > 0 or ended:
        yield _joined(0, pieces, end, limit, ended)


def _joined(offset: int, pieces: list[bytes], size: int, limit: int, ended: bool) -> Line:
    return Line(offset, b"".join(reversed(pieces)) if size <= limit else b"", size, ended)
