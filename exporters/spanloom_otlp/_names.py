"""The attribute names that `_compat` reads and writes, once; an exporter may not import spanloom's own list."""

from typing import Final

# --- Read: the GenAI conventions, and what spanloom adds to them ------------------------------------------------
OPERATION: Final = "gen_ai.operation.name"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
DOCUMENTS: Final = "gen_ai.retrieval.documents"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
INPUT: Final = "spanloom.input"
OUTPUT: Final = "spanloom.output"
STATE_CHANGES: Final = "spanloom.state.changes"
PARAMS: Final = "pocketflow.params"
PHASE: Final = "pocketflow.phase"

# --- Written: the older name of the tokens that are written to a model's cache ----------------------------------
CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"

# --- Written: OpenInference (`openinference-semantic-conventions` 0.1, `SpanAttributes`) ------------------------
KIND: Final = "openinference.span.kind"
VALUE: Final = "{side}.value"  # of "input" and "output"
MIME_TYPE: Final = "{side}.mime_type"
DOCUMENT: Final = "{place}.{index}.document.{field}"
FOUND: Final = "retrieval.documents"
RANKED: Final = "reranker.output_documents"
PROMPT_TOKENS: Final = "llm.token_count.prompt"
TOTAL_TOKENS: Final = "llm.token_count.total"
