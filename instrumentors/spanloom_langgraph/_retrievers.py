"""One `retrieval` span per call of a retriever, around `BaseRetriever.invoke` and `ainvoke`.

A retriever that defines these for itself is traced too; what it calls of its base class is part of its call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.trace import SpanKind

from spanloom import genai
from spanloom.instrument import Begun, Scope, below_dropped, current_scope, documents_text, names
from spanloom_langgraph._family import patch_family

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Patches, Telemetry

# Where vector stores keep the name of what they search.
_COLLECTIONS: Final = ("collection_name", "_collection_name", "index_name", "_index_name", "table_name", "_table_name")
_LOST: Final = "the span of a retrieval"


def source_of(retriever: Any) -> str | None:
    """`gen_ai.data_source.id`: the name the user gave the retriever, its store's collection, else the store's class."""
    fields = _fields(retriever)
    store = fields.get("vectorstore")
    inside = _fields(store)
    for name in (fields.get("name"), *(inside.get(key) for key in _COLLECTIONS)):
        if isinstance(name, str) and name:
            return name
    return type(retriever if store is None else store).__name__


def top_k_of(retriever: Any, asked: Mapping[str, Any]) -> int | None:
    """How many documents a retriever is to return, where the call (`asked`) or its own settings tell."""
    fields = _fields(retriever)
    settings = _mapping(fields.get("search_kwargs"))
    for number in (asked.get("k"), settings.get("k"), fields.get("k"), fields.get("top_k")):
        if isinstance(number, int) and not isinstance(number, bool):
            return number
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _fields(thing: Any) -> Mapping[str, Any]:
    """What stands on an object itself: asking it for an attribute could run its code."""
    return getattr(thing, "__dict__", {})


class RetrievalScope(Scope):
    """One call of a retriever. What it calls of itself, or of its base class, meanwhile is part of this call.

    Attributes:
        retriever: whose call it is, until it has ended: a background task may keep this scope.
    """

    def __init__(self, telemetry: Telemetry, retriever: object) -> None:
        super().__init__(telemetry)
        self.retriever: object = retriever

    def describe(self) -> dict[str, AttributeValue]:
        """The documents."""
        capture = self._telemetry.capture
        found: object = self.result
        if not capture.messages or self._outcome is not None or not isinstance(found, list):
            return {}
        text = documents_text(cast("list[object]", found), capture)
        return {} if text is None else {names.GEN_AI_RETRIEVAL_DOCUMENTS: text}

    def finish(self) -> None:
        """As `Scope.finish`."""
        super().finish()
        self.retriever = None


def patch_retrievers(module: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap `invoke` and `ainvoke` of `BaseRetriever`, and of its subclasses that define their own.

    Args:
        module: `langchain_core.retrievers`.
        telemetry: where spans go.
        patches: remembers what was replaced.
    """
    capture = telemetry.capture

    def begin(retriever: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`BaseRetriever.invoke(self, input, config=None, **kwargs)`."""
        outer = current_scope()
        if below_dropped() or (isinstance(outer, RetrievalScope) and outer.retriever is retriever):
            return None
        source = source_of(retriever)
        operation = genai.retrieval(source and capture.name(source), top_k_of(retriever, kwargs))
        scope = RetrievalScope(telemetry, retriever)
        scope.open(operation.span_name, operation.attributes, kind=SpanKind.CLIENT)
        if scope.recording and scope.capture.messages:
            query = args[0] if args else kwargs.get("input")
            text = capture.text(query) if isinstance(query, str) else None
            if text is not None:
                scope.span.set_attribute(names.GEN_AI_RETRIEVAL_QUERY_TEXT, text)
        return Begun(scope, (retriever, *args), None, scope.returned)

    patch_family(module.BaseRetriever, {"invoke": begin, "ainvoke": begin}, _LOST, patches)
