"""Spans of other instrumentations: in the conversation that spanloom carries, without secrets, and with their cost.

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

from spanloom import config, names, nested
from spanloom.carried import stamps
from spanloom.cost import cost_of_call, prices_of
from spanloom.guard import guarded, swallow
from spanloom.scrub import Scrubber
from spanloom.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Event, ReadableSpan, Span, TracerProvider
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes, AttributeValue

# Where the GenAI conventions put what people and models say, on spans and on span events; and an exception's texts.
CONTENT: Final = frozenset(
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
    """Stamps spans with what spanloom carries (conversation, session, user), redacts what others wrote, and prices it.

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

    Usage: a span that a client's own tracing makes inside a model call that is recorded already is no second call; it
    loses `gen_ai.operation.name` and its usage.

    Cost: with `SPANLOOM_COST`, a model call of another instrumentation's that tells its usage gets
    `spanloom.cost.usd`, or `spanloom.cost.unknown`, as those of spanloom's own have it.

    Order: with OpenTelemetry SDK 1.40 and later, redaction happens while the span is ending, before any processor
    gets it, wherever this one stands in the provider's list. Earlier SDKs have no such moment: there it happens when
    this processor gets the ended span, so processors that were added before it get the text as it was (a batch
    processor may or may not, depending on when it exports), and so may all under a `ConcurrentMultiSpanProcessor`.

    Args:
        settings: what to redact. Default: the process's, followed where `spanloom.init` changes them.
    """

    def __init__(self, settings: config.Config | None = None) -> None:
        self._in_force = InForce(settings)
        if self._in_force.settings.cost:
            with guarded("cost.prices", "what model calls have cost"):
                prices_of(self._in_force.settings)  # now, so that no span waits for it

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp; ours start with the stamps."""
        try:
            carried = stamps(parent_context)
            if is_ours(span.instrumentation_scope):
                return
            if carried and (missing := _missing(span.attributes, carried)):
                span.set_attributes(missing)
            nested.note(span, parent_context)
        except Exception as exc:
            swallow("processor.start", "the conversation of a span of another instrumentation", exc)

    def _on_ending(self, span: Span) -> None:
        self._mend(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Redact and price, where the SDK has not told before."""
        if not _TOLD_BEFORE:
            self._mend(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Nothing is kept here; on older SDKs the base class says None, which keeps the others from flushing."""
        return True

    def amended(self, span: ReadableSpan, carried: Mapping[str, AttributeValue]) -> ReadableSpan:
        """A stamped and redacted copy of an ended span, for exporters of ours; others get it as it is."""
        made = copy.copy(span)
        if missing := _missing(span.attributes, carried):
            made._attributes = _with(made._attributes, missing)
        self._mend(made)
        return made

    def _mend(self, span: ReadableSpan) -> None:
        if is_ours(span.instrumentation_scope):
            return
        try:
            settings = self._in_force.settings
            if nested.is_same_call(span):
                span._attributes = _rebuilt(span._attributes, nested.as_request(span.attributes or {}))
            elif settings.cost and (cost := cost_of_call(span.attributes or {}, settings)):
                span._attributes = _with(span._attributes, cost)
        except Exception as exc:
            swallow("processor.usage", "the usage or the cost of a model call of another instrumentation", exc)
        try:
            content = not CONTENT.isdisjoint(span.attributes or ())
            status, events = span.status, span.events
            if not (content or status.description or events):
                return
            scrubber = self._in_force.scrubber
            if not scrubber.needed:
                return
            if content:
                span._attributes = scrubbed(scrubber, span._attributes)
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


class InForce:
    """The settings that a processor follows: given ones, or the process's, which `spanloom.init` may change.

    Args:
        settings: None is the process's.
    """

    def __init__(self, settings: config.Config | None) -> None:
        self._given = settings
        self._made: tuple[config.Config, Scrubber] | None = None

    @property
    def settings(self) -> config.Config:
        """As they are now."""
        return self._given or config.active()

    @property
    def scrubber(self) -> Scrubber:
        """What redacts as they say."""
        settings, made = self.settings, self._made
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


def companions(provider: Any) -> list[SpanProcessor]:
    """What the exporters of `provider` want beside them: the record of running spans, of those that write files."""
    every = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())
    makers = (getattr(getattr(one, "span_exporter", None), "running_spans", None) for one in every)
    return [made for make in makers if make is not None and (made := make()) is not None]


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


def is_ours(scope: InstrumentationScope | None) -> bool:
    """Whether what belongs to it was written by spanloom, which redacts while it writes."""
    return scope is not None and scope.name.startswith("spanloom") and scope.version == VERSION


def _missing(attributes: Attributes, carried: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {key: value for key, value in carried.items() if not attributes or key not in attributes}


def scrubbed(scrubber: Scrubber, attributes: Attributes) -> Attributes:
    """`attributes`, or a copy if something in them had to be hidden."""
    if not attributes:
        return attributes
    limit = attributes.max_value_len if isinstance(attributes, BoundedAttributes) else None
    found = {key: attributes[key] for key in CONTENT.intersection(attributes)}
    hidden = {key: made for key, value in found.items() if (made := scrubber.value(value, limit)) is not value}
    return _with(attributes, hidden) if hidden else attributes


def _scrubbed_event(scrubber: Scrubber, event: Event) -> Event:
    attributes = scrubbed(scrubber, event.attributes)
    if attributes is event.attributes:
        return event
    made = copy.copy(event)
    made._attributes = attributes
    return made


def _with(attributes: Attributes, changes: Mapping[str, Any]) -> Attributes:
    """A copy of `attributes` with `changes`, bounded and marked as these are."""
    return _rebuilt(attributes, {**(attributes or {}), **changes})


def _rebuilt(attributes: Attributes, merged: dict[str, Any]) -> Attributes:
    """`merged`, bounded and marked as `attributes` are."""
    if not isinstance(attributes, BoundedAttributes):
        return merged
    extended: Any = {"extended_attributes": True} if getattr(attributes, "_extended_attributes", False) else {}
    made = BoundedAttributes(
        attributes.maxlen, merged, getattr(attributes, "_immutable", True), attributes.max_value_len, **extended
    )
    made.dropped += attributes.dropped
    return made
