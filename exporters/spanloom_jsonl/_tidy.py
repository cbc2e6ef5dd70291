"""What is done about finished files: the oldest removed, the others compressed. In the background, never waited for.

Whoever stops in the middle, by a kill or a crash, leaves the plain file, and at most a temporary one beside it that
the next one who comes by replaces. A file that somebody writes is locked (see `_locks`) and left alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock, Thread, current_thread
from typing import TYPE_CHECKING, Final

from spanloom_jsonl._locks import owned
from spanloom_jsonl._packing import PACKINGS, open_packed
from spanloom_jsonl._parts import Part, find_parts
from spanloom_jsonl._settings import LOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom_jsonl._settings import Settings

_CHUNK: Final = 1 << 20
_PATIENCE: Final = 5.0  # seconds; a chunk is compressed in a fraction of one
_TEMPORARY: Final = ".tmp"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Tidier:
    """Tidies the files of one signal in a directory, in a thread that lives while there is something to do."""

    def __init__(self, settings: Settings, signal: str) -> None:
        self._settings: Final = settings
        self._signal: Final = signal
        self._lock = RLock()
        self._thread: Thread | None = None
        self._asked = self._stopped = self._told = False

    def start(self) -> None:
        """Ask for it; returns at once."""
        if not (self._settings.max_files or self._settings.packing):
            return
        with self._lock:
            self._asked = True
            if self._thread is None and not self._stopped:
                self._thread = Thread(target=self._run, name="spanloom-jsonl-tidy", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is going down, or has no threads: the next process does it
                    self._thread = None

    def stop(self) -> None:
        """Have it end soon; a file that is being compressed stays as it is."""
        self._stopped = True
        thread = self._thread
        if thread not in (None, current_thread()):
            thread.join(_PATIENCE)

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._stopped or not self._asked:
                    self._thread = None
                    return
                self._asked = False
            try:
                self._tidy()
            except FileNotFoundError:  # the directory was removed
                pass
            except OSError as error:
                self._tell(error)

    def _tidy(self) -> None:
        directory, most = self._settings.directory, self._settings.max_files
        parts = find_parts(directory, f"{self._signal}.jsonl")
        if most:
            parts = prune(parts, most, self._tell)
            prune(find_parts(directory, f"{self._signal}.running"), most, self._tell)
        if self._settings.packing:
            for part in finished(parts):
                if not part.packed and not self._stopped:
                    try:
                        pack(part, self._settings.packing, lambda: self._stopped)
                    except OSError as error:
                        self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            LOG.warning(
                "A finished file in %s cannot be removed or compressed: %s. It stays as it is. This is logged once.",
                self._settings.directory,
                error,
            )


def prune(parts: list[Part], most: int, failed: Callable[[OSError], None]) -> list[Part]:
    """Remove the oldest of `parts` that nobody uses, until `most` are left; return those that are left.

    Args:
        parts: files, the oldest first.
        most: how many may stay.
        failed: told of each that should go and cannot be removed.
    """
    excess = len(parts) - most
    left: list[Part] = []
    for part in parts:
        if excess > 0:
            try:
                if _is_free(part.path):
                    os.unlink(part.path)  # noqa: PTH108  paths are text here
                    excess -= 1
                    continue
            except FileNotFoundError:  # somebody else was faster
                excess -= 1
                continue
            except OSError as error:
                failed(error)
        left.append(part)
    return left


def _is_free(path: str) -> bool:
    with owned(path) as descriptor:
        return descriptor is not None


def finished(parts: list[Part]) -> list[Part]:
    """Return those of `parts` that their process has left for a later part."""
    last: dict[str, int] = {}
    for part in parts:
        last[part.writer] = max(last.get(part.writer, 0), part.number)
    return [part for part in parts if part.number < last[part.writer]]


def pack(part: Part, packing: str, stopped: Callable[[], bool]) -> None:
    """Replace a file that nobody uses by a compressed one, which takes its place as a whole or not at all.

    Args:
        part: the file.
        packing: how.
        stopped: asked now and then; if it says True, everything stays as it was.

    Raises:
        OSError: that failed, and everything stays as it was.
    """
    target = part.path + PACKINGS[packing]
    temporary = target + _TEMPORARY
    with owned(part.path) as source:
        if source is None:
            return
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108  of one who was killed: whoever is at work owns the source
        try:
            if not _copy(source, os.open(temporary, _NEW, 0o600), packing, stopped):
                return
            # Readers go by the time of the last line.
            os.utime(temporary, ns=(part.modified, part.modified))
            os.replace(temporary, target)  # noqa: PTH105
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
    with suppress(FileNotFoundError):
        os.unlink(part.path)  # noqa: PTH108


def _copy(source: int, target: int, packing: str, stopped: Callable[[], bool]) -> bool:
    """Compress from descriptor to descriptor; return whether it came to the end."""
    with os.fdopen(target, "wb") as file:
        with open_packed(packing, file) as packed:
            while data := os.read(source, _CHUNK):
                if stopped():
                    return False
                packed.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True
