"""Where lines go: the files of this process, trouble told once, safe in threads and forks."""

from __future__ import annotations

import os
from threading import RLock
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from spanloom_jsonl._parts import Parts
from spanloom_jsonl._settings import DIR, LOG
from spanloom_jsonl._tidy import Tidier

if TYPE_CHECKING:
    from spanloom_jsonl._lines import Line
    from spanloom_jsonl._settings import Settings


class LineSink:
    """Writes lines to `{writer}.{signal}.jsonl` and its further parts (see `_parts`), from the first line on.

    Nothing raises: `write` tells whether a line is on disk; `written` and `lost` count the items (spans, in a file
    of traces) of this process.
    """

    def __init__(self, settings: Settings, signal: str) -> None:
        self._settings: Final = settings
        self._signal: Final = signal
        self._closed = False
        self._begin()
        _sinks.add(self)

    def _begin(self) -> None:
        self.written = self.lost = 0
        self._parts = Parts(self._settings, self._signal)
        self._tidier = Tidier(self._settings, self._signal)
        # Re-entrant: a signal handler or a finaliser can end a span while this thread is writing another one. New in
        # a forked child: a thread of the parent may have held it, and is not here to release it.
        self._lock = RLock()
        self._writing = self._failing = False

    @property
    def path(self) -> str | None:
        """The file of this process; None before anything is written."""
        return str(self._parts.path) if self.written else None

    def write(self, line: Line) -> bool:
        """Write `line`; return whether it is in the file. After `close` it is not, quietly."""
        error = None
        begun = False
        with self._lock:
            if self._closed:
                return False
            outer, self._writing = self._writing, True
            try:
                begun = self._parts.append(line.data)
                self.written += line.items
            except (OSError, ValueError) as caught:
                error = caught
            finally:
                self._writing = outer
                if self._closed and not outer:
                    self._parts.close()
            turned = self._failing != (error is not None)
            self._failing = error is not None
        # Outside the lock and with the state settled: a log handler may well make a span of this message.
        if turned:
            self._tell(error)
        if begun:
            self._tidier.start()
        return error is None

    def lose(self, items: int) -> None:
        """Count items that are not in the file."""
        with self._lock:
            self.lost += items

    def close(self) -> None:
        """Close the file; whatever comes later is lost."""
        self._closed = True
        with self._lock:
            if not self._writing:  # else the write that this call interrupts closes it
                self._parts.close()
        self._tidier.stop()

    def _tell(self, error: Exception | None) -> None:
        if error is None:
            LOG.warning("%s is written again; %d items were lost meanwhile.", self.path, self.lost)
            return
        LOG.warning(
            "Cannot write %s: %s. What is recorded meanwhile is lost. Make room or give access there, or set "
            "%s to another directory.",
            self._parts.path,
            error,
            DIR,
        )

    def _begin_in_child(self) -> None:
        self._parts.close()
        self._begin()


_sinks: Final[WeakSet[LineSink]] = WeakSet()


def _begin_in_child() -> None:
    for sink in _sinks:
        sink._begin_in_child()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  same module


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_begin_in_child)
