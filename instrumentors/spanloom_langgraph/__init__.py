"""OpenTelemetry instrumentation for LangGraph and LangChain's core: runs, nodes, edges, interrupts, models, tools.

    from spanloom_langgraph import LangGraphInstrumentor

    LangGraphInstrumentor().instrument()

or without a line of code: `opentelemetry-instrument python app.py`, `spanloom run app.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import GatedInstrumentor, Patches, Telemetry, on_import
from spanloom_langgraph._patch import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

__all__ = ["LangGraphInstrumentor"]

# LangGraph stands on LangChain's core, whose models, tools and retrievers are traced without LangGraph too.
_DEPENDENCIES: Final = ("langchain-core >= 0.3.29",)


class LangGraphInstrumentor(GatedInstrumentor):
    """Traces LangGraph, and the models, tools, retrievers and embeddings of LangChain's core.

    `instrument(tracer_provider=None, meter_provider=None, logger_provider=None, config=None)` wraps functions of the
    frameworks' own modules and classes, now where these are imported and else when they are; graphs, models and tools
    may exist already. `uninstrument()` restores them. The package `langchain` is not needed.
    """

    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """What the version gate asks for."""
        return _DEPENDENCIES

    def _instrument(self, **kwargs: Any) -> None:
        telemetry = Telemetry.create(
            __name__,
            kwargs.get("tracer_provider"),
            kwargs.get("config"),
            meter_provider=kwargs.get("meter_provider"),
            logger_provider=kwargs.get("logger_provider"),
        )
        patches = self._patches = Patches()

        def once(patch: Callable[[ModuleType, Telemetry, Patches], None]) -> Callable[[ModuleType], None]:
            def patch_once(module: ModuleType) -> None:
                if self._patches is patches:  # not uninstrumented (and perhaps instrumented anew) in the meantime
                    patch(module, telemetry, patches)

            return patch_once

        for module, patch in TARGETS.items():
            on_import(module, once(patch))

    def _uninstrument(self, **_: Any) -> None:
        if self._patches is not None:
            self._patches.restore()
            self._patches = None
