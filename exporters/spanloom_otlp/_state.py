"""What lies in a spool directory, for people and for `spanloom doctor`: read without disturbing who works there."""

import time
from dataclasses import dataclass
from pathlib import Path

from spanloom_otlp import _losses
from spanloom_otlp._segment import REFUSED, SUFFIX, cursor_of, spans_after


@dataclass(frozen=True)
class SpoolState:
    """What one destination's spool holds.

    Attributes:
        name: the destination's.
        folder: where its files are.
        waiting_spans: spans that are not delivered yet.
        waiting_bytes: the bytes that they take.
        oldest_seconds: how long ago the oldest file with such spans was written to; None if there is none.
        refused_spans: spans that the destination would not take, and that were put aside.
        lost: how many spans were lost so far, by reason: `size` and `age` (the bounds), `broken` (torn by a kill),
            `memory` (the disk could not be written), `rejected` (thrown away by the destination), `refused` (and could
            not be put aside).
    """

    name: str
    folder: Path
    waiting_spans: int
    waiting_bytes: int
    oldest_seconds: float | None
    refused_spans: int
    lost: dict[str, int]


def spool_state(directory: Path) -> list[SpoolState]:
    """Return what is in a spool directory, one entry for each destination that has ever had one there.

    Args:
        directory: what `SPANLOOM_SPOOL_DIR` names.

    Raises:
        OSError: it cannot be read; a directory that is not there has no destinations.
    """
    if not directory.exists():
        return []
    return [_of(folder) for folder in sorted(directory.iterdir()) if folder.is_dir()]


def _of(folder: Path) -> SpoolState:
    spans = size = refused = 0
    oldest: float | None = None
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name.startswith(REFUSED):
            refused += spans_after(path, 0)
            continue
        offset = cursor_of(path)
        try:
            status = path.stat()
        except OSError:  # delivered meanwhile
            continue
        if status.st_size > offset:
            spans += spans_after(path, offset)
            size += status.st_size - offset
            oldest = max(oldest or 0.0, time.time() - status.st_mtime)
    return SpoolState(folder.name, folder, spans, size, oldest, refused, _losses.read(folder))
