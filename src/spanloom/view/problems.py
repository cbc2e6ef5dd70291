"""What could not be read, collected while reading and told at the end: never fatal, never silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom.view.files import PACKED
from spanloom.view.text import clean, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMED: Final = 5
_COUNTABLE: Final = 1 << 26  # up to here in a file, counting its lines costs no noticeable time
_BLOCK: Final = 1 << 20


class Problems:
    """Counts broken lines and names the first few; keeps incomplete last lines and unreadable files apart."""

    def __init__(self) -> None:
        self.broken = 0
        self._named: list[tuple[str, int, str]] = []
        self._incomplete: dict[str, None] = {}
        self._unreadable: dict[str, str] = {}

    def broken_line(self, path: str, offset: int, reason: str) -> None:
        """A line (at byte `offset`) that is no trace data, wholly or in part."""
        self.broken += 1
        if len(self._named) < _NAMED:
            self._named.append((path, offset, reason))

    def incomplete_line(self, path: str) -> None:
        """A last line without its end: its writer is still at work, or was killed."""
        self._incomplete[path] = None

    def unreadable(self, path: str, error: OSError) -> None:
        """A file that could not be opened or read to its end."""
        self._unreadable[path] = error.strerror or str(error)

    def report(self) -> Iterator[str]:
        """The findings, a line each."""
        if self.broken:
            more = self.broken - len(self._named)
            yield f"{plural(self.broken, 'broken line')} skipped:"
            for path, offset, reason in self._named:
                yield f"  {clean(path)}, {_place(path, offset)}: {clean(reason)}"
            if more:
                yield f"  and {more:,} more"
        for path in self._incomplete:
            yield f"incomplete last line skipped (its program is still writing, or was killed): {clean(path)}"
        for path, reason in self._unreadable.items():
            yield f"cannot read {clean(path)}: {clean(reason)}"


def _place(path: str, offset: int) -> str:
    """`line 12` where that can be found out quickly (files are read backwards, so only offsets are known)."""
    if offset <= _COUNTABLE and not path.endswith(PACKED):
        try:
            with open(path, "rb") as file:  # noqa: PTH123  paths are text here
                lines = 1
                while offset > 0 and (data := file.read(min(offset, _BLOCK))):
                    lines += data.count(b"\n")
                    offset -= len(data)
        except OSError:
            return f"byte {offset}"
        return f"line {lines}"
    return f"byte {offset}"
