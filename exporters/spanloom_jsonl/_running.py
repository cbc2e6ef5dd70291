"""A record of the spans that run: what a killed or hanging program was doing, and a run to watch while it goes on.

It is a file of its own, `{writer}.traces.running`, of slots with one line each: OTLP/JSON of a span without an end,
padded to the length of the slot, or blanks. A start and an end overwrite one slot, so the file is as long as most
spans ran at once, and after a kill, at any moment, it holds exactly those that had begun and not ended. It is there
while something runs. Its name ends otherwise than those of finished spans, which collectors take up.

Attributes stand in no record: other instrumentations' are redacted only when a span ends.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from opentelemetry.sdk.trace import SpanProcessor

from spanloom_jsonl._frames import Frame, cached
from spanloom_jsonl._locks import own
from spanloom_jsonl._parts import writer
from spanloom_jsonl._settings import LOG
from spanloom_jsonl._spans import encode_start
from spanloom_jsonl._values import text

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

SLOT: Final = 1024
MAX_SLOTS: Final = 4096
_BLANK: Final = b" " * (SLOT - 1) + b"\n"
# Of a service and a scope: each character takes six bytes at most, so that a line always has room for both.
_LONGEST: Final = 48
_NAME_LENGTHS: Final = (SLOT, 100, 8)  # the last one always fits
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_MAX_FILES: Final = 100  # of one process in one directory


class RunningSpans(SpanProcessor):
    """Keeps the record of the sampled spans that run, up to 4,096 of them; never raises, tries anew on trouble.

    Add it behind the processor that exports to the files beside it, so that a span is always in one or the other.

    Args:
        directory: where the file goes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._closed = False
        self._begin()
        _records.add(self)

    def _begin(self) -> None:
        self._path = ""
        self._descriptor: int | None = None
        self._identity = (0, 0)
        self._live: dict[int, tuple[int, bytes]] = {}  # span id -> slot, and what stands in it
        self._free: list[int] = []
        self._next = count().__next__
        self._lock = RLock()  # re-entrant: a signal handler can start a span while this thread is at one

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        """Record that `span` runs."""
        try:
            context: Any = span.context
            if self._closed or not context.trace_flags.sampled or len(self._live) >= MAX_SLOTS:
                return
            line = _start_record(span)
            with self._lock:
                slot = self._free.pop() if self._free else self._next()
                self._live[context.span_id] = slot, line
                self._write(slot, line)
        except Exception as error:  # a full disk is the exporter's to tell
            LOG.debug("A running span is not recorded: %r", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Take its record back."""
        try:
            context: Any = span.context
            with self._lock:
                slot, _ = self._live.pop(context.span_id, (-1, b""))
                if slot >= 0:
                    self._free.append(slot)
                    if self._live:
                        self._write(slot, _BLANK)
                    else:
                        self._let_go()
        except Exception as error:
            LOG.debug("The record of a span that has ended stays: %r", error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Return True: nothing waits."""
        return True

    def shutdown(self) -> None:
        """Record no more; what still runs stays recorded."""
        self._closed = True
        with self._lock, suppress(OSError):
            self._let_go()

    def _let_go(self, *, remove: bool = False) -> None:
        """Close the file; remove it, if nothing runs or that is asked for."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self._is_ours(descriptor):
            os.close(descriptor)
            if remove or not self._live:
                os.unlink(self._path)  # noqa: PTH108  text here

    def _write(self, slot: int, line: bytes) -> None:
        descriptor = self._descriptor
        try:
            if descriptor is None or not self._is_ours(descriptor):
                if self._closed:
                    return
                descriptor = self._open()
            _put(descriptor, line, slot * SLOT)
        except OSError:
            self._let_go(remove=True)  # the next start or end writes all of it anew
            raise

    def _is_ours(self, descriptor: int) -> bool:
        """Tell whether our file is open under this number (the program may have closed it) and has not been removed."""
        try:
            status = os.fstat(descriptor)
        except OSError:
            return False
        if (status.st_dev, status.st_ino) != self._identity:
            return False
        if not status.st_nlink:
            self._descriptor = None
            os.close(descriptor)
            return False
        return True

    def _open(self) -> int:
        """Begin a file with what runs; return its descriptor.

        Raises:
            OSError: it cannot be made.
        """
        try:
            descriptor = self._create()
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = self._create()
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        with suppress(OSError):  # a file system without locks: readers cannot tell whether we live
            own(descriptor)
        for slot, line in list(self._live.values()):
            _put(descriptor, line, slot * SLOT)
        return descriptor

    def _create(self) -> int:
        for number in range(1, _MAX_FILES):
            part = "" if number == 1 else f".part{number}"
            path = str(self._directory / f"{writer()}{part}.traces.running")
            with suppress(FileExistsError):  # of another exporter in this process
                descriptor = os.open(path, _NEW, 0o600)
                self._path = path
                return descriptor
        raise FileExistsError(self._directory)

    def _begin_in_child(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._begin()


@cached
def _around_scopes(resource: Any) -> Frame:
    service = text(str(resource.attributes.get("service.name", ""))[:_LONGEST])
    fields = b'"attributes":[{"key":"service.name","value":{"stringValue":%b}}]' % service
    return Frame(b'{"resourceSpans":[{"resource":{%b},"scopeSpans":[' % fields, b"]}]}")


@cached
def _around_spans(scope: Any) -> Frame:
    name = "" if scope is None else str(scope.name)
    return Frame(b'{"scope":{"name":%b},"spans":[' % text(name[:_LONGEST]), b"]}")


def _start_record(span: ReadableSpan) -> bytes:
    """Return the line of a span that has begun, as long as a slot; the end of a long name is missing."""
    outer, inner = _around_scopes(span.resource), _around_spans(span.instrumentation_scope)
    line = b""
    for length in _NAME_LENGTHS:
        line = b"%b%b%b%b%b" % (outer.head, inner.head, encode_start(span, length), inner.tail, outer.tail)
        if len(line) < SLOT:
            break
    return line.ljust(SLOT - 1) + b"\n"


def _seek_and_write(descriptor: int, line: bytes, offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    os.write(descriptor, line)


# Windows lacks it; there, as everywhere, nobody else writes the file.
_put = getattr(os, "pwrite", _seek_and_write)

_records: Final[WeakSet[RunningSpans]] = WeakSet()


def _begin_in_child() -> None:
    for record in _records:
        record._begin_in_child()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  same module


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_begin_in_child)
