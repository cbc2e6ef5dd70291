"""The settings in force: what was decided and where, and variables that decide nothing because nobody reads them."""

from __future__ import annotations

import difflib
import re
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from spanloom import config, environment
from spanloom.doctor.finding import NOTE, OK, WARN, Said
from spanloom.doctor.masking import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OWN: Final = re.compile(r"SPANLOOM_[A-Z_]+")
# Where the variables of an exporter stand: each reads its own.
_MODULES: Final = (
    "spanloom.config",
    "spanloom.environment",
    "spanloom_jsonl._settings",
    "spanloom_otlp._settings",
)
_SHOWN: Final = re.compile(r"(OTEL|SPANLOOM|LANGFUSE)_|(HTTPS?|NO|ALL)_PROXY$", re.IGNORECASE)
_SAMPLERS: Final = frozenset(
    {
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    }
)


def findings() -> Iterator[Said]:
    """Yield what is recorded, and each variable that is set, without secrets."""
    env = environment.overlaid({})
    if environment.sdk_disabled():
        yield Said(WARN, "OTEL_SDK_DISABLED=true: nothing is recorded and nothing is sent")
    yield from _sampler(env)
    yield from _content(env)
    if not environment.service_named():
        yield Said(
            NOTE,
            "OTEL_SERVICE_NAME is not set: `spanloom run` calls the service as its program, others unknown_service",
        )
    if env.get("OTEL_CONFIG_FILE", "").strip():
        yield Said(NOTE, "OTEL_CONFIG_FILE is set: OpenTelemetry's set-up follows that file, and not the variables")
    known = variables()
    for name in sorted(env):
        if _SHOWN.match(name) and name != environment.RUN and env[name].strip():
            if _OWN.fullmatch(name) and name not in known:
                close = [
                    f"SPANLOOM_{end}" for end in difflib.get_close_matches(name[9:], [one[9:] for one in known], 1)
                ]
                meant = f"; did you mean {close[0]}?" if close else ""
                yield Said(WARN, f"{name} is set, and no variable of spanloom's is called so{meant}")
            else:
                yield Said(NOTE, f"{name}={shown(name, env[name])}")


def variables() -> set[str]:
    """The `SPANLOOM_*` variables that are read, as far as what reads them can be imported."""
    found: set[str] = set()
    for name in _MODULES:
        try:
            module = import_module(name)
        except Exception:  # noqa: S112  the section on installation says it
            continue
        found |= {value for value in vars(module).values() if isinstance(value, str) and _OWN.fullmatch(value)}
    return found - {environment.RUN}


def _content(env: Mapping[str, str]) -> Iterator[Said]:
    settings = config.active()
    given = env.get(config.CAPTURE_MESSAGE_CONTENT, "").strip()
    why = f"{config.CAPTURE_MESSAGE_CONTENT}={given}" if given else f"{config.CAPTURE_MESSAGE_CONTENT} is not set"
    places = [place for place, on in (("on spans", settings.content), ("in events", settings.events)) if on]
    if places:
        kinds = ", ".join(sorted(settings.capture)) or f"but no kind of it: {config.CAPTURE}=none"
        yield Said(OK, f"Content is recorded {' and '.join(places)} ({kinds}): {why}")
    if settings.events and not environment.log_exporter_names():
        yield Said(WARN, f"Events go nowhere: set {environment.LOGS_EXPORTER}, to otlp for example")
    if not places:
        run = "" if given or environment.exporter_configured() else "; `spanloom run`, which writes files, records it"
        yield Said(OK, f"Content is not recorded: {why}{run}")
    patterns = f", and {len(settings.redact_patterns)} of your own" if settings.redact_patterns else ""
    if settings.redact:
        yield Said(OK, f"Secrets are redacted by the built-in patterns{patterns}")
    else:
        yield Said(WARN, f"{config.REDACT}=false: the built-in patterns redact nothing{patterns}")


def _sampler(env: Mapping[str, str]) -> Iterator[Said]:
    name, argument = (env.get(f"OTEL_TRACES_SAMPLER{end}", "").strip() for end in ("", "_ARG"))
    known = _SAMPLERS | {point.name for point in entry_points(group="opentelemetry_traces_sampler")}
    if name and name.lower() not in known:
        yield Said(
            WARN,
            f"OTEL_TRACES_SAMPLER={name} is not known and everything is recorded; known: {', '.join(sorted(known))}",
        )
    elif name.lower().endswith("always_off"):
        yield Said(WARN, f"OTEL_TRACES_SAMPLER={name}: no trace that begins here is recorded")
    elif name.lower().endswith("traceidratio"):
        try:
            ratio = float(argument or 1)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            yield Said(WARN, f"OTEL_TRACES_SAMPLER_ARG={argument} is no number from 0 to 1, and everything is recorded")
        elif ratio < 1:
            yield Said(
                NOTE if ratio else WARN, f"{ratio * 100:g}% of all traces are recorded (OTEL_TRACES_SAMPLER={name})"
            )
