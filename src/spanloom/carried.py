"""What spanloom carries in OpenTelemetry's context besides the span, and under which keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from opentelemetry import context as otel_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

# Attributes that every span started below gets at its start: the conversation, and what a session adds to it.
STAMPS: Final = "spanloom-stamps"

# Where the official GenAI packages (`opentelemetry-util-genai`) look for a model call that is open already, so that
# one call is one span. None below a tool, an agent, a workflow or a node: a call in there is another one.
OPEN_INFERENCE: Final = "opentelemetry.genai.client.inference.context"
OPEN_EMBEDDING: Final = "opentelemetry.genai.client.embedding.context"  # the same for embeddings


def stamps(context: Context | None = None) -> Mapping[str, AttributeValue]:
    """The attributes that spans started in `context` (default: the current one) get."""
    found = (otel_context.get_current() if context is None else context).get(STAMPS)
    return cast("Mapping[str, AttributeValue]", found) if found else {}
