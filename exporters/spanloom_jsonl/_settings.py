"""What the exporters read from their arguments and the environment; bad values are named once, never fatal."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from spanloom_jsonl._packing import GZIP, PACKINGS, load

if TYPE_CHECKING:
    from collections.abc import Callable

LOG: Final = logging.getLogger("spanloom_jsonl")

DIR: Final = "SPANLOOM_JSONL_DIR"
MAX_LINE_BYTES: Final = "SPANLOOM_JSONL_MAX_LINE_BYTES"
MAX_BYTES: Final = "SPANLOOM_JSONL_MAX_BYTES"
MAX_AGE: Final = "SPANLOOM_JSONL_MAX_AGE"
MAX_FILES: Final = "SPANLOOM_JSONL_MAX_FILES"
COMPRESS: Final = "SPANLOOM_JSONL_COMPRESS"
FSYNC: Final = "SPANLOOM_JSONL_FSYNC"
RUNNING: Final = "SPANLOOM_JSONL_RUNNING"

DEFAULT_DIR: Final = ".spanloom"
# Half of what the collector's file receivers take by default (1 MiB).
DEFAULT_LINE_BYTES: Final = 512 * 1024
LEAST_LINE_BYTES: Final = 4096
DEFAULT_BYTES: Final = 100 * 1024 * 1024

_UNITS: Final = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SWITCHES: Final = {"true": True, "1": True, "yes": True, "on": True} | {
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip


class FileOptions(TypedDict, total=False):
    """Keyword arguments of every exporter. What is left out or None comes from the environment.

    Attributes:
        max_line_bytes: the longest line, at least 4096. A bigger batch becomes several lines; a single bigger item
            is shortened and marked with `spanloom.truncated_bytes`. Default: `SPANLOOM_JSONL_MAX_LINE_BYTES`,
            else 512 KiB.
        max_bytes: a file that would become longer is left, and the next part begun; 0 for no limit. Default:
            `SPANLOOM_JSONL_MAX_BYTES` (bytes, or a number such as `100MiB`), else 100 MiB.
        max_age: likewise a file that was begun so many seconds ago; 0 for no limit. Default:
            `SPANLOOM_JSONL_MAX_AGE` (seconds, or a number with `s`, `m`, `h` or `d`), else 0.
        max_files: how many files of the signal stay in the directory; the oldest of those that nobody writes are
            removed, whoever wrote them. 0 for all. Default: `SPANLOOM_JSONL_MAX_FILES`, else 0.
        compress: `"gzip"` or `"zstd"` for parts that are finished, `"none"`. Default: `SPANLOOM_JSONL_COMPRESS`,
            else none.
        fsync: have each line on the disk, not only with the operating system, before it counts as written.
            Default: `SPANLOOM_JSONL_FSYNC`, else no.
    """

    max_line_bytes: int | None
    max_bytes: int | None
    max_age: float | None
    max_files: int | None
    compress: str | None
    fsync: bool | None


@dataclass(frozen=True)
class Settings:
    """What holds for the files of one exporter; see `FileOptions`. `packing` is empty or the name of a compression."""

    directory: Path
    max_line_bytes: int = DEFAULT_LINE_BYTES
    max_bytes: int = DEFAULT_BYTES
    max_age: float = 0
    max_files: int = 0
    packing: str = ""
    fsync: bool = False

    @classmethod
    def read(
        cls,
        given: str | os.PathLike[str] | None = None,
        *,
        max_line_bytes: int | None = None,
        max_bytes: int | None = None,
        max_age: float | None = None,
        max_files: int | None = None,
        compress: str | None = None,
        fsync: bool | None = None,
    ) -> Settings:
        """Take each value from its argument, else from its variable, else the default."""
        return cls(
            directory(given),
            _value(
                ("max_line_bytes", max_line_bytes),
                MAX_LINE_BYTES,
                lambda value: _whole(value, LEAST_LINE_BYTES),
                f"a whole number of bytes, {LEAST_LINE_BYTES} or more",
                DEFAULT_LINE_BYTES,
            ),
            _value(
                ("max_bytes", max_bytes),
                MAX_BYTES,
                _size,
                "a number of bytes such as 104857600 or 100MiB, or 0 for no limit",
                DEFAULT_BYTES,
            ),
            _value(
                ("max_age", max_age), MAX_AGE, _seconds, "a number of seconds, or one with m, h or d such as 12h", 0
            ),
            _value(("max_files", max_files), MAX_FILES, _whole, "a whole number, or 0 to keep all", 0),
            _usable(_value(("compress", compress), COMPRESS, _packing, f"none, {', '.join(PACKINGS)}", "")),
            _value(("fsync", fsync), FSYNC, _switch, "true, false", default=False),
        )


def directory(given: str | os.PathLike[str] | None) -> Path:
    """Return the absolute directory to write to: `given`, else `SPANLOOM_JSONL_DIR`, else `.spanloom`.

    Absolute from the start, so that a program that changes its directory still writes one file.
    """
    chosen = Path(given if given is not None else os.environ.get(DIR, "").strip() or DEFAULT_DIR)
    try:
        return chosen.expanduser().absolute()
    except (OSError, RuntimeError):  # no current directory, no such home: writing will say so
        return chosen


def running(given: bool | None) -> bool:
    """Return whether spans that run are recorded: `given`, else `SPANLOOM_JSONL_RUNNING`, else no."""
    return _value(("running", given), RUNNING, _switch, "true, false", default=False)


def _value(argument: tuple[str, Any], variable: str, parse: Callable[[Any], Any], accepted: str, default: Any) -> Any:
    """Return what `parse` makes of the argument or variable; the default where both are missing or broken."""
    name, value = argument
    if value is None:
        name, value = variable, os.environ.get(variable, "").strip()
        if not value:
            return default
    try:
        return parse(value)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        shown = str(default).lower() if default != "" else "none"
        LOG.warning("%s=%r is not understood: give %s. It is %s meanwhile.", name, value, accepted, shown)
        return default


def _whole(value: Any, least: int = 0) -> int:
    number = int(value)
    if number < least or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return number


def _size(value: Any) -> int:
    match = re.fullmatch(r"(\d+)\s*([kmgt])(?:i?b)?", value.lower()) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else _whole(value)


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smhd]?)", value.lower())
        if match is None:
            raise ValueError(value)
        value = float(match[1]) * _SECONDS[match[2]]
    seconds = float(value)
    if not 0 <= seconds < float("inf"):
        raise ValueError(value)
    return seconds


def _switch(value: Any) -> bool:
    return value if isinstance(value, bool) else _SWITCHES[value.lower()]


def _packing(value: Any) -> str:
    name = value.lower()
    if name not in {"none", *PACKINGS}:
        raise ValueError(value)
    return "" if name == "none" else name


def _usable(packing: str) -> str:
    if not packing or load(packing):
        return packing
    LOG.warning(
        "%s=zstd needs pip install 'spanloom[zstd]' (Python 3.14 has it). Finished files are compressed with gzip "
        "meanwhile.",
        COMPRESS,
    )
    load(GZIP)
    return GZIP
