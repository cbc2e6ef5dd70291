"""What LangChain's messages and results tell of an answer: model, id, finish reason, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.genai import finish_reason
from spanloom.instrument import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spanloom.instrument import Inference

_MODELS: Final = ("model_name", "model", "model_id")
_REASONS: Final = ("finish_reason", "stop_reason", "stopReason", "done_reason")
_OWN_IDS: Final = ("run-", "lc_")  # what LangChain numbers messages with that have no id of the provider's


def read_metadata(call: Inference, metadata: Mapping[str, Any], message_id: object) -> None:
    """Set the model and the id of an answer.

    Args:
        call: where to.
        metadata: `response_metadata` of the message; each provider has words of its own.
        message_id: the message's.
    """
    call.response_model = _first(metadata, _MODELS)
    identity = metadata.get("id") or message_id
    if isinstance(identity, str) and not identity.startswith(_OWN_IDS):
        call.response_id = identity


def reason_of(metadata: Mapping[str, Any], *, calls_tools: bool) -> str | None:
    """The convention's finish reason; None where the provider has told none.

    Args:
        metadata: `response_metadata` of the message.
        calls_tools: whether the message does; OpenAI's responses do not tell it in their status.
    """
    told = _first(metadata, _REASONS)
    if told:
        return finish_reason(told)
    status = metadata.get("status")
    if status == "completed":
        return "tool_call" if calls_tools else "stop"
    if status == "incomplete":
        details: object = metadata.get("incomplete_details")
        told = _first(cast("dict[str, Any]", details), ("reason",)) if isinstance(details, dict) else None
    return finish_reason(told or status) if isinstance(status, str) else None


def usage_of(metadata: object) -> Usage | None:
    """Tokens as `usage_metadata` of a message has them (`langchain_core.messages.ai.UsageMetadata`).

    OpenAI's service tiers prefix the details (`priority_cache_read`); Anthropic's cache writes stand under their
    life time (`ephemeral_5m_input_tokens`), beside a `cache_creation` of 0 then.
    """
    if not isinstance(metadata, dict):
        return None
    told = cast("dict[str, Any]", metadata)
    read = written = reasoning = None
    for key, count in _counts(told.get("input_token_details")):
        if key.endswith("cache_read"):
            read = count + (read or 0)
        elif key.endswith("cache_creation") or key.startswith("ephemeral_"):
            written = count + (written or 0)
    for key, count in _counts(told.get("output_token_details")):
        if key.endswith("reasoning"):
            reasoning = count + (reasoning or 0)
    return Usage(_count(told.get("input_tokens")), _count(told.get("output_tokens")), read, written, reasoning)


def raw_usage_of(output: object) -> Usage | None:
    """Tokens as older models have them: `token_usage` of a result (`llm_output`) or of a message's metadata."""
    found: object = cast("dict[str, Any]", output).get("token_usage") if isinstance(output, dict) else None
    if not isinstance(found, dict):
        return None
    told = cast("dict[str, Any]", found)
    usage = Usage(_count(told.get("prompt_tokens")), _count(told.get("completion_tokens")))
    return None if usage.input is usage.output is None else usage


def is_cache_hit(metadata: object) -> bool:
    """Whether the answer came from LangChain's own cache, which repeats its usage at no cost (0.3.83 and later)."""
    return isinstance(metadata, dict) and cast("dict[str, Any]", metadata).get("total_cost") == 0


def _first(told: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = told.get(key)
        if value and isinstance(value, str):
            return value
    return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _counts(details: object) -> list[tuple[str, int]]:
    if not isinstance(details, dict):
        return []
    return [(key, count) for key, count in cast("dict[str, Any]", details).items() if isinstance(count, int)]
