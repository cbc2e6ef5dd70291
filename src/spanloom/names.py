"""Every attribute, event, metric and span name that spanloom writes, once.

GenAI names follow `open-telemetry/semantic-conventions-genai`, read at commit fe5608e (3 Aug 2026) with the
later changes up to 9 Oct 2026; the constants inside `opentelemetry.semconv` are frozen and deprecated there.
This module imports nothing, so the viewer can use it without OpenTelemetry.
"""

from typing import Final

SEMCONV_COMMIT: Final = "fe5608e"

# --- GenAI semantic conventions ------------------------------------------------------------------------------
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"

GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # on metrics of the older names only: "input" | "output"
GEN_AI_TOKEN_MODALITY: Final = "gen_ai.token.modality"  # on metrics of the newer names only
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"

GEN_AI_TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"

GEN_AI_DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
GEN_AI_RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"
GEN_AI_RETRIEVAL_QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
GEN_AI_RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
GEN_AI_EMBEDDINGS_DIMENSION_COUNT: Final = "gen_ai.embeddings.dimension.count"
GEN_AI_DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
GEN_AI_EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
GEN_AI_EVALUATION_NAME: Final = "gen_ai.evaluation.name"
GEN_AI_EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
GEN_AI_EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
GEN_AI_EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
# Draft (semantic-conventions-genai PR 188); written only while `Config.draft_names` is on.
GEN_AI_STEP_NAME: Final = "gen_ai.step.name"

# --- Metrics of the conventions ------------------------------------------------------------------------------
METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_TOKEN_USAGE: Final = "gen_ai.client.token.usage"
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
METRIC_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
METRIC_WORKFLOW_DURATION: Final = "gen_ai.invoke_workflow.duration"
METRIC_AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
METRIC_TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
# The conventions' newer names (pull requests 374 and 521), for `SPANLOOM_METRIC_NAMES=main`.
METRIC_INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
METRIC_INFERENCE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
METRIC_INFERENCE_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
METRIC_USAGE_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
METRIC_USAGE_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
METRIC_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
METRIC_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
METRIC_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
METRIC_INFERENCE_INPUT_TOKENS: Final = "gen_ai.client.inference.operation.input_tokens"
METRIC_INFERENCE_OUTPUT_TOKENS: Final = "gen_ai.client.inference.operation.output_tokens"

# --- Stable conventions --------------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
SERVICE_NAME: Final = "service.name"  # on the resource
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"

# --- spanloom's own ------------------------------------------------------------------------------------------
NODE_NAME: Final = "spanloom.node.name"
NODE_PATH: Final = "spanloom.node.path"  # of a node inside other nodes: `outer:inner`; of a plain Flow: `Flow#1`
STATUS: Final = "spanloom.status"  # "closed" | "cancelled" | "exited" | "interrupted" ...: ended early, and no error
CANCELLED_CAUSE: Final = "spanloom.cancelled.cause"  # `error.type` of what a span above failed with (a timeout)
INPUT: Final = "spanloom.input"
OUTPUT: Final = "spanloom.output"
TAGS: Final = "spanloom.tags"  # of a session, on every span inside
METADATA: Final = "spanloom.metadata."  # the beginning of the key; of a session, on every span inside
STATE_CHANGED_KEYS: Final = "spanloom.state.changed_keys"
STATE_CHANGES: Final = "spanloom.state.changes"
TRUNCATED_BYTES: Final = "spanloom.truncated_bytes"  # the JSONL exporter shortened the span to fit a line
COST_USD: Final = "spanloom.cost.usd"
COST_UNKNOWN: Final = "spanloom.cost.unknown"  # true where costs are recorded and the model has no known price
METRIC_NODE_DURATION: Final = "spanloom.node.duration"
METRIC_COST: Final = "spanloom.cost"
RETRY_EVENT: Final = "spanloom.retry"  # on the node span, one per failed attempt
RETRY_DELAY: Final = "spanloom.retry.delay"  # seconds slept before the next attempt

# --- PocketFlow ----------------------------------------------------------------------------------------------
POCKETFLOW_NODE_CLASS: Final = "pocketflow.node.class"
POCKETFLOW_NODE_INDEX: Final = "pocketflow.node.index"
POCKETFLOW_STEP: Final = "pocketflow.step"
POCKETFLOW_PHASE: Final = "pocketflow.phase"
POCKETFLOW_ACTION: Final = "pocketflow.action"
POCKETFLOW_NEXT: Final = "pocketflow.next"
POCKETFLOW_PARAMS: Final = "pocketflow.params"
POCKETFLOW_RETRY_ATTEMPT: Final = "pocketflow.retry.attempt"
POCKETFLOW_RETRY_MAX: Final = "pocketflow.retry.max"
POCKETFLOW_RETRY_COUNT: Final = "pocketflow.retry.count"
POCKETFLOW_FALLBACK: Final = "pocketflow.fallback"
POCKETFLOW_BATCH_INDEX: Final = "pocketflow.batch.index"
POCKETFLOW_BATCH_SIZE: Final = "pocketflow.batch.size"
POCKETFLOW_NO_SUCCESSOR_EVENT: Final = "pocketflow.no_successor"
POCKETFLOW_SUCCESSORS: Final = "pocketflow.successors"

# --- LangGraph -----------------------------------------------------------------------------------------------
LANGGRAPH_STEP: Final = "langgraph.step"
LANGGRAPH_TASK_ID: Final = "langgraph.task.id"
LANGGRAPH_CHECKPOINT_NS: Final = "langgraph.checkpoint.ns"
LANGGRAPH_CHECKPOINT_ID: Final = "langgraph.checkpoint.id"  # the last one of the run
LANGGRAPH_CHECKPOINT_RESUMED: Final = "langgraph.checkpoint.resumed_from"
LANGGRAPH_STATUS: Final = "langgraph.status"  # of the run's loop: "done", "interrupt_before", "out_of_steps", ...
LANGGRAPH_GRAPH_NODES: Final = "langgraph.graph.nodes"
LANGGRAPH_GRAPH_EDGES: Final = "langgraph.graph.edges"
LANGGRAPH_NEXT: Final = "langgraph.next"
LANGGRAPH_SEND: Final = "langgraph.send"
LANGGRAPH_GOTO_PARENT: Final = "langgraph.goto_parent"
LANGGRAPH_CACHED: Final = "langgraph.cached"  # nodes whose writes came from the cache: they did not run
LANGGRAPH_RETRY_COUNT: Final = "langgraph.retry.count"
LANGGRAPH_RETRY_ATTEMPT: Final = "langgraph.retry.attempt"
LANGGRAPH_RETRY_MAX: Final = "langgraph.retry.max"
LANGGRAPH_ERROR_HANDLER_FOR: Final = "langgraph.error_handler.for"
LANGGRAPH_INTERRUPT_EVENT: Final = "langgraph.interrupt"
LANGGRAPH_RESUME_EVENT: Final = "langgraph.resume"
LANGGRAPH_INTERRUPT_ID: Final = "langgraph.interrupt.id"
LANGGRAPH_INTERRUPT_VALUE: Final = "langgraph.interrupt.value"
LANGGRAPH_INTERRUPT_NODES: Final = "langgraph.interrupt.nodes"
LANGGRAPH_NODE: Final = "langgraph.node"  # on a model call whose node has no span
LANGCHAIN_TOOL_ARTIFACT: Final = "langchain.tool.artifact"  # the tool's message has an artifact beside its content
LANGCHAIN_CACHE_HIT: Final = "langchain.cache_hit"  # the answer, with its usage, came from LangChain's LLM cache

# --- Operation names (values of gen_ai.operation.name) ---------------------------------------------------------
OP_INVOKE_WORKFLOW: Final = "invoke_workflow"
OP_INVOKE_AGENT: Final = "invoke_agent"
OP_RUN_STEP: Final = "run_step"
OP_CHAT: Final = "chat"
OP_EXECUTE_TOOL: Final = "execute_tool"
OP_TEXT_COMPLETION: Final = "text_completion"
OP_GENERATE_CONTENT: Final = "generate_content"
OP_EMBEDDINGS: Final = "embeddings"
OP_RETRIEVAL: Final = "retrieval"
OP_RERANK: Final = "rerank"  # no word of the convention's, which allows others where it has none
