"""Metrics to OTLP/JSON text, each data point by itself, so that any number of them fits into lines.

A number that is no JSON number (NaN, an infinity) is written as the proto3 JSON mapping has it: `"NaN"`.
"""

from collections.abc import Iterator
from math import isfinite, isnan
from operator import index
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    MetricsData,
    NumberDataPoint,
    Sum,
)

from spanloom_jsonl._frames import Frame, Frames
from spanloom_jsonl._lines import Line, Place, Refuse, lines
from spanloom_jsonl._values import INT64_MAX, INT64_MIN, attributes, nanos, text

_METRICS: Final = Frames(b"Metrics", b"metrics")

_KINDS: Final = {
    Gauge: b"gauge",
    Sum: b"sum",
    Histogram: b"histogram",
    ExponentialHistogram: b"exponentialHistogram",
}


Groups: TypeAlias = list[tuple[Place, list[Any]]]
"""Data points by the resource, scope and metric they belong to."""


def points(data: MetricsData, refuse: Refuse) -> Groups:
    """Return the data points of `data`; `refuse` is told of each metric that is none."""
    groups: Groups = []
    for of_resource in data.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                try:
                    place = _METRICS.resource(of_resource.resource), _METRICS.scope(of_scope.scope), _frame(metric)
                    groups.append((place, list(metric.data.data_points)))
                except Exception as error:
                    refuse(error)
    return groups


def point_lines(groups: Groups, limit: int, refuse: Refuse) -> Iterator[Line]:
    """Yield data points as lines of at most `limit` bytes; a metric may be spread over several."""
    return lines(_METRICS.head, groups, _encode_point, limit, refuse)


def _frame(metric: Any) -> Frame:
    """Return what surrounds the points of a metric."""
    head = [b'"name":%b' % text(metric.name)]
    if metric.description:
        head.append(b'"description":%b' % text(metric.description))
    if metric.unit:
        head.append(b'"unit":%b' % text(metric.unit))
    data = metric.data
    head.append(b'"%b":{"dataPoints":[' % _KINDS[type(data)])
    tail = b"]"
    if type(data) is not Gauge:
        tail += b',"aggregationTemporality":%d' % int(data.aggregation_temporality)
    if type(data) is Sum:
        tail += b',"isMonotonic":true' if data.is_monotonic else b',"isMonotonic":false'
    return Frame(b"{" + b",".join(head), tail + b"}}")


def _encode_point(point: Any) -> bytes:
    """Return a data point as a JSON object.

    Raises:
        Exception: it is none, or its values are no numbers.
    """
    fields = [b'"timeUnixNano":"%d"' % nanos(point.time_unix_nano)]
    if point.start_time_unix_nano is not None:
        fields.append(b'"startTimeUnixNano":"%d"' % nanos(point.start_time_unix_nano))
    if encoded := attributes(point.attributes):
        fields.append(b'"attributes":[%b]' % encoded)
    if isinstance(point, NumberDataPoint):
        fields.append(_value(point.value))
    else:
        fields += _histogram(point)
    if point.exemplars:
        fields.append(b'"exemplars":[%b]' % b",".join([_exemplar(exemplar) for exemplar in point.exemplars]))
    return b"{%b}" % b",".join(fields)


def _histogram(point: Any) -> list[bytes]:
    """Return the fields of a histogram's point, of either kind."""
    fields = [b'"count":"%d"' % point.count]
    for name, number in ((b"sum", point.sum), (b"min", point.min), (b"max", point.max)):
        if number is not None:
            fields.append(b'"%b":%b' % (name, _double(number)))
    if hasattr(point, "scale"):
        fields.append(b'"scale":%d,"zeroCount":"%d"' % (point.scale, point.zero_count))
        if point.flags:
            fields.append(b'"flags":%d' % point.flags)
        for name, side in ((b"positive", point.positive), (b"negative", point.negative)):
            if side.bucket_counts:
                fields.append(b'"%b":{"offset":%d,"bucketCounts":%b}' % (name, side.offset, _counts(side)))
    else:
        bounds = b",".join([_double(bound) for bound in point.explicit_bounds])
        fields.append(b'"bucketCounts":%b,"explicitBounds":[%b]' % (_counts(point), bounds))
    return fields


def _exemplar(exemplar: Any) -> bytes:
    fields = [b'"timeUnixNano":"%d"' % nanos(exemplar.time_unix_nano), _value(exemplar.value)]
    if exemplar.span_id is not None and exemplar.trace_id is not None:
        fields.append(b'"spanId":"%016x","traceId":"%032x"' % (exemplar.span_id, exemplar.trace_id))
    if encoded := attributes(exemplar.filtered_attributes):
        fields.append(b'"filteredAttributes":[%b]' % encoded)
    return b"{%b}" % b",".join(fields)


def _counts(item: Any) -> bytes:
    return b"[%b]" % b",".join([b'"%d"' % count for count in item.bucket_counts])


def _value(number: Any) -> bytes:
    if not isinstance(number, float):
        try:
            whole = index(number)
        except TypeError:  # another kind of number (Decimal, Fraction, NumPy's)
            return b'"asDouble":%b' % _double(number)
        if INT64_MIN <= whole <= INT64_MAX:
            return b'"asInt":"%d"' % whole
    return b'"asDouble":%b' % _double(number)


def _double(number: Any) -> bytes:
    value = float(number)
    if isfinite(value):
        return b"%a" % value
    return b'"NaN"' if isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"'
