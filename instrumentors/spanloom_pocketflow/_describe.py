"""Pure: what PocketFlow's classes, phases and results are called in a trace. No framework is imported here."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

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
_SCALARS: Final = frozenset((bool, int, float, type(None)))
_SIZED: Final = (list, tuple, set, frozenset, dict, range)
_BUILT_IN: Final = frozenset((*_SCALARS, *_SIZED, str, bytes))


class Facts(NamedTuple):
    """What a class tells about each of its executions."""

    name: str
    span_name: str
    root: dict[str, AttributeValue]  # start attributes of a run of its own
    node: dict[str, AttributeValue]  # start attributes as a node of a flow
    phases: dict[str, genai.Operation]  # span name and start attributes of its phases


def facts(cls: type, framework: str, *, draft: bool = True) -> Facts:
    """The facts of one node or flow class.

    Args:
        cls: the class.
        framework: the module that PocketFlow's own classes live in.
        draft: whether draft names of the conventions are written.
    """
    name = cls.__name__
    is_flow = any(base.__module__ == framework and base.__name__ == "Flow" for base in cls.__mro__)
    if is_flow:
        operation = genai.workflow(None if cls.__module__ == framework and name in TYPE_NAMES else name)
    else:
        operation = genai.step(name, draft=draft)
    root: dict[str, AttributeValue] = {
        **operation.attributes,
        names.POCKETFLOW_NODE_CLASS: f"{cls.__module__}.{cls.__qualname__}",
    }
    phases = {
        phase: genai.Operation(f"{phase} {name}", {names.POCKETFLOW_PHASE: phase})
        for phase in ("prep", "exec", "exec_fallback", "post")
    }
    return Facts(name, operation.span_name, root, {**root, names.NODE_NAME: name}, phases)


def action_text(result: object, *, in_flow: bool) -> str | None:
    """The action a node decided for, from what its `post` returned (`Flow.get_next_node` takes `action or "default"`).

    Args:
        result: what the node's run returned.
        in_flow: whether a flow reads it as an action; alone, a node that returns nothing decides nothing.
    """
    if not in_flow:
        return (key_text(result) or None) if issubclass(type(result), str) else None
    if result is None or (type(result) in _BUILT_IN and not result):  # never the `__bool__` of a user's class
        return DEFAULT_ACTION
    return key_text(result)


def key_text(key: object) -> str:
    """An action as text: strings (also of a `str` subclass or enum) as they are, without running a user's code."""
    if issubclass(type(key), str):
        return str.__str__(cast("str", key))
    kind = type(key).__name__
    if issubclass(type(key), Enum):
        return f"{kind}.{object.__getattribute__(key, '_name_')}"
    if type(key) is int and key.bit_length() > 64:  # its decimal text may be refused
        return f"<{kind}>"
    return str(key) if type(key) in _SCALARS else f"<{kind}>"


def size_of(items: object) -> int | None:
    """How many items a batch has; None for generators and other things that must not be asked."""
    kind: Any
    for kind in _SIZED:
        if issubclass(type(items), kind):
            return kind.__len__(cast("Any", items))  # not `len`: a subclass may have its own
    return None


def retry_event(attempt: int, error: str, message: str | None, index: int | None) -> dict[str, AttributeValue]:
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
