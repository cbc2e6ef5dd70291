"""Spans that a client's own tracing writes inside a model call that is recorded already.

Some clients of providers (Anthropic's, for one) make a span of each request themselves, with the call's usage. Inside
a call of ours, or of an official GenAI instrumentation, that is the same call a second time: its span stays, as the
request that it is, and its usage counts with the call.
"""
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from spanloom import genai, names
from spanloom.carried import OPEN_INFERENCE
from spanloom.inference import Inference
from spanloom.span import current_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

_INSIDE: Final = "_spanloom_inside"
_USAGE: Final = names.GEN_AI_USAGE_INPUT_TOKENS.removesuffix("input_tokens")


def note(span: Span, parent_context: Context | None) -> None:
    """Note that a span starts inside an open model call, where it does.

    Args:
        span: of another instrumentation. The note goes with its attributes, which its ended form shares.
        parent_context: which it starts in.
    """
    context = otel_context.get_current() if parent_context is None else parent_context
    if context.get(OPEN_INFERENCE) is not None or _in_ours(context):
        setattr(span._attributes, _INSIDE, True)  # noqa: SLF001


def _in_ours(context: Context) -> bool:
    """While nobody looks for announced calls, ours is known by its scope only."""
    scope = current_scope()
    if not isinstance(scope, Inference) or not scope.recording:
        return False
    return trace.get_current_span(context).get_span_context().trace_id == scope.span.get_span_context().trace_id


def is_same_call(span: ReadableSpan) -> bool:
    """Whether it tells of the model call inside which it started."""
    attributes: Mapping[str, Any] = span.attributes or {}
    return (
        getattr(span._attributes, _INSIDE, False)  # noqa: SLF001
        and attributes.get(names.GEN_AI_OPERATION_NAME) in genai.INFERENCES
    )


def as_request(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of such a span without what makes it a model call of its own."""
    return {
        key: value
        for key, value in attributes.items()
        if key != names.GEN_AI_OPERATION_NAME and not key.startswith(_USAGE)
    }
