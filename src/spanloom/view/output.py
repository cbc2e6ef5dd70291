"""`spanloom view` without its command line: find what was asked for, read it, show it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom import names
from spanloom.view import as_json, content, facts, listing
from spanloom.view.details import Detail
from spanloom.view.files import TraceFile, find_file, find_folder, runs
from spanloom.view.look import look_of
from spanloom.view.problems import Problems
from spanloom.view.select import Found, Selection, every, matching, newest
from spanloom.view.terminal import render
from spanloom.view.text import clean, plural
from spanloom.view.tree import Trace, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

SHOWN: Final = 0
NOTHING_FOUND: Final = 1
BAD_USAGE: Final = 2

DEFAULT_COUNT: Final = 20
DEFAULT_LIMIT: Final = 50_000
SHORTEST_ID: Final = 6
_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")


class ViewOptions(NamedTuple):
    """What to show and how.

    Attributes:
        every: all traces of the file or folder, not those of the last run.
        last: the newest so many traces of the file or folder.
        trace: the trace with this id (or unique beginning of an id).
        listing: one line per trace, no trees.
        errors: only the paths to failed spans.
        attributes: all attributes below each span.
        content: captured content below each span.
        json: JSON lines (`as_json`) in place of text.
        limit: how many spans to hold at most, 0 for no limit; `every` has none.
        colour: colour the output.
        width: cells per line; None takes the terminal's, or 120.
    """

    every: bool = False
    last: int | None = None
    trace: str | None = None
    listing: bool = False
    errors: bool = False
    attributes: bool = False
    content: bool = False
    json: bool = False
    limit: int = DEFAULT_LIMIT
    colour: bool = False
    width: int | None = None


def show(
    target: str | None,
    *,
    out: TextIO,
    err: TextIO,
    directory: str,
    options: ViewOptions = ViewOptions(),  # noqa: B008  immutable
) -> int:
    """Show traces on `out`, and on `err` what could not be read.

    Args:
        target: a file, a folder or a trace id (or its beginning); None is `directory`.
        out: for the traces.
        err: for everything else.
        directory: the folder where traces lie by default, and where trace ids are looked up.
        options: what to show and how.

    Returns:
        0 when something was shown, 1 when nothing was found (with a line that says what to do), 2 for a request
        that cannot be meant.
    """
    return _View(out, err, directory, options).show(target)


class _View:
    """One call of `show`."""

    def __init__(self, out: TextIO, err: TextIO, directory: str, options: ViewOptions) -> None:
        self._out = out
        self._err = err
        self._directory = directory
        self._options = options
        self._problems = Problems()
        self._look = look_of(out, colour=options.colour, width=options.width)

    def show(self, target: str | None) -> int:
        place, trace_id = target or self._directory, self._options.trace
        if trace_id is None and target and _TRACE_ID.fullmatch(target) and not Path(target).exists():
            place, trace_id = self._directory, target
        if trace_id is not None and (not _TRACE_ID.fullmatch(trace_id) or len(trace_id) < SHORTEST_ID):
            return self._fail(f"not a trace id: {trace_id}; give 6 to 32 hex digits of one", BAD_USAGE)
        try:
            files = find_folder(place, running=True) if Path(place).is_dir() else [find_file(place)]
        except FileNotFoundError:
            if place == target:
                return self._fail(f"no such file or folder: {place}; give one, or a trace id of 6 to 32 hex digits")
            files = []
        except OSError as error:
            return self._fail(f"cannot read {place}: {error.strerror or error}")
        if not files:
            return self._fail(f"no traces in {place}: run `spanloom run app.py` or `spanloom demo` first")
        result = self._traces(files, place) if trace_id is None else self._trace(files, place, trace_id.lower())
        for line in self._problems.report():
            self._tell(line)
        return result

    # -- which ------------------------------------------------------------------------------------------------

    def _traces(self, files: list[TraceFile], place: str) -> int:
        options = self._options
        if options.every:
            found = every(files[::-1], self._problems, keep=self._keep)
            return SHOWN if self._emit(map(_built, found)) else self._nothing(place)
        whole = options.last is not None or options.listing
        pools = [files] if whole else runs(files)
        for pool in pools:
            selection = newest(
                pool, self._problems, count=options.last or DEFAULT_COUNT, limit=options.limit, keep=self._keep
            )
            if selection.traces:
                return self._selected(selection)
            if len(pools) > 1:
                self._tell(f"no traces in {pool[0].path}, going on to the run before")
        return self._nothing(place)

    def _trace(self, files: list[TraceFile], place: str, trace_id: str) -> int:
        selection = matching(files, self._problems, trace_id, limit=self._options.limit, keep=self._keep)
        if not selection.traces:
            return self._fail(f"no trace {trace_id} in {place}: `spanloom view --list --all` names those there are")
        if len(selection.traces) > 1:
            several = ", ".join(trace.trace_id for trace in selection.traces[:DEFAULT_COUNT])
            return self._fail(f"{len(selection.traces)} traces begin with {trace_id}: {several}", BAD_USAGE)
        return self._selected(selection)

    def _selected(self, selection: Selection) -> int:
        traces = sorted(map(_built, selection.traces), key=lambda trace: (trace.start, trace.trace_id))
        self._emit(traces)
        if selection.cut:
            held = sum(len(found.spans) for found in selection.traces)
            self._tell(f"stopped reading after {plural(held, 'span')}: --limit N reads more, --limit 0 all")
        elif selection.older and self._options.last is None:
            self._tell(f"these are the newest {len(traces)} traces: --last N and --all show older ones")
        return SHOWN

    @property
    def _keep(self) -> frozenset[str] | None:
        """The attributes to hold in memory while reading."""
        options = self._options
        if options.attributes or (options.json and not options.listing):
            return None
        wanted = facts.NEEDED | content.NEEDED if options.content else facts.NEEDED
        return wanted | {names.EXCEPTION_STACKTRACE} if options.errors else wanted

    # -- how --------------------------------------------------------------------------------------------------

    def _emit(self, traces: Iterable[Trace]) -> bool:
        """Write each trace as it comes; return whether there was any."""
        options = self._options
        seen = shown = errors = 0
        for trace in traces:
            seen += 1
            if options.errors and not trace.rollup.errors:
                continue
            for line in self._lines(trace, first=not shown):
                _write(self._out, line)
            shown += 1
            errors += trace.rollup.errors
        if seen and not shown:
            self._tell(f"no errors in {plural(seen, 'trace')}")
        elif shown and not options.json and self._out.isatty():
            self._hint(errors=errors > 0)
        return bool(seen)

    def _hint(self, *, errors: bool) -> None:
        options = self._options
        flags = {
            "--errors": errors and not options.errors,
            "--attributes": not options.attributes,
            "--content": not options.content,
            "--list": True,
        }
        more = "spanloom view TRACE-ID" if options.listing else ", ".join(flag for flag, new in flags.items() if new)
        _write(self._out, self._look.paint(f"\nmore: {more}", "dim"))

    def _lines(self, trace: Trace, *, first: bool) -> Iterator[str]:
        options = self._options
        if options.json:
            yield as_json.summary(trace) if options.listing else as_json.document(trace, errors_only=options.errors)
        elif options.listing:
            if first:
                yield self._look.paint(listing.HEADING, "dim")
            yield listing.row(trace, self._look)
        else:
            if not first:
                yield ""
            yield from render(trace, self._look, Detail(options.errors, options.attributes, options.content))

    # -- messages ---------------------------------------------------------------------------------------------

    def _nothing(self, place: str) -> int:
        broken = ": it does not hold OTLP/JSON lines" if self._problems.broken else ""
        return self._fail(f"no traces in {place}{broken}")

    def _fail(self, message: str, code: int = NOTHING_FOUND) -> int:
        self._tell(f"spanloom view: {message}")
        return code

    def _tell(self, message: str) -> None:
        self._out.flush()  # so that it stands after the traces it is about
        _write(self._err, clean(message))


def _built(found: Found) -> Trace:
    return build(found.trace_id, found.spans, partial=found.partial)


def _write(stream: TextIO, line: str) -> None:
    try:
        stream.write(line + "\n")
    except UnicodeEncodeError:  # a character of the data that this terminal does not have
        encoding = stream.encoding
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
