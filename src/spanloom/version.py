"""spanloom's version, as the installed distribution has it."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _read() -> str:
    try:
        return version("spanloom")
    except PackageNotFoundError:  # run from a bare source tree
        return "0.0.0"


VERSION: Final = _read()
