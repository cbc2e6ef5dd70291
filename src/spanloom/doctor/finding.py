"""What the doctor says: one line each, and how grave it is."""

from __future__ import annotations

import contextlib
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

OK: Final = "ok"
NOTE: Final = "note"  # nothing to do
WARN: Final = "warn"  # may surprise
FAIL: Final = "fail"  # asked for, and does not work


class Finding(NamedTuple):
    """One line.

    Attributes:
        section: what it is about.
        level: `OK`, `NOTE`, `WARN` or `FAIL`.
        text: what was found, and what to do about it.
    """

    section: str
    level: str
    text: str


class Said(NamedTuple):
    """A finding of a part, which does not know its section."""

    level: str
    text: str


def examined(section: str, module: str, **options: Any) -> Iterator[Finding]:
    """Yield what the `findings(**options)` of a module yields, and what was logged meanwhile as warnings.

    Whatever it raises is a finding as well.
    """
    parts = _parts(module, options)
    while True:
        with heard() as lines:
            try:
                said = next(parts, None)
            except Exception as exc:  # a broken package can raise anything; after it the generator is at its end
                said = Said(FAIL, f"This cannot be examined further: {type(exc).__name__}: {exc}")
        yield from (Finding(section, WARN, line) for line in lines)
        if said is None:
            return
        yield Finding(section, *said)


def _parts(module: str, options: dict[str, Any]) -> Iterator[Said]:
    yield from import_module(module).findings(**options)


@contextlib.contextmanager
def heard() -> Generator[list[str]]:
    """Collect what is logged as a warning or worse, in place of printing it; each line once."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(Exception):  # a message whose arguments do not fit
                line = " ".join(record.getMessage().split())
                if line not in lines:
                    lines.append(line)

    root, ear = logging.getLogger(), Ear(logging.WARNING)
    root.addHandler(ear)
    try:
        yield lines
    finally:
        root.removeHandler(ear)
