"""Log records to OTLP/JSON text."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from spanloom_jsonl._frames import Frames
from spanloom_jsonl._lines import Line, Refuse, grouped, lines
from spanloom_jsonl._values import any_value, attributes, nanos, text

_LOGS: Final = Frames(b"Logs", b"logRecords")


def record_lines(records: Iterable[Any], limit: int, refuse: Refuse) -> Iterator[Line]:
    """Yield log records as lines of at most `limit` bytes, grouped by resource and scope, otherwise in their order."""
    return lines(_LOGS.head, grouped(records, _LOGS, refuse), _encode_record, limit, refuse)


def _encode_record(item: Any) -> bytes:
    """Return a log record as a JSON object.

    Args:
        item: a `ReadableLogRecord`; of an SDK before 1.39, a `LogData`.
    """
    record = item.log_record
    severity = getattr(record.severity_number, "value", None)
    fields = [b'"timeUnixNano":"%d"' % nanos(record.timestamp)] if record.timestamp is not None else []
    if record.observed_timestamp is not None:
        fields.append(b'"observedTimeUnixNano":"%d"' % nanos(record.observed_timestamp))
    if type(severity) is int:
        fields.append(b'"severityNumber":%d' % severity)
    if record.severity_text:
        fields.append(b'"severityText":%b' % text(record.severity_text))
    if record.body is not None:
        fields.append(b'"body":%b' % any_value(record.body))
    if encoded := attributes(record.attributes):
        fields.append(b'"attributes":[%b]' % encoded)
    if dropped := getattr(item, "dropped_attributes", 0) or getattr(record, "dropped_attributes", 0):
        fields.append(b'"droppedAttributesCount":%d' % dropped)
    if record.trace_flags:
        fields.append(b'"flags":%d' % record.trace_flags)
    if record.trace_id:
        fields.append(b'"traceId":"%032x"' % record.trace_id)
    if record.span_id:
        fields.append(b'"spanId":"%016x"' % record.span_id)
    if event := getattr(record, "event_name", None):
        fields.append(b'"eventName":%b' % text(event))
    return b"{%b}" % b",".join(fields)
