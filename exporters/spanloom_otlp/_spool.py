"""A span exporter that writes to disk first and delivers later.

So a span that has ended is not lost with the network, with the backend or with the process.
"""

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from threading import RLock
from typing import Final
from weakref import WeakSet

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanloom_jsonl._lines import to_lines
from spanloom_jsonl._shrink import TRUNCATED_BYTES
from spanloom_otlp import _metrics
from spanloom_otlp._outcome import Delivering
from spanloom_otlp._segment import BATCH_SPANS
from spanloom_otlp._sender import Sender
from spanloom_otlp._settings import LOG, SPOOL_DIR, absolute, spool_max_age, spool_max_bytes
from spanloom_otlp._store import LINE_BYTES, Store
from spanloom_otlp._tally import Tally
from spanloom_otlp._told import Told

# Spans that are kept in memory while the disk cannot be written; as many as the SDK's own queue takes.
_MOST_IN_MEMORY: Final = 2_048
_SHORTENED: Final = (
    f"A span was longer than {LINE_BYTES} bytes; its longest values were cut, see its attribute {TRUNCATED_BYTES}."
)


class SpooledSpanExporter(SpanExporter):
    """Writes spans to `{directory}/{name}` and delivers them from there, across restarts, at least once.

    `export` never touches the network, so it belongs behind a `SimpleSpanProcessor`: then a span is on disk when it
    has ended. A thread of each process delivers its spans in batches, and after them those that dead processes have
    left. Nothing raises.

    Args:
        inner: makes the attempts; its `deliver` is called by one thread at a time.
        directory: where spools are; each destination has a folder in it, with mode 0700.
        name: the destination's.
        max_bytes: how much the folder may hold, at least 1 MiB; then the oldest spans are dropped, counted and said.
            Default: `SPANLOOM_SPOOL_MAX_BYTES`, else 512 MiB.
        max_age: for how many seconds spans may wait. Default: `SPANLOOM_SPOOL_MAX_AGE`, else 7 days.
        patience: for how many seconds `shutdown` waits for what is left to be delivered. The rest stays on disk.

    Raises:
        ValueError: a bound that cannot be right.
    """

    def __init__(
        self,
        inner: Delivering,
        directory: str | os.PathLike[str],
        name: str = "otlp",
        *,
        max_bytes: int | None = None,
        max_age: float | None = None,
        patience: float = 5.0,
    ) -> None:
        self.inner: Final = inner
        self.name: Final = name
        self.folder: Final = absolute(directory) / name
        self._bounds: Final = spool_max_bytes(max_bytes), spool_max_age(max_age)
        self._patience = patience
        self._closed = False
        self._told = Told(name, LOG)
        self._begin()
        _spools.add(self)
        _metrics.observe(self)
        with suppress(OSError):  # it is not there yet, or exporting will say what is wrong
            if any(self.folder.iterdir()):
                self._start()

    def _begin(self) -> None:
        self.tally = Tally(self.folder, self._told)
        self._store = Store(self.folder, *self._bounds, self.tally.drop)
        self._memory: deque[ReadableSpan] = deque()
        self._failing = False
        self._sender: Sender | None = None
        self._waking = 0  # spans until the sender is woken
        self._lock = RLock()  # re-entrant: spans end in signal handlers too

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of segments this process has to deliver."""
        return self._store.left()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write `spans`; SUCCESS means that they are on disk, or at least in memory if the disk cannot be written."""
        if self._closed:
            return SpanExportResult.FAILURE
        error = None
        try:
            for line in to_lines(spans, LINE_BYTES, self._no_span):
                self._store.append(line)
                if line.shortened:
                    self._told.remark(_SHORTENED)
        except (OSError, ValueError) as caught:
            error = caught
        with self._lock:
            self.tally.exported += len(spans)
            turned, self._failing = self._failing != (error is not None), error is not None
            self._waking += len(spans)
            waking = self._waking >= BATCH_SPANS
            if waking:
                self._waking = 0
        if turned:
            self._tell(error)
        if error is not None:
            self._keep(spans)
        sender = self._sender or self._start()
        if waking:
            sender.wake()
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what was exported is delivered or put aside; return whether it is.

        It ends with the first attempt that fails: what is on disk is safe there.
        """
        return self._sender is None or self._sender.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Deliver what is left, for a few seconds at most; the rest stays for the next start."""
        if self._closed:
            return
        self._closed = True
        if self._sender is None or self._sender.finish(self._patience):
            self._store.close()
        self.tally.save()
        self.inner.shutdown()

    def _start(self) -> Sender:
        with self._lock:
            if self._sender is None:
                self._sender = Sender(self.inner, self._store, self._memory, self._told, self.tally)
                self._sender.start()
            return self._sender

    def _keep(self, spans: Sequence[ReadableSpan]) -> None:
        self._memory.extend(spans)
        dropped = 0
        while len(self._memory) > _MOST_IN_MEMORY:
            with suppress(IndexError):  # the sender has taken the rest meanwhile
                self._memory.popleft()
                dropped += 1
        if dropped:
            self.tally.drop("memory", dropped, own=True)

    def _tell(self, error: Exception | None) -> None:
        if error is None:
            LOG.warning("%s: the spool in %s is written again.", self.name, self.folder)
            return
        LOG.warning(
            "%s: cannot write the spool in %s: %s. Spans are sent from memory meanwhile, %d of them may wait, and they "
            "do not survive the process. Make room or give access there, or set %s to another folder.",
            self.name,
            self.folder,
            error,
            _MOST_IN_MEMORY,
            SPOOL_DIR,
        )

    def _no_span(self, error: Exception) -> None:
        self.tally.drop("broken", 1, own=True)
        self._told.remark(f"A span is lost because it is no complete OpenTelemetry span: {error!r}.", key="broken span")

    def _begin_in_child(self) -> None:
        self._store.let_go()
        self._begin()


_spools: Final[WeakSet[SpooledSpanExporter]] = WeakSet()


def _begin_in_child() -> None:
    for spool in _spools:
        spool._begin_in_child()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  same module


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_begin_in_child)
