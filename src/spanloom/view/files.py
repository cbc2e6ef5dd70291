"""Which files hold what was asked for: a file, a folder's last run, or the whole folder."""

from __future__ import annotations

import os
import stat
import sys
from typing import Final, NamedTuple

if sys.platform != "win32":
    import fcntl

PLAIN: Final = ".jsonl"
PACKED: Final = (".jsonl.gz", ".jsonl.zst")
RUNNING: Final = ".traces.running"
_OTHER_SIGNALS: Final = tuple(signal + suffix for signal in (".logs", ".metrics") for suffix in (PLAIN, *PACKED))
# A record of spans that run is a few kilobytes; what is beyond this is no such thing.
_MOST: Final = 1 << 26


class TraceFile(NamedTuple):
    """A file as it was found. Readers stop at `size`: what is appended later belongs to the next look.

    Attributes:
        path: where it is.
        size: its length in bytes.
        modified: when it was last written, in nanoseconds since the epoch.
        running: for a record of spans that run, its text; None for all others.
        alive: whether the process that keeps the record is still there.
    """

    path: str
    size: int
    modified: int
    running: bytes | None = None
    alive: bool = False

    @property
    def run(self) -> str:
        """The program run that wrote it: the name up to its first dot, shared with forked children's files."""
        return os.path.basename(self.path).partition(".")[0]  # noqa: PTH119  a Path per file is slow

    @property
    def packed(self) -> bool:
        """Whether it is compressed."""
        return self.path.endswith(PACKED)


def find_file(path: str) -> TraceFile:
    """The file at `path`.

    Raises:
        OSError: there is none, or it is something that cannot be read backwards (a pipe, a device).
    """
    status = os.stat(path)  # noqa: PTH116  as above
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file; write the data to a file first")
    return _find_running(path) if path.endswith(RUNNING) else TraceFile(path, status.st_size, status.st_mtime_ns)


def find_folder(path: str, *, running: bool = False) -> list[TraceFile]:
    """The `*.jsonl` files in the folder `path` (not logs, not metrics) that are not empty, last written first.

    Args:
        path: the folder.
        running: with the records of spans that run.

    Raises:
        OSError: there is no such folder, or it cannot be listed.
    """
    found: list[TraceFile] = []
    with os.scandir(path) as entries:
        wanted = [entry for entry in entries if entry.name.endswith((PLAIN, *PACKED, RUNNING)) and entry.is_file()]
    if running:
        # Before the others: a span that ends meanwhile is in the record, or in a file that is looked at later.
        for entry in wanted:
            if entry.name.endswith(RUNNING):
                try:
                    record = _find_running(entry.path)
                except OSError:  # removed since it was listed: nothing runs any more
                    continue
                if (record.running or b"").strip(BLANK):
                    found.append(record)
    names = {entry.name for entry in wanted}
    for entry in wanted:
        name = entry.name
        # While a file is being replaced by a compressed one, and if that was cut short, both are there.
        doubled = name.endswith(PACKED) and name.rpartition(".")[0] in names
        if not doubled and not name.endswith((*_OTHER_SIGNALS, RUNNING)):
            try:
                status = entry.stat()
            except OSError:  # removed since it was listed
                continue
            if status.st_size:
                found.append(TraceFile(entry.path, status.st_size, status.st_mtime_ns))
    found.sort(key=lambda file: (file.modified, file.path), reverse=True)
    return found


def runs(files: list[TraceFile]) -> list[list[TraceFile]]:
    """`files` (last written first) by program run, the run that wrote last first."""
    grouped: dict[str, list[TraceFile]] = {}
    for file in files:
        grouped.setdefault(file.run, []).append(file)
    return list(grouped.values())


BLANK: Final = b" \n\0"
"""What an unused place in a record of running spans consists of."""


def _find_running(path: str) -> TraceFile:
    with open(path, "rb") as file:  # noqa: PTH123  paths are text here
        status = os.fstat(file.fileno())
        text = file.read(_MOST)
        return TraceFile(path, len(text), status.st_mtime_ns, text, _in_use(file.fileno()))


def _in_use(descriptor: int) -> bool:
    """Whether the process is there that keeps the record: it holds a lock, which goes with it however it ends."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # held; or there are no locks here, and nobody can tell
            return True
        return False
    return True
