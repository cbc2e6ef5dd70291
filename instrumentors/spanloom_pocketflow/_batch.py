"""Which item of a batch runs: PocketFlow does not say, so it is counted."""

from __future__ import annotations

from contextvars import ContextVar, Token


class Batch:
    """One `_exec` of a batch node: PocketFlow calls the single-item `_exec` of the same node once per item."""

    __slots__ = ("_next", "_token", "size", "subject")

    current: ContextVar[Batch | None] = ContextVar("spanloom_pocketflow_batch", default=None)

    def __init__(self, subject: object, size: int | None) -> None:
        self.subject = subject
        self.size = size
        self._next = 0
        self._token: Token[Batch | None] | None = None

    def take(self) -> int:
        """The index of the item that begins now (items begin in order, also under `asyncio.gather`)."""
        index = self._next
        self._next += 1
        return index

    def __enter__(self) -> None:
        self._token = Batch.current.set(self)

    def __exit__(self, exc_type: object, exc: object, tb: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                Batch.current.reset(token)
            except ValueError:  # a coroutine closed from another context: nothing of ours is current there
                return
