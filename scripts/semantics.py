"""Write docs/semantics.md: every name in `spanloom.names`, where it is written and whose word it is.

    python scripts/semantics.py

What a name is (attribute, event, metric, operation) and what it reads are taken from the code; the tables here say
the rest. A name without a place in them, or a place without a name, is an error that names it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NamedTuple

from spanloom import names

TARGET: Final = Path(__file__).resolve().parents[1] / "docs" / "semantics.md"
NOT_NAMES: Final = frozenset({"SEMCONV_COMMIT"})

DEVELOPMENT: Final = "convention, development"
STABLE: Final = "convention, stable"
DRAFT: Final = "draft"
OWN: Final = "spanloom"
LEGACY: Final = "convention until 2026-09"
NEWER: Final = "convention since 2026-09"


class Entry(NamedTuple):
    """Where a name is written, by which section of the convention, and how settled that is."""

    where: str
    source: str
    status: str


def _all(source: str, status: str, **where: str) -> dict[str, Entry]:
    return {name: Entry(text, source, status) for name, text in where.items()}


_CALLS: Final = "model calls"
_CONTENT: Final = "model calls, with content"

ENTRIES: Final[dict[str, Entry]] = {
    **_all(
        "GenAI, common attributes",
        DEVELOPMENT,
        GEN_AI_OPERATION_NAME="runs, agents, nodes, model calls, embeddings, retrievals, reranks, tools; metrics",
        GEN_AI_PROVIDER_NAME="model calls, embeddings, reranks; their metrics",
        GEN_AI_CONVERSATION_ID="every span inside a run with a thread, or inside `spanloom.session`",
        GEN_AI_REQUEST_MODEL="model calls, embeddings, reranks; their metrics",
    ),
    **_all(
        "GenAI, invoke agent",
        DEVELOPMENT,
        GEN_AI_AGENT_NAME="agents, and tools that an agent executes; their metrics",
        OP_INVOKE_AGENT="an agent's run",
    ),
    **_all(
        "GenAI, invoke workflow",
        DEVELOPMENT,
        GEN_AI_WORKFLOW_NAME="runs of graphs and flows; their metrics, and those of their nodes",
        OP_INVOKE_WORKFLOW="a graph's, a flow's or a workflow's run",
    ),
    **_all(
        "GenAI, inference",
        DEVELOPMENT,
        GEN_AI_REQUEST_STREAM="model calls that are streamed",
        GEN_AI_REQUEST_TEMPERATURE=_CALLS,
        GEN_AI_REQUEST_TOP_P=_CALLS,
        GEN_AI_REQUEST_TOP_K=_CALLS,
        GEN_AI_REQUEST_MAX_TOKENS=_CALLS,
        GEN_AI_REQUEST_SEED=_CALLS,
        GEN_AI_REQUEST_CHOICE_COUNT="model calls that ask for several answers",
        GEN_AI_REQUEST_STOP_SEQUENCES=_CALLS,
        GEN_AI_REQUEST_FREQUENCY_PENALTY=_CALLS,
        GEN_AI_REQUEST_PRESENCE_PENALTY=_CALLS,
        GEN_AI_REQUEST_REASONING_LEVEL=_CALLS,
        GEN_AI_OUTPUT_TYPE="model calls that ask for a form of the answer",
        GEN_AI_RESPONSE_MODEL="model calls, embeddings; their metrics",
        GEN_AI_RESPONSE_ID="model calls; evaluation events",
        GEN_AI_RESPONSE_FINISH_REASONS=_CALLS,
        GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK="model calls that are streamed; seconds",
        GEN_AI_USAGE_INPUT_TOKENS="model calls, embeddings; the cached tokens are among them",
        GEN_AI_USAGE_OUTPUT_TOKENS="model calls; those of the reasoning are among them",
        GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS=_CALLS,
        GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS=_CALLS,
        GEN_AI_USAGE_REASONING_OUTPUT_TOKENS=_CALLS,
        GEN_AI_INPUT_MESSAGES=_CONTENT,
        GEN_AI_OUTPUT_MESSAGES=_CONTENT,
        GEN_AI_SYSTEM_INSTRUCTIONS=_CONTENT,
        GEN_AI_TOOL_DEFINITIONS=_CONTENT,
        OP_CHAT="a model call",
        OP_TEXT_COMPLETION="a call of a model that completes text",
        OP_GENERATE_CONTENT="a model call, where the program calls it so",
    ),
    **_all(
        "GenAI, execute tool",
        DEVELOPMENT,
        GEN_AI_TOOL_NAME="tools; their metrics",
        GEN_AI_TOOL_TYPE="tools; their metrics",
        GEN_AI_TOOL_DESCRIPTION="tools",
        GEN_AI_TOOL_CALL_ID="tools that a model has called",
        GEN_AI_TOOL_CALL_ARGUMENTS="tools, with content",
        GEN_AI_TOOL_CALL_RESULT="tools, with content",
        OP_EXECUTE_TOOL="an execution of a tool",
    ),
    **_all(
        "GenAI, retrieval",
        DEVELOPMENT,
        GEN_AI_DATA_SOURCE_ID="retrievals",
        GEN_AI_RETRIEVAL_TOP_K="retrievals, reranks",
        GEN_AI_RETRIEVAL_QUERY_TEXT="retrievals and reranks, with content",
        GEN_AI_RETRIEVAL_DOCUMENTS="retrievals and reranks, with content",
        OP_RETRIEVAL="a search for documents",
    ),
    **_all(
        "GenAI, embeddings",
        DEVELOPMENT,
        GEN_AI_EMBEDDINGS_DIMENSION_COUNT="embeddings",
        OP_EMBEDDINGS="a call of an embedding model",
    ),
    **_all(
        "GenAI, event `gen_ai.client.inference.operation.details`",
        DEVELOPMENT,
        GEN_AI_DETAILS_EVENT="a log record for each model call, where content is asked for in events",
    ),
    **_all(
        "GenAI, event `gen_ai.evaluation.result`",
        DEVELOPMENT,
        GEN_AI_EVALUATION_EVENT="the span that is judged, while it is open; also a log record",
        GEN_AI_EVALUATION_NAME="evaluation events",
        GEN_AI_EVALUATION_SCORE_VALUE="evaluation events",
        GEN_AI_EVALUATION_SCORE_LABEL="evaluation events",
        GEN_AI_EVALUATION_EXPLANATION="evaluation events",
    ),
    **_all(
        "GenAI, pull request 188",
        DRAFT,
        GEN_AI_STEP_NAME="nodes, while `SPANLOOM_DRAFT_NAMES` is on",
        OP_RUN_STEP="a node of a graph or flow",
    ),
    **_all(
        "GenAI, metrics; names as in `opentelemetry-util-genai` 1.3b0",
        LEGACY,
        METRIC_TOKEN_USAGE="model calls, embeddings; histogram, `{token}`",
        METRIC_TIME_TO_FIRST_CHUNK="model calls that are streamed; histogram, `s`",
        METRIC_TIME_PER_OUTPUT_CHUNK="model calls that are streamed; histogram, `s`",
        GEN_AI_TOKEN_TYPE="`gen_ai.client.token.usage`: `input` or `output`",
    ),
    **_all(
        "GenAI, metrics",
        DEVELOPMENT,
        METRIC_OPERATION_DURATION="embeddings, retrievals, reranks, and (`legacy`) model calls; histogram, `s`",
        METRIC_WORKFLOW_DURATION="runs of graphs and flows; histogram, `s`",
        METRIC_AGENT_DURATION="agents; histogram, `s`",
        METRIC_TOOL_DURATION="tools; histogram, `s`",
    ),
    **_all(
        "GenAI, metrics, pull request 521",
        NEWER,
        METRIC_INFERENCE_DURATION="model calls; histogram, `s`",
        METRIC_INFERENCE_TIME_TO_FIRST_CHUNK="model calls that are streamed; histogram, `s`",
        METRIC_INFERENCE_TIME_PER_OUTPUT_CHUNK="model calls that are streamed; histogram, `s`",
    ),
    **_all(
        "GenAI, token metrics, pull request 374",
        NEWER,
        METRIC_USAGE_INPUT_TOKENS="model calls; counter, `{token}`",
        METRIC_USAGE_OUTPUT_TOKENS="model calls; counter, `{token}`",
        METRIC_USAGE_CACHE_READ_INPUT_TOKENS="model calls; counter, `{token}`",
        METRIC_USAGE_CACHE_WRITE_INPUT_TOKENS="model calls; counter, `{token}`",
        METRIC_USAGE_REASONING_OUTPUT_TOKENS="model calls; counter, `{token}`",
        METRIC_INFERENCE_INPUT_TOKENS="model calls; histogram, `{token}`",
        METRIC_INFERENCE_OUTPUT_TOKENS="model calls; histogram, `{token}`",
        GEN_AI_TOKEN_MODALITY="the counters of tokens: `unknown`",
    ),
    **_all(
        "Recording errors, exceptions",
        STABLE,
        ERROR_TYPE="every span that failed, and its metrics; retry events",
        EXCEPTION_EVENT="the span in which an exception first arrives",
        EXCEPTION_TYPE="exception events",
        EXCEPTION_MESSAGE="exception events, retry events",
        EXCEPTION_STACKTRACE="exception events",
    ),
    **_all(
        "General attributes",
        STABLE,
        SERVICE_NAME="the resource",
        SERVER_ADDRESS="model calls and embeddings whose client tells; their metrics",
        SERVER_PORT="model calls and embeddings whose client tells; their metrics",
    ),
    **_all(
        "General attributes, session and user",
        DEVELOPMENT,
        SESSION_ID="every span inside `spanloom.session`",
        USER_ID="every span inside `spanloom.session`",
    ),
    **_all(
        "-",
        OWN,
        NODE_NAME="nodes; their metric",
        NODE_PATH="nodes inside others, and plain `Flow`s as nodes: the names from the outermost on, `outer:inner`",
        STATUS="spans that ended early and are no error: `closed`, `cancelled`, `exited`, `interrupted`, ...",
        CANCELLED_CAUSE="cancelled spans: `error.type` of what a span above failed with",
        INPUT="runs, nodes, phases, embeddings, with content",
        OUTPUT="runs, nodes, phases, with content",
        TAGS="every span inside `spanloom.session`",
        METADATA="every span inside `spanloom.session`; the beginning of the key",
        STATE_CHANGED_KEYS="nodes",
        STATE_CHANGES="nodes, with content",
        TRUNCATED_BYTES="spans that the JSONL exporter has shortened",
        COST_USD="model calls, while `SPANLOOM_COST` is on; those of other instrumentations, too",
        COST_UNKNOWN="the same, where the model has no known price",
        RETRY_EVENT="nodes, once for each failed attempt",
        RETRY_DELAY="retry events; seconds",
        METRIC_NODE_DURATION="nodes; histogram, `s`",
        METRIC_COST="model calls with a known price, while `SPANLOOM_COST` is on; counter, `{USD}`",
        OP_RERANK="a new order of documents by a model",
    ),
    **_all(
        "[PocketFlow guide](pocketflow.md)",
        OWN,
        POCKETFLOW_NODE_CLASS="nodes, flows",
        POCKETFLOW_NODE_INDEX="nodes",
        POCKETFLOW_STEP="nodes",
        POCKETFLOW_PHASE="phases",
        POCKETFLOW_ACTION="nodes, flows; `pocketflow.no_successor`",
        POCKETFLOW_NEXT="nodes",
        POCKETFLOW_PARAMS="parameter sets of batch flows, with content",
        POCKETFLOW_RETRY_ATTEMPT="`exec` phases; retry events",
        POCKETFLOW_RETRY_MAX="`exec` phases",
        POCKETFLOW_RETRY_COUNT="nodes that were retried",
        POCKETFLOW_FALLBACK="nodes whose `exec_fallback` answered",
        POCKETFLOW_BATCH_INDEX="parameter sets; `exec` phases and retry events of batches",
        POCKETFLOW_BATCH_SIZE="batches, parameter sets; `exec` phases of batches",
        POCKETFLOW_NO_SUCCESSOR_EVENT="flows that end at an action without a successor",
        POCKETFLOW_SUCCESSORS="`pocketflow.no_successor`",
    ),
    **_all(
        "[LangGraph guide](langgraph.md)",
        OWN,
        LANGGRAPH_STEP="nodes",
        LANGGRAPH_TASK_ID="nodes",
        LANGGRAPH_CHECKPOINT_NS="sub-graphs' runs with a checkpointer",
        LANGGRAPH_CHECKPOINT_ID="runs with a checkpointer: the last one; resume events",
        LANGGRAPH_CHECKPOINT_RESUMED="runs that resumed",
        LANGGRAPH_STATUS="interrupt events of runs",
        LANGGRAPH_GRAPH_NODES="outermost runs",
        LANGGRAPH_GRAPH_EDGES="outermost runs",
        LANGGRAPH_NEXT="nodes; runs whose start is chosen",
        LANGGRAPH_SEND="nodes; runs whose start is chosen",
        LANGGRAPH_GOTO_PARENT="nodes that leave for the graph above",
        LANGGRAPH_CACHED="runs with nodes whose writes came from the cache",
        LANGGRAPH_RETRY_COUNT="nodes that were retried",
        LANGGRAPH_RETRY_ATTEMPT="retry events",
        LANGGRAPH_RETRY_MAX="retry events",
        LANGGRAPH_ERROR_HANDLER_FOR="nodes that handle another one's error",
        LANGGRAPH_INTERRUPT_EVENT="nodes that asked; runs that stopped before or after nodes",
        LANGGRAPH_RESUME_EVENT="runs that resumed",
        LANGGRAPH_INTERRUPT_ID="interrupt events",
        LANGGRAPH_INTERRUPT_VALUE="interrupt events, with content",
        LANGGRAPH_INTERRUPT_NODES="interrupt events of runs",
        LANGGRAPH_NODE="model calls whose node has no span",
        LANGCHAIN_TOOL_ARTIFACT="tools whose message has an artifact",
        LANGCHAIN_CACHE_HIT="model calls that LangChain's cache answered",
    ),
}

INTRODUCTION: Final = f"""# What spanloom writes

<!-- Written by scripts/semantics.py from src/spanloom/names.py. -->

GenAI names follow \
[open-telemetry/semantic-conventions-genai](https://github.com/open-telemetry/semantic-conventions-genai), \
read at commit `{names.SEMCONV_COMMIT}` (3 August 2026) with the later changes up to 9 October 2026.
All of that repository has the status *development*, and no version of it has been released.
Names that are stable come from [open-telemetry/semantic-conventions](https://github.com/open-telemetry/semantic-conventions).

Content is what the program and its models say; [it is off by default](quickstart.md).

`OTEL_SEMCONV_STABILITY_OPT_IN` changes nothing here.
It once chose between GenAI conventions; there is one set of them now, the conventions no longer mention the variable \
for it, and the official Python packages (`opentelemetry-util-genai` 1.0b0 and later) no longer read it.
"""
EVENTS: Final = """
`gen_ai.client.inference.operation.details` is a log record (severity DEBUG) in the context of the call's span, with \
its attributes and the messages as structures.
It is emitted for model calls that are sampled, where `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is \
`EVENT_ONLY` or `SPAN_AND_EVENT` and the process has a logger provider with a processor: one that the program sets, or \
the one that `spanloom.init`, `spanloom run` and `opentelemetry-instrument` make where `OTEL_LOGS_EXPORTER` names \
exporters.
An evaluation is a log record, and an event on the span while that is open; the others are events on spans.
"""
METRICS: Final = """
Metrics are on while the process has a meter provider with a reader: one that the program sets, or the one that \
`spanloom.init`, `spanloom run` and `opentelemetry-instrument` make where `OTEL_METRICS_EXPORTER` names exporters.
Without one nothing is measured.
They count what the sampler leaves out, too; a duration is the span's own.
Every metric of a call that failed has `error.type`, save those that count tokens and dollars in total and the times \
of chunks; no metric has a conversation, a user, an id or content.

`SPANLOOM_METRIC_NAMES` chooses between `legacy`, the names that the official Python packages emit today, and `main`, \
the conventions' newer ones.
Model calls have `gen_ai.operation.name`, `gen_ai.provider.name`, `gen_ai.request.model`, `gen_ai.response.model`, \
`server.address` and `server.port`; embeddings, retrievals and reranks the same, as far as they are known.
`main` has no name for the tokens of embeddings.
The time per output chunk is recorded once for each streamed call, as the average over its chunks after the first one \
(the conventions have one value for each chunk, which would cost more than all the rest).
`spanloom.cost` counts the calls that spanloom records, not those of other instrumentations, and none whose price is \
unknown.
"""


def kind(constant: str) -> str:
    """What a constant of `spanloom.names` is, by its own name."""
    if constant.startswith("METRIC_"):
        return "Metrics"
    if constant.startswith("OP_"):
        return "Operations"
    return "Events" if constant.endswith("_EVENT") else "Attributes"


def constants() -> dict[str, str]:
    """Every name in `spanloom.names`, by its constant."""
    return {key: value for key, value in vars(names).items() if key.isupper() and key not in NOT_NAMES}


def page() -> str:
    """The page.

    Raises:
        ValueError: the tables here and `spanloom.names` differ.
    """
    found = constants()
    if found.keys() != ENTRIES.keys():
        missing, gone = sorted(found.keys() - ENTRIES.keys()), sorted(ENTRIES.keys() - found.keys())
        raise ValueError(f"scripts/semantics.py: ENTRIES lacks {missing}; names.py has no {gone}")
    parts = [INTRODUCTION]
    for section, text in (
        ("Operations", "\nThe values of `gen_ai.operation.name`, with which a span's name begins.\n"),
        ("Attributes", ""),
        ("Events", EVENTS),
        ("Metrics", METRICS),
    ):
        parts.append(f"\n## {section}\n{text}\n| name | where | source | status |\n|---|---|---|---|\n")
        parts += [
            f"| `{value}` | {entry.where} | {entry.source} | {entry.status} |\n"
            for constant, value in found.items()
            if kind(constant) == section
            for entry in (ENTRIES[constant],)
        ]
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
