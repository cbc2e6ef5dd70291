"""What waits in the spool, and what it has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom.doctor import folders
from spanloom.doctor.finding import NOTE, OK, WARN, Said

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTING: Final = "SPANLOOM_SPOOL_DIR"
_UNITS: Final = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


def findings() -> Iterator[Said]:
    """Yield whether there is a spool, and the state of each destination in it."""
    from spanloom_otlp import spool_directory, spool_state

    directory = spool_directory()
    if directory is None:
        yield Said(NOTE, f"{_SETTING} is not set: what a backend does not take for a minute or so is lost")
        return
    yield folders.tried("spool", directory, _SETTING)
    if not directory.is_dir():
        return
    for state in spool_state(directory):
        if state.waiting_spans or state.waiting_bytes:
            since = "" if state.oldest_seconds is None else f", the oldest for {_duration(state.oldest_seconds)}"
            yield Said(
                WARN,
                f"{state.name}: waiting in {state.folder}: {_spans(state.waiting_spans)}, {state.waiting_bytes:,} bytes"
                f"{since}; a program with this setting sends them as soon as the backend takes them",
            )
        else:
            yield Said(OK, f"{state.name}: nothing waits")
        if state.refused_spans:
            yield Said(
                WARN,
                f"{state.name}: refused by the backend, and put aside in {state.folder}: "
                f"{_spans(state.refused_spans)}; what is not needed can be deleted there",
            )
        if state.lost:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(state.lost.items()))
            yield Said(WARN, f"{state.name}: lost so far: {_spans(sum(state.lost.values()))} ({reasons})")


def _spans(count: int) -> str:
    return f"{count:,} span{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    name, unit = next((name, unit) for name, unit in _UNITS if seconds >= 2 * unit or unit == 1)
    return f"{seconds / unit:.0f} {name}"
