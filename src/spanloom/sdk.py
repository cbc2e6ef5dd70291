"""`init`, `flush`, `shutdown`: the OpenTelemetry SDK set up in a line, for programs that do not do it themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from importlib.metadata import entry_points

from spanloom import config, environment
from spanloom.distro import SpanloomDistro
from spanloom.guard import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

_OTLP: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


class _Active:
    """What `init` has set up, for `flush` and `shutdown`."""

    provider: TracerProvider | None = None
    owned = False
    instrumentors: tuple[BaseInstrumentor, ...] = ()


def init(
    *,
    service_name: str | None = None,
    exporters: str | SpanExporter | Sequence[str | SpanExporter] | None = None,
    directory: str | None = None,
    instrumentors: Iterable[str] | None = None,
    content: bool | None = None,
    capture: Iterable[str] | None = None,
    exception_messages: bool | None = None,
    max_value_bytes: int | None = None,
    redact: bool | None = None,
    redact_patterns: Iterable[str] | None = None,
    redactor: Callable[[str], str] | None = None,
) -> TracerProvider:
    """Set up tracing for this process. Every argument left out comes from the environment.

    If the program has set a global SDK `TracerProvider`, that one is used and the given exporters are added to it;
    else one is made and set.

    Args:
        service_name: `service.name` of the resource (else `OTEL_SERVICE_NAME`).
        exporters: names of entry points (`"jsonl"`, `"otlp"`, `"console"`, …), exporter objects, or both. Default:
            `OTEL_TRACES_EXPORTER`; without it `otlp` if an `OTEL_EXPORTER_OTLP_*` endpoint is set, else `jsonl`.
        directory: where `jsonl` writes (else `SPANLOOM_JSONL_DIR`, else `.spanloom`).
        instrumentors: entry-point names to switch on; default: every installed one, as `opentelemetry-instrument`
            does, less `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`.
        content: record values on spans (else `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`).
        capture: kinds of content, of `io`, `state`, `params` (else `SPANLOOM_CAPTURE`).
        exception_messages: record exceptions' messages and stack traces, not only their types.
        max_value_bytes: bound of one captured value, in bytes of JSON text.
        redact: apply the built-in redaction.
        redact_patterns: further regular expressions whose matches are replaced.
        redactor: a last `str -> str` over each captured text; if it raises, the text is dropped.

    Returns:
        The provider, for `get_tracer`, `add_span_processor` and the like.

    Raises:
        ValueError: an argument that cannot be right; the message names it.
    """
    if _Active.provider is not None:
        LOG.warning("spanloom.init() was called again and did nothing; call spanloom.shutdown() first.")
        return _Active.provider
    settings = _settings(
        content=content,
        capture=capture,
        exception_messages=exception_messages,
        max_value_bytes=max_value_bytes,
        redact=redact,
        redact_patterns=redact_patterns,
        redactor=redactor,
    )
    processors = [_processor(exporter, directory) for exporter in _chosen(exporters)]
    config.activate(settings)
    if settings.content:
        environment.announce_content()
    existing = trace.get_tracer_provider()
    if isinstance(existing, TracerProvider):
        provider, owned = existing, False
        added = processors if exporters is not None else []
    else:
        provider, owned, added = TracerProvider(resource=resource(service_name)), True, processors
        trace.set_tracer_provider(provider)
    for processor in added:
        provider.add_span_processor(processor)
    _Active.provider, _Active.owned = provider, owned
    _Active.instrumentors = instrument_all(None if instrumentors is None else frozenset(instrumentors))
    return provider


def flush(timeout_millis: int = 30_000) -> bool:
    """Hand every ended span to the exporters now (before a serverless freeze, at a checkpoint).

    Args:
        timeout_millis: how long to wait at most.

    Returns:
        Whether everything was handed over in time; True where there is nothing to flush.
    """
    provider: Any = _Active.provider or trace.get_tracer_provider()
    force_flush = getattr(provider, "force_flush", None)
    return True if force_flush is None else bool(force_flush(timeout_millis))


def shutdown() -> None:
    """Undo `init`: switch its instrumentors off, flush, and shut down the provider if `init` made it.

    OpenTelemetry allows one global provider per process, so `init` after `shutdown` finds the old one.
    """
    for instrumentor in _Active.instrumentors:
        instrumentor.uninstrument()
    if _Active.provider is not None:
        _Active.provider.force_flush()
        if _Active.owned:
            _Active.provider.shutdown()
    _Active.provider, _Active.owned, _Active.instrumentors = None, False, ()
    config.activate(None)


def resource(service_name: str | None, fallback: str | None = None) -> Resource:
    """The resource of a provider of ours.

    Args:
        service_name: `service.name`, before anything else.
        fallback: `service.name` where neither the argument nor the environment has one.
    """
    attributes: dict[str, str] = dict(environment.distro_attributes())
    if service_name:
        attributes["service.name"] = service_name
    elif fallback and not environment.service_named():
        attributes["service.name"] = fallback
    return Resource.create(attributes)


def instrument_all(wanted: frozenset[str] | None = None) -> tuple[BaseInstrumentor, ...]:
    """Switch on installed instrumentors, each on its own: one that fails does not take others down.

    Args:
        wanted: entry-point names; None for all. `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` holds for both.

    Returns:
        Those that are on now because of this call.
    """
    from opentelemetry.instrumentation.dependencies import (
        DependencyConflictError,
        get_dist_dependency_conflicts,
    )

    disabled = environment.disabled_instrumentors()
    distro = SpanloomDistro()
    on: list[BaseInstrumentor] = []
    points = [] if "*" in disabled else list(entry_points(group="opentelemetry_instrumentor"))
    for missing in sorted((wanted or frozenset()) - {point.name for point in points} - disabled):
        LOG.warning(
            "There is no instrumentor %r; installed: %s.", missing, ", ".join(sorted(p.name for p in points))
        )
    for point in points:
        if point.name in disabled or (wanted is not None and point.name not in wanted):
            continue
        try:
            if point.dist is not None and get_dist_dependency_conflicts(point.dist) is not None:
                continue
            instrumentor: BaseInstrumentor = point.load()()
            was_on = instrumentor.is_instrumented_by_opentelemetry
            if not was_on:
                distro.load_instrumentor(point, skip_dep_check=True)
            if instrumentor.is_instrumented_by_opentelemetry and not was_on:
                on.append(instrumentor)
        except (DependencyConflictError, ImportError) as exc:
            LOG.debug("The instrumentor %r is skipped: %s", point.name, exc)
        except Exception as exc:
            LOG.warning("The instrumentor %r (%s) cannot be loaded: %s", point.name, point.value, exc)
    return tuple(on)


def make_exporter(name: str, **arguments: Any) -> SpanExporter:
    """An exporter by its entry-point name; `otlp` stands for the protocol that the environment says.

    Raises:
        ValueError: there is none of that name, or it cannot be made; says what is installed.
    """
    wanted = name
    if name == "otlp":
        protocol = environment.otlp_protocol()
        if protocol not in _OTLP:
            raise ValueError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported here; use grpc or http/protobuf"
            )
        wanted = _OTLP[protocol]
    points = {point.name: point for point in entry_points(group="opentelemetry_traces_exporter")}
    if wanted not in points:
        raise ValueError(f"there is no traces exporter {name!r}; installed: {', '.join(sorted(points))}")
    try:
        return points[wanted].load()(**arguments)
    except Exception as exc:
        raise ValueError(f"the traces exporter {name!r} cannot be made: {exc}") from exc


def _chosen(exporters: str | SpanExporter | Sequence[str | SpanExporter] | None) -> list[str | SpanExporter]:
    if exporters is None:
        return list(environment.exporter_names())
    return [exporters] if isinstance(exporters, (str, SpanExporter)) else list(exporters)


def _processor(exporter: str | SpanExporter, directory: str | None) -> SpanProcessor:
    """Files are written as spans end, so that a killed program leaves them; the network is never waited for."""
    if exporter == "jsonl":
        return SimpleSpanProcessor(make_exporter("jsonl", directory=directory or config.trace_directory()))
    return BatchSpanProcessor(make_exporter(exporter) if isinstance(exporter, str) else exporter)


def _settings(
    *,
    capture: Iterable[str] | None,
    redact_patterns: Iterable[str] | None,
    max_value_bytes: int | None,
    **changes: Any,
) -> config.Config:
    if max_value_bytes is not None and max_value_bytes < config.MIN_VALUE_BYTES:
        raise ValueError(f"max_value_bytes={max_value_bytes}: give {config.MIN_VALUE_BYTES} bytes or more")
    kinds = None if capture is None else frozenset(capture)
    if kinds is not None and kinds - config.CAPTURE_KINDS:
        unknown = ", ".join(sorted(kinds - config.CAPTURE_KINDS))
        raise ValueError(f"capture: {unknown} unknown; accepted: {', '.join(sorted(config.CAPTURE_KINDS))}")
    patterns = (
        None if redact_patterns is None else config.compile_patterns(redact_patterns, "redact_patterns")
    )
    given = {**changes, "capture": kinds, "redact_patterns": patterns, "max_value_bytes": max_value_bytes}
    return dataclasses.replace(
        config.Config.from_environment(), **{key: value for key, value in given.items() if value is not None}
    )
