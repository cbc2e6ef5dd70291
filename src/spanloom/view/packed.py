"""Compressed files, unpacked for reading.

Reading backwards needs a file that can be sought in, so the text goes to a temporary one (readable by its owner
only, gone afterwards): memory stays small, and nothing is unpacked before it is reached.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_CHUNK: Final = 1 << 20


@contextmanager
def unpacked(path: str, failed: Callable[[OSError], None]) -> Generator[tuple[str, int]]:
    """The path and length of a file with the text of the compressed one at `path`, while open.

    Args:
        path: the compressed file, `.gz` or `.zst`.
        failed: told where it cannot be unpacked to its end; what could be is there all the same.

    Raises:
        OSError: it cannot be opened, or there is no room for its text.
    """
    with open(path, "rb") as source:  # noqa: PTH123  paths are text here
        descriptor, name = tempfile.mkstemp(".jsonl", "spanloom-")
        try:
            with os.fdopen(descriptor, "wb") as target:
                _unpack(path, source, target, failed)
                size = target.tell()
            yield name, size
        finally:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108


def _unpack(path: str, source: IO[bytes], target: IO[bytes], failed: Callable[[OSError], None]) -> None:
    try:
        text, damages = _reader(path, source)
    except ImportError:
        failed(OSError("zstd needs pip install 'spanloom[zstd]'"))
        return
    with text:
        while True:
            try:
                data = text.read(_CHUNK)
            except damages as error:
                failed(OSError(f"damaged: {error}"))
                return
            if not data:
                return
            target.write(data)


def _reader(path: str, source: IO[bytes]) -> tuple[Any, tuple[type[Exception], ...]]:
    """A binary file with the text of `source`, and what reading it raises where that is damaged."""
    if path.endswith(".gz"):
        gzip, zlib = import_module("gzip"), import_module("zlib")
        return gzip.open(source, "rb"), (gzip.BadGzipFile, zlib.error, EOFError)
    if sys.version_info >= (3, 14):
        zstd = import_module("compression.zstd")
        return zstd.open(source, "rb"), (zstd.ZstdError, EOFError)
    zstd = import_module("zstandard")
    return zstd.ZstdDecompressor().stream_reader(source, read_across_frames=True), (zstd.ZstdError,)
