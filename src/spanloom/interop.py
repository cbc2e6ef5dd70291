"""Model calls that are traced twice, by us and by an official GenAI package: one of the two gives way.

`opentelemetry-util-genai`, which the official packages share, keeps the open model call in OpenTelemetry's context.
Whoever finds one there opens no span of its own and puts what it learns into the open call's data. We announce our
calls in the same way and respect theirs. The package is never imported by us: while it is not there, nobody looks.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context as otel_context

from spanloom import messages, names
from spanloom.carried import OPEN_EMBEDDING, OPEN_INFERENCE
from spanloom.genai import finish_reason
from spanloom.guard import LOG, swallow

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from spanloom.messages import Part

_MODULE: Final = "opentelemetry.util.genai.invocation"

# Fields of `InferenceData` and `EmbeddingData`, and what they are on a span.
_FIELDS: Final = (
    ("server_address", names.SERVER_ADDRESS),
    ("server_port", names.SERVER_PORT),
    ("response_model", names.GEN_AI_RESPONSE_MODEL),
    ("response_id", names.GEN_AI_RESPONSE_ID),
    ("response_time_to_first_chunk", names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK),
    ("usage_input_tokens", names.GEN_AI_USAGE_INPUT_TOKENS),
    ("usage_output_tokens", names.GEN_AI_USAGE_OUTPUT_TOKENS),
    ("usage_cache_read_input_tokens", names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
    ("usage_cache_write_input_tokens", names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS),
    ("usage_reasoning_output_tokens", names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS),
    ("embeddings_dimension_count", names.GEN_AI_EMBEDDINGS_DIMENSION_COUNT),
)


class _Calls:
    """One kind of call: where the package keeps the open one, and in which class of its own.

    Attributes:
        key: in OpenTelemetry's context.
    """

    def __init__(self, key: str, data: str, what: str) -> None:
        self.key = key
        self._data = data
        self._what = what
        self._found: type[Any] | bool | None = None  # once it has been seen; False where there is none to use

    def make(self) -> Any:
        """Empty data, or None."""
        if self._found is None and (module := sys.modules.get(_MODULE)) is not None:
            kind = getattr(module, self._data, None)
            if isinstance(kind, type):
                self._found = cast("type[Any]", kind)
            elif not getattr(getattr(module, "__spec__", None), "_initializing", False):
                self._found = False
                LOG.warning(
                    "This version of opentelemetry-util-genai records %s that spanloom records too a second "
                    "time. Upgrade it: pip install 'opentelemetry-util-genai>=1.3b0'",
                    self._what,
                )
        if not isinstance(self._found, type):
            return None
        try:
            return self._found()
        except Exception as exc:
            self._found = False
            swallow("interop", f"that {self._what} are recorded only once (opentelemetry-util-genai has changed)", exc)
            return None


INFERENCE: Final = _Calls(OPEN_INFERENCE, "InferenceData", "model calls")
EMBEDDING: Final = _Calls(OPEN_EMBEDDING, "EmbeddingData", "embeddings")


def announcement(calls: _Calls = INFERENCE, *, content: bool = False) -> Any:
    """Data for a call of ours, which instrumentations below fill; None where nobody looks for it.

    Args:
        calls: the kind of call.
        content: what was asked and answered is wanted, too.
    """
    data = calls.make()
    if content and data is not None:
        data.capture_content = True
    return data


def call_is_open(calls: _Calls = INFERENCE, *, ours: object = None) -> bool:
    """Whether a call that is not ours is open here: it is theirs to record.

    Args:
        calls: the kind of call.
        ours: what the scope that is current here has announced of this kind.
    """
    return otel_context.get_value(calls.key) is not ours


def told(data: object) -> dict[str, AttributeValue]:
    """What instrumentations below have put into an `announcement`, as attributes."""
    found: dict[str, AttributeValue] = {}
    if data is None:
        return found
    fields: dict[str, object] = getattr(data, "__dict__", {})
    for field, attribute in _FIELDS:
        value = fields.get(field)
        if value is not None and isinstance(value, (str, int, float)):
            found[attribute] = value
    reasons = fields.get("response_finish_reasons")
    if isinstance(reasons, Sequence) and not isinstance(reasons, str):
        texts = [finish_reason(reason) for reason in cast("Sequence[object]", reasons) if isinstance(reason, str)]
        if texts:
            found[names.GEN_AI_RESPONSE_FINISH_REASONS] = texts
    return found


def said(data: object) -> dict[str, list[Part]]:
    """What instrumentations below have put into an `announcement` of what was asked and answered, by attribute."""
    fields: dict[str, Any] = getattr(data, "__dict__", {})
    return {
        attribute: [shown(item) for item in cast("Sequence[Any]", told)]
        for field, attribute, shown in _SAID
        if isinstance(told := fields.get(field), Sequence) and not isinstance(told, str)
    }


def forget(data: object) -> None:
    """Of what was said nothing is kept in an `announcement`: the context of a background task keeps that."""
    fields: dict[str, Any] = getattr(data, "__dict__", {})
    fields.update({field: None for field, _, _ in _SAID if field in fields})


def _fields(item: Any) -> Part:
    """What a part of theirs has; the last fields first, as that is the order in which ours are written."""
    known = [field.name for field in dataclasses.fields(item)]
    return {name: value for name in reversed(known) if (value := getattr(item, name)) is not None}


def _asked(message: Any) -> Part:
    return messages.message(message.role, [_fields(part) for part in message.parts], message.name)


def _answered(message: Any) -> Part:
    return messages.output([_fields(part) for part in message.parts], message.finish_reason, message.role)


_SAID: Final = (
    ("system_instructions", names.GEN_AI_SYSTEM_INSTRUCTIONS, _fields),
    ("tool_definitions", names.GEN_AI_TOOL_DEFINITIONS, _fields),
    ("input_messages", names.GEN_AI_INPUT_MESSAGES, _asked),
    ("output_messages", names.GEN_AI_OUTPUT_MESSAGES, _answered),
)
