"""What is installed, by entry point: instrumentors to switch on, exporters to make.

An instrumentor that fails costs its own spans and no other's; each failure is one line.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import wrapt
from opentelemetry.instrumentation.dependencies import DependencyConflictError, get_dist_dependency_conflicts

from spanloom import environment
from spanloom.distro import SpanloomDistro
from spanloom.guard import LOG, guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint
    from types import ModuleType

    from opentelemetry.instrumentation.dependencies import DependencyConflict
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
    from opentelemetry.sdk._logs import LogRecordProcessor
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

# A line of a distribution's metadata such as: openai<4,>=1.26.0; extra == "instruments"
_INSTRUMENTS: Final = re.compile(r"""([\w.-]+)[^;]*;.*\bextra == ['"]instruments['"]""")
_OTLP: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def instrumentors(wanted: frozenset[str] | None = None) -> list[EntryPoint]:
    """The installed instrumentors, less those of `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`.

    Args:
        wanted: entry-point names; None for all. A name that is not installed is logged.
    """
    disabled = environment.disabled_instrumentors()
    points = [] if "*" in disabled else list(entry_points(group="opentelemetry_instrumentor"))
    for missing in sorted((wanted or frozenset()) - {point.name for point in points} - disabled):
        LOG.warning("There is no instrumentor %r; installed: %s.", missing, ", ".join(sorted(p.name for p in points)))
    return [point for point in points if point.name not in disabled and (wanted is None or point.name in wanted)]


def switch_on(
    point: EntryPoint, *, asked: bool = False, tracer_provider: TracerProvider | None = None
) -> BaseInstrumentor | None:
    """Switch one instrumentor on. Never raises: what fails is logged, in one line.

    Args:
        point: its entry point.
        asked: whether the user named it, so that even a missing framework is worth a line.
        tracer_provider: where its spans go; default: the global one.

    Returns:
        The instrumentor; None where it is not on, or was on before.
    """
    try:
        return _switched_on(point, {} if tracer_provider is None else {"tracer_provider": tracer_provider})
    except (DependencyConflictError, ModuleNotFoundError) as exc:
        # Not having a framework is normal; having the wrong version of it is not.
        found = isinstance(exc, DependencyConflictError) and _found(exc.conflict)
        log = LOG.warning if found or asked else LOG.debug
        log("The instrumentor %r is skipped: %s", point.name, exc)
    except Exception as exc:
        kind = type(exc).__name__
        LOG.warning("The instrumentor %r (%s) cannot be loaded: %s: %s", point.name, point.value, kind, exc)
    return None


class Instrumented:
    """Switches on every one of `instrumentors(wanted)`, each when the program imports what it is for.

    Args:
        wanted: entry-point names; None for all.
    """

    def __init__(self, wanted: frozenset[str] | None = None) -> None:
        self._asked = wanted is not None
        self._on: list[BaseInstrumentor] = []
        self._wanted = True
        for point in instrumentors(wanted):
            when_needed(point, self._switch_on)

    def _switch_on(self, point: EntryPoint) -> None:
        instrumentor = switch_on(point, asked=self._asked) if self._wanted else None
        if instrumentor is not None:
            self._on.append(instrumentor)

    def off(self) -> None:
        """Switch off those that are on because of this, and let the rest be."""
        self._wanted = False
        while self._on:
            self._on.pop(0).uninstrument()


def when_needed(point: EntryPoint, action: Callable[[EntryPoint], None]) -> None:
    """Call `action(point)` when the program imports what the instrumentor is for; now, where that cannot be told.

    Many instrumentors import their framework. A program that never does should not wait for it, and one with a
    file of that name beside its script must get its own.
    """
    module, root = _framework(point) or ("", Path())
    if not module or module in sys.modules:
        action(point)
        return

    def imported(framework: ModuleType) -> None:
        with guarded(f"instrument {point.name}", f"the spans of {module}"):
            mine = sys.modules.get(point.module)
            # Being imported by the program itself, and importing the framework: the program will switch it on.
            busy = mine is not None and getattr(mine.__spec__, "_initializing", False)
            if not busy and root.resolve() in Path(framework.__file__ or "").resolve().parents:
                action(point)

    wrapt.register_post_import_hook(imported, module)


def _framework(point: EntryPoint) -> tuple[str, Path] | None:
    """The module of the one distribution that the instrumentor's extra `instruments` names, and the folder it lies in.

    None if that is unclear.
    """
    requires = (point.dist.requires if point.dist else None) or ()
    names = {found[1] for text in requires if (found := _INSTRUMENTS.match(text))}
    if len(names) != 1:
        return None
    (name,) = names
    try:
        root = Path(str(distribution(name).locate_file("")))
    except PackageNotFoundError:
        return None
    for module in (name.replace("-", "_"), name.replace("-", ".")):  # the latter: google-genai is google.genai
        place = root.joinpath(*module.split("."))
        if (place / "__init__.py").exists() or place.with_suffix(".py").exists():
            return module, root
    return None


def _switched_on(point: EntryPoint, arguments: dict[str, Any]) -> BaseInstrumentor | None:
    conflict = None if point.dist is None else get_dist_dependency_conflicts(point.dist)
    if conflict is not None:
        raise DependencyConflictError(conflict)
    instrumentor: BaseInstrumentor = point.load()()
    if instrumentor.is_instrumented_by_opentelemetry:
        return None
    SpanloomDistro().load_instrumentor(point, skip_dep_check=True, **arguments)
    return instrumentor if instrumentor.is_instrumented_by_opentelemetry else None


def _found(conflict: DependencyConflict) -> bool:
    # `found_any` came later than the oldest supported release.
    return bool(conflict.found or getattr(conflict, "found_any", None))


def make_exporter(name: str, **arguments: Any) -> SpanExporter:
    """An exporter by its entry-point name; `otlp` stands for the protocol that the environment says.

    Raises:
        ValueError: there is none of that name, or it cannot be made; says what is installed.
    """
    return _made("traces", name, arguments)


def make_reader(name: str) -> MetricReader:
    """As `make_exporter`, for metrics: a reader that exports them (`console`, `otlp`), or is asked (`prometheus`)."""
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    made = _made("metrics", name, {})
    return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)


def make_log_processor(name: str) -> LogRecordProcessor:
    """As `make_exporter`, for log records: what hands them to the exporter of that name, without anybody waiting."""
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    return BatchLogRecordProcessor(_made("logs", name, {}))


def _made(signal: str, name: str, arguments: dict[str, Any]) -> Any:
    wanted = name
    if name == "otlp":
        protocol = environment.otlp_protocol(signal)
        if protocol not in _OTLP:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported here; use grpc or http/protobuf")
        wanted = _OTLP[protocol]
    points = {point.name: point for point in entry_points(group=f"opentelemetry_{signal}_exporter")}
    if wanted not in points:
        raise ValueError(f"there is no {signal} exporter {name!r}; installed: {', '.join(sorted(points))}")
    try:
        return points[wanted].load()(**arguments)
    except Exception as exc:
        raise ValueError(f"the {signal} exporter {name!r} cannot be made: {exc}") from exc
