"""The variables that are read here; bad values are named once, never fatal."""

import logging
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

LOG: Final = logging.getLogger("spanloom_otlp")

SPOOL_DIR: Final = "SPANLOOM_SPOOL_DIR"
SPOOL_MAX_BYTES: Final = "SPANLOOM_SPOOL_MAX_BYTES"
SPOOL_MAX_AGE: Final = "SPANLOOM_SPOOL_MAX_AGE"
COMPAT: Final = "SPANLOOM_COMPAT"

DEFAULT_BYTES: Final = 512 * 1024**2
LEAST_BYTES: Final = 1024**2
DEFAULT_AGE: Final = 7 * 86_400.0

_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_TIMES: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def spool_directory() -> Path | None:
    """The absolute directory that `SPANLOOM_SPOOL_DIR` names; None without one."""
    given = os.environ.get(SPOOL_DIR, "").strip()
    return absolute(given) if given else None


def compat_asked() -> bool:
    """Whether `SPANLOOM_COMPAT` asks for anything."""
    return bool(os.environ.get(COMPAT, "").strip())


def grpc_endpoint(given: str | None) -> str:
    """The address of OTLP over gRPC, as the official exporter finds it."""
    variables = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return given or next(filter(None, map(os.environ.get, variables)), "http://localhost:4317")


def absolute(given: str | os.PathLike[str]) -> Path:
    """`given`, such that a program that changes its directory still means the same."""
    path = Path(given)
    try:
        return path.expanduser().absolute()
    except (OSError, RuntimeError):  # no current directory, no such home: writing will say so
        return path


def spool_max_bytes(given: int | None = None) -> int:
    """Return how many bytes one destination's spool may take: `given`, else `SPANLOOM_SPOOL_MAX_BYTES`, else 512 MiB.

    Raises:
        ValueError: `given` is less than 1 MiB.
    """
    if given is not None:
        if given < LEAST_BYTES:
            raise ValueError(f"max_bytes={given}: give {LEAST_BYTES} or more")
        return given
    text = os.environ.get(SPOOL_MAX_BYTES, "").strip()
    found = re.fullmatch(r"(\d{1,18})\s*([kmgt]?)(?:i?b)?", text.lower())
    number = int(found[1]) * _UNITS[found[2]] if found else 0
    if number >= LEAST_BYTES:
        return number
    if text:
        _reject(SPOOL_MAX_BYTES, text, "a number of bytes such as 536870912 or 512MiB, 1MiB or more", "512MiB")
    return DEFAULT_BYTES


def spool_max_age(given: float | None = None) -> float:
    """Return how many seconds spans may wait: `given`, else `SPANLOOM_SPOOL_MAX_AGE`, else those of 7 days.

    Raises:
        ValueError: `given` is not positive.
    """
    if given is not None:
        if given <= 0:
            raise ValueError(f"max_age={given}: give a positive number of seconds")
        return given
    text = os.environ.get(SPOOL_MAX_AGE, "").strip()
    found = re.fullmatch(r"(\d{1,12})\s*([smhd]?)", text.lower())
    seconds = int(found[1]) * _TIMES[found[2]] if found else 0
    if seconds:
        return float(seconds)
    if text:
        _reject(SPOOL_MAX_AGE, text, "a number of seconds such as 3600, or 90m, 12h, 7d", "7d")
    return DEFAULT_AGE


def compat(given: str | Iterable[str] | None, known: Collection[str]) -> list[str]:
    """Return the names that spans are also to have: `given`, else those of `SPANLOOM_COMPAT`; each once.

    Args:
        given: a list, or a text with commas.
        known: the names that there are; others are logged, in one line.
    """
    chosen = os.environ.get(COMPAT, "") if given is None else given
    listed = chosen.split(",") if isinstance(chosen, str) else chosen
    names = list(dict.fromkeys(name for name in (part.strip().lower() for part in listed) if name))
    unknown = [name for name in names if name not in known]
    if unknown:
        _reject(COMPAT, ",".join(unknown), f"a list of {', '.join(known)}", "the rest of the list")
    return [name for name in names if name in known]


def _reject(name: str, value: str, accepted: str, used: str) -> None:
    LOG.warning("%s=%s is not understood; accepted: %s. Using %s.", name, value, accepted, used)
