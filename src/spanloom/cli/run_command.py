"""`spanloom run [-m] PROGRAM ARGS`: become the program, traced.

The program is started as Python would start it, by replacing this process: exit code, signals, standard streams,
`sys.argv`, `__main__` and tracebacks are Python's own. What is ours rides along on `PYTHONPATH` and steps aside
before the program's first line (see `spanloom/bootstrap/sitecustomize.py`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spanloom.config import JSONL_DIR, trace_directory
from spanloom.environment import RunOptions, child_environment

if TYPE_CHECKING:
    import argparse

_BINARIES: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # Linux, macOS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; everything after PROGRAM belongs to it."""
    parser.usage = "spanloom run [options] [-m] PROGRAM [ARGS ...]"
    parser.epilog = (
        "Traces go to files below --dir, with content, unless OTEL_TRACES_EXPORTER or an OTEL_EXPORTER_OTLP_* "
        "endpoint says otherwise."
    )
    parser.add_argument("-m", dest="module", action="store_true", help="PROGRAM is a module, as in python -m")
    parser.add_argument(
        "--dir", dest="directory", help=f"folder of the trace files (default: {JSONL_DIR} or .spanloom)"
    )
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--content", action="store_true", default=None, help="record inputs, outputs and state")
    content.add_argument("--no-content", dest="content", action="store_false", help="record names and numbers only")
    parser.add_argument("--quiet", action="store_true", help="no line at exit")
    # One positional takes all the rest as it stands: with two, argparse would drop a `--` of the program's.
    parser.add_argument(
        "command_line",
        metavar="PROGRAM [ARGS ...]",
        nargs="...",
        help="a script, a folder, a module (-m), a command, or - for standard input; and its own arguments",
    )


def run(options: argparse.Namespace) -> int:
    """Replace this process by the program. Returns only if that is not possible: 2, after one line on stderr."""
    given: list[str] = options.command_line
    program, *args = (given[1:] if given[:1] == ["--"] else given) or [""]
    if not program:
        print("spanloom: run what? For example: spanloom run app.py", file=sys.stderr)
        return 2
    command = _command(program, args, module=options.module)
    if command is None:
        print(
            f"spanloom: there is no program {program!r} here, and no such command on PATH "
            f"(for a module write: spanloom run -m {program})",
            file=sys.stderr,
        )
        return 2
    shown = options.directory or trace_directory()
    handed = RunOptions(
        directory=_absolute(shown),
        shown=shown,
        content=options.content,
        quiet=options.quiet,
        pid=os.getpid(),
        name=program if options.module else Path(_absolute(program)).stem,
    )
    environment = child_environment(handed)
    if os.name == "nt":  # there exec starts a new process and ends this one at once
        return subprocess.call(command, env=environment)  # noqa: S603  the user's own command
    try:
        os.execve(command[0], command, environment)  # noqa: S606  that is the purpose
    except OSError as exc:
        print(f"spanloom: {command[0]} cannot be started: {exc.strerror}", file=sys.stderr)
    return 2


def _command(program: str, args: list[str], *, module: bool) -> list[str] | None:
    """The command line, or None where there is no such program."""
    if module:
        return [sys.executable, "-m", program, *args]
    found = shutil.which(program, path=_search_path())
    here = program == "-" or os.path.exists(program)  # noqa: PTH110  Path.exists raises where access is denied
    if here and not (found and _is_foreign(program)):
        return [sys.executable, program, *args]
    return None if found is None else [found, *args]


def _search_path() -> str:
    """PATH, behind the commands of our own environment: `.venv/bin/spanloom run pytest` means its pytest."""
    path = os.environ.get("PATH", os.defpath)
    in_environment = sys.prefix != sys.base_prefix
    return os.pathsep.join([str(Path(sys.executable).parent), path]) if in_environment else path


def _is_foreign(program: str) -> bool:
    """Whether Python cannot run this path: a folder without `__main__.py`, a script of another language, a binary."""
    path = Path(program)
    try:
        if path.is_dir():
            return not (path / "__main__.py").exists()
        with path.open("rb") as file:
            start = file.readline(256)
    except OSError:
        return False  # Python says what is wrong with it
    return start.startswith(_BINARIES) or (start.startswith(b"#!") and b"python" not in start)


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except (OSError, RuntimeError):  # no current folder, no such home: whoever uses the path says so
        return path
