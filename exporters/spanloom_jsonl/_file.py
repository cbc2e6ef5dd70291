"""A file of whole lines: every line is there with its end, or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# O_NOFOLLOW: in a directory that others can write to, nobody leads the lines elsewhere with a link.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


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

    def append(self, line: bytes | bytearray) -> None:
        """Append `line`, which ends in a line feed.

        A file that was moved away is left where it is and a new one begun with the next line; one that was
        removed meanwhile took the line with it, so it is written again.

        Raises:
            OSError: the line is not in the file.
            ValueError: likewise, because of a path with a null character.
        """
        for _ in range(2):
            try:
                self._write(self._descriptor if self._descriptor is not None else self._open(), line)
            except OSError:
                self.close()
                raise
            if self._is_in_place():
                return
        raise FileNotFoundError(errno.ENOENT, "removed each time it is written", str(self.path))

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):  # a program that closes all its descriptors closed ours too
                os.close(descriptor)

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

    def _write(self, descriptor: int, line: bytes | bytearray) -> None:
        data = memoryview(b"\n" + line if self._torn else line)
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

    def _is_in_place(self) -> bool:
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
