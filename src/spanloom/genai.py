"""GenAI operations as span names and start attributes: pure functions, one per operation.

Names and attributes follow the GenAI semantic conventions (`docs/gen-ai`, commit in `spanloom.names`). What is
sampling-relevant there is returned here, so that it stands on the span from its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spanloom import names

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue


class Operation(NamedTuple):
    """A span's name and the attributes it starts with."""

    span_name: str
    attributes: dict[str, AttributeValue]


def _operation(operation: str, subject: str | None) -> Operation:
    """`{operation} {subject}`; the operation alone where there is no meaningful subject."""
    return Operation(f"{operation} {subject}" if subject else operation, {names.GEN_AI_OPERATION_NAME: operation})


def workflow(name: str | None) -> Operation:
    """`invoke_workflow {gen_ai.workflow.name}`.

    Args:
        name: the user's own name for it. None where there is only a type name such as `Flow`: the convention
            then wants no name at all.
    """
    operation = _operation(names.OP_INVOKE_WORKFLOW, name)
    if name:
        operation.attributes[names.GEN_AI_WORKFLOW_NAME] = name
    return operation


def step(name: str, *, draft: bool = True) -> Operation:
    """`run_step {gen_ai.step.name}` (draft, semantic-conventions-genai PR 188), with `spanloom.node.name` always.

    Args:
        name: the node's name.
        draft: whether names that are still drafts are written.
    """
    operation = _operation(names.OP_RUN_STEP, name)
    operation.attributes[names.NODE_NAME] = name
    if draft:
        operation.attributes[names.GEN_AI_STEP_NAME] = name
    return operation
