"""What some backends read beside the conventions, on copies of spans, where somebody has asked for it.

`openinference` follows OpenInference's semantic conventions: Phoenix takes the kind of a span and its columns "input"
and "output" from them, and so does MLflow for what it does not know of the GenAI conventions (workflows, nodes,
retrievals). `cache_creation` is the name that `gen_ai.usage.cache_write.input_tokens` had before: Jaeger's UI and
Phoenix know only that one.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

from spanloom_otlp import _names, _settings
from spanloom_otlp._copy import with_attributes
from spanloom_otlp._outcome import Outcome, Verdict

Attributes = Mapping[str, AttributeValue]
Pairs = Iterator[tuple[str, AttributeValue]]

_KINDS: Final = {
    "invoke_workflow": "CHAIN",
    "run_step": "CHAIN",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "chat": "LLM",
    "text_completion": "LLM",
    "generate_content": "LLM",
    "execute_tool": "TOOL",
    "retrieval": "RETRIEVER",
    "embeddings": "EMBEDDING",
    "rerank": "RERANKER",
}
# Where the input and the output of a span are, whatever it is; of two the first.
_SIDES: Final = {
    "input": (_names.INPUT_MESSAGES, _names.INPUT, _names.TOOL_ARGUMENTS, _names.QUERY_TEXT, _names.PARAMS),
    "output": (
        _names.OUTPUT_MESSAGES,
        _names.OUTPUT,
        _names.TOOL_RESULT,
        _names.DOCUMENTS,
        _names.STATE_CHANGES,
    ),
}


class CompatSpanExporter(SpanExporter):
    """Hands copies of spans, with more attributes on them, to another exporter; the spans stay as they are.

    An attribute that a span has already is never replaced.

    Args:
        inner: the exporter that sends.
        wanted: what to write, of `openinference` and `cache_creation`: a list, or a text with commas. Default:
            `SPANLOOM_COMPAT`. A name that is not known is logged, and the others are written.
    """

    def __init__(self, inner: SpanExporter, wanted: str | Iterable[str] | None = None) -> None:
        self._inner = inner
        self._writers = tuple(_WRITERS[name] for name in _settings.compat(wanted, _WRITERS))
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export copies of `spans`."""
        return self._inner.export(self._copies(spans))

    def deliver(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Send copies of `spans` once; by `export` where that is all that the exporter inside has."""
        copies = self._copies(spans)
        deliver: Callable[[Sequence[ReadableSpan]], Outcome] | None = getattr(self._inner, "deliver", None)
        if deliver is not None:
            return deliver(copies)
        done = self._inner.export(copies) is SpanExportResult.SUCCESS
        return Outcome(Verdict.DELIVERED if done else Verdict.LATER)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter.force_flush`."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Shut the exporter inside down."""
        self._inner.shutdown()

    def _copies(self, spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
        return [self._copy(span) for span in spans]

    def _copy(self, span: ReadableSpan) -> ReadableSpan:
        try:
            own = span.attributes or {}
            written = {key: value for write in self._writers for key, value in write(own) if key not in own}
            return with_attributes(span, written) if written else span
        except Exception as exc:
            if not self._failed:
                self._failed = True
                _settings.LOG.warning(
                    "%s: a span is sent as it is, because of %r. This is logged once.", _settings.COMPAT, exc
                )
            return span


def openinference(own: Attributes) -> Pairs:
    """Yield OpenInference's attributes of a span of the GenAI conventions or of spanloom; of any other span none.

    Args:
        own: the span's attributes.
    """
    # A phase of a PocketFlow node has no operation, and is ours all the same.
    kind = "CHAIN" if _names.PHASE in own else _KINDS.get(str(own.get(_names.OPERATION)))
    if kind is None:
        return
    yield _names.KIND, kind
    for side, sources in _SIDES.items():
        yield from _value(side, own, sources)
    # Phoenix itself reads only lists in which every document has a score.
    yield from _documents(_names.RANKED if kind == "RERANKER" else _names.FOUND, own.get(_names.DOCUMENTS))
    tokens = own.get(_names.INPUT_TOKENS)
    if tokens is not None and _names.OUTPUT_TOKENS not in own:
        # MLflow adds up totals, and makes them only where there are tokens of both directions: not for embeddings.
        yield _names.PROMPT_TOKENS, tokens
        yield _names.TOTAL_TOKENS, tokens


def cache_creation(own: Attributes) -> Pairs:
    """Yield the older name of the tokens that were written to the model's cache.

    Args:
        own: the span's attributes.
    """
    if _names.CACHE_WRITE_TOKENS in own:
        yield _names.CACHE_CREATION_TOKENS, own[_names.CACHE_WRITE_TOKENS]


_WRITERS: Final[dict[str, Callable[[Attributes], Pairs]]] = {
    "openinference": openinference,
    "cache_creation": cache_creation,
}


def _value(side: str, own: Attributes, sources: Iterable[str]) -> Pairs:
    """Yield a side's value and its type, from the first of `sources` that the span has."""
    key = _names.VALUE.format(side=side)
    text = next((own[source] for source in sources if source in own), None)
    if isinstance(text, str) and key not in own:  # another's value has another's type
        parsed = _parsed(text)
        # JSON's quotes around a text are for programs.
        yield key, parsed if isinstance(parsed, str) else text
        kind = "application/json" if isinstance(parsed, (dict, list)) else "text/plain"
        yield _names.MIME_TYPE.format(side=side), kind


def _documents(place: str, text: object) -> Pairs:
    parsed = _parsed(text) if isinstance(text, str) else None
    for index, document in enumerate(cast("list[Any]", parsed) if isinstance(parsed, list) else []):
        fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        for field in ("id", "score", "content"):
            value = fields.get(field)
            if isinstance(value, (str, int, float)):
                yield _names.DOCUMENT.format(place=place, index=index, field=field), value


def _parsed(text: str) -> Any:
    """What a JSON text says; None for any other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
