"""Workflows, agents, steps, tools, searches and embeddings of a program's own: where each keeps what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from spanloom import names
from spanloom.documents import documents_text
from spanloom.embedding import Embedding
from spanloom.told import Asked, Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.inference import Usage


class Plain(Told):
    """A workflow, an agent or a step.

    Attributes:
        agent: the agent's name, where it is one.
    """

    what = "A workflow, an agent or a node"
    agent: str | None = None


class ToolCall(Told):
    """An execution of a tool."""

    what = "A tool"

    def tell_input(self, value: object, system: object, offered: object) -> None:
        """The arguments."""
        self._no_instructions(system, offered)
        self.tell_arguments(value)

    def tell_arguments(self, arguments: object) -> None:
        """As the model gave them; the convention wants an object."""
        if self._telemetry.capture.tools:
            self._put(names.GEN_AI_TOOL_CALL_ARGUMENTS, self._telemetry.capture.json(_as_object("input", arguments)))

    def tell_output(self, value: object) -> None:
        """The result; the convention wants an object."""
        if self._telemetry.capture.tools:
            self._put(names.GEN_AI_TOOL_CALL_RESULT, self._telemetry.capture.json(_as_object("result", value)))


def _as_object(key: str, value: object) -> object:
    return value if isinstance(value, dict) else {key: value}  # pyright: ignore[reportUnknownVariableType]


class Search(Asked):
    """A retrieval, or a rerank."""

    what = "A retrieval or a rerank"

    def tell_input(self, value: object, system: object, offered: object) -> None:
        """The query."""
        self._no_instructions(system, offered)
        capture = self._telemetry.capture
        if capture.messages:
            text = capture.text(value) if isinstance(value, str) else capture.json(value)
            self._put(names.GEN_AI_RETRIEVAL_QUERY_TEXT, text)

    def tell_output(self, value: object) -> None:
        """The documents."""
        self.tell_documents(value)

    def tell_documents(self, documents: object) -> None:
        """What was found, or its new order."""
        if self._telemetry.capture.messages:
            self._put(names.GEN_AI_RETRIEVAL_DOCUMENTS, documents_text(documents, self._telemetry.capture))


class EmbeddingCall(Asked, Embedding):
    """A call of an embedding model."""

    what = "A call of an embedding model"

    def tell_input(self, value: object, system: object, offered: object) -> None:
        """The texts."""
        self._no_instructions(system, offered)
        if self._telemetry.capture.messages:
            self._put(names.INPUT, self._telemetry.capture.json(value))

    def tell_output(self, value: object) -> None:
        """The vectors, of which only the length is recorded."""
        first: object = cast("Sequence[object]", value)[0] if _is_row(value) else None
        if first is not None:
            self.dimensions = len(cast("Sequence[object]", first if _is_row(first) else value))

    def tell_usage(self, usage: Usage) -> None:
        """Tokens."""
        self.told.update(usage.attributes())

    def read(self, response: object) -> None:
        """The provider's response, as OpenAI's, Cohere's, Ollama's and Google's clients have it."""
        used = _field(response, "usage")
        for source, key in ((used, "prompt_tokens"), (used, "total_tokens"), (response, "prompt_eval_count")):
            count = _field(source, key)
            if isinstance(count, int):
                self.told[names.GEN_AI_USAGE_INPUT_TOKENS] = count
                break
        model = _field(response, "model")
        self.tell_response(model if isinstance(model, str) else None, None)
        rows = _field(response, "data", "embeddings")
        if _is_row(rows):
            vector = _field(rows[0], "embedding", "values")
            self.tell_output([rows[0] if callable(vector) or vector is None else vector])


def _field(thing: object, *keys: str) -> Any:
    """What a dict or an object has below the first of `keys` that is set."""
    for key in keys:
        value = cast("dict[str, Any]", thing).get(key) if isinstance(thing, dict) else getattr(thing, key, None)
        if value is not None:
            return value
    return None


def _is_row(value: object) -> bool:
    """Whether it is a list of numbers or of such lists; arrays count, texts do not."""
    if isinstance(value, (str, bytes, dict)) or not (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        return False
    return len(cast("Sequence[object]", value)) > 0
