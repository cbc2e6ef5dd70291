"""Whose segments are whose: a lock file for each writing process, which the system opens when the process ends.

Unlike a process id it means the same to processes in other containers that share the directory, and no later process
can have it.
"""

import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

SUFFIX: Final = ".lock"
_FLAGS: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    from spanloom_jsonl._locks import own as _take


class RunLock:
    """The lock of one run: one process, from when it begins to write, or a forked child of it.

    Attributes:
        run: its name, which its segments' names begin with.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.run: Final = path.name.removesuffix(SUFFIX)
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def new(cls, folder: Path) -> "RunLock":
        """Begin a run in `folder`, which is made where it is missing.

        Raises:
            OSError: nothing can be written there.
        """
        while True:
            run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{secrets.token_hex(3)}"
            path = folder / f"{run}{SUFFIX}"
            try:
                descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            except FileNotFoundError:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            with suppress(OSError):  # no locks here: others cannot lock it either, and leave the run alone
                # Between the two calls another process may have taken it for that of a dead one.
                if not (_take(descriptor) and os.fstat(descriptor).st_nlink):
                    os.close(descriptor)
                    continue
            return cls(path, descriptor)

    @classmethod
    def of_dead(cls, path: Path) -> "RunLock | None":
        """Take over the run whose lock file is `path`; None if its process lives, or somebody else has taken it."""
        descriptor = None
        try:
            descriptor = os.open(path, _FLAGS)
            if _take(descriptor) and os.fstat(descriptor).st_nlink:
                return cls(path, descriptor)
        except OSError:
            pass
        if descriptor is not None:
            os.close(descriptor)
        return None

    def remove(self) -> None:
        """End the run, of which nothing is left."""
        if os.name == "nt":  # where nobody can remove what is open
            self.release()
        with suppress(OSError):
            self._path.unlink()
        if os.name != "nt":
            self.release()

    def release(self) -> None:
        """Leave what is left of the run to others. In a forked child: let go of the parent's lock."""
        with suppress(OSError):
            os.close(self._descriptor)
