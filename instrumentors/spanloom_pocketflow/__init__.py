"""OpenTelemetry instrumentation for PocketFlow: every flow, node, phase, attempt, batch item and edge as spans.

    from spanloom_pocketflow import PocketFlowInstrumentor

    PocketFlowInstrumentor().instrument()

or without a line of code: `opentelemetry-instrument python app.py`, `spanloom run app.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import LOG, GatedInstrumentor, Patches, Telemetry, on_import
from spanloom_pocketflow._patch import patch

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

    from spanloom.instrument import Config

__all__ = ["PocketFlowInstrumentor"]

_DEPENDENCIES: Final = ("pocketflow >= 0.0.1",)


class PocketFlowInstrumentor(GatedInstrumentor):
    """Traces PocketFlow (0.0.1 and later), or a copy of its source under another import name.

    `instrument(tracer_provider=None, meter_provider=None, config=None)` wraps PocketFlow's own methods on their
    classes, now if PocketFlow is imported and else when it is; nodes and flows may exist already. `uninstrument()`
    restores them.
    """

    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """What the version gate asks for."""
        return _DEPENDENCIES

    def copies(self, config: Config) -> bool:
        """Whether only a copy can be meant, which no installed version says anything about.

        Programs carry PocketFlow's hundred lines themselves, under its own name or another
        (`SPANLOOM_POCKETFLOW_MODULES`). As nothing happens before the program imports it, waiting costs nothing.
        """
        if config.pocketflow_modules != ("pocketflow",):
            return True
        conflict = self._check_dependency_conflicts()
        if conflict is None or conflict.found:
            return False
        LOG.info(
            'PocketFlowInstrumentor: "%s" has no installed version; only a copy that the program imports as '
            "pocketflow will be traced.",
            conflict.required,
        )
        return True

    def _instrument(self, **kwargs: Any) -> None:
        config = kwargs.get("config")
        telemetry = Telemetry.create(
            __name__, kwargs.get("tracer_provider"), config, meter_provider=kwargs.get("meter_provider")
        )
        patches = self._patches = Patches()

        def patch_once(module: ModuleType) -> None:
            if self._patches is patches:  # not uninstrumented (and perhaps instrumented anew) in the meantime
                patch(module, telemetry, patches)

        for module in telemetry.config.pocketflow_modules:
            on_import(module, patch_once)

    def _uninstrument(self, **_: Any) -> None:
        if self._patches is not None:
            self._patches.restore()
            self._patches = None
