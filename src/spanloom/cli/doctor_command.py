"""`spanloom doctor`: what is installed, what is on and why not the rest, and whether traces arrive."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

from spanloom.doctor import DEFAULT_SECONDS, examine
from spanloom.doctor.finding import FAIL, WARN

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from spanloom.doctor.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = (
        "It looks at this environment as a program that is started in it would find it. Secrets are not shown. "
        "Exit code: 0, or 1 if something that was asked for does not work."
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--no-send",
        dest="send",
        action="store_false",
        help="send nothing; otherwise each exporter gets a span named `spanloom doctor`",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_SECONDS,
        metavar="SECONDS",
        help="how long an exporter may take (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Say what was found, as it is found.

    Returns:
        1 if something that was asked for does not work, else 0.
    """
    findings: list[Finding] = []
    for finding in _findings(options):
        if not options.json:
            if not findings or findings[-1].section != finding.section:
                print(finding.section)
            level = FAIL.upper() if finding.level == FAIL else finding.level  # to be seen among the others
            print(f"  {level:<4}  {finding.text}", flush=True)
        findings.append(finding)
    count = Counter(finding.level for finding in findings)
    if options.json:
        print(json.dumps({"ok": not count[FAIL], "findings": [finding._asdict() for finding in findings]}, indent=2))
    elif count[FAIL] or count[WARN]:
        print(f"{_number(count[FAIL], 'problem')}, {_number(count[WARN], 'warning')}")
    else:
        print("All is well")
    return 1 if count[FAIL] else 0


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    findings = examine(send=options.send, seconds=options.timeout)
    while True:
        with contextlib.redirect_stdout(sys.stderr):  # what packages print when they are imported
            finding = next(findings, None)
        if finding is None:
            return
        yield finding


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise ValueError(text)
    return number


# argparse names the type in its message
_seconds.__name__ = "number of seconds"
