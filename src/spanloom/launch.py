"""Inside the process that `spanloom run` started, before the program's first line: set tracing up.

Without an exporter or endpoint in the environment, spans go to JSONL files in one folder, each as it ends, so that
a program that is killed leaves what had ended. With one, OpenTelemetry's own set-up obeys it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanloom import config, environment
from spanloom.guard import LOG

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

    from spanloom.environment import RunOptions


def start() -> None:
    """Called by `spanloom/bootstrap/sitecustomize.py`; without effect outside `spanloom run`. Never raises."""
    try:
        options = environment.RunOptions.from_environment()
        if options is not None:
            if environment.sdk_disabled():
                line = _disabled
            elif environment.exporter_configured():
                line = _configured(options)
            else:
                line = _embedded(options)
            if not options.quiet:
                atexit.register(_say, options.pid, line)
    except Exception as exc:
        LOG.error(
            "spanloom could not set up tracing (%s: %s). The program runs without it.",
            type(exc).__name__,
            exc,
        )


def _say(pid: int, line: Callable[[], str]) -> None:
    """The one line at exit; only from the process that was started, not from its forks and children."""
    if os.getpid() == pid:
        with contextlib.suppress(Exception):  # stderr may be closed by now, or nobody reads it
            text = f"spanloom: {line()}\n".encode(errors="backslashreplace")
            sys.stderr.flush()
            # Past the buffer: what a broken pipe leaves in it makes Python exit with 120 instead of the program's code.
            os.write(sys.stderr.fileno(), text)


def _configure(options: RunOptions, *, content: bool) -> config.Config:
    """Settings of the process; what the user decided about content stands, and else `content`."""
    decision = options.content
    if decision is None and content and not environment.content_mode_given():
        decision = True
    changes = {} if decision is None else {config.CAPTURE_MESSAGE_CONTENT: environment.content_mode(decision)}
    settings = config.Config.from_environment(environment.overlaid(changes))
    config.activate(settings)
    environment.announce_content(settings.content, settings.events, decided=decision is not None)
    return settings


def _embedded(options: RunOptions) -> Callable[[], str]:
    from spanloom import installed, loggers, meters, sdk
    from spanloom.processor import SpanloomProcessor
    from spanloom.provider import YieldingProvider, give_way, install

    settings = _configure(options, content=True)
    try:
        meters.set_up(lambda: sdk.resource(None, options.name))
    except ValueError as exc:
        LOG.warning("There are no metrics: %s. Check OTEL_METRICS_EXPORTER.", exc)
    try:
        loggers.set_up(lambda: sdk.resource(None, options.name))
    except ValueError as exc:
        LOG.warning("There are no log records: %s. Check OTEL_LOGS_EXPORTER.", exc)
    exporter: Any = installed.make_exporter("jsonl", directory=options.directory)
    processor = exporter.span_processor()
    provider = YieldingProvider(resource=sdk.resource(None, options.name))
    provider.add_span_processor(SpanloomProcessor())
    provider.add_span_processor(processor)
    install(provider, processor)
    provider.fixed = False
    active: list[BaseInstrumentor] = []

    def switch_on(point: EntryPoint) -> None:
        provider.fixed = True
        instrumentor = installed.switch_on(point, tracer_provider=provider)
        provider.fixed = False
        if instrumentor is not None:
            active.append(instrumentor)
            give_way(instrumentor, provider, processor)

    for point in installed.instrumentors():
        installed.when_needed(point, switch_on)

    def line() -> str:
        lost, written = exporter.lost_spans, exporter.written_spans
        if lost and not written:
            return f"{_spans(lost)} could not be written to {options.shown} and are lost"
        if not written:
            names = ", ".join(sorted(type(one).__name__ for one in active)) or "none"
            return f"no spans were recorded in this process (instrumentors that are on: {names})"
        where = Path(options.shown) / Path(exporter.path).name
        what = "with content, readable by you only" if settings.content else "without content"
        missing = f"; {_spans(lost)} could not be written and are lost" if lost else ""
        folder = "" if options.shown == config.DEFAULT_DIRECTORY else f" {shlex.quote(options.shown)}"
        return f"{_spans(written)} in {where} ({what}){missing}. Look at them with: spanloom view{folder}"

    return line


def _disabled() -> str:
    return "no traces: OTEL_SDK_DISABLED is set"


def _spans(number: int) -> str:
    return "1 span" if number == 1 else f"{number} spans"


def _configured(options: RunOptions) -> Callable[[], str]:
    from opentelemetry import trace
    from opentelemetry.instrumentation import auto_instrumentation

    from spanloom.processor import others
    from spanloom.provider import YieldingProvider, install, replacing_sdk_provider

    _configure(options, content=False)
    with environment.choosing_spanloom(), replacing_sdk_provider():
        auto_instrumentation.initialize()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, YieldingProvider):  # the configurator has said why
        return lambda: "no traces: OpenTelemetry could not be set up from the environment"
    install(provider, others(provider))
    provider.fixed = False
    where = ", ".join(environment.exporter_names()) or "nowhere (OTEL_TRACES_EXPORTER=none)"
    return lambda: f"traces went to {where}, as the environment says"
