"""What LangChain tells about a request before it is made: provider, model, parameters, form of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom import genai
from spanloom.instrument import current_scope, names
from spanloom_langgraph._nodes import NodeScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spanloom.genai import Operation

# `gen_ai.provider.name` by LangChain's `ls_provider` (of classes without one of their own: their name), where the
# two differ.
_PROVIDERS: Final = {
    "amazon_bedrock": "aws.bedrock",
    "anthropic-bedrock": "aws.bedrock",
    "anthropic-mantle": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azureaichatcompletionsmodel": "azure.ai.inference",
    "azureaiembeddingsmodel": "azure.ai.inference",
    "azureopenai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrockconverse": "aws.bedrock",
    "google_genai": "gcp.gen_ai",
    "google_vertexai": "gcp.vertex_ai",
    "googlegenerativeai": "gcp.gen_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "openai-codex": "openai",
    "openai-mantle": "aws.bedrock",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_KNOWN: Final = (("temperature", "ls_temperature"), ("max_tokens", "ls_max_tokens"), ("stop", "ls_stop"))
_NONE: Final[Mapping[str, Any]] = {}
# How models are asked for JSON: OpenAI and many others, Google (three), Ollama, Anthropic (two), OpenAI's responses.
_JSON_KEYS: Final = (
    *("response_format", "response_mime_type", "response_schema", "response_json_schema"),
    *("format", "output_format", "output_config", "text"),
)


def operation(
    kind: str, model: Any, told: Mapping[str, Any], kwargs: Mapping[str, Any], *, streaming: bool = False
) -> Operation:
    """The span that a call starts with.

    Args:
        kind: `chat` or `text_completion`.
        model: the LangChain model.
        told: what LangChain has found out for its own tracing (`LangSmithParams`).
        kwargs: the call's own arguments for the provider.
        streaming: whether the answer is streamed.
    """
    fields: dict[str, Any] = getattr(model, "__dict__", {})  # asking it for an attribute could run its code
    more: object = fields.get("model_kwargs")
    defaults = cast("dict[str, Any]", more) if isinstance(more, dict) else _NONE
    known = {name: told[key] for name, key in _KNOWN if told.get(key) is not None}
    parameters = genai.request_parameters(defaults, fields, known, kwargs)
    if _wants_json(kwargs, fields, defaults):
        parameters[names.GEN_AI_OUTPUT_TYPE] = "json"
    node = told.get("langgraph_node")
    if isinstance(node, str) and not _below_node():
        parameters[names.LANGGRAPH_NODE] = node
    return genai.inference(
        kind,
        provider(told.get("ls_provider") or type(model).__name__),
        _text(kwargs.get("model")) or _text(told.get("ls_model_name")),
        streaming=streaming,
        parameters=parameters,
    )


def provider(told: str) -> str:
    """`gen_ai.provider.name` for LangChain's name of a provider."""
    word = told.lower()
    return _PROVIDERS.get(word, word)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _below_node() -> bool:
    """Whether a node's span lies above."""
    scope = current_scope()
    while scope is not None and not isinstance(scope, NodeScope):
        scope = scope.parent
    return scope is not None


def _wants_json(*sources: Mapping[str, Any]) -> bool:
    for source in sources:
        if source:
            for key in _JSON_KEYS:
                if key in source and _is_json(source[key]):
                    return True
    return False


def _is_json(form: object) -> bool:
    """Whether a provider's form of an answer is JSON: a word for it, a class, a JSON Schema."""
    if isinstance(form, str):
        return form in ("json", "json_object", "application/json")
    if not isinstance(form, dict):
        return isinstance(form, type)
    fields = cast("dict[str, Any]", form)
    kind = fields.get("type")
    if isinstance(kind, str):
        return kind.lower().startswith(("json", "object"))
    return "properties" in fields or _is_json(fields.get("format"))
