"""A file of whole lines: every line is there with its end, or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from spanloom_jsonl._locks import share

# O_NOFOLLOW: in a directory that others can write to, nobody leads the lines elsewhere with a link.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

# Only what a reader needs (the length) is forced to the disk, not the times.
_force = getattr(os, "fdatasync", os.fsync)


class LineFile:
    """An append-only file that is opened, with its directory, when the first line is written.

    Each line is one `write` on an append descriptor, so lines of several processes do not mix and a process
    that is killed leaves at most its last line torn. Not thread-safe, and not for use across a fork.

    Args:
        path: the file.
        fsync: whether a line counts as written only when it is on the disk.

    Attributes:
        size: what the file held after the last line; 0 before the first.
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self.path: Final = path
        self.size = 0
        self._name: Final = str(path)
        self._fsync: Final = fsync
        self._descriptor: int | None = None
        self._identity = (0, 0)  # device and inode
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
                self._write(line)
            except OSError:
                self.close()
                raise
            if self._is_in_place():
                return
        raise FileNotFoundError(errno.ENOENT, "removed each time it is written", self._name)

    def measure(self) -> int:
        """Return how long the file is now.

        Raises:
            OSError: it cannot be opened.
        """
        return self._opened().st_size

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                os.close(descriptor)

    def _open(self) -> os.stat_result:
        torn = self._ends_inside_line()
        try:
            descriptor = os.open(self._name, _FLAGS, 0o600)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._name, _FLAGS, 0o600)
        opened = os.fstat(descriptor)
        self._identity = (opened.st_dev, opened.st_ino)
        self._descriptor, self._torn = descriptor, torn
        share(descriptor)
        if self._fsync and os.name != "nt":
            _force_name(self.path.parent)
        return opened

    def _opened(self) -> os.stat_result:
        """Return the status of the file, which is open then."""
        if self._descriptor is not None:
            try:
                status = os.fstat(self._descriptor)
                if (status.st_dev, status.st_ino) == self._identity:
                    return status
            except OSError:
                pass
            # The program has closed all its descriptors, ours too; the number may be of a file of its own by now.
            self._descriptor = None
        return self._open()

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

    def _write(self, line: bytes | bytearray) -> None:
        before = self._opened().st_size
        descriptor = self._descriptor
        assert descriptor is not None
        data = memoryview(b"\n" + line if self._torn else line)
        done = 0
        try:
            while done < len(data):
                done += os.write(descriptor, data[done:])
            if self._fsync:
                _force(descriptor)
        except OSError:
            # Another size means another writer, whose lines a truncation could take away. What then stays of
            # ours is ended by the next line, when the file is opened again.
            with suppress(OSError):
                if done and os.fstat(descriptor).st_size == before + done:
                    os.ftruncate(descriptor, before)
            raise
        self._torn = False
        self.size = before + done

    def _is_in_place(self) -> bool:
        """Tell whether what was written can still be found; let go of a file that was moved or removed."""
        if self._descriptor is None:
            return True
        names = 0
        with suppress(OSError):
            found = os.stat(self._name)  # noqa: PTH116  a third of the time of Path.stat, for each line
            if (found.st_dev, found.st_ino) == self._identity:
                return True
        with suppress(OSError):
            names = os.fstat(self._descriptor).st_nlink
        self.close()
        return names > 0


def _force_name(directory: Path) -> None:
    """Have the name of a new file in `directory` on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
