"""Copies of ended spans with other attributes, for backends that read names of their own."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanContext, Status
from opentelemetry.util.types import Attributes, AttributeValue

_Item = TypeVar("_Item")
_UNCHANGED: Any = object()


def with_attributes(
    span: ReadableSpan,
    changes: Mapping[str, AttributeValue],
    *,
    remove: Collection[str] = (),
    name: str | None = None,
    status: Status | None = None,
    parent: SpanContext | None = _UNCHANGED,
    events: Sequence[Event] | None = None,
) -> ReadableSpan:
    """Return a copy of an ended span; the span itself, which other exporters get too, stays as it is.

    Neither the SDK's limit on the number of attributes nor that on the length of their values applies to `changes`.
    What the drop counters of the span say, those of the copy say too.

    Args:
        span: the span to copy.
        changes: attributes to set.
        remove: names of attributes to leave out; `changes` go before these.
        name: another name; None keeps it.
        status: another status; None keeps it.
        parent: another parent; given as None, the copy is a root span.
        events: other events; None keeps them.
    """
    own = span.attributes or {}
    merged = {key: value for key, value in own.items() if key not in remove} | dict(changes)
    return ReadableSpan(
        name=span.name if name is None else name,
        context=span.context,
        parent=span.parent if parent is _UNCHANGED else parent,
        resource=span.resource,
        attributes=counted(merged, span.dropped_attributes),
        events=bounded(span.events if events is None else events, span.dropped_events),
        links=bounded(span.links, span.dropped_links),
        kind=span.kind,
        status=span.status if status is None else status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def event_with_attributes(event: Event, changes: Mapping[str, AttributeValue]) -> Event:
    """Return a copy of a span's event with `changes` in its attributes."""
    merged = {**(event.attributes or {}), **changes}
    return Event(event.name, counted(merged, event.dropped_attributes), event.timestamp)


def counted(attributes: Mapping[str, AttributeValue], dropped: int) -> Attributes:
    """`attributes` as the SDK keeps them where some were dropped; as they are where none were."""
    if not dropped:
        return attributes
    made = BoundedAttributes(None, cast("dict[str, AttributeValue]", {}), immutable=False)
    # Past its checks, which would refuse what the span already carried.
    made._dict.update(attributes)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    made.dropped = dropped
    return made


def bounded(items: Sequence[_Item], dropped: int) -> Sequence[_Item]:
    """`items` as the SDK keeps them where some were dropped; as they are where none were."""
    if not dropped:
        return items
    made: BoundedList[_Item] = BoundedList(None)
    made.extend(items)
    made.dropped = dropped
    return made
