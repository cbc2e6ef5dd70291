"""The `spanloom` command: sub-commands, each in a module of its own that is imported only when it runs."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "run": "run a program and write its traces to files, without changing it",
    "view": "show traces as a tree",
    "doctor": "say what is installed and on, and try whether traces arrive",
    "forward": "send trace files to a backend, each span at least once",
    "demo": "run a small program of PocketFlow or LangGraph and show its traces",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Args:
        argv: the arguments without the program's name; default: the process's.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted; `run` becomes its program.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="spanloom", description="Exact OpenTelemetry traces of AI workflows.")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        sub = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        if arguments[:1] == [name]:
            import_module(f"spanloom.cli.{name}_command").add_arguments(sub)
    options = parser.parse_args(arguments)
    if options.version:
        from spanloom.version import VERSION

        print(f"spanloom {VERSION}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    try:
        return int(import_module(f"spanloom.cli.{options.command}_command").run(options))
    except KeyboardInterrupt:
        return 130
