"""Trace files, read from where they were left: plain, compressed, still growing, or damaged."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spanloom.forward.cursor import fingerprint
from spanloom.view.files import PACKED, find_folder
from spanloom.view.packed import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from spanloom.forward.cursor import Cursor

_OTHER_SIGNALS: Final = (b'{"resourceLogs":', b'{"resourceMetrics":')
# Segments of a living spool are the spool's to deliver; what it has put aside is not.
_SPOOL_LOCK: Final = ".lock"
_PUT_ASIDE: Final = "refused-"
_BLOCK: Final = 1 << 20


@dataclass
class Piece:
    """Spans from one line.

    Attributes:
        spans: those that have ended.
        size: of the line, in bytes.
        file: the fingerprint of its file; empty if it is in none with spans.
        end: where the next line begins.
    """

    spans: list[ReadableSpan]
    size: int
    file: str
    end: int


class Reader:
    """Reads what is new in files and folders.

    Args:
        targets: their paths.
        cursor: from where.
        say: takes a line about trouble with a file; each is said once.

    Attributes:
        broken: how many lines were left out.
        running: how many spans were left out that have not ended.
        skipped: how many bytes were forwarded earlier.
    """

    def __init__(self, targets: Iterable[str], cursor: Cursor, say: Callable[[str], None]) -> None:
        self._targets = list(targets)
        self._cursor = cursor
        self._say = say
        self._said: set[str] = set()
        self._sizes: dict[str, tuple[int, int]] = {}  # path -> size and time when it was read to its end
        self._reached: dict[str, int] = {}  # fingerprint -> what was handed out, forwarded or not
        self.broken = self.running = self.skipped = 0

    def pieces(self, *, last: bool) -> Iterator[Piece]:
        """Yield what is new, the oldest file first.

        Args:
            last: nothing will be appended, so that a last line without its end is one that was torn.
        """
        for path in self._paths():
            try:
                status = os.stat(path)  # noqa: PTH116  paths are text here
                seen = (status.st_size, status.st_mtime_ns)
                if self._sizes.get(path) == seen:
                    continue
                with self._open(path) as name:
                    yield from self._lines(path, name, last=last)
                self._sizes[path] = seen
            except FileNotFoundError:  # one of a folder was renamed or removed meanwhile
                if path in self._targets:
                    self._once(f"{path}: it is not there")
            except OSError as error:
                self._once(f"{path}: {error.strerror or error}")

    def _paths(self) -> Iterator[str]:
        for target in self._targets:
            if not os.path.isdir(target):  # noqa: PTH112
                yield target
                continue
            try:
                files = find_folder(target)
                spool = any(name.endswith(_SPOOL_LOCK) for name in os.listdir(target))  # noqa: PTH208
            except OSError as error:
                self._once(f"{target}: {error.strerror or error}")
                continue
            for file in reversed(files):
                if not spool or os.path.basename(file.path).startswith(_PUT_ASIDE):  # noqa: PTH119
                    yield file.path

    @contextmanager
    def _open(self, path: str) -> Generator[str]:
        """The path of a plain file with the text of `path`."""
        if not path.endswith(PACKED):
            yield path
            return
        with unpacked(path, lambda error: self._once(f"{path}: {error}")) as (name, _):
            yield name

    def _lines(self, path: str, name: str, *, last: bool) -> Iterator[Piece]:
        from spanloom_otlp import decode_spans

        with open(name, "rb") as file:  # noqa: PTH123
            if file.readline().startswith(_OTHER_SIGNALS):
                self._once(f"{path}: these are no traces, and are left out")
                return
            file.seek(0)
            known = fingerprint(file)
            offset = self._cursor.offset(known)
            if known not in self._reached:
                self.skipped += offset
            position = max(offset, self._reached.get(known, 0)) if known else 0
            file.seek(position)
            for line in file:
                start, position = position, position + len(line)
                whole = line.endswith(b"\n")
                if not whole and not last:
                    return
                try:
                    spans = decode_spans(line) if line.strip() else []
                except ValueError as error:
                    self.broken += 1
                    what = "broken" if whole else "incomplete"
                    self._once(f"{path}:{_line_number(name, start)}: {what} line, left out: {_short(error)}")
                    if not whole:  # it may be continued after all
                        return
                    spans = []
                ended = [span for span in spans if span.end_time is not None]
                self.running += len(spans) - len(ended)
                self._reached[known] = position
                yield Piece(ended, len(line), known, position)

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def _line_number(path: str, offset: int) -> int:
    """The number of the line that begins at `offset`."""
    number = 1
    with open(path, "rb") as file:  # noqa: PTH123
        while offset > 0 and (block := file.read(min(offset, _BLOCK))):
            number += block.count(b"\n")
            offset -= len(block)
    return number


def _short(error: Any) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else f"{text[:120]}..."
