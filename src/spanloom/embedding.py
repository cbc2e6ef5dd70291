"""The span of a call of an embedding model, whoever makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from spanloom import interop, names
from spanloom.span import Scope, current_scope

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from spanloom.genai import Operation


class Embedding(Scope):
    """A call of an embedding model.

    What is unknown here (tokens, the model that answered) is taken from an official instrumentation of the
    provider's client below.

    Attributes:
        dimensions: how long a vector is, where it is known.
        inner: the last call that was made inside this one.
    """

    dimensions: int | None = None
    inner: Operation | None = None
    _operation: Operation | None = None

    def begin(self, operation: Operation) -> Self | None:
        """This scope, its span opened, unless another one's stands for the call.

        Args:
            operation: `genai.embeddings`.

        Returns:
            None if the call is made inside another one of ours: a method that uses another one, or a model that
            delegates to another. None as well if an official instrumentation has opened a call around it.
        """
        outer = current_scope()
        if isinstance(outer, Embedding) and outer.recording:
            outer.inner = operation
            return None
        ours = None if outer is None else outer.announced_embedding
        if interop.call_is_open(interop.EMBEDDING, ours=ours):
            return None
        self._operation = operation
        self.open(operation.span_name, operation.attributes, kind=SpanKind.CLIENT)
        if self.recording:
            self.announced_embedding = interop.announcement(interop.EMBEDDING)
        return self

    def describe(self) -> dict[str, AttributeValue]:
        """What is known of the vectors; and which model made them, where this one has none of its own."""
        found = interop.told(self.announced_embedding)
        if self.dimensions is not None:
            found[names.GEN_AI_EMBEDDINGS_DIMENSION_COUNT] = self.dimensions
        inner = self.inner
        if inner is not None and not _has_model(self._operation) and _has_model(inner):
            self.span.update_name(inner.span_name)
            found.update(inner.attributes)
        return found


def _has_model(operation: Operation | None) -> bool:
    return operation is not None and names.GEN_AI_REQUEST_MODEL in operation.attributes
