"""Where lines go: one file for each process, trouble told once, safe in threads and forks."""

import os
import time
from pathlib import Path
from threading import RLock
from typing import Final
from weakref import WeakSet

from spanloom_jsonl import _settings
from spanloom_jsonl._file import LineFile
from spanloom_jsonl._lines import Line


class LineSink:
    """Writes lines to `{UTC time}-{pid}.{signal}.jsonl` in `directory`, beginning with the first line.

    A forked child writes `{UTC time}-{first pid}.{its pid}.{signal}.jsonl`, so the files of one program run
    share the part before the first dot. Nothing raises: `write` tells whether a line is on disk; `written`
    and `lost` count the items (spans, in a file of traces) of this process.
    """

    def __init__(self, directory: Path, signal: str) -> None:
        self.written = self.lost = 0
        self._directory: Final = directory
        self._signal: Final = signal
        self._run: Final = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
        self._file = LineFile(directory / f"{self._run}.{signal}.jsonl")
        # Re-entrant: a signal handler or a finaliser can end a span while this thread is writing another one.
        self._lock = RLock()
        self._writing = False
        self._closed = False
        self._failing = False
        _sinks.add(self)

    @property
    def path(self) -> str | None:
        """The file of this process; None before anything is written."""
        return str(self._file.path) if self.written else None

    def write(self, line: Line) -> bool:
        """Write `line`; return whether it is in the file. After `close` it is not, quietly."""
        error = None
        with self._lock:
            if self._closed:
                return False
            outer, self._writing = self._writing, True
            try:
                self._file.append(line.data)
                self.written += line.items
            except (OSError, ValueError) as caught:
                error = caught
            finally:
                self._writing = outer
                if self._closed and not outer:
                    self._file.close()
            turned = self._failing != (error is not None)
            self._failing = error is not None
        # Outside the lock and with the state settled: a log handler may well make a span of this message.
        if turned:
            self._tell(error)
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
                self._file.close()

    def _tell(self, error: Exception | None) -> None:
        if error is None:
            _settings.LOG.warning("%s is written again; %d items were lost meanwhile.", self.path, self.lost)
            return
        _settings.LOG.warning(
            "Cannot write %s: %s. What is recorded meanwhile is lost. Make room or give access there, or set "
            "%s to another directory.",
            self._file.path,
            error,
            _settings.DIR,
        )

    def _begin_in_child(self) -> None:
        self._lock = RLock()  # a thread of the parent may have held it, and is not here to release it
        self._writing = self._failing = False
        self.written = self.lost = 0
        self._file.close()
        self._file = LineFile(self._directory / f"{self._run}.{os.getpid()}.{self._signal}.jsonl")


_sinks: Final[WeakSet[LineSink]] = WeakSet()


def _begin_in_child() -> None:
    for sink in _sinks:
        sink._begin_in_child()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  same module


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_begin_in_child)
