"""One line per trace: when, how long, how much, and the id to open it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom.view.terminal import conversations, local_time
from spanloom.view.text import clean, clip, duration, number

if TYPE_CHECKING:
    from spanloom.view.look import Look
    from spanloom.view.tree import Trace

_ROW: Final = "{:<19} {:>8} {:>8} {:>17} {:>6}  {:<32}  {}"
HEADING: Final = _ROW.format("TIME", "DURATION", "SPANS", "TOKENS IN/OUT", "ERRORS", "TRACE", "NAME")
_NARROWEST_NAME: Final = 20
_LONGEST_CONVERSATION: Final = 60


def row(trace: Trace, look: Look) -> str:
    """The line of `trace`; a `+` behind the number of spans says that earlier ones were not read.

    A conversation stands behind the name, also beyond the width: what is looked for must not be cut.
    """
    rollup = trace.rollup
    tokens = f"{number(rollup.usage.input)}/{number(rollup.usage.output)}" if any(rollup.usage) else "-"
    line = _ROW.format(
        local_time(trace.start),
        duration(trace.end - trace.start),
        number(rollup.spans) + ("+" if trace.partial else ""),
        tokens,
        number(rollup.errors) if rollup.errors else "-",
        clean(trace.trace_id),
        "",
    )
    room = max(look.width - len(line), _NARROWEST_NAME)
    name = clip(clean(trace.name) or "(unnamed)", room, look.glyphs.ellipsis)
    row = line + look.paint(name, "red" if rollup.errors else "bold")
    told = clip(conversations(trace), _LONGEST_CONVERSATION, look.glyphs.ellipsis)
    return f"{row}  {look.paint(told, 'dim')}" if told else row
