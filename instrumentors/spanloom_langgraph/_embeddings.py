"""One `embeddings` span per call of an embedding model.

LangChain's `Embeddings` is an interface: each class has its own `embed_documents` and `embed_query`, and often one
calls the other; the asynchronous defaults run the synchronous methods in an executor. The outermost is the call.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

from spanloom import genai
from spanloom.instrument import Begun, Embedding, below_dropped
from spanloom_langgraph._family import patch_family
from spanloom_langgraph._requests import provider

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Patches, Telemetry

# Where classes of embedding models keep the model's name.
_MODELS: Final = ("model", "model_name", "model_id")
_ENDINGS: Final = ("Embeddings", "Embedding")
_LOST: Final = "the span of an embedding"


def provider_of(kind: type, family: type) -> str:
    """`gen_ai.provider.name`: the convention's word for LangChain's class, else that class's own without its ending.

    Args:
        kind: the class of an embedding model; of the user's own one below LangChain's, the latter tells.
        family: `Embeddings`.
    """
    theirs = (base for base in kind.__mro__ if base is not family and issubclass(base, family))
    name = next((base for base in theirs if base.__module__.startswith("langchain")), kind).__name__
    for ending in _ENDINGS:
        name = name.removesuffix(ending) or name
    return provider(name)


def model_of(embedder: Any) -> str | None:
    """`gen_ai.request.model`, where the object has one."""
    fields = getattr(embedder, "__dict__", {})  # asking it for an attribute could run its code
    return next((name for key in _MODELS if isinstance(name := fields.get(key), str) and name), None)


class Call(Embedding):
    """One call of one of the four methods."""

    def __init__(self, telemetry: Telemetry, *, one: bool) -> None:
        super().__init__(telemetry)
        self._one = one

    def describe(self) -> dict[str, AttributeValue]:
        """As `Embedding.describe`, with the size of the vectors."""
        vector = self.result if self._one else _first(self.result)
        if isinstance(vector, Sized):
            self.dimensions = len(vector)
        return super().describe()


def _first(vectors: Any) -> Any:
    """The first of a list or array; None of anything else, which looking could use up."""
    indexed = isinstance(vectors, Sized) and hasattr(vectors, "__getitem__")
    return cast("Any", vectors)[0] if indexed and len(vectors) else None


def patch_embeddings(module: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap the methods of `Embeddings` and of all its subclasses.

    Args:
        module: `langchain_core.embeddings.embeddings`.
        telemetry: where spans go.
        patches: remembers what was replaced.
    """
    capture = telemetry.capture
    providers: WeakKeyDictionary[type, str] = WeakKeyDictionary()

    def beginner(*, one: bool) -> Callable[..., Begun | None]:
        def begin(embedder: Any, /, *args: Any, **_: Any) -> Begun | None:
            """`embed_query(self, text)` and the like."""
            if below_dropped():
                return None
            kind = cast("type[Any]", type(embedder))
            known = providers.get(kind)
            if known is None:
                known = providers[kind] = provider_of(kind, module.Embeddings)
            model = model_of(embedder)
            call = Call(telemetry, one=one).begin(genai.embeddings(model and capture.name(model), known))
            return None if call is None else Begun(call, (embedder, *args), None, call.returned)

        return begin

    query, documents = beginner(one=True), beginner(one=False)
    begins = {
        "embed_query": query,
        "aembed_query": query,
        "embed_documents": documents,
        "aembed_documents": documents,
    }
    patch_family(module.Embeddings, begins, _LOST, patches)
