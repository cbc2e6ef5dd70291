"""A file of whole lines: every line is there with its end, or not at all."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

# O_NOFOLLOW: in a directory that others can write to, nobody leads the lines elsewhere with a link.
_FLAGS: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


class LineFile:
    """An append-only file that is opened, with its directory, when the first line is written.

    Each line is one `write` on an append descriptor, so lines of several processes do not mix and a process
    that is killed leaves at most its last line torn. Not thread-safe, and not for use across a fork.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._descriptor: int | None = None
        self._identity = (0, 0)  # device and inode
        self._size = 0  # what the file holds if nobody else writes to it
        self._torn = False  # whether an earlier writer left it inside a line

    def append(self, lines: Sequence[bytes]) -> tuple[int, Exception | None]:
        """Append `lines`, each ending in a line feed.

        A file that was moved away is left where it is and a new one begun; one that was removed meanwhile
        took the lines with it, so they are written again.

        Returns:
            How many of the lines are in the file, and the error that kept the rest out (None: all are there).
        """
        for _ in range(2):
            written, error = self._append(lines)
            if not written or self._keeps_lines():
                return written, error
        return 0, FileNotFoundError(errno.ENOENT, "removed each time it is written", str(self.path))

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):  # a program that closes all its descriptors closed ours too
                os.close(descriptor)

    def _append(self, lines: Sequence[bytes]) -> tuple[int, Exception | None]:
        written = 0
        try:
            for line in lines:
                self._write(self._descriptor if self._descriptor is not None else self._open(), line)
                written += 1
        except (OSError, ValueError) as error:  # ValueError: a path with a null character
            self.close()
            return written, error
        return written, None

    def _open(self) -> int:
        torn = self._ends_inside_line()
        try:
            descriptor = os.open(self.path, _FLAGS, 0o600)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, _FLAGS, 0o600)
        opened = os.fstat(descriptor)
        self._identity = (opened.st_dev, opened.st_ino)
        self._descriptor, self._torn, self._size = descriptor, torn, opened.st_size
        return descriptor

    def _ends_inside_line(self) -> bool:
        """Tell whether the file is there already and torn: by us, or by an earlier process with our id."""
        try:
            with self.path.open("rb") as existing:
                if not existing.seek(0, os.SEEK_END):
                    return False
                existing.seek(-1, os.SEEK_END)
                return existing.read(1) != b"\n"
        except FileNotFoundError:
            return False

    def _write(self, descriptor: int, line: bytes) -> None:
        data = b"\n" + line if self._torn else line
        done = 0
        try:
            while done < len(data):
                done += os.write(descriptor, data[done:])
        except OSError:
            # Another size means another writer, whose lines a truncation could take away. What then stays of
            # ours is ended by the next line, when the file is opened again.
            with suppress(OSError):
                if done and os.fstat(descriptor).st_size == self._size + done:
                    os.ftruncate(descriptor, self._size)
            raise
        self._torn = False
        self._size += done

    def _keeps_lines(self) -> bool:
        """Tell whether what was written can still be found; let go of a file that was moved or removed."""
        if self._descriptor is None:
            return True
        names = 0
        with suppress(OSError):
            names = os.fstat(self._descriptor).st_nlink
            found = self.path.stat()
            if (found.st_dev, found.st_ino) == self._identity:
                return True
        self.close()
        return names > 0
