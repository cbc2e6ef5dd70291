"""Which modules are patched when the program imports them, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom_langgraph._graphs import patch_graphs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from spanloom.instrument import Patches, Telemetry

# Each is called with (the imported module, where spans go, what remembers the replaced).
TARGETS: Final[dict[str, Callable[[ModuleType, Telemetry, Patches], None]]] = {
    "langgraph.pregel": patch_graphs,
}
