"""Other tracers of the same frameworks that are on in this process: said once, never touched.

Their spans and ours would both be written. Nobody's are wrong, but there are two of each.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import LOG

if TYPE_CHECKING:
    from collections.abc import Iterator

# (module, class of the instrumentor in it, its distribution)
_INSTRUMENTORS: Final = (
    ("opentelemetry.instrumentation.genai.langchain", "LangChainInstrumentor", "genai-langchain"),
    ("opentelemetry.instrumentation.langchain", "LangchainInstrumentor", "OpenLLMetry"),
    ("openinference.instrumentation.langchain", "LangChainInstrumentor", "OpenInference"),
)
_LANGFUSE: Final = "langfuse.langchain.CallbackHandler"  # its module; it is switched on by handing it to each call


def active() -> Iterator[str]:
    """Names of the other tracers that are switched on."""
    for module, name, product in _INSTRUMENTORS:
        instrumentor: Any = getattr(sys.modules.get(module), name, None)
        if getattr(instrumentor, "_is_instrumented_by_opentelemetry", False) or getattr(
            getattr(instrumentor, "_instance", None), "_is_instrumented_by_opentelemetry", False
        ):
            yield f"{product}'s {name}"
    if _LANGFUSE in sys.modules:
        yield "Langfuse's CallbackHandler"


def say_once() -> None:
    """One line in the log for all of them."""
    found = ", ".join(active())
    if found:
        LOG.warning(
            "LangChain and LangGraph are traced twice: by spanloom and by %s. Keep one: leave the other out, or switch "
            "spanloom's off with OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=langgraph.",
            found,
        )
