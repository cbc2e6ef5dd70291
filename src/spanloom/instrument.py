"""What an instrumentor may import, besides `spanloom.genai`: the extension API.

An instrumentor is a `BaseInstrumentor` of OpenTelemetry that holds one `Telemetry` and one `Patches`. Its describing
functions are pure; everything with a lifetime goes through `Scope` and `wrap`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

import wrapt
from opentelemetry.instrumentation.dependencies import DependencyConflict, DependencyConflictError
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from spanloom import messages, names, parts
from spanloom.capture import Capture
from spanloom.carried import STAMPS, stamps
from spanloom.config import Config, active
from spanloom.documents import documents_text
from spanloom.embedding import Embedding
from spanloom.frames import hide_frame, unseen
from spanloom.guard import LOG, guarded, swallow
from spanloom.inference import Inference, Inner, Usage
from spanloom.span import Carried, Scope, below_dropped, current_scope, error_type, path_below, path_of
from spanloom.state import Snapshot, updates
from spanloom.telemetry import Telemetry
from spanloom.wrapping import Begun, Switch, as_method, await_in, call_in, drive, drive_async, wrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = [
    "LOG",
    "STAMPS",
    "BaseInstrumentor",
    "Begun",
    "Capture",
    "Carried",
    "Config",
    "Embedding",
    "GatedInstrumentor",
    "Inference",
    "Inner",
    "Patches",
    "Scope",
    "Snapshot",
    "Switch",
    "Telemetry",
    "Usage",
    "active",
    "await_in",
    "below_dropped",
    "call_in",
    "current_scope",
    "documents_text",
    "drive",
    "drive_async",
    "error_type",
    "guarded",
    "hide_frame",
    "messages",
    "names",
    "on_import",
    "parts",
    "path_below",
    "path_of",
    "stamps",
    "swallow",
    "unseen",
    "updates",
    "wrap",
]


class Patches:
    """Replaced attributes of classes and modules, and the way back.

    `restore` puts every original back. Where somebody wrapped our wrapper in the meantime it cannot be taken out
    without losing theirs, so it stays and lets every call through.
    """

    def __init__(self) -> None:
        self._switch = Switch()
        self._done: list[tuple[Any, str, Any, Any]] = []
        self._undo: list[Callable[[], None]] = []

    def wrap(self, owner: type | ModuleType, name: str, begin: Callable[..., Begun | None], lost: str) -> Any:
        """Wrap the function `name` that `owner` itself defines; returns the wrapper."""
        original: Any = owner.__dict__[name]
        kind = cast("type[Any]", type(original))
        bound = issubclass(kind, (staticmethod, classmethod))
        method = isinstance(owner, type) and not bound
        shell = wrap(original.__func__ if bound else original, begin, lost, self._switch, method=method)
        wrapper = cast("Any", kind(shell) if bound else shell)
        setattr(owner, name, wrapper)
        self._done.append((owner, name, original, wrapper))
        return wrapper

    def before(self, owner: type, name: str, watch: Callable[..., None], lost: str) -> None:
        """Have `watch` called with the arguments of each call of a plain method, in a fraction of what `wrap` costs."""
        switch, site = self._switch, f"before {name}"

        def made(called: Callable[..., Any]) -> Callable[..., Any]:
            def shell(*args: Any, **kwargs: Any) -> Any:
                if switch.on:
                    try:
                        watch(*args, **kwargs)
                    except Exception as exc:
                        swallow(site, lost, exc)
                try:
                    return called(*args, **kwargs)
                except BaseException as exc:
                    hide_frame(exc)
                    raise

            return shell

        self.replace(owner, name, made)

    def replace(self, owner: type, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put what `make(original)` returns, a function made for this, in the place of a plain method."""
        original: Any = owner.__dict__[name]
        shell = functools.wraps(original)(unseen(make(as_method(original))))
        self._done.append((owner, name, original, shell))
        setattr(owner, name, shell)

    def put(self, owner: type | ModuleType, name: str, wrapper: Any) -> None:
        """Put a wrapper that `wrap` returned in the place of another name of the same function (`from x import y`)."""
        self._done.append((owner, name, owner.__dict__[name], wrapper))
        setattr(owner, name, wrapper)

    def holds(self, owner: type | ModuleType) -> bool:
        """Whether something of `owner` has been wrapped."""
        return any(done[0] is owner for done in self._done)

    def on_restore(self, undo: Callable[[], None]) -> None:
        """Have `undo` called by `restore`: for what an instrumentor replaces by itself."""
        self._undo.append(undo)

    def restore(self) -> None:
        """Undo everything, newest first."""
        self._switch.on = False
        while self._undo:
            with guarded("restore", "the originals of some functions, which stay wrapped"):
                self._undo.pop()()
        while self._done:
            owner, name, original, wrapper = self._done.pop()
            if owner.__dict__.get(name) is wrapper:
                setattr(owner, name, original)


class GatedInstrumentor(BaseInstrumentor):
    """A `BaseInstrumentor` whose version gate holds under `opentelemetry-instrument` too.

    The loader passes `skip_dep_check=True` and looks only at extras of the whole distribution, so without this an
    instrumentor whose framework is missing or too old would be switched on. The framework may be a copy inside
    the program under another name; `copies` tells, and then no distribution is asked for.
    """

    def copies(self, config: Config) -> bool:  # noqa: ARG002  for subclasses
        """Whether the settings name modules other than the distribution's own."""
        return False

    def _check_dependency_conflicts(self) -> DependencyConflict | None:
        """As OpenTelemetry's, which takes every pre-release for a version out of range."""
        conflict: DependencyConflict | None = super()._check_dependency_conflicts()
        if conflict is None or not conflict.found or not conflict.required:
            return conflict
        from packaging.requirements import Requirement  # opentelemetry-instrumentation brings it

        version = conflict.found.rpartition(" ")[2]
        return None if Requirement(conflict.required).specifier.contains(version, prereleases=True) else conflict

    def instrument(self, **kwargs: Any) -> Any:
        """Switch on, once; a second call does nothing.

        Args:
            **kwargs: `tracer_provider`, `meter_provider`, `logger_provider` (default: the global ones), `config` (a
                `spanloom.config.Config`, default: the process's), and what the loader passes.

        Raises:
            DependencyConflictError: under the auto-instrumentation loader, which logs it and goes on.
        """
        if self.is_instrumented_by_opentelemetry:
            return None
        by_loader = kwargs.pop("skip_dep_check", False) or kwargs.get("raise_exception_on_conflict", False)
        conflict: DependencyConflict | None = (
            None if self.copies(kwargs.get("config") or active()) else self._check_dependency_conflicts()
        )
        if conflict is not None and by_loader:
            if not conflict.found:  # the loader tells this at DEBUG only
                LOG.info("%s: %s", type(self).__name__, conflict)
            raise DependencyConflictError(conflict)
        if conflict is not None:
            LOG.error(
                "%s: %s Install or upgrade it: pip install '%s'",
                type(self).__name__,
                conflict,
                conflict.required,
            )
            return None
        return super().instrument(skip_dep_check=True, **kwargs)

    def uninstrument(self, **kwargs: Any) -> Any:
        """Switch off and restore everything; without effect where it is not on."""
        return super().uninstrument(**kwargs) if self.is_instrumented_by_opentelemetry else None


def on_import(module: str, patch: Callable[[ModuleType], None]) -> None:
    """Call `patch(module object)` when the program imports `module`; at once if it already has.

    The framework is never imported for the program's sake: that would cost start-up time and could take another
    copy than the one on the program's own path.
    """

    def guarded_patch(loaded: ModuleType) -> None:
        with guarded(f"patch {module}", f"all spans of {module}"):
            patch(loaded)

    wrapt.register_post_import_hook(guarded_patch, module)
