"""The completion hook of the official GenAI packages, for our model calls: it is handed what was asked and answered.

`OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK` names an entry point of the group `opentelemetry_genai_completion_hook`, a
function without arguments that makes an object with `on_completion` (`opentelemetry.util.genai.completion_hook`). With
`upload`, which comes with `opentelemetry-util-genai`, messages go to files or object storage, and the span gets
references to them. Messages come as that package's types, where it is installed, else as dicts of the same fields.
"""

from __future__ import annotations

import dataclasses
import threading
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom import names
from spanloom.config import COMPLETION_HOOK
from spanloom.guard import LOG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry._logs import LogRecord
    from opentelemetry.trace import Span

_GROUP: Final = "opentelemetry_genai_completion_hook"
_NOTHING: Final = "_NoOpCompletionHook"  # what a hook's maker returns that has told why there is none


class Hook:
    """A hook that is there.

    Args:
        hook: made by the entry point.
    """

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._types = _Types()

    def tell(self, said: Mapping[str, Any], span: Span, record: LogRecord | None) -> None:
        """Hand over what was asked and answered.

        Args:
            said: the conventions' messages, instructions and definitions, by attribute.
            span: of the call, still open; the hook may write to it.
            record: of the call's event, before it is emitted; None where there is none.

        Raises:
            Exception: whatever the hook raises.
        """
        types = self._types
        self._hook.on_completion(
            inputs=types.messages("InputMessage", said.get(names.GEN_AI_INPUT_MESSAGES, ())),
            outputs=types.messages("OutputMessage", said.get(names.GEN_AI_OUTPUT_MESSAGES, ())),
            system_instruction=[types.part(part) for part in said.get(names.GEN_AI_SYSTEM_INSTRUCTIONS, ())],
            tool_definitions=[types.tool(tool) for tool in said.get(names.GEN_AI_TOOL_DEFINITIONS, ())] or None,
            span=span,
            log_record=record,
        )


class _Types:
    """The official package's types; without it dicts stay dicts."""

    def __init__(self) -> None:
        try:
            found: dict[str, Any] = vars(import_module("opentelemetry.util.genai.types"))
        except ImportError:
            found = {}
        self._by_name = {key: kind for key, kind in found.items() if dataclasses.is_dataclass(kind)}
        self._parts = {
            field.default: kind
            for kind in self._by_name.values()
            for field in dataclasses.fields(kind)
            if field.name == "type" and isinstance(field.default, str)
        }
        generic: Any = self._by_name.get("GenericPart")
        if generic is not None:  # which has a field for the type only, as each kind is to bring its own
            self._parts["generic"] = dataclasses.make_dataclass(
                "GenericPart", [("generic_type", str, ""), ("content", object, None)], bases=(generic,)
            )

    def messages(self, name: str, told: Sequence[dict[str, Any]]) -> list[Any]:
        """Input or output messages."""
        kind = self._by_name.get(name)
        return [_made(kind, {**message, "parts": [self.part(part) for part in message["parts"]]}) for message in told]

    def part(self, told: dict[str, Any]) -> Any:
        """A message's part."""
        return _made(self._parts.get(told["type"]), told)

    def tool(self, told: dict[str, Any]) -> Any:
        """A definition of a tool."""
        return _made(self._parts.get(told["type"], self._by_name.get("GenericToolDefinition")), told)


def _made(kind: Any, told: dict[str, Any]) -> Any:
    if kind is None:
        return told
    return kind(**{field.name: told.get(field.name, _default(field)) for field in dataclasses.fields(kind)})


def _default(field: dataclasses.Field[Any]) -> object:
    return None if field.default is dataclasses.MISSING else cast("object", field.default)


class _Loaded:
    """Each hook is made once in a process: it may have threads and connections of its own."""

    lock = threading.Lock()
    hooks: Final[dict[str, Hook | None]] = {}


def hook_named(name: str) -> Hook | None:
    """The hook of that name; None where there is none, which is logged once."""
    with _Loaded.lock:
        if name not in _Loaded.hooks:
            _Loaded.hooks[name] = _load(name)
        return _Loaded.hooks[name]


def _load(name: str) -> Hook | None:
    points = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in points:
        LOG.warning(
            "%s=%s: there is no such hook, so no messages are handed over; installed: %s.",
            COMPLETION_HOOK,
            name,
            ", ".join(sorted(points)) or "none (pip install 'opentelemetry-util-genai[upload]')",
        )
        return None
    try:
        hook = points[name].load()()
    except Exception as exc:
        LOG.warning("%s=%s: the hook cannot be made, so no messages are handed over: %s", COMPLETION_HOOK, name, exc)
        return None
    if not callable(getattr(hook, "on_completion", None)):
        LOG.warning("%s=%s: what it makes is no hook, as it has no on_completion().", COMPLETION_HOOK, name)
        return None
    return None if type(hook).__name__ == _NOTHING else Hook(hook)
