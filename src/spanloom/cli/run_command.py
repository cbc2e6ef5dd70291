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
from typing import TYPE_CHECKING

from spanloom.config import JSONL_DIR, trace_directory
from spanloom.environment import RunOptions, child_environment

if TYPE_CHECKING:
    import argparse


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
    content.add_argument(
        "--content", action="store_true", default=None, help="record inputs, outputs and state"
    )
    content.add_argument(
        "--no-content", dest="content", action="store_false", help="record names and numbers only"
    )
    parser.add_argument("--quiet", action="store_true", help="no line at exit")
    parser.add_argument(
        "program", metavar="PROGRAM", help="a script, a folder, a module (-m), or a command on PATH"
    )
    parser.add_argument("args", metavar="ARGS", nargs="...", help="the program's own arguments")


def run(options: argparse.Namespace) -> int:
    """Replace this process by the program. Returns only if that is not possible: 2, after one line on stderr."""
    command = _command(options.program, options.args, module=options.module)
    if command is None:
        print(
            f"spanloom: there is no program {options.program!r} here, and no such command on PATH "
            f"(for a module write: spanloom run -m {options.program})",
            file=sys.stderr,
        )
        return 2
    shown = options.directory or trace_directory()
    handed = RunOptions(
        directory=str(Path(shown).absolute()),
        shown=shown,
        content=options.content,
        quiet=options.quiet,
        pid=os.getpid(),
        name=Path(options.program).stem if not options.module else options.program,
    )
    environment = child_environment(handed)
    if os.name == "nt":  # there exec starts a new process and ends this one at once
        return subprocess.call(command, env=environment)  # noqa: S603  the user's own command
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(command[0], command, environment)  # noqa: S606  that is the purpose
    except OSError as exc:
        print(f"spanloom: {command[0]} cannot be started: {exc.strerror}", file=sys.stderr)
    return 2


def _command(program: str, args: list[str], *, module: bool) -> list[str] | None:
    """The command line, or None where there is no such program."""
    if module:
        return [sys.executable, "-m", program, *args]
    if Path(program).exists():
        return [sys.executable, program, *args]
    found = shutil.which(program)
    return None if found is None else [found, *args]
