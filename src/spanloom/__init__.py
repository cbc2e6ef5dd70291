"""spanloom: exact OpenTelemetry traces of AI workflows.

    import spanloom

    spanloom.init()  # or, without a line of code: `spanloom run app.py`, `opentelemetry-instrument python app.py`

Names are imported on first use, so that `import spanloom` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spanloom.call import Call, current
    from spanloom.config import Config
    from spanloom.logprocessor import SpanloomLogProcessor
    from spanloom.manual import agent, chat, embeddings, node, rerank, retrieval, tool, workflow
    from spanloom.processor import SpanloomProcessor
    from spanloom.scores import evaluation, feedback
    from spanloom.sdk import flush, init, shutdown
    from spanloom.sessions import session, session_from_baggage
    from spanloom.version import VERSION as __version__  # noqa: N811  the name that everybody expects

__all__ = [
    "Call",
    "Config",
    "SpanloomLogProcessor",
    "SpanloomProcessor",
    "__version__",
    "agent",
    "chat",
    "current",
    "embeddings",
    "evaluation",
    "feedback",
    "flush",
    "init",
    "node",
    "rerank",
    "retrieval",
    "session",
    "session_from_baggage",
    "shutdown",
    "tool",
    "workflow",
]

_HOMES: Final = {
    "Call": ("spanloom.call", "Call"),
    "Config": ("spanloom.config", "Config"),
    "SpanloomLogProcessor": ("spanloom.logprocessor", "SpanloomLogProcessor"),
    "SpanloomProcessor": ("spanloom.processor", "SpanloomProcessor"),
    "__version__": ("spanloom.version", "VERSION"),
    "agent": ("spanloom.manual", "agent"),
    "chat": ("spanloom.manual", "chat"),
    "current": ("spanloom.call", "current"),
    "embeddings": ("spanloom.manual", "embeddings"),
    "evaluation": ("spanloom.scores", "evaluation"),
    "feedback": ("spanloom.scores", "feedback"),
    "flush": ("spanloom.sdk", "flush"),
    "init": ("spanloom.sdk", "init"),
    "node": ("spanloom.manual", "node"),
    "rerank": ("spanloom.manual", "rerank"),
    "retrieval": ("spanloom.manual", "retrieval"),
    "session": ("spanloom.sessions", "session"),
    "session_from_baggage": ("spanloom.sessions", "session_from_baggage"),
    "shutdown": ("spanloom.sdk", "shutdown"),
    "tool": ("spanloom.manual", "tool"),
    "workflow": ("spanloom.manual", "workflow"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value
