"""Spans of other instrumentations: in the conversation that spanloom carries, and without secrets.

Spanloom's own spans have both from their start. What a provider's, an HTTP client's or a database's instrumentation
writes inside them gets both here, on its way to the exporters.
"""
# ruff: noqa: SLF001  an ended span can be changed by its private fields only
# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Status

from spanloom import config, names
from spanloom.carried import stamps
from spanloom.guard import swallow
from spanloom.scrub import Scrubber
from spanloom.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Event, ReadableSpan, Span, TracerProvider
    from opentelemetry.util.types import Attributes, AttributeValue

# Where the GenAI conventions put what people and models say, on spans and on span events; and an exception's texts.
_CONTENT: Final = frozenset(
    (
        names.GEN_AI_INPUT_MESSAGES,
        names.GEN_AI_OUTPUT_MESSAGES,
        names.GEN_AI_SYSTEM_INSTRUCTIONS,
        names.GEN_AI_TOOL_DEFINITIONS,
        names.GEN_AI_TOOL_CALL_ARGUMENTS,
        names.GEN_AI_TOOL_CALL_RESULT,
        names.GEN_AI_RETRIEVAL_QUERY_TEXT,
        names.GEN_AI_RETRIEVAL_DOCUMENTS,
        names.EXCEPTION_MESSAGE,
        names.EXCEPTION_STACKTRACE,
    )
)
# SDK 1.40 and later tell a processor that a span is ending before any processor gets the ended span.
_TOLD_BEFORE: Final = hasattr(SpanProcessor, "_on_ending")


class SpanloomProcessor(SpanProcessor):
    """Stamps spans with what spanloom carries (conversation, session, user), and redacts what others wrote.

    `spanloom.init`, `spanloom run` and `opentelemetry-instrument` put it into the provider that they build. A program
    that builds its own adds it itself, before its exporters:

        provider = TracerProvider()
        provider.add_span_processor(spanloom.SpanloomProcessor())
        provider.add_span_processor(BatchSpanProcessor(exporter))

    Stamps: a span that starts where spanloom carries such attributes gets those it lacks.

    Redaction: of the GenAI conventions' content attributes (messages, instructions, tool definitions, arguments and
    results, retrieval queries and documents), of the status description, and of messages and stack traces of
    exception events, as the process's settings say. Other attributes stay as they are. If a redactor fails,
    `[REDACTED]` stands in the place of the value. Spans of spanloom's own instrumentors are left alone: these redact
    while they write.

    Order: with OpenTelemetry SDK 1.40 and later, redaction happens while the span is ending, before any processor
    gets it, wherever this one stands in the provider's list. Earlier SDKs have no such moment: there it happens when
    this processor gets the ended span, so processors that were added before it get the text as it was (a batch
    processor may or may not, depending on when it exports), and so may all under a `ConcurrentMultiSpanProcessor`.

    Args:
        settings: what to redact. Default: the process's, followed where `spanloom.init` changes them.
    """

    def __init__(self, settings: config.Config | None = None) -> None:
        self._settings = settings
        self._made: tuple[config.Config, Scrubber] | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp."""
        try:
            carried = stamps(parent_context)
            # Ours start with them.
            if carried and not _is_ours(span) and (missing := _missing(span.attributes, carried)):
                span.set_attributes(missing)
        except Exception as exc:
            swallow("processor.start", "the conversation of a span of another instrumentation", exc)

    def _on_ending(self, span: Span) -> None:
        self._redact(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Redact, where the SDK has not told before."""
        if not _TOLD_BEFORE:
            self._redact(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Nothing is kept here; on older SDKs the base class says None, which keeps the others from flushing."""
        return True

    def amended(self, span: ReadableSpan, carried: Mapping[str, AttributeValue]) -> ReadableSpan:
        """A stamped and redacted copy of an ended span, for exporters of ours; others get it as it is."""
        made = copy.copy(span)
        if missing := _missing(span.attributes, carried):
            made._attributes = _with(made._attributes, missing)
        self._redact(made)
        return made

    def _redact(self, span: ReadableSpan) -> None:
        try:
            if _is_ours(span):
                return
            content = not _CONTENT.isdisjoint(span.attributes or ())
            status, events = span.status, span.events
            if not (content or status.description or events):
                return
            scrubber = self._scrubber()
            if not scrubber.needed:
                return
            if content:
                span._attributes = _scrubbed(scrubber, span._attributes)
            description = scrubber.value(status.description)
            if description is not status.description:
                span._status = Status(status.status_code, description)
            made = [_scrubbed_event(scrubber, event) for event in events]
            if any(new is not old for new, old in zip(made, events, strict=True)):
                kept: BoundedList[Event] = BoundedList(None)
                kept.extend(made)
                kept.dropped = span.dropped_events
                span._events = kept
        except Exception as exc:
            swallow("processor.redact", "the redaction of a span of another instrumentation", exc)

    def _scrubber(self) -> Scrubber:
        settings = self._settings or config.active()
        made = self._made
        if made is None or made[0] is not settings:
            made = self._made = settings, Scrubber(settings)
        return made[1]


def put_first(provider: TracerProvider, processor: SpanProcessor) -> None:
    """Add a processor to `provider` before those that it has, which matters before SDK 1.40."""
    every = provider._active_span_processor
    if isinstance(every, SynchronousMultiSpanProcessor):
        with every._lock:
            every._span_processors = (processor, *every._span_processors)
    else:
        provider.add_span_processor(processor)


def others(provider: TracerProvider) -> SpanProcessor:
    """What `provider` has besides a `SpanloomProcessor`: for spans of another provider, which stay as they are."""
    every = provider._active_span_processor
    if not isinstance(every, SynchronousMultiSpanProcessor):
        return every
    chosen = SynchronousMultiSpanProcessor()
    for processor in every._span_processors:
        if not isinstance(processor, SpanloomProcessor):
            chosen.add_span_processor(processor)
    return chosen


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name.startswith("spanloom") and scope.version == VERSION


def _missing(attributes: Attributes, carried: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {key: value for key, value in carried.items() if not attributes or key not in attributes}


def _scrubbed(scrubber: Scrubber, attributes: Attributes) -> Attributes:
    """`attributes`, or a copy if something in them had to be hidden."""
    if not attributes:
        return attributes
    limit = attributes.max_value_len if isinstance(attributes, BoundedAttributes) else None
    found = {key: attributes[key] for key in _CONTENT.intersection(attributes)}
    hidden = {key: made for key, value in found.items() if (made := scrubber.value(value, limit)) is not value}
    return _with(attributes, hidden) if hidden else attributes


def _scrubbed_event(scrubber: Scrubber, event: Event) -> Event:
    attributes = _scrubbed(scrubber, event.attributes)
    if attributes is event.attributes:
        return event
    made = copy.copy(event)
    made._attributes = attributes
    return made


def _with(attributes: Attributes, changes: Mapping[str, Any]) -> Attributes:
    """A copy of `attributes` with `changes`, bounded and marked as these are."""
    merged = {**(attributes or {}), **changes}
    if not isinstance(attributes, BoundedAttributes):
        return merged
    made = BoundedAttributes(
        attributes.maxlen, merged, getattr(attributes, "_immutable", True), attributes.max_value_len
    )
    made.dropped += attributes.dropped
    return made
