"""Whether a folder can be written."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from spanloom.doctor.finding import FAIL, OK, WARN, Said

if TYPE_CHECKING:
    from pathlib import Path

_LITTLE: Final = 64 * 1024**2


def tried(name: str, folder: Path, setting: str) -> Said:
    """Try to write there. The folder is not made.

    Args:
        name: what writes there.
        folder: its absolute path.
        setting: the variable that names it.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(20, "not a folder", str(there))
        if there == folder:
            with tempfile.TemporaryFile(dir=there):
                pass
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission", str(there))
        free = shutil.disk_usage(there).free
    except OSError as exc:
        return Said(
            FAIL, f"{name}: nothing can be written to {folder} ({exc.strerror}); set {setting} to another folder"
        )
    if free < _LITTLE:
        return Said(WARN, f"{name}: only {free // 1024**2} MB are free in {folder}")
    return Said(OK, f"{name}: files can be written to {folder}{'' if there == folder else ', which will be made'}")
