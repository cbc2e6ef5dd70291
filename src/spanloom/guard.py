"""The one place where spanloom swallows an error of its own.

Telemetry must never raise into the user's program, so whatever of ours runs inside it ends in `swallow`: a
failure is logged once per site at WARNING, with what was lost, and the program goes on. Only `Exception` is
ever caught; `KeyboardInterrupt`, `SystemExit`, `GeneratorExit` and cancellation belong to the user.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

LOG: Final = logging.getLogger("spanloom")


class _State:
    """Process-wide: which sites have been logged, and whether to raise instead (spanloom's own tests)."""

    strict = False
    logged: Final[dict[str, object]] = {}


def set_strict(on: bool) -> None:
    """Make `swallow` re-raise (True) so that spanloom's own tests see its bugs. Never use it in a program."""
    _State.strict = on


def swallow(site: str, lost: str, exc: Exception) -> None:
    """Log `exc` once for `site` and return; call it from an `except Exception` clause only.

    Args:
        site: where it happened, e.g. `"pocketflow.node"`; one log line per site and process.
        lost: what the trace now lacks, in the user's words, e.g. `"the attributes of a node span"`.
        exc: the error.

    Raises:
        Exception: `exc` itself, in strict mode.
    """
    if _State.strict:
        raise exc
    mine = object()
    if _State.logged.setdefault(site, mine) is not mine:  # one step, so of many threads one logs
        return
    try:
        LOG.warning(
            "spanloom lost %s (%s: %r). The program is not affected; this is logged once.",
            lost,
            site,
            exc,
            exc_info=exc if LOG.isEnabledFor(logging.DEBUG) else None,
        )
    except Exception:  # noqa: S110  an exception whose repr raises, or a broken log handler: nobody left to tell
        pass


class guarded:  # noqa: N801  a context manager that reads as a verb
    """`with guarded(site, lost): ...` hands an `Exception` of the block to `swallow`."""

    __slots__ = ("_lost", "_site")

    def __init__(self, site: str, lost: str) -> None:
        self._site = site
        self._lost = lost

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        if not isinstance(exc, Exception):
            return False
        swallow(self._site, self._lost, exc)
        return True
