"""`spanloom view`: the last run, a file, a folder or one trace as a tree in the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from spanloom.config import trace_directory
from spanloom.view import ViewOptions, show
from spanloom.view.look import colour_wanted
from spanloom.view.output import DEFAULT_COUNT, DEFAULT_LIMIT

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spanloom view` to its parser."""
    parser.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="an OTLP/JSON lines file (also .gz, .zst), a folder of them, or (the beginning of) a trace id; "
        "default: the last run in SPANLOOM_JSONL_DIR or .spanloom",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="all traces of the file or folder, oldest first")
    which.add_argument(
        "--last",
        type=_positive,
        metavar="N",
        help=f"the newest N traces of the file or folder (default: of the last run, {DEFAULT_COUNT} at most)",
    )
    which.add_argument("--trace", metavar="ID", help="the trace with this id, or with an id that begins so")
    parser.add_argument("--list", action="store_true", help="one line per trace, of all runs")
    parser.add_argument("--errors", action="store_true", help="only the paths to failed spans, with their stack traces")
    parser.add_argument("--attributes", action="store_true", help="all attributes, events and links of each span")
    parser.add_argument("--content", action="store_true", help="messages, tool calls, inputs, outputs, state changes")
    parser.add_argument("--json", action="store_true", help="one JSON object per trace and line, for programs")
    parser.add_argument(
        "--limit",
        type=_count,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"hold at most N spans in memory, 0 for no limit (default: {DEFAULT_LIMIT:,}; --all has none)",
    )


def run(args: argparse.Namespace) -> int:
    """Show what `args` ask for.

    Returns:
        0 when something was shown, 1 when nothing was found, 2 for a request that cannot be meant.
    """
    options = ViewOptions(
        every=args.all,
        last=args.last,
        trace=args.trace,
        listing=args.list,
        errors=args.errors,
        attributes=args.attributes,
        content=args.content,
        json=args.json,
        limit=args.limit,
        colour=colour_wanted(sys.stdout, os.environ),
    )
    try:
        code = show(args.target, out=sys.stdout, err=sys.stderr, directory=trace_directory(), options=options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted. The interpreter flushes once more at exit: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


# argparse names the type in its message: "invalid whole number value: 'x'"
_count.__name__ = "whole number"
_positive.__name__ = "whole number above 0"
