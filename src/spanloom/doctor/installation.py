"""Whether the packages are there and fit together."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, distribution, distributions, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import spanloom
from spanloom.doctor.finding import FAIL, NOTE, OK, Said

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN: Final = (
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    "opentelemetry-exporter-otlp",
)
# What spanloom is quicker or knows more with, and the extra that brings it.
_OPTIONAL: Final = {"orjson": "fast", "genai-prices": "cost"}


def findings() -> Iterator[Said]:
    """Yield Python, spanloom, OpenTelemetry, and requirements that are not met."""
    yield Said(OK, f"Python {platform.python_version()}, {sys.executable}")
    try:
        own = distribution("spanloom")
    except PackageNotFoundError:
        yield Said(
            FAIL,
            f"spanloom is imported from {_folder()} but is not installed, so nothing finds its instrumentors and "
            f"exporters: {Path(sys.executable).name} -m pip install spanloom",
        )
        return
    yield Said(OK, f"spanloom {own.version}, {_folder()}")
    yield Said(OK, ", ".join(f"{name} {_version(name)}" for name in _SHOWN))
    unmet = [text for name in ("spanloom", *_opentelemetry()) for text in _unmet(name)]
    yield from (Said(FAIL, text) for text in unmet)
    for name, extra in _OPTIONAL.items():
        if not _version(name):
            yield Said(NOTE, f"{name} is not installed; pip install 'spanloom[{extra}]' brings it")
    if not unmet:
        from opentelemetry.sdk.trace import TracerProvider

        TracerProvider(shutdown_on_exit=False).get_tracer(__name__).start_span("spanloom doctor").end()


def _folder() -> Path:
    return Path(spanloom.__file__).parent


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _opentelemetry() -> list[str]:
    """OpenTelemetry's distributions that are installed, instrumentations among them."""
    names = {str(found.metadata["Name"] or "").lower().replace("_", "-") for found in distributions()}
    return sorted(name for name in names if name.startswith("opentelemetry-"))


def _unmet(name: str) -> Iterator[str]:
    """Yield what a distribution requires, extras apart, and does not find."""
    from packaging.requirements import Requirement  # opentelemetry-instrumentation brings it

    for text in requires(name) or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = _version(wanted.name)
        if not found or not wanted.specifier.contains(found, prereleases=True):
            has = f"{found} is installed" if found else "is not installed"
            yield f"{name} needs {wanted.name}{wanted.specifier}; {has}: pip install '{wanted.name}{wanted.specifier}'"
