"""What was asked and answered in model calls, for others than the span: the conventions' event, and a completion hook.

The event is the log record `gen_ai.client.inference.operation.details`, in the context of the call's span. It has the
span's attributes, and the messages as structures. It is emitted where content is asked for in events, and somebody
takes log records.
"""

from __future__ import annotations

import json
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry._logs import LogRecord, NoOpLogger, SeverityNumber

from spanloom import completion, names
from spanloom.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import Logger
    from opentelemetry.util.types import AttributeValue

    from spanloom.completion import Hook
    from spanloom.config import Config
    from spanloom.inference import Inference

_UPLOADED: Final = 1 << 20  # bytes of each of a call's texts for a hook, which keeps them apart from the telemetry
_SEVERITY: Final = SeverityNumber.DEBUG  # the conventions'
_MESSAGES: Final = (
    names.GEN_AI_SYSTEM_INSTRUCTIONS,
    names.GEN_AI_TOOL_DEFINITIONS,
    names.GEN_AI_INPUT_MESSAGES,
    names.GEN_AI_OUTPUT_MESSAGES,
)


class Details:
    """Tells events and the hook of model calls.

    Args:
        logger: takes events; None where none are asked for. The API's proxy is none until a provider is set.
        hook: is handed messages; None where there is none.
    """

    def __init__(self, logger: Logger | None, hook: Hook | None) -> None:
        self._logger = logger
        self._hook = hook

    @classmethod
    def create(cls, logger: Logger, settings: Config) -> Details | None:
        """As the settings want it; None where they want neither."""
        hook = completion.hook_named(settings.completion_hook) if settings.completion_hook else None
        return cls(logger if settings.events else None, hook) if settings.events or hook is not None else None

    @property
    def wanted(self) -> bool:
        """Whether anybody listens now."""
        return self._hook is not None or self._listened()

    def _listened(self) -> bool:
        logger: Any = self._logger
        if logger is None:
            return False
        if hasattr(logger, "enabled"):  # older APIs have no such question
            return logger.enabled(severity_number=_SEVERITY, event_name=names.GEN_AI_DETAILS_EVENT)
        return not isinstance(getattr(logger, "_logger", logger), NoOpLogger)

    def tell(self, call: Inference, attributes: Mapping[str, AttributeValue]) -> None:
        """A call is about to end.

        Args:
            call: which has its span still open.
            attributes: of the span.
        """
        record = None
        with guarded("details.event", "the event of a model call"):
            if self._listened():
                record = _record(call, attributes)
        if self._hook is not None:
            with guarded("details.hook", "what a model call has said, for the completion hook"):
                self._hook.tell(_parsed(call.content(_UPLOADED)), call.span, record)
        if record is not None and self._logger is not None:
            with guarded("details.emit", "the event of a model call"):
                self._logger.emit(record)


def _record(call: Inference, attributes: Mapping[str, AttributeValue]) -> LogRecord:
    on_span = {key: text for key in _MESSAGES if isinstance(text := attributes.get(key), str)}
    return LogRecord(
        timestamp=time_ns(),
        context=trace.set_span_in_context(call.span),
        severity_number=_SEVERITY,
        event_name=names.GEN_AI_DETAILS_EVENT,
        attributes={**attributes, **_parsed(on_span or call.content())},
    )


def _parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    """As structures, which the conventions want in events: redacted and bounded, as the texts are."""
    return {key: json.loads(text) for key, text in texts.items()}
