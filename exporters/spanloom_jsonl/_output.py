"""What the exporters of all signals share: lines to the files, and what is told and counted on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from spanloom_jsonl._settings import LOG, MAX_LINE_BYTES, Settings
from spanloom_jsonl._shrink import TRUNCATED_BYTES
from spanloom_jsonl._sink import LineSink

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from typing_extensions import Unpack

    from spanloom_jsonl._lines import Line, Refuse
    from spanloom_jsonl._settings import FileOptions

_T = TypeVar("_T")


class Output:
    """The files of one exporter. Nothing raises.

    Args:
        signal: `traces`, `logs` or `metrics`, for the names of the files.
        item: one of them in words, for messages.
        directory: where the files go; None for the environment's.
        options: see `FileOptions`.

    Attributes:
        shortened: how many items were too long for a line and were cut (a forked child counts on).
        sink: the files.
    """

    def __init__(
        self, signal: str, item: str, directory: str | os.PathLike[str] | None, **options: Unpack[FileOptions]
    ) -> None:
        self.settings: Final = Settings.read(directory, **options)
        self.sink: Final = LineSink(self.settings, signal)
        self.shortened = 0
        self._item: Final = item
        self._limit: Final = self.settings.max_line_bytes
        self._refused = False

    def export(self, items: int, data: _T, to_lines: Callable[[_T, int, Refuse], Iterator[Line]]) -> bool:
        """Write `data`; return whether all of it is in the file.

        Args:
            items: how many there are in it.
            data: what to write.
            to_lines: makes lines of it, given the longest one allowed and what takes an item that is none.
        """
        missing = items
        write = self.sink.write
        for line in to_lines(data, self._limit, self.refuse):
            if not write(line):
                break
            missing -= line.items
            if line.shortened:
                self._tell_shortened()
                self.shortened += line.items
        if missing:
            self.sink.lose(missing)
        return not missing

    def refuse(self, error: Exception) -> None:
        """Tell, once, of an item that OpenTelemetry's own classes would not have made."""
        if not self._refused:
            self._refused = True
            LOG.warning("A %s is lost because it is no complete one: %r. This is logged once.", self._item, error)

    def _tell_shortened(self) -> None:
        if not self.shortened:
            LOG.warning(
                "A %s was longer than %d bytes; its longest values were cut, see its attribute %s. Raise "
                "%s to keep more, if what reads the files takes longer lines. This is logged once.",
                self._item,
                self._limit,
                TRUNCATED_BYTES,
                MAX_LINE_BYTES,
            )


class FileExporter:
    """What is the same in the exporters of all signals."""

    _output: Output

    @property
    def path(self) -> str | None:
        """The file this process writes now; None before its first line."""
        return self._output.sink.path

    def force_flush(self, *_args: Any, **_options: Any) -> bool:
        """Return True: `export` leaves nothing unwritten."""
        return True

    def shutdown(self, *_args: Any, **_options: Any) -> None:
        """Close the file. Later exports are FAILURE."""
        self._output.sink.close()
