"""The files of one process and signal, one after the other: names, and when the next one is begun.

A file keeps its name while it is written and afterwards: the next part gets a new one. So there is no moment at
which a reader finds a line in neither or in both, and nothing to be undone after a crash.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom_jsonl._file import LineFile
from spanloom_jsonl._packing import PACKINGS

if TYPE_CHECKING:
    from pathlib import Path

    from spanloom_jsonl._settings import Settings

_NAME: Final = re.compile(
    r"(?P<writer>\d{8}T\d{6}-\d+(?:\.\d+)?)(?:\.part(?P<number>\d+))?"
    r"\.(?P<kind>[a-z]+\.(?:jsonl|running))(?P<suffix>\.gz|\.zst)?"
)


class Part(NamedTuple):
    """A file as it was found in a directory.

    Attributes:
        path: where it is.
        writer: what the names of all files of its process begin with.
        number: which part it is, from 1.
        packed: whether it is compressed.
        modified: when it was last written, in nanoseconds since the epoch.
    """

    path: str
    writer: str
    number: int
    packed: bool
    modified: int


def find_parts(directory: Path, kind: str) -> list[Part]:
    """Return the files of `kind` (`traces.jsonl`) that exporters have written to `directory`, the oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    found: list[Part] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is None or match["kind"] != kind or not entry.is_file(follow_symlinks=False):
                continue
            try:
                modified = entry.stat(follow_symlinks=False).st_mtime_ns
            except FileNotFoundError:
                continue
            found.append(Part(entry.path, match["writer"], int(match["number"] or 1), bool(match["suffix"]), modified))
    return sorted(found, key=lambda part: (part.modified, part.number, part.path))


class _Run:
    """What the names of this process's files begin with, and of the processes forked from it."""

    name = ""
    pid = 0


def writer() -> str:
    """Return what the names of this process's files begin with: `{UTC time}-{pid}`.

    In a forked child that is `{UTC time}-{first pid}.{its pid}`, so the files of one program run share the part
    before the first dot.
    """
    pid = os.getpid()
    if not _Run.name:
        _Run.name, _Run.pid = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{pid}", pid
    return _Run.name if pid == _Run.pid else f"{_Run.name}.{pid}"


class Parts:
    """Appends lines to the current part; begins the next one when that is full or old. Not thread-safe."""

    def __init__(self, settings: Settings, signal: str) -> None:
        self._settings: Final = settings
        self._signal: Final = signal
        self._writer: Final = writer()
        self._number = 0
        self._begun = 0.0  # when its first line was written
        self._file = self._next()

    @property
    def path(self) -> Path:
        """The current part."""
        return self._file.path

    def append(self, line: bytes | bytearray) -> bool:
        """Append `line`; return whether that began a part.

        Raises:
            OSError: the line is not in any file.
            ValueError: likewise.
        """
        size = self._file.size
        # Somebody may have emptied it since: logrotate does, with `copytruncate`.
        if size and self._is_over(size + len(line)) and self._is_over(self._file.measure() + len(line)):
            self._file.close()
            self._file = self._next()
        first = not self._file.size
        self._file.append(line)
        if first:
            self._begun = time.monotonic()
        return first

    def close(self) -> None:
        """Close the current part; a later `append` opens it again."""
        self._file.close()

    def _is_over(self, size: int) -> bool:
        most, oldest = self._settings.max_bytes, self._settings.max_age
        return 0 < most < size or (oldest > 0 and time.monotonic() - self._begun >= oldest)

    def _next(self) -> LineFile:
        """Return the next part; past those that an earlier process with our id has left compressed."""
        while True:
            self._number += 1
            part = "" if self._number == 1 else f".part{self._number}"
            path = self._settings.directory / f"{self._writer}{part}.{self._signal}.jsonl"
            if not any(_exists(f"{path}{suffix}") for suffix in PACKINGS.values()):
                return LineFile(path, fsync=self._settings.fsync)


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)  # noqa: PTH110  Path.exists raises where access is denied
    except ValueError:  # a null character in it; writing will say so
        return False
