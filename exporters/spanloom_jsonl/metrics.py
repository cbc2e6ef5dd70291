"""OpenTelemetry metrics to files of OTLP/JSON lines: `OTEL_METRICS_EXPORTER=jsonl`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from spanloom_jsonl._output import FileExporter, Output
from spanloom_jsonl._points import point_lines, points

if TYPE_CHECKING:
    import os

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation
    from typing_extensions import Unpack

    from spanloom_jsonl._settings import FileOptions


class JsonlMetricExporter(FileExporter, MetricExporter):
    """Writes metrics as OTLP/JSON, `ExportMetricsServiceRequest`s a line each, to `*.metrics.jsonl`.

    As `JsonlSpanExporter` in all else. A metric with too many data points for a line stands in several, each with
    some of them.

    Args:
        directory: where the files go. Default: `SPANLOOM_JSONL_DIR`, else `.spanloom` in the current directory.
        preferred_temporality: by class of instrument, see `MetricExporter`; the SDK's default is cumulative.
        preferred_aggregation: likewise.
        options: see `FileOptions`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        preferred_temporality: dict[type, AggregationTemporality] | None = None,
        preferred_aggregation: dict[type, Aggregation] | None = None,
        **options: Unpack[FileOptions],
    ) -> None:
        super().__init__(preferred_temporality, preferred_aggregation)
        self._output = Output("metrics", "data point", directory, **options)

    @property
    def written_points(self) -> int:
        """How many data points this process has written."""
        return self._output.sink.written

    @property
    def lost_points(self) -> int:
        """How many data points of this process could not be written (a metric that is none counts as one)."""
        return self._output.sink.lost

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  the SDK's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> MetricExportResult:
        """Write `metrics_data`; SUCCESS means that every data point of it is in the file."""
        refused: list[Exception] = []
        groups = points(metrics_data, refused.append)
        for error in refused:
            self._output.refuse(error)
        count = len(refused) + sum(len(members) for _, members in groups)
        whole = self._output.export(count, groups, point_lines)
        return MetricExportResult.SUCCESS if whole else MetricExportResult.FAILURE
