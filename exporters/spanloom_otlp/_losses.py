"""What a spool has lost, counted in a file beside it, for all processes and across restarts."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = "lost.json"
_WIDTH: Final = 256  # always the same length, so that a full disk or a kill leaves no half of it
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":

    def _wait_for(_descriptor: int) -> None:
        """Counts of two processes at once may cost one of them there."""

else:
    import fcntl

    def _wait_for(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def read(folder: Path) -> dict[str, int]:
    """How many spans were lost, by reason: `size`, `age`, `broken`, `memory`, `rejected`, `refused`."""
    try:
        found = json.loads((folder / NAME).read_bytes())
        return {str(reason): int(spans) for reason, spans in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def add(folder: Path, reason: str, spans: int) -> None:
    """Count `spans` more. Never raises: the log has said it too."""
    with suppress(OSError):
        descriptor = os.open(folder / NAME, _FLAGS, 0o600)
        try:
            _wait_for(descriptor)
            counted = read(folder)
            counted[reason] = counted.get(reason, 0) + spans
            os.write(descriptor, json.dumps(counted).encode().ljust(_WIDTH))
        finally:
            os.close(descriptor)
