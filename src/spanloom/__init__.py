"""spanloom: exact OpenTelemetry traces of AI workflows.

    import spanloom

    spanloom.init()  # or, without a line of code: `spanloom run app.py`, `opentelemetry-instrument python app.py`

Names are imported on first use, so that `import spanloom` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spanloom.config import Config
    from spanloom.processor import SpanloomProcessor
    from spanloom.sdk import flush, init, shutdown
    from spanloom.version import VERSION as __version__  # noqa: N811  the name that everybody expects

__all__ = ["Config", "SpanloomProcessor", "__version__", "flush", "init", "shutdown"]

_HOMES: Final = {
    "Config": ("spanloom.config", "Config"),
    "SpanloomProcessor": ("spanloom.processor", "SpanloomProcessor"),
    "__version__": ("spanloom.version", "VERSION"),
    "flush": ("spanloom.sdk", "flush"),
    "init": ("spanloom.sdk", "init"),
    "shutdown": ("spanloom.sdk", "shutdown"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value
