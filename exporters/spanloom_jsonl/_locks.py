"""Who is at work on a file: a lock that the system lets go of when its process ends, however that ends.

Unlike a process id it means the same to processes in other containers that share the directory.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

if sys.platform == "win32":

    def share(_descriptor: int) -> None:
        """Do nothing: Windows lets nobody remove a file that is open."""

    def own(_descriptor: int) -> bool:
        """Return True, likewise."""
        return True

else:
    import fcntl

    def share(descriptor: int) -> None:
        """Mark the file as in use, together with others, until its descriptor is closed."""
        with suppress(OSError):  # a file system without locks, where `own` never succeeds either
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def own(descriptor: int) -> bool:
        """Take the file for oneself until its descriptor is closed; return False if somebody uses it.

        Raises:
            OSError: the file system has no locks.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# A child that is forked meanwhile has the descriptors too, and with them the locks and the space of removed files.
_held: Final[set[int]] = set()


@contextmanager
def owned(path: str) -> Generator[int | None]:
    """Open the file at `path` and take it; yields its descriptor, or None if somebody uses or has removed it.

    Raises:
        OSError: it cannot be opened or locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        yield None
        return
    _held.add(descriptor)
    try:
        yield descriptor if own(descriptor) and os.fstat(descriptor).st_nlink else None
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _close_in_child() -> None:
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
