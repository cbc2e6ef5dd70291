"""`spanloom doctor`: what is installed, what is on and why not the rest, and whether traces arrive.

Each part looks by itself and imports what it needs when it runs, so that a broken installation is described and does
not end the examination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom.doctor.finding import examined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.doctor.finding import Finding

DEFAULT_SECONDS: Final = 5.0


def examine(*, send: bool = True, seconds: float = DEFAULT_SECONDS) -> Iterator[Finding]:
    """Look at this environment as a program that is started in it would find it. Never raises.

    Args:
        send: whether a test span is sent to each exporter.
        seconds: how long one may take.
    """
    yield from examined("Installation", "spanloom.doctor.installation")
    yield from examined("Settings", "spanloom.doctor.settings")
    yield from examined("Instrumentors", "spanloom.doctor.instrumentors")
    yield from examined("Exporters", "spanloom.doctor.exporters", send=send, seconds=seconds)
    yield from examined("Spool", "spanloom.doctor.spool")
