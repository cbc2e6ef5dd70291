"""Inside the process that `spanloom run` started, before the program's first line: set tracing up.

Without an exporter or endpoint in the environment, spans go to JSONL files in one folder, each as it ends, so that
a program that is killed leaves what had ended. With one, OpenTelemetry's own set-up obeys it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from spanloom import config, environment
from spanloom.guard import LOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom.environment import RunOptions


def start() -> None:
    """Called by `spanloom/bootstrap/sitecustomize.py`; without effect outside `spanloom run`. Never raises."""
    try:
        options = environment.RunOptions.from_environment()
        if options is not None:
            embedded = not environment.exporter_configured()
            line = _embedded(options) if embedded else _configured(options)
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
        with contextlib.suppress(Exception):  # stderr may be closed by now
            print(f"spanloom: {line()}", file=sys.stderr)


def _configure(options: RunOptions, *, content: bool) -> config.Config:
    """Settings of the process; what the user decided about content stands."""
    settings = config.Config.from_environment()
    if options.content is not None:
        settings = settings.replace(content=options.content)
    elif content and not environment.content_mode_given():
        settings = settings.replace(content=True)
    config.activate(settings)
    if settings.content:
        environment.announce_content()
    return settings


def _embedded(options: RunOptions) -> Callable[[], str]:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from spanloom import sdk
    from spanloom.provider import YieldingProvider, install

    settings = _configure(options, content=True)
    exporter: Any = sdk.make_exporter("jsonl", directory=options.directory)
    processor = SimpleSpanProcessor(exporter)
    provider = YieldingProvider(resource=sdk.resource(None, options.name))
    provider.add_span_processor(processor)
    install(provider, processor)
    active = sdk.instrument_all()
    provider.fixed = False

    def line() -> str:
        if exporter.lost_spans:
            return f"{exporter.lost_spans} spans could not be written to {options.shown} and are lost"
        if not exporter.written_spans:
            names = ", ".join(sorted(type(one).__name__ for one in active)) or "none"
            return f"no spans were recorded (instrumentors that are on: {names})"
        where = os.path.join(options.shown, os.path.basename(exporter.path))
        what = "with content, readable by you only" if settings.content else "without content"
        view = (
            "spanloom view" if options.shown == config.DEFAULT_DIRECTORY else f"spanloom view {options.shown}"
        )
        return f"{exporter.written_spans} spans in {where} ({what}). Look at them with: {view}"

    return line


def _configured(options: RunOptions) -> Callable[[], str]:
    from opentelemetry import trace
    from opentelemetry.instrumentation import auto_instrumentation

    from spanloom.provider import YieldingProvider, install, replacing_sdk_provider

    _configure(options, content=False)
    with environment.choosing_spanloom(), replacing_sdk_provider():
        auto_instrumentation.initialize()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, YieldingProvider):  # the configurator has said why
        return lambda: "no traces: OpenTelemetry could not be set up from the environment"
    install(provider, provider._active_span_processor)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    provider.fixed = False
    where = ", ".join(environment.exporter_names()) or "nowhere (OTEL_TRACES_EXPORTER=none)"
    return lambda: f"traces went to {where}, as the environment says"
