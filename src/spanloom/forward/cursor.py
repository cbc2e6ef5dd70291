"""How far each file was forwarded, kept in a file, so that a later run goes on from there.

A file is known by its first line with spans, whose ids no other file has: it keeps its place when it is renamed,
copied or compressed. Each step is one line, appended; a line that a kill has torn is left out.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_DIGITS: Final = 32
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
# A line for each batch; they are made one for each file when so many more than that have come together.
_MOST_LINES: Final = 10_000


def fingerprint(file: IO[bytes]) -> str:
    """Return what a file is known by; empty if there are no spans in it.

    Args:
        file: it, read from here on.
    """
    line = next((line for line in file if b'"spanId"' in line), b"")
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()[:_DIGITS] if line else ""


class Cursor:
    """Offsets by fingerprint, in a file.

    Args:
        path: the file; it is made with the first step.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._offsets: dict[str, int] = {}
        self._descriptor: int | None = None
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for line in lines:
            name, _, offset = line.partition(b" ")
            if len(name) == _DIGITS and line.endswith(b"\n") and offset.strip().isdigit():
                self._offsets[name.decode("ascii", "replace")] = int(offset)
        torn = bool(lines) and not lines[-1].endswith(b"\n")
        if torn or len(lines) > len(self._offsets) + _MOST_LINES:
            self._rewrite()

    def offset(self, name: str) -> int:
        """How many bytes of the file with that fingerprint were forwarded."""
        return self._offsets.get(name, 0)

    def advance(self, offsets: dict[str, int]) -> None:
        """Keep new offsets.

        Raises:
            OSError: they cannot be written.
        """
        named = {name: offset for name, offset in offsets.items() if name}
        self._offsets.update(named)
        if self._descriptor is None:
            self._descriptor = os.open(self.path, _FLAGS, 0o600)
        os.write(self._descriptor, b"".join(_line(name, offset) for name, offset in named.items()))

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _rewrite(self) -> None:
        # Where it cannot be rewritten, the old one does: it is longer, or ends in half a line.
        with suppress(OSError):
            beside = self.path.with_name(f"{self.path.name}.new")
            beside.write_bytes(b"\n" + b"".join(_line(name, offset) for name, offset in self._offsets.items()))
            beside.chmod(0o600)
            beside.replace(self.path)


def _line(name: str, offset: int) -> bytes:
    return f"{name} {offset}\n".encode()
