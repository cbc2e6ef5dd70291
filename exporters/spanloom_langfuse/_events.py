"""What Langfuse does not store of a span, and metadata keeps: exceptions, other events, links to other traces."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan

from spanloom_langfuse import _figures as figures
from spanloom_langfuse import _names as names
from spanloom_langfuse._text import written

_MOST: Final = 32  # events; the last ones say how it ended


def exception(span: ReadableSpan) -> str | None:
    """The last exception with its stack trace, as Python prints it; None if there is none."""
    found = _last_exception(span)
    if found is None:
        return None
    stack = found.get(names.EXCEPTION_STACKTRACE)
    return str(stack) if stack else _headline(found)


def failure(span: ReadableSpan) -> str | None:
    """What the failed span failed with, as `Type: message`; None where it says neither."""
    attributes: Mapping[str, Any] = span.attributes or {}
    about = _last_exception(span) or {}
    kind = str(attributes.get(names.ERROR_TYPE) or about.get(names.EXCEPTION_TYPE) or "")
    message = span.status.description or str(about.get(names.EXCEPTION_MESSAGE) or "")
    # A type may be written with its module on one side and without it on the other.
    if not kind or message.startswith((f"{kind}:", f"{kind.rpartition('.')[2]}:")):
        return message or None
    return f"{kind}: {message}" if message else kind


def others(span: ReadableSpan) -> str | None:
    """The span's other events as JSON text: a retry, an interrupt, an evaluation; None if there are none."""
    told = [
        event
        for event in span.events
        if event.name != names.EXCEPTION_EVENT and not event.name.endswith(names.MESSAGE_EVENTS)
    ]
    return written([_told(event) for event in told[-_MOST:]]) if told else None


def linked_traces(span: ReadableSpan) -> str | None:
    """The ids of other traces that the span has links to, as JSON text; None if it has none."""
    own = span.context.trace_id if span.context else 0
    ids = {f"{link.context.trace_id:032x}": None for link in span.links if link.context.trace_id != own}
    return written(list(ids)) if ids else None


def _last_exception(span: ReadableSpan) -> Mapping[str, Any] | None:
    for event in reversed(span.events):
        if event.name == names.EXCEPTION_EVENT:
            return event.attributes or {}
    return None


def _headline(attributes: Mapping[str, Any]) -> str | None:
    found = (attributes.get(names.EXCEPTION_TYPE), attributes.get(names.EXCEPTION_MESSAGE))
    return ": ".join(str(word) for word in found if word) or None


def _told(event: Event) -> dict[str, Any]:
    return {"name": event.name, "time": figures.moment(event.timestamp), **(event.attributes or {})}
