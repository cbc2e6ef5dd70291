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


def agent(name: str | None) -> Operation:
    """`invoke_agent {gen_ai.agent.name}`, in this process.

    Args:
        name: the user's own name for it, None where there is none.
    """
    operation = _operation(names.OP_INVOKE_AGENT, name)
    if name:
        operation.attributes[names.GEN_AI_AGENT_NAME] = name
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


def tool(name: str, description: str | None = None) -> Operation:
    """`execute_tool {gen_ai.tool.name}`, for a function that runs in this process (`gen_ai.tool.type` `function`).

    Args:
        name: what the model calls it.
        description: what the model is told about it.
    """
    operation = _operation(names.OP_EXECUTE_TOOL, name)
    operation.attributes[names.GEN_AI_TOOL_NAME] = name
    operation.attributes[names.GEN_AI_TOOL_TYPE] = "function"
    if description:
        operation.attributes[names.GEN_AI_TOOL_DESCRIPTION] = description
    return operation


def embeddings(model: str | None, provider: str) -> Operation:
    """`embeddings {gen_ai.request.model}`.

    Args:
        model: the model asked for, where it is known.
        provider: `gen_ai.provider.name`, which the convention requires.
    """
    operation = _operation(names.OP_EMBEDDINGS, model)
    operation.attributes[names.GEN_AI_PROVIDER_NAME] = provider
    if model:
        operation.attributes[names.GEN_AI_REQUEST_MODEL] = model
    return operation


def retrieval(source: str | None, top_k: int | None = None) -> Operation:
    """`retrieval {gen_ai.data_source.id}`.

    Args:
        source: what is searched, as the program or its framework names it.
        top_k: how many documents are asked for, where that is known.
    """
    operation = _operation(names.OP_RETRIEVAL, source)
    if source:
        operation.attributes[names.GEN_AI_DATA_SOURCE_ID] = source
    if top_k is not None:
        operation.attributes[names.GEN_AI_RETRIEVAL_TOP_K] = top_k
    return operation
