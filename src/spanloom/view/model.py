"""What the viewer knows of a span: plain values, read from a file, without OpenTelemetry."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

# An OTLP AnyValue as plain data; what JSON has no number for (NaN, infinities) and bytes are text.
Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
Attributes: TypeAlias = dict[str, Value]

STATUS_ERROR: Final = 2
KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES: Final = ("unset", "ok", "error")
RUNNING: Final = "running"
LEFT_OPEN: Final = "not ended"


class Event(NamedTuple):
    """A point in time on a span; `time` is in nanoseconds since the epoch, 0 where unknown."""

    name: str
    time: int
    attributes: Attributes


class Link(NamedTuple):
    """A reference to a span that is not the parent."""

    trace_id: str
    span_id: str
    attributes: Attributes

    def away_from(self, span: Span) -> bool:
        """Whether it leads from `span` to another trace."""
        return self.trace_id != span.trace_id


class Span(NamedTuple):
    """One span. Times are nanoseconds since the epoch (0: unknown); ids are lower-case text.

    `local_root` says that nothing above it can be in this process's files: it has no parent, or (OTLP span flags,
    bits 8 and 9) its parent is known to be remote. `state` is empty for a span that has ended, `RUNNING`, or
    `LEFT_OPEN` where its process is gone; `end` is then how far it is known to have come.
    """

    trace_id: str
    span_id: str
    parent_id: str
    local_root: bool
    name: str
    kind: int
    start: int
    end: int
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    status: int
    message: str
    resource: Attributes
    scope: str
    state: str = ""

    @property
    def failed(self) -> bool:
        """Whether the status is ERROR."""
        return self.status == STATUS_ERROR
