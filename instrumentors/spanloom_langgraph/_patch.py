"""Which modules are patched when the program imports them, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom_langgraph._embeddings import patch_embeddings
from spanloom_langgraph._graphs import patch_graphs
from spanloom_langgraph._llms import patch_llms
from spanloom_langgraph._models import patch_chat_models
from spanloom_langgraph._retrievers import patch_retrievers
from spanloom_langgraph._tools import patch_tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from spanloom.instrument import Patches, Telemetry

# Each is called with (the imported module, where spans go, what remembers the replaced).
TARGETS: Final[dict[str, Callable[[ModuleType, Telemetry, Patches], None]]] = {
    "langgraph.pregel": patch_graphs,
    "langchain_core.language_models.chat_models": patch_chat_models,
    "langchain_core.language_models.llms": patch_llms,
    "langchain_core.tools.base": patch_tools,
    "langchain_core.retrievers": patch_retrievers,
    "langchain_core.embeddings.embeddings": patch_embeddings,
}
