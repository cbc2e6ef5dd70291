"""Lint, format and types, as tests: what `.ci/run` checks, everybody's test run checks."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def needs(module):
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install -e '.[dev]'")


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff(command):
    needs("ruff")
    done = run("ruff", *command, ".")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_types():
    """Pyright in strict mode, on everything that is shipped."""
    needs("pyright")
    done = run("pyright", "--pythonpath", sys.executable)
    said = done.stdout + done.stderr
    if re.search(r"getaddrinfo|ENOTFOUND|ECONNREFUSED|Temporary failure|URLError|npm ERR", said):
        pytest.skip(f"pyright cannot fetch what it runs on: {said.strip().splitlines()[-1]}")

    assert done.returncode == 0, said
    assert "0 errors, 0 warnings" in said
