"""Where traces go: which exporters are chosen, whether they take a span, and why the others are not used."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spanloom import config, environment
from spanloom.doctor import folders, otlp
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN, Said
from spanloom.doctor.sending import sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GROUP: Final = "opentelemetry_{signal}_exporter"
_OTLP: Final = {"otlp": None, "otlp_proto_grpc": "grpc", "otlp_proto_http": "http/protobuf"}
# What is set for an exporter, and tells that its user wants it.
_MEANT: Final = {
    "otlp": ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    "langfuse": ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"),
}


def findings(*, send: bool, seconds: float) -> Iterator[Said]:
    """Yield each exporter that is chosen, with what became of a test span, and why the others are not used.

    Args:
        send: whether to send test spans.
        seconds: how long one may take.
    """
    env = environment.overlaid({})
    names = list(dict.fromkeys(environment.exporter_names()))
    yield _chosen(env, names)
    for name in names:
        try:
            yield from _looked_at(name, env, send=send, seconds=seconds)
        except Exception as exc:
            yield Said(FAIL, f"{name}: {exc}")
    installed = {point.name for point in entry_points(group=_GROUP.format(signal="traces"))}
    for name, variables in _MEANT.items():
        said = next((variable for variable in variables if env.get(variable, "").strip()), None)
        if said and not any(one.startswith(name) for one in names):
            yield Said(WARN, f"{name}: not used, although {said} is set; add it: {_adding(names, name)}")
    spare = sorted({*installed - {*_OTLP}, "otlp"} - {*names})
    yield Said(NOTE, f"Installed and not chosen: {', '.join(spare) or 'none'}")
    for signal, chosen in (
        ("metrics", environment.metric_exporter_names()),
        ("logs", environment.log_exporter_names()),
    ):
        there = {point.name for point in entry_points(group=_GROUP.format(signal=signal))}
        for name in chosen:
            known = name in there or name == "otlp"
            text = "chosen" if known else f"there is no such exporter; installed: {', '.join(sorted(there))}"
            yield Said(OK if known else FAIL, f"{signal}, {name}: {text}")


def _chosen(env: Mapping[str, str], names: list[str]) -> Said:
    given = env.get(environment.TRACES_EXPORTER, "").strip()
    if not names:
        return Said(WARN, f"{environment.TRACES_EXPORTER}={given}: traces go nowhere")
    if given:
        return Said(OK, f"Traces go to {', '.join(names)}, as {environment.TRACES_EXPORTER} says")
    if environment.exporter_configured():
        return Said(OK, f"Traces go to {', '.join(names)}, as an OTEL_EXPORTER_OTLP_* endpoint is set")
    return Said(
        OK,
        "Traces of `spanloom run` and spanloom.init() go to files, as nothing says otherwise; those of "
        "`opentelemetry-instrument` go to an OTLP backend at http://localhost:4317",
    )


def _looked_at(name: str, env: Mapping[str, str], *, send: bool, seconds: float) -> Iterator[Said]:
    from spanloom.installed import make_exporter

    if name == "jsonl":
        yield folders.tried(name, Path(config.trace_directory()).expanduser().absolute(), config.JSONL_DIR)
        return
    exporter: Any = make_exporter(name)  # says what is wrong, or that there is none
    try:
        if name == "console" or not send:
            yield Said(OK, f"{name}: chosen{'' if name == 'console' else ', not tried'}")
        elif name in _OTLP:
            yield otlp.tried(otlp.endpoint(env, _OTLP[name] or environment.otlp_protocol()), seconds)
        else:
            yield sent(name, exporter, seconds)
    finally:
        exporter.shutdown()


def _adding(names: list[str], name: str) -> str:
    return f"{environment.TRACES_EXPORTER}={','.join([*names, name])}"
