"""The rest of the environment: OpenTelemetry's variables as spanloom needs them, and what `spanloom run` hands on.

`Config` holds spanloom's own settings; this module answers questions about the `OTEL_*` variables, which the SDK
reads itself, and sets the few that a distro sets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spanloom.config import CAPTURE_MESSAGE_CONTENT, CONTENT_MODES, FALSE, JSONL_DIR, TRUE

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, MutableMapping

JSONL_RUNNING: Final = "SPANLOOM_JSONL_RUNNING"  # the exporter reads it
RUN: Final = "SPANLOOM_RUN"  # from `spanloom run` to the process it starts; not for users
TRACES_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
METRICS_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
LOGS_EXPORTER: Final = "OTEL_LOGS_EXPORTER"


def prepare_environment(environ: MutableMapping[str, str] | None = None) -> None:
    """What a distro sets before the SDK is configured.

    Traces go to `otlp` unless the user says otherwise (the SDK's own default is to export nothing), and a content
    switch given as `true` or `false` is put in the words that the official GenAI packages understand.
    """
    env = os.environ if environ is None else environ
    env.setdefault(TRACES_EXPORTER, "otlp")
    text = env.get(CAPTURE_MESSAGE_CONTENT, "").strip().lower()
    if text in TRUE or text in FALSE:
        env[CAPTURE_MESSAGE_CONTENT] = "SPAN_ONLY" if text in TRUE else "NO_CONTENT"


def distro_attributes() -> dict[str, str]:
    """Resource attributes that name the distribution (OpenTelemetry resource conventions, `telemetry.distro.*`)."""
    from spanloom.version import VERSION

    return {"telemetry.distro.name": "spanloom", "telemetry.distro.version": VERSION}


def exporter_configured(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the user has said where traces go: an exporter, an OTLP endpoint, or a configuration file."""
    env = os.environ if environ is None else environ
    return any(
        env.get(name, "").strip()
        for name in (
            TRACES_EXPORTER,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_CONFIG_FILE",
        )
    )


def exporter_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The trace exporters by name: `OTEL_TRACES_EXPORTER`, else `otlp` if an endpoint is set, else `jsonl`."""
    env = os.environ if environ is None else environ
    given = _listed(env, TRACES_EXPORTER)
    if given:
        return [] if given == ["none"] else given
    return ["otlp"] if exporter_configured(env) else ["jsonl"]


def metric_exporter_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The metrics exporters by name: `OTEL_METRICS_EXPORTER`, else none."""
    return _named(METRICS_EXPORTER, environ)


def log_exporter_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The exporters of log records by name: `OTEL_LOGS_EXPORTER`, else none."""
    return _named(LOGS_EXPORTER, environ)


def _named(variable: str, environ: Mapping[str, str] | None) -> list[str]:
    given = _listed(os.environ if environ is None else environ, variable)
    return [] if given == ["none"] else given


def _listed(env: Mapping[str, str], name: str) -> list[str]:
    return [part for part in (p.strip() for p in env.get(name, "").split(",")) if part]


def otlp_protocol(signal: str = "traces", environ: Mapping[str, str] | None = None) -> str:
    """`grpc` or `http/protobuf`, from `OTEL_EXPORTER_OTLP_{SIGNAL}_PROTOCOL` or `OTEL_EXPORTER_OTLP_PROTOCOL`."""
    env = os.environ if environ is None else environ
    own = env.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
    return own or env.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"


def disabled_instrumentors(environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """Entry-point names of `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`; `*` stands for all."""
    env = os.environ if environ is None else environ
    listed = env.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    return frozenset(part for part in (p.strip() for p in listed.split(",")) if part)


def content_mode_given(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the user has decided about content."""
    return bool((os.environ if environ is None else environ).get(CAPTURE_MESSAGE_CONTENT, "").strip())


def content_mode(on: bool, environ: Mapping[str, str] | None = None) -> str:
    """The mode where an argument or option has decided about content: on spans, and in events if these are asked for.

    Args:
        on: whether content is recorded on spans.
        environ: the environment; default: the process's.
    """
    given = (os.environ if environ is None else environ).get(CAPTURE_MESSAGE_CONTENT, "").strip().upper()
    return CONTENT_MODES[on, on and given == CONTENT_MODES[True, True]]


def announce_content(on: bool, events: bool, *, decided: bool, environ: MutableMapping[str, str] | None = None) -> None:
    """Tell the official GenAI packages about content where they look: in the environment, and in their words.

    Args:
        on: whether content is recorded on spans.
        events: whether it is recorded in events.
        decided: by an argument or option, which wins over the variable; False where it was read from there.
        environ: the environment; default: the process's.
    """
    env = os.environ if environ is None else environ
    mode, given = CONTENT_MODES[on, events], env.get(CAPTURE_MESSAGE_CONTENT, "").strip().upper()
    if given != mode and (decided or given or on or events):
        env[CAPTURE_MESSAGE_CONTENT] = mode


def overlaid(changes: Mapping[str, str]) -> dict[str, str]:
    """A copy of the environment with `changes` in it."""
    return {**os.environ, **changes}


def sampler_configured() -> bool:
    """Whether `OTEL_TRACES_SAMPLER` names a sampler."""
    return bool(os.environ.get("OTEL_TRACES_SAMPLER", "").strip())


def sdk_disabled(environ: Mapping[str, str] | None = None) -> bool:
    """Whether `OTEL_SDK_DISABLED` switches everything off."""
    return (os.environ if environ is None else environ).get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def service_named(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names the service."""
    env = os.environ if environ is None else environ
    return bool(env.get("OTEL_SERVICE_NAME")) or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")


@dataclass(frozen=True)
class RunOptions:
    """What `spanloom run` tells the process it starts, in one variable.

    Attributes:
        directory: absolute path for the trace files.
        shown: the directory as the user wrote it, for messages.
        content: the user's choice on the command line; None if there is none.
        quiet: no line at exit.
        pid: of the process that speaks at exit; its Python children are traced, and silent.
        name: the program's, for `service.name`.
    """

    directory: str
    shown: str
    content: bool | None
    quiet: bool
    pid: int
    name: str

    def to_environment(self) -> str:
        """The variable's value."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> RunOptions | None:
        """What the parent said; None outside `spanloom run`."""
        text = (os.environ if environ is None else environ).get(RUN)
        return cls(**json.loads(text)) if text else None


@contextlib.contextmanager
def choosing_spanloom() -> Generator[None]:
    """While open, OpenTelemetry's loader takes our distro and configurator, whatever else is installed."""
    chosen = {"OTEL_PYTHON_DISTRO": "spanloom", "OTEL_PYTHON_CONFIGURATOR": "spanloom"}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def child_environment(options: RunOptions) -> dict[str, str]:
    """The environment of the process that `spanloom run` starts: ours, plus the way in for our `sitecustomize`."""
    entry = str(Path(__file__).with_name("bootstrap"))
    path = [
        entry,
        *(part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != entry),
    ]
    handed = {"PYTHONPATH": os.pathsep.join(path), RUN: options.to_environment(), JSONL_DIR: options.directory}
    return {JSONL_RUNNING: "true", **os.environ, **handed}
