"""Which files hold what was asked for: a file, a folder's last run, or the whole folder."""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

SUFFIX: Final = ".jsonl"
_OTHER_SIGNALS: Final = (".logs.jsonl", ".metrics.jsonl")


class TraceFile(NamedTuple):
    """A file as it was found. Readers stop at `size`: what is appended later belongs to the next look."""

    path: str
    size: int
    modified: int  # nanoseconds since the epoch

    @property
    def run(self) -> str:
        """The program run that wrote it: the name up to its first dot, shared with forked children's files."""
        return os.path.basename(self.path).partition(".")[0]  # noqa: PTH119  a Path per file is slow


def find_file(path: str) -> TraceFile:
    """The file at `path`.

    Raises:
        OSError: there is none, or it is something that cannot be read backwards (a pipe, a device).
    """
    status = os.stat(path)  # noqa: PTH116  as above
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file; write the data to a file first")
    return TraceFile(path, status.st_size, status.st_mtime_ns)


def find_folder(path: str) -> list[TraceFile]:
    """The `*.jsonl` files in the folder `path` (not logs, not metrics) that are not empty, last written first.

    Raises:
        OSError: there is no such folder, or it cannot be listed.
    """
    found: list[TraceFile] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and not entry.name.endswith(_OTHER_SIGNALS) and entry.is_file():
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
