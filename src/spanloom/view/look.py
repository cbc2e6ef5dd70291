"""How output looks on one stream: its width, its colours, and the characters it can show."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

PIPE_WIDTH: Final = 120
_NARROWEST: Final = 40
_COLOURS: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bold red": "1;31",
}


class Glyphs(NamedTuple):
    """The characters of a tree. `eighths` are the parts of a bar's last cell, from an eighth to seven."""

    branch: str
    corner: str
    line: str
    gap: str
    full: str
    eighths: str
    arrow: str
    dot: str
    cross: str
    ellipsis: str
    bullet: str


UNICODE: Final = Glyphs("├─ ", "└─ ", "│  ", "   ", "█", "▏▎▍▌▋▊▉", "→", " · ", "✗", "…", "•")
ASCII: Final = Glyphs("|- ", "`- ", "|  ", "   ", "=", "", "->", ", ", "x", "...", "*")


class Look(NamedTuple):
    """Width in cells, whether to colour, and the glyphs to draw with."""

    width: int = PIPE_WIDTH
    colour: bool = False
    glyphs: Glyphs = UNICODE

    def paint(self, text: str, style: str) -> str:
        """`text` in `style` (a key of the palette; `""` is none), where colours are on."""
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colour and style and text else text


def look_of(out: TextIO, *, colour: bool = False, width: int | None = None) -> Look:
    """The look for `out`.

    Args:
        out: where the output goes. A terminal gives its own width; pipes and files get 120 cells, so that what
            scripts see does not depend on a window. An encoding without tree characters gets plain ASCII.
        colour: whether to colour (see `colour_wanted`).
        width: use this width instead.
    """
    if width is None:
        try:
            width = os.get_terminal_size(out.fileno()).columns or PIPE_WIDTH
        except (OSError, ValueError, AttributeError):  # no terminal, no file, or a closed one
            width = PIPE_WIDTH
    try:
        "".join(UNICODE).encode(out.encoding or "utf-8")
        glyphs = UNICODE
    except (UnicodeEncodeError, LookupError):
        glyphs = ASCII
    return Look(max(width, _NARROWEST), colour, glyphs)


def colour_wanted(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour on `out`: `NO_COLOR`, then `FORCE_COLOR`, then `TERM=dumb`, then whether it is a terminal.

    The order is that of CPython's own coloured tracebacks (`_colorize.can_colorize`, 3.13).
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and out.isatty()
