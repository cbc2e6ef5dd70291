"""Backends from the package index, for the tests of tests/backends: each in an environment of its own.

    python scripts/receivers.py install phoenix mlflow
    python scripts/receivers.py list

They lie in `--cache`, else in the folder that SPANLOOM_RECEIVERS names, else in ~/.cache/spanloom/receivers; the tests
look there too, and are skipped where a backend is missing. An environment that is whole is kept, and one that is not
is made anew. The exit code is 1 where something could not be installed. Phoenix takes 850 MB, MLflow the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

DEFAULT_CACHE = Path("~/.cache/spanloom/receivers")
STAMP = "installed"  # written last, so that a broken installation is none


class Receiver(NamedTuple):
    """A backend: the distribution that has it, at the version that the tests know, and its command."""

    distribution: str
    version: str
    command: str


RECEIVERS = {
    "phoenix": Receiver("arize-phoenix", "20.26.1", "phoenix"),
    "mlflow": Receiver("mlflow", "3.17.2", "mlflow"),
}


def cache_folder(given: str | None = None) -> Path:
    """Where the environments are: `given`, else what the environment says, else below the home."""
    return Path(given or os.environ.get("SPANLOOM_RECEIVERS") or DEFAULT_CACHE).expanduser().absolute()


def folder_of(name: str, cache: Path) -> Path:
    """The environment of a backend at its version, for this version of Python."""
    return cache / f"{name}-{RECEIVERS[name].version}-py{sys.version_info[0]}.{sys.version_info[1]}"


def program_folder(environment: Path) -> Path:
    """Where an environment has its programs."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def program(name: str, cache: Path) -> Path | None:
    """The command of a backend; None where it is not installed."""
    folder = folder_of(name, cache)
    found = program_folder(folder) / RECEIVERS[name].command
    return found if (folder / STAMP).exists() and found.exists() else None


def install(name: str, cache: Path) -> bool:
    """Make a backend's environment, unless it is there; says what it does, and whether it worked."""
    if program(name, cache) is not None:
        print(f"{name}: there already")
        return True
    wanted = f"{RECEIVERS[name].distribution}=={RECEIVERS[name].version}"
    folder = folder_of(name, cache)
    print(f"{name}: {wanted} into {folder}", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    python = program_folder(folder) / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", wanted], check=False
    )
    if done.returncode:
        print(f"{name}: not installed; pip ended with {done.returncode}", file=sys.stderr)
        return False
    (folder / STAMP).write_text(f"{wanted}\n", encoding="utf-8")
    return True


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", help=f"folder of the environments (default: SPANLOOM_RECEIVERS or {DEFAULT_CACHE})")
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="install backends that are not there")
    installing.add_argument("names", nargs="+", choices=RECEIVERS, help="which of them")
    commands.add_parser("list", help="say which are there")
    options = parser.parse_args()
    cache = cache_folder(options.cache)
    if options.command == "install":
        missing = [name for name in options.names if not install(name, cache)]
        return 1 if missing else 0
    for name, receiver in RECEIVERS.items():
        print(f"{name} {receiver.version}: {program(name, cache) or 'not installed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
