"""The attribute names that are read, and Langfuse's that are written, once.

What is read are names of the GenAI conventions and of spanloom. What is written is in Langfuse's server from 3.59.0 on
(`packages/shared/src/server/otel/attributes.ts`, read at 4.16.0); a word that a later version learned says so.
"""

from typing import Final

# --- Read: the GenAI conventions, in their words of today and of before ----------------------------------------
OPERATION: Final = "gen_ai.operation.name"
AGENT_NAME: Final = "gen_ai.agent.name"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
STEP_NAME: Final = "gen_ai.step.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
DOCUMENTS: Final = "gen_ai.retrieval.documents"
REQUEST: Final = "gen_ai.request."
REQUEST_MODEL: Final = "gen_ai.request.model"
OUTPUT_TYPE: Final = "gen_ai.output.type"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds
USAGE: Final = "gen_ai.usage."
USAGE_COST: Final = "gen_ai.usage.cost"  # no word of the conventions'; the server takes it, in USD
INPUT_TOKENS: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT_TOKENS: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
CACHE_READ_TOKENS: Final = ("gen_ai.usage.cache_read.input_tokens",)
CACHE_WRITE_TOKENS: Final = ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens")
REASONING_TOKENS: Final = ("gen_ai.usage.reasoning.output_tokens",)
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"  # messages on an event instead of the span
# The ends of the names of events that the server reads as messages itself.
MESSAGE_EVENTS: Final = (
    ".message",
    "gen_ai.choice",
    DETAILS_EVENT,
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
)
ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
SERVICE_VERSION: Final = "service.version"  # on the resource
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
ENDUSER_ID: Final = "enduser.id"

# --- Read: spanloom's ------------------------------------------------------------------------------------------
NODE_NAME: Final = "spanloom.node.name"
NODE_PATH: Final = "spanloom.node.path"
INPUT: Final = "spanloom.input"
OUTPUT: Final = "spanloom.output"
STATE_CHANGES: Final = "spanloom.state.changes"
STATUS: Final = "spanloom.status"
CANCELLED_CAUSE: Final = "spanloom.cancelled.cause"
TAGS: Final = "spanloom.tags"
METADATA: Final = "spanloom.metadata."
COST_USD: Final = "spanloom.cost.usd"
POCKETFLOW_PARAMS: Final = "pocketflow.params"
POCKETFLOW_PHASE: Final = "pocketflow.phase"
POCKETFLOW_ACTION: Final = "pocketflow.action"
POCKETFLOW_NEXT: Final = "pocketflow.next"
POCKETFLOW_STEP: Final = "pocketflow.step"
POCKETFLOW_NODE_INDEX: Final = "pocketflow.node.index"
LANGGRAPH_STEP: Final = "langgraph.step"
LANGGRAPH_NEXT: Final = "langgraph.next"
LANGGRAPH_SEND: Final = "langgraph.send"
CACHE_HIT: Final = "langchain.cache_hit"

# --- Written: Langfuse's ---------------------------------------------------------------------------------------
LANGFUSE: Final = "langfuse."
LANGFUSE_SCOPE: Final = "langfuse-sdk"  # the instrumentation scope of spans that Langfuse's own SDK has made
TRACE_NAME: Final = "langfuse.trace.name"
TRACE_TAGS: Final = "langfuse.trace.tags"
TRACE_METADATA: Final = "langfuse.trace.metadata."
ENVIRONMENT: Final = "langfuse.environment"
RELEASE: Final = "langfuse.release"
VERSION: Final = "langfuse.version"
APP_ROOT: Final = "langfuse.internal.is_app_root"  # 3.176.0
AS_ROOT: Final = "langfuse.internal.as_root"
TYPE: Final = "langfuse.observation.type"
OBSERVATION_INPUT: Final = "langfuse.observation.input"
OBSERVATION_OUTPUT: Final = "langfuse.observation.output"
OBSERVATION_METADATA: Final = "langfuse.observation.metadata."
LEVEL: Final = "langfuse.observation.level"
STATUS_MESSAGE: Final = "langfuse.observation.status_message"
MODEL_PARAMETERS: Final = "langfuse.observation.model.parameters"
USAGE_DETAILS: Final = "langfuse.observation.usage_details"
COST_DETAILS: Final = "langfuse.observation.cost_details"
COMPLETION_START: Final = "langfuse.observation.completion_start_time"
PROMPT_NAMES: Final = ("langfuse.observation.prompt.name", "langfuse.prompt.name")
PROMPT_VERSIONS: Final = ("langfuse.observation.prompt.version", "langfuse.prompt.version")
GRAPH_NODE: Final = "langfuse.observation.metadata.langgraph_node"
GRAPH_STEP: Final = "langfuse.observation.metadata.langgraph_step"

# --- What the server takes for input or output of any span, and so out of its attributes ------------------------
STOLEN: Final = frozenset(
    {"prompt", "all_messages_events", "events", "input", "output", "tool_arguments", "tool_response"}
)
STOLEN_PREFIXES: Final = ("gen_ai.prompt", "gen_ai.completion")
# Whoever writes these is understood by the server itself.
OTHERS: Final = (
    "gen_ai.",
    "openinference.",
    "llm.",
    "ai.",
    "traceloop.",
    "genkit:",
    "mlflow.",
    "logfire.",
    "lk.",
    "flue.",
)
