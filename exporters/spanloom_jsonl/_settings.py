"""What the exporter reads from its arguments and the environment; bad values are named once, never fatal."""

import logging
import os
from pathlib import Path
from typing import Final

LOG: Final = logging.getLogger("spanloom_jsonl")

DIR: Final = "SPANLOOM_JSONL_DIR"
MAX_LINE_BYTES: Final = "SPANLOOM_JSONL_MAX_LINE_BYTES"

DEFAULT_DIR: Final = ".spanloom"
# Half of what the collector's file receivers take by default (1 MiB).
DEFAULT_LINE_BYTES: Final = 512 * 1024
LEAST_LINE_BYTES: Final = 4096


def directory(given: str | os.PathLike[str] | None) -> Path:
    """Return the absolute directory to write to: `given`, else `SPANLOOM_JSONL_DIR`, else `.spanloom`.

    Absolute from the start, so that a program that changes its directory still writes one file.
    """
    chosen = Path(given if given is not None else os.environ.get(DIR, "").strip() or DEFAULT_DIR)
    try:
        return chosen.expanduser().absolute()
    except (OSError, RuntimeError):  # no current directory, no such home: writing will say so
        return chosen


def max_line_bytes(given: int | None) -> int:
    """Return the longest line to write: `given`, else `SPANLOOM_JSONL_MAX_LINE_BYTES`, else 512 KiB.

    A value that is no whole number or below 4096 is logged, and the default is used.
    """
    name, value = ("max_line_bytes", given) if given is not None else (MAX_LINE_BYTES, os.environ.get(MAX_LINE_BYTES))
    if value is None or value == "":
        return DEFAULT_LINE_BYTES
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number >= LEAST_LINE_BYTES:
        return number
    LOG.warning(
        "%s=%r is not understood: give a whole number of bytes, %d or more. Lines of up to %d bytes are written.",
        name,
        value,
        LEAST_LINE_BYTES,
        DEFAULT_LINE_BYTES,
    )
    return DEFAULT_LINE_BYTES
