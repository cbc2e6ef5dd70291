"""Which instrumentors a program gets, why not the others, and which of them would trace the same."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, Final

from spanloom import config, environment
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN, Said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

_OWN: Final = "spanloom"
_VARIABLE: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
# SDKs that write spans of their own, without an instrumentor, when a program tells them to.
_OTHERS: Final = {
    "langfuse": "hands Langfuse's callback handler to a call, or decorates with @observe,",
    "traceloop-sdk": "calls Traceloop.init()",
    "logfire": "calls logfire.configure()",
}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def findings() -> Iterator[Said]:
    """Yield a line for each instrumentor that is installed, ours first, and one for each that traces twice."""
    points = sorted(
        entry_points(group="opentelemetry_instrumentor"), key=lambda point: (_owner(point) != _OWN, point.name)
    )
    disabled = environment.disabled_instrumentors()
    tracing: dict[str, list[EntryPoint]] = {}
    for point in points:
        if point.name in disabled or "*" in disabled:
            yield Said(NOTE, f"{_shown(point)}: off, {_VARIABLE} names it")
            continue
        try:
            said, traced = _looked_at(point)
        except Exception as exc:
            said, traced = (
                Said(
                    FAIL if _owner(point) == _OWN else WARN,
                    f"{_shown(point)}: cannot be loaded ({type(exc).__name__}: {exc}); update or uninstall "
                    f"{_owner(point)}, or leave it out with {_VARIABLE}={point.name}",
                ),
                (),
            )
        yield said
        for name in traced:  # what traces a framework traces its core as well
            tracing.setdefault(name.removesuffix("-core"), []).append(point)
    if not any(_owner(point) == _OWN for point in points):
        yield Said(FAIL, "spanloom's own instrumentors are not registered: install spanloom again with pip")
    for name, rivals in tracing.items():
        if len(rivals) > 1:
            kept, *spare = dict.fromkeys(point.name for point in rivals)
            keep = f"Keep {kept}: {_VARIABLE}={','.join(spare)}" if spare else "Keep one, and uninstall the others"
            yield Said(
                WARN,
                f"{name} is traced by {' and by '.join(map(_shown, rivals))}: most calls get a span of each. {keep}",
            )
    for name, when in _OTHERS.items():
        if found := _version(name):
            yield Said(NOTE, f"{name} {found} is installed: a program that {when} writes its spans beside spanloom's")


def _looked_at(point: EntryPoint) -> tuple[Said, tuple[str, ...]]:
    """What is to be said about an instrumentor, and the distributions that it traces; none where it is off."""
    from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts

    conflict: Any = None if point.dist is None else get_dist_dependency_conflicts(point.dist)
    if conflict is None:
        instrumentor = point.load()()
        conflict = instrumentor._check_dependency_conflicts()  # noqa: SLF001  what `instrument` asks
        copies = getattr(instrumentor, "copies", None)
        if callable(copies) and copies(config.active()):
            missing = f"; there is no {_bare(conflict.required)} here" if conflict else ""
            return Said(NOTE, f"{_shown(point)}: on, for a copy of it inside the program{missing}"), ()
        if conflict is None:
            traced = [found[0] for text in instrumentor.instrumentation_dependencies() if (found := _NAME.match(text))]
            there = {name.lower().replace("_", "-"): _version(name) for name in traced}
            for_what = ", ".join(f"{name} {found}" for name, found in there.items() if found)
            return Said(OK, f"{_shown(point)}: on{f', for {for_what}' if for_what else ''}"), tuple(
                name for name, found in there.items() if found
            )
    found = conflict.found or ", ".join(getattr(conflict, "found_any", None) or ())
    if not found:
        wanted = conflict.required or " or ".join(getattr(conflict, "required_any", None) or ())
        return Said(NOTE, f"{_shown(point)}: off, there is no {_bare(wanted)} here"), ()
    return (
        Said(
            FAIL if _owner(point) == _OWN else WARN,
            f"{_shown(point)}: off, it is for {_bare(conflict.required)} and finds {found}: install a version "
            f"that fits, or leave it out with {_VARIABLE}={point.name}",
        ),
        (),
    )


def _bare(requirement: object) -> str:
    """A requirement, a text or an object of that name, without its marker."""
    return str(requirement).partition(";")[0].strip()


def _owner(point: EntryPoint) -> str:
    return "" if point.dist is None else str(point.dist.metadata["Name"])


def _shown(point: EntryPoint) -> str:
    return f"{point.name} ({_owner(point) or point.value})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
