"""What a span is, in Langfuse's words: its type, its name, its place in the trace."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_langfuse import _names as names

_TYPES: Final = {
    "chat": "generation",
    "completion": "generation",
    "text_completion": "generation",
    "generate_content": "generation",
    "embeddings": "embedding",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "execute_tool": "tool",
    "retrieval": "retriever",
    "rerank": "retriever",
    "invoke_workflow": "chain",
    "run_step": "chain",
}
LONGEST_NAME: Final = 1000  # older servers drop a trace with a longer one


def kind_of(span: ReadableSpan) -> str | None:
    """Langfuse's type of the observation; None for a span whose kind is not ours to tell."""
    attributes: Mapping[str, Any] = span.attributes or {}
    operation = attributes.get(names.OPERATION)
    if isinstance(operation, str) and operation in _TYPES:
        return _TYPES[operation]
    if names.NODE_NAME in attributes:
        return "chain"
    return "span" if names.POCKETFLOW_PHASE in attributes else None


def display_name(span: ReadableSpan) -> str:
    """What the observation is called: the name that the program gave it, without the operation's."""
    attributes: Mapping[str, Any] = span.attributes or {}
    operation = attributes.get(names.OPERATION)
    given = None
    if operation == "invoke_workflow":
        given = attributes.get(names.WORKFLOW_NAME)
    elif operation in ("invoke_agent", "create_agent"):
        given = attributes.get(names.AGENT_NAME)
    return str(given or node_name(attributes) or span.name)[:LONGEST_NAME]


def node_name(attributes: Mapping[str, Any]) -> str | None:
    """The name of the node that a span is, or None."""
    name = attributes.get(names.NODE_NAME)
    if not name and attributes.get(names.OPERATION) == "run_step":
        name = attributes.get(names.STEP_NAME)
    return str(name) if name else None


def is_root(span: ReadableSpan) -> bool:
    """Whether the span is the outermost one of its trace in this process."""
    return span.parent is None or span.parent.is_remote
