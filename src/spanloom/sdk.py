"""`init`, `flush`, `shutdown`: the OpenTelemetry SDK set up in a line, for programs that do not do it themselves."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from spanloom import config, environment, loggers, meters, pipeline
from spanloom.guard import LOG
from spanloom.installed import Instrumented
from spanloom.processor import SpanloomProcessor
from spanloom.provider import YieldingProvider
from spanloom.serializers import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class _Active:
    """What `init` has set up, for `flush` and `shutdown`.

    Attributes:
        provider: the one in use; None before `init` and after `shutdown`.
        made: the one that `init` made; OpenTelemetry keeps it as the process's for good.
    """

    provider: TracerProvider | None = None
    made: TracerProvider | None = None
    instrumentors: Instrumented | None = None


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
    serializers: Mapping[type, Callable[[Any], Any]] | None = None,
) -> TracerProvider:
    """Set up tracing for this process. Every argument left out comes from the environment.

    Metrics are off, unless the program has set a global `MeterProvider` or `OTEL_METRICS_EXPORTER` names exporters;
    then, where the program has none, one is made and set. The same holds for events: `LoggerProvider`,
    `OTEL_LOGS_EXPORTER`.

    If the program has set a global SDK `TracerProvider`, that one is used and the given exporters are added to it;
    else one is made and set, with a `SpanloomProcessor` before its exporters (a program adds that to its own).

    Args:
        service_name: `service.name` of the resource (else `OTEL_SERVICE_NAME`).
        exporters: names of entry points (`"jsonl"`, `"otlp"`, `"console"`, …), exporter objects, or both. Default:
            `OTEL_TRACES_EXPORTER`; without it `otlp` if an `OTEL_EXPORTER_OTLP_*` endpoint is set, else `jsonl`.
        directory: where `jsonl` writes (else `SPANLOOM_JSONL_DIR`, else `.spanloom`).
        instrumentors: entry-point names to switch on; default: every installed one, as `opentelemetry-instrument`
            does, less `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`. Each is switched on when the program imports what it
            is for, so that no program waits for a framework that it does not use.
        content: record values on spans (else `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`).
        capture: kinds of content, of `messages`, `tools`, `io`, `state`, `params` (else `SPANLOOM_CAPTURE`).
        exception_messages: record exceptions' messages and stack traces, not only their types.
        max_value_bytes: bound of one captured value, in bytes of JSON text.
        redact: apply the built-in redaction.
        redact_patterns: further regular expressions whose matches are replaced.
        redactor: a last `str -> str` over each captured text; if it raises, the text is dropped.
        serializers: what is recorded in the place of values of a type and its subclasses, wherever they stand:
            functions from such a value to a plain one (a text, a dict, ...), which is bounded and redacted like any.

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
        serializers=serializers,
    )
    existing = trace.get_tracer_provider()
    theirs = isinstance(existing, TracerProvider) and existing is not _Active.made
    chosen = [] if theirs and exporters is None else _chosen(exporters)
    meters.set_up(lambda: resource(service_name))
    loggers.set_up(lambda: resource(service_name))
    processors = [pipeline.processor(exporter, directory) for exporter in chosen]
    config.activate(settings)
    environment.announce_content(settings.content, settings.events, decided=content is not None)
    if isinstance(existing, TracerProvider):
        provider = existing
        named = existing.resource.attributes.get("service.name")
        if service_name not in (None, named) and not isinstance(existing, YieldingProvider):
            LOG.warning(
                "service_name=%r has no effect: the TracerProvider of this process says %r.", service_name, named
            )
        if not theirs:
            atexit.register(provider.shutdown)  # as the constructor did, which `shutdown` took back
    else:
        provider = _Active.made = TracerProvider(resource=resource(service_name), active_span_processor=_Processors())
        trace.set_tracer_provider(provider)
    if not theirs:
        provider.add_span_processor(SpanloomProcessor())
    for processor in processors:
        provider.add_span_processor(processor)
    _Active.provider = provider
    _Active.instrumentors = Instrumented(None if instrumentors is None else frozenset(_several(instrumentors)))
    return provider


def flush(timeout_millis: int = 30_000) -> bool:
    """Hand ended spans, log records and what was measured to the exporters now (before a serverless freeze, say).

    Args:
        timeout_millis: how long to wait at most.

    Returns:
        Whether everything was handed over in time; True where there is nothing to flush.
    """
    provider: Any = _Active.provider or trace.get_tracer_provider()
    force_flush = getattr(provider, "force_flush", None)
    spans = True if force_flush is None else bool(force_flush(timeout_millis))
    return all((spans, meters.flush(timeout_millis), loggers.flush(timeout_millis)))


def shutdown() -> None:
    """Undo `init`: switch its instrumentors off, flush, and shut down the provider if `init` made it.

    OpenTelemetry allows one global provider per process, so a later `init` takes the old one up again, with new
    exporters and the old resource. Providers of metrics and logs that `init` made are flushed, and go on.
    """
    if _Active.instrumentors is not None:
        _Active.instrumentors.off()
    if _Active.provider is not None:
        if _Active.provider is _Active.made:
            _Active.provider.shutdown()  # which flushes, but does not wait for a backend that is away
        else:
            _Active.provider.force_flush()
        meters.flush(30_000)
        loggers.flush(30_000)
    _Active.provider, _Active.instrumentors = None, None
    config.activate(None)


class _Processors(SynchronousMultiSpanProcessor):
    """Forgets its processors at shutdown: later spans go nowhere in silence, or to those of a new `init`."""

    def shutdown(self) -> None:
        """Shut all down."""
        super().shutdown()
        self._span_processors = ()


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


def _chosen(exporters: str | SpanExporter | Sequence[str | SpanExporter] | None) -> list[str | SpanExporter]:
    if exporters is None:
        return list(environment.exporter_names())
    given = [exporters] if isinstance(exporters, (str, SpanExporter)) else list(exporters)
    for exporter in given:
        if not isinstance(exporter, str) and not callable(getattr(exporter, "export", None)):
            raise ValueError(  # noqa: TRY004  one error for every wrong argument
                f"exporters: {exporter!r} is neither the name of an exporter nor a SpanExporter"
            )
    return given


def _several(value: Iterable[str]) -> list[str]:
    """A single name is a list of one, not of its letters."""
    return [value] if isinstance(value, str) else list(value)


def _settings(
    *,
    content: bool | None,
    capture: Iterable[str] | None,
    redact_patterns: Iterable[str] | None,
    redactor: Callable[[str], str] | None,
    max_value_bytes: int | None,
    serializers: Mapping[type, Callable[[Any], Any]] | None,
    **changes: Any,
) -> config.Config:
    if max_value_bytes is not None and max_value_bytes < config.MIN_VALUE_BYTES:
        raise ValueError(f"max_value_bytes={max_value_bytes}: give {config.MIN_VALUE_BYTES} bytes or more")
    if redactor is not None and not callable(redactor):
        raise ValueError(f"redactor: {redactor!r} cannot be called; give a function from text to text")
    if serializers is not None and (wrong := refused(serializers)) is not None:
        raise ValueError(f"serializers: {wrong}")
    kinds = None if capture is None else frozenset(_several(capture))
    if kinds is not None and kinds - config.CAPTURE_KINDS:
        unknown = ", ".join(sorted(kinds - config.CAPTURE_KINDS))
        raise ValueError(f"capture: {unknown} unknown; accepted: {', '.join(sorted(config.CAPTURE_KINDS))}")
    patterns = None
    overlaid: dict[str, str] = {}
    if redact_patterns is not None:
        patterns = config.compile_patterns(_several(redact_patterns), "redact_patterns")
        overlaid[config.REDACT_PATTERNS] = ""
    if content is not None:  # through the reader, which has a last word where redaction is broken
        overlaid[config.CAPTURE_MESSAGE_CONTENT] = environment.content_mode(content)
    return config.Config.from_environment(environment.overlaid(overlaid)).replace(
        capture=kinds,
        redact_patterns=patterns,
        redactor=redactor,
        max_value_bytes=max_value_bytes,
        serializers=serializers,
        **changes,
    )
