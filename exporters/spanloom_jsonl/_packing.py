"""The ways to compress a file: which there are here, and how to open one."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import IO, Any, Final

GZIP: Final = "gzip"
ZSTD: Final = "zstd"
PACKINGS: Final = {GZIP: ".gz", ZSTD: ".zst"}
"""The suffix of each."""

_GZIP_LEVEL: Final = 6  # gzip's own default; Python's is 9, which takes twice as long for 2% less

# Python 3.14 brings its own; before, `spanloom[zstd]` does.
_ZSTD_MODULE: Final = "compression.zstd" if sys.version_info >= (3, 14) else "zstandard"


_MODULES: Final = {GZIP: "gzip", ZSTD: _ZSTD_MODULE}


def load(packing: str) -> bool:
    """Import what the packing needs; return whether that is installed.

    Beforehand, in the caller's thread: a process that forks while another thread imports has a lock that nobody
    releases.
    """
    try:
        import_module(_MODULES[packing])
    except ImportError:
        return False
    return True


def open_packed(packing: str, file: IO[bytes]) -> Any:
    """Return a binary file that compresses what is written to it into `file`; `load` must have said yes."""
    options = {"compresslevel": _GZIP_LEVEL} if packing == GZIP else {}
    return sys.modules[_MODULES[packing]].open(file, "wb", **options)
