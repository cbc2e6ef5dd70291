"""Text that is safe and measurable in a terminal.

Span data is written by programs, models and tools, so it is hostile until cleaned: an escape sequence in a tool
result must not move the cursor, retitle the window or hide a line of the trace.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

# C0 and C1 controls, line separators, bidirectional overrides, byte order mark, lone surrogates.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000


def clean(text: str) -> str:
    r"""One printable line: line ends and tabs become spaces, what could drive a terminal becomes `\x1b`."""
    return _UNSAFE.sub(_visible, text) if _UNSAFE.search(text) else text


def _visible(match: re.Match[str]) -> str:
    char = match.group()
    if char in "\n\r\t":
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shown(value: object) -> str:
    """A value for a line: text cleaned, numbers as they are, nothing for None."""
    return "" if value is None else clean(value if type(value) is str else str(value))


def listed(value: object) -> str:
    """A list's items for a line, separated by commas; anything else as `shown`."""
    return ", ".join(map(shown, cast("list[object]", value))) if isinstance(value, list) else shown(value)


def type_name(text: str) -> str:
    """`RateLimitError` of `openai.RateLimitError`; what is no dotted name as it is."""
    name = text.rpartition(".")[2]
    return name if name.isidentifier() else text


def width(text: str) -> int:
    """How many terminal cells `text` (cleaned) takes: wide East Asian characters two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, cells: int, ellipsis: str = "") -> str:
    """`text` (cleaned) in at most `cells` cells; what is cut is marked with `ellipsis` where that fits."""
    if width(text) <= cells:
        return text
    room = cells - len(ellipsis)
    return text[: _fitting(text, room)] + ellipsis if room > 0 else text[: _fitting(text, cells)]


def _fitting(text: str, cells: int) -> int:
    """How many characters of `text` fit."""
    if text.isascii():
        return max(cells, 0)
    used = 0
    for index, char in enumerate(text):
        used += _cells(char)
        if used > cells:
            return index
    return len(text)


def wrap(text: str, cells: int) -> Iterator[str]:
    """The lines of `text`, cleaned and broken (at a space where one is near) to at most `cells` cells."""
    for raw in text.splitlines() or [""]:
        line = clean(raw.expandtabs(4))
        while width(line) > cells:
            fit = max(_fitting(line, cells), 1)
            space = line.rfind(" ", fit // 2, fit + 1)
            cut = space if space > 0 else fit
            yield line[:cut]
            line = line[cut:].lstrip(" ")
        yield line


def number(value: int) -> str:
    """`12,345`."""
    return f"{value:,}"


def plural(count: int, noun: str) -> str:
    """`1 span`, `2 spans`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(nanos: int) -> str:
    """A duration in at most eight ASCII characters; `?` where it is unknown or runs backwards."""
    if nanos < 0:
        return "?"
    if nanos < 10 * _MILLISECOND:
        return f"{nanos / _MILLISECOND:.2f}ms"
    if nanos < _SECOND:
        return f"{nanos // _MILLISECOND}ms"
    seconds = nanos // _SECOND
    if seconds < 60:
        return f"{nanos // (10 * _MILLISECOND) / 100:.2f}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h {seconds // 60 % 60:02d}m"
    return f"{seconds // 86_400}d {seconds // 3600 % 24:02d}h"
