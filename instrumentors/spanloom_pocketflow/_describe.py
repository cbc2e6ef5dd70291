"""Pure: what PocketFlow's classes, phases and results are called in a trace. No framework is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom import genai
from spanloom.instrument import names

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

# PocketFlow's own classes: not names of the user's, so they name no workflow (and no flow is called "Flow").
TYPE_NAMES: Final = frozenset(
    {
        "BaseNode",
        "Node",
        "BatchNode",
        "Flow",
        "BatchFlow",
        "AsyncNode",
        "AsyncBatchNode",
        "AsyncParallelBatchNode",
        "AsyncFlow",
        "AsyncBatchFlow",
        "AsyncParallelBatchFlow",
    }
)
DEFAULT_ACTION: Final = "default"


class Facts(NamedTuple):
    """What a class tells about each of its executions."""

    name: str
    span_name: str
    root: dict[str, AttributeValue]  # start attributes of a run of its own
    node: dict[str, AttributeValue]  # start attributes as a node of a flow
    is_flow: bool


def facts(cls: type, framework: str, *, draft: bool = True) -> Facts:
    """The facts of one node or flow class.

    Args:
        cls: the class.
        framework: the module that PocketFlow's own classes live in.
        draft: whether draft names of the conventions are written.
    """
    name = cls.__name__
    own = [
        base.__name__ for base in cls.__mro__ if base.__module__ == framework and base.__name__ in TYPE_NAMES
    ]
    kind = own[0] if own else "BaseNode"
    is_flow = "Flow" in own
    if is_flow:
        operation = genai.workflow(None if cls.__module__ == framework and name in TYPE_NAMES else name)
    else:
        operation = genai.step(name, draft=draft)
    root: dict[str, AttributeValue] = {
        **operation.attributes,
        names.POCKETFLOW_NODE_CLASS: f"{cls.__module__}.{cls.__qualname__}",
        names.POCKETFLOW_NODE_TYPE: kind,
    }
    return Facts(name, operation.span_name, root, {**root, names.NODE_NAME: name}, is_flow)


def action_text(result: object, *, in_flow: bool) -> str | None:
    """The action a node decided for, from what its `post` returned (`Flow.get_next_node` takes `action or "default"`).

    Args:
        result: what the node's run returned.
        in_flow: whether a flow reads it as an action; alone, a node that returns nothing decides nothing.
    """
    if type(result) is str and result:
        return result
    if not result and in_flow:
        return DEFAULT_ACTION
    if type(result) in (int, float, bool) and in_flow:
        return str(result)
    return f"<{type(result).__name__}>" if result is not None and in_flow else None


def size_of(items: object) -> int | None:
    """How many items a batch has; None for generators and other things that must not be asked."""
    return len(items) if isinstance(items, (list, tuple, set, frozenset, dict, range)) else None  # pyright: ignore[reportUnknownArgumentType]


def retry_event(
    attempt: int, error: str, message: str | None, index: int | None
) -> dict[str, AttributeValue]:
    """Attributes of the event that a failed attempt leaves on its node span.

    Args:
        attempt: which one failed, from 1.
        error: `error.type` of what it raised.
        message: the (redacted) message, if messages are recorded.
        index: the batch item, from 0; None outside a batch node.
    """
    event: dict[str, AttributeValue] = {names.POCKETFLOW_RETRY_ATTEMPT: attempt, names.ERROR_TYPE: error}
    if message is not None:
        event[names.EXCEPTION_MESSAGE] = message
    if index is not None:
        event[names.POCKETFLOW_BATCH_INDEX] = index
    return event
