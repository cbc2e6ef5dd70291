"""The programs of the compose stack, to run its configuration without containers: built from Go modules, and kept.

    python scripts/backends.py build                    # all that can be built; minutes each
    python scripts/backends.py build collector promtool
    python scripts/backends.py where                    # what is there, and what is not

Needs Go and a Go module proxy. A program is looked for in the cache first (`~/.cache/spanloom/backends`, or
`SPANLOOM_BACKENDS_CACHE`), as `NAME-VERSION`, and then on `PATH`, where a newer one of the same major version will
do. Grafana Labs publish no module of Tempo: install its release, or put the program into the cache.
`tests/compose` runs with what is there, and skips the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[1]
GO = (1, 25)
COLLECTOR = ROOT / "compose" / "collector" / "builder.yaml"
BROKER = ROOT / "tests" / "compose" / "broker"


class Program(NamedTuple):
    """One program.

    Attributes:
        version: the one that is built, and the oldest of its major version that will do.
        commands: what it is called on `PATH`.
        package: the Go package to build; empty if it is built in another way, or not at all.
        module: the version of the package's module.
        flags: further ones of `go build`.
        asks: the arguments that make it tell its version.
    """

    version: str
    commands: tuple[str, ...] = ()
    package: str = ""
    module: str = ""
    flags: tuple[str, ...] = ()
    asks: tuple[str, ...] = ("--version",)

    @property
    def oldest(self) -> tuple[int, ...]:
        """`version` as numbers."""
        return tuple(map(int, self.version.split(".")))


# Without the service discoveries, which need the client libraries of all clouds, Prometheus builds in half the time.
_PROMETHEUS = ("-tags", "remove_all_sd", "-ldflags", "-s -w -X github.com/prometheus/common/version.Version=3.14.0")
PROGRAMS = {
    "collector": Program(
        re.findall(r"^  version: (\S+)$", COLLECTOR.read_text("utf-8"), re.MULTILINE)[0],
        ("otelcol-contrib", "otelcol"),
    ),
    # Module versions of Jaeger ended when it became 2.x: v1.76 contains Jaeger 2.13.
    "jaeger": Program(
        "2.13.0", ("jaeger",), "github.com/jaegertracing/jaeger/cmd/jaeger", "v1.76.0", asks=("version",)
    ),
    "tempo": Program("3.0.3", ("tempo",), asks=("-version",)),
    "prometheus": Program(
        "3.14.0", ("prometheus",), "github.com/prometheus/prometheus/cmd/prometheus", "v0.314.0", _PROMETHEUS
    ),
    # Rules and expressions are the same since 2.x, so any promtool will do.
    "promtool": Program(
        "3.14.0", ("promtool",), "github.com/prometheus/prometheus/cmd/promtool", "v0.314.0", _PROMETHEUS
    ),
    # A Kafka broker in memory, for tests of the collectors on either side of one.
    "broker": Program("0.1.0"),
}
BUILT = tuple(name for name in PROGRAMS if name != "tempo")


def cache() -> Path:
    """The folder of the programs."""
    given = os.environ.get("SPANLOOM_BACKENDS_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "spanloom" / "backends"


def find(name: str) -> Path | None:
    """The program, or None: from the cache, else from `PATH` if it is new enough."""
    program = PROGRAMS[name]
    kept = cache() / f"{name}-{program.version}"
    if os.access(kept, os.X_OK):
        return kept
    for command in program.commands:
        found = shutil.which(command)
        if found and (name == "promtool" or _will_do(program, found)):
            return Path(found)
    return None


def missing(name: str) -> str:
    """Why there is no such program, and what to do."""
    if name in BUILT:
        return f"{name} is not built: python scripts/backends.py build {name}"
    version = PROGRAMS[name].version
    return f"{name} is not here: put {name} {version} on PATH, or into {cache()} as {name}-{version}"


def _will_do(program: Program, command: str) -> bool:
    try:
        done = subprocess.run([command, *program.asks], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    told = re.search(r"\bv?(\d+)\.(\d+)\.(\d+)", done.stdout + done.stderr)
    version = tuple(map(int, told.groups())) if told else (0,)
    return version[0] == program.oldest[0] and version >= program.oldest


def build(name: str) -> Path:
    """Build one program into the cache.

    Raises:
        subprocess.CalledProcessError: Go could not; it has said why.
    """
    program = PROGRAMS[name]
    target = cache() / f"{name}-{program.version}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="spanloom-") as made:
        folder = Path(made)
        if name == "collector":
            _generate_collector(folder, program.version)
        elif name == "broker":
            shutil.copytree(BROKER, folder, dirs_exist_ok=True)
        else:
            _require(folder, program)
        # Beside its place, so that nobody finds half a program there.
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        flags = program.flags or ("-ldflags", "-s -w")
        _go(folder, "build", "-trimpath", *flags, "-o", str(fresh), program.package or ".")
        fresh.replace(target)
    return target


def _require(folder: Path, program: Program) -> None:
    """A module that needs nothing but the program's, since `go install` refuses one with replacements."""
    (folder / "go.mod").write_text(f"module spanloom.dev/backends\n\ngo {'.'.join(map(str, GO))}\n", "utf-8")
    module = program.package.partition("/cmd/")[0]
    told = _go(folder, "mod", "download", "-json", f"{module}@{program.module}", stdout=subprocess.PIPE)
    # The sums that its authors have recorded save a look-up for each of its hundreds of modules.
    shutil.copyfile(Path(json.loads(told)["Dir"]) / "go.sum", folder / "go.sum")
    (folder / "go.sum").chmod(0o644)
    _go(folder, "get", f"{program.package}@{program.module}")


def _generate_collector(folder: Path, version: str) -> None:
    """The collector's own builder writes its sources."""
    _go(folder, "install", f"go.opentelemetry.io/collector/cmd/builder@v{version}", GOBIN=str(folder))
    text = COLLECTOR.read_text("utf-8")
    manifest = folder / "builder.yaml"
    manifest.write_text(re.sub(r"(?m)^(  output_path:).*$", rf"\1 {folder}", text), "utf-8")
    _run([str(folder / "builder"), "--skip-compilation", f"--config={manifest}"], folder)


def _go(folder: Path, *arguments: str, stdout: int | None = None, **environment: str) -> str:
    flags = "" if arguments[0] == "install" else "-mod=mod"
    return _run(["go", *arguments], folder, stdout, GOFLAGS=flags, **environment)


def _run(command: list[str], folder: Path, stdout: int | None = None, **environment: str) -> str:
    settings = {**os.environ, "CGO_ENABLED": "0", **environment}
    return subprocess.run(command, cwd=folder, env=settings, stdout=stdout, text=True, check=True).stdout


def _stop(message: str) -> NoReturn:
    print(f"backends.py: {message}", file=sys.stderr)
    raise SystemExit(2)


def _need_go() -> None:
    wanted = ".".join(map(str, GO))
    if shutil.which("go") is None:
        _stop(f"Go is not installed: https://go.dev/doc/install ({wanted} or newer)")
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    told = re.search(r"go(\d+)\.(\d+)", said)
    if told and tuple(map(int, told.groups())) < GO:
        _stop(f"{said.strip()} is too old: Go {wanted} or newer is needed (https://go.dev/doc/install)")


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    builds = commands.add_parser("build", help="build programs into the cache; what is there already is left alone")
    builds.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BUILT)}; default: all")
    builds.add_argument("--again", action="store_true", help="build what is there already, too")
    where = commands.add_parser("where", help="tell where the programs are")
    where.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}; default: all")
    options = parser.parse_args()
    known = BUILT if options.command == "build" else tuple(PROGRAMS)
    for name in options.names:
        if name in PROGRAMS and name not in known:
            _stop(missing(name))
        if name not in known:
            _stop(f"no program {name!r}; there are {', '.join(known)}")
    names = options.names or known
    if options.command == "where":
        for name in names:
            print(f"{name:<12}{find(name) or missing(name)}")
        return 0 if all(map(find, names)) else 1
    _need_go()
    for name in names:
        found = None if options.again else find(name)
        if found is None:
            began = time.monotonic()
            try:
                found = build(name)
            except subprocess.CalledProcessError as exc:
                _stop(f"{name} could not be built: {' '.join(map(str, exc.cmd))} ended with {exc.returncode}")
            print(f"{name:<12}{found}  ({time.monotonic() - began:.0f} s)", flush=True)
        else:
            print(f"{name:<12}{found}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
