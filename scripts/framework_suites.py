"""A framework's own test suite, run plain and with spanloom switched on: not one outcome may differ.

    python scripts/framework_suites.py langgraph
    python scripts/framework_suites.py prebuilt --version 1.0.13
    python scripts/framework_suites.py pocketflow --source ~/src/PocketFlow
    python scripts/framework_suites.py langgraph -- -k retry          # what follows `--` goes to pytest

The tests come from the release's source distribution, so they are those of the version that runs, unless `--source`
names a folder with `tests/` in it. The framework's released wheel, the tests' dependencies at the versions of its
`uv.lock` and this checkout of spanloom are installed into an environment of its own under `--work`, and kept there.
Needs a package index. Services (Postgres, Redis) are left out: LangGraph's suite has a switch for that.

A test whose outcomes differ is run again, both ways. It counts where an outcome that it never has without spanloom
comes more than once with it. The exit code is 1 then, and also where spans stay open or current, where spanloom logs
an error of its own, or where a warning is new; 2 where the suites could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
RERUNS = 4
SECONDS_A_TEST = 180
# Of the machine's environment, what would change how either run behaves.
FOREIGN = ("OTEL_", "SPANLOOM_", "LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "PYTEST_", "PYTHON", "COV_")


class Suite(NamedTuple):
    """One framework: its distribution, our instrumentor, and what its tests make spanloom log on purpose."""

    distribution: str
    instrumentor: str
    provoked: str | None = None


SUITES = {
    # one of its tests has a TracePolicy that raises
    "langgraph": Suite(
        "langgraph", "spanloom_langgraph:LangGraphInstrumentor", "a value that a TracePolicy was to reduce"
    ),
    "prebuilt": Suite("langgraph-prebuilt", "spanloom_langgraph:LangGraphInstrumentor"),
    "pocketflow": Suite("pocketflow", "spanloom_pocketflow:PocketFlowInstrumentor"),
}


def stop(message: str) -> NoReturn:
    print(f"framework_suites: {message}", file=sys.stderr)
    sys.exit(2)


def run(command: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output is captured unless `options` say otherwise."""
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([str(part) for part in command], text=True, check=False, **(pipes | options))


def call(*command: object, cwd: Path | None = None) -> str:
    """Run a command that must succeed; returns what it prints."""
    done = run(command, cwd=cwd)
    if done.returncode:
        stop(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


# -- what is run ------------------------------------------------------------------------------------------------------


def released(suite: Suite, version: str | None, work: Path) -> Path:
    """The unpacked source distribution of a version (None: the newest)."""
    python, into = tools(work), work / "sdists"
    asked = f"{suite.distribution}=={version}" if version else suite.distribution
    fresh = into / "asked"
    shutil.rmtree(fresh, ignore_errors=True)
    call(python, "-m", "pip", "download", "--no-deps", "--no-binary", suite.distribution, "--dest", fresh, asked)
    archive = next(fresh.iterdir())
    folder = into / archive.name.removesuffix(".tar.gz")
    if not folder.exists():
        shutil.unpack_archive(archive, into)
    return folder


def tools(work: Path) -> Path:
    """The Python of an environment with uv, which reads lock files."""
    return environment(work / "tools", "uv")


def environment(folder: Path, *requirements: str) -> Path:
    """The Python of a virtual environment with these requirements, made once for the same ones."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done, wanted = folder / "requirements.done", "\n".join(requirements)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=True)
        install(python, list(requirements))
        done.write_text(wanted, encoding="utf-8")
    return python


def install(python: Path, requirements: list[str]) -> None:
    """Install them. Locked versions that the index does not have, or none that fit together, give way to newer ones."""
    while True:
        done = run([python, "-m", "pip", "install", "--quiet", *requirements])
        if not done.returncode:
            return
        missing = re.search(r"No matching distribution found for (\S+?)==", done.stderr)
        clash = "ResolutionImpossible" in done.stderr
        # the framework itself stays at its version: it is the last one
        loose = [
            unpinned(text) if clash or (missing and text.startswith(f"{missing[1]}==")) else text
            for text in requirements[:-1]
        ]
        if loose == requirements[:-1]:
            stop(done.stdout + done.stderr)
        print(
            f"taking the newest {missing[1] if missing else 'of all'}: {done.stderr.strip().splitlines()[-1]}",
            flush=True,
        )
        requirements = [*loose, requirements[-1]]


def unpinned(requirement: str) -> str:
    """`name==version ; marker` without the version."""
    return re.sub(r"==[^ ;]+", "", requirement, count=1)


def locked(project: Path, work: Path) -> list[str]:
    """What the tests need, at the versions of the project's lock file: packages of an index, then its siblings."""
    if not (project / "uv.lock").exists():
        return []
    wanted = ("--no-default-groups", "--group", "test", "--no-emit-local")
    plain = ("--no-hashes", "--no-header", "--no-annotate")
    exported = call(tools(work), "-m", "uv", "export", "--quiet", "--frozen", *wanted, *plain, cwd=project)
    lock = (project / "uv.lock").read_text(encoding="utf-8")
    siblings = re.findall(r'^name = "(.+)"\nversion = "(.+)"\nsource = \{ editable = "\.\./', lock, re.MULTILINE)
    return [*exported.splitlines(), *(f"{name}=={version}" for name, version in siblings)]


def prepare(suite: Suite, project: Path, version: str, work: Path) -> tuple[Path, Path]:
    """The Python to run with, and the folder to run in: the tests without the framework's sources."""
    home = work / f"{suite.distribution}-{version}-py{sys.version_info[0]}.{sys.version_info[1]}"
    home.mkdir(parents=True, exist_ok=True)
    pins = home / "requirements.txt"
    pins.write_text("\n".join([*locked(project, work), f"{suite.distribution}=={version}"]), encoding="utf-8")
    wanted = pins.read_text(encoding="utf-8").splitlines()
    python = environment(home / "venv", "pytest", "pytest-xdist", "pytest-timeout", *wanted)
    call(python, "-m", "pip", "install", "--quiet", "--editable", ROOT)  # each time: what it requires may change
    place = home / "project"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(project / "tests", place / "tests")
    # pytest's settings; without any, an empty file keeps pytest from looking for ours further up
    if (project / "pyproject.toml").exists():
        shutil.copy(project / "pyproject.toml", place)
    else:
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return python, place


# -- running ----------------------------------------------------------------------------------------------------------


class Ran(NamedTuple):
    """One run of a suite.

    Attributes:
        outcomes: test id -> passed, failed, error, skipped.
        found: the plugin's findings of all processes.
        spans: how many were started and ended.
        seconds: how long it took.
    """

    outcomes: dict[str, str]
    found: dict[str, list[str]]
    spans: Counter[str]
    seconds: float


class Runner:
    """Runs tests of one suite in one environment, with and without spanloom."""

    def __init__(self, suite: Suite, python: Path, place: Path, processes: int) -> None:
        self.suite, self._python, self._place, self._processes = suite, python, place, processes
        self.reports = place.parent / "reports"

    def run(self, way: str, tests: list[str], *, again: bool = False) -> Ran:
        """Run the `plain` or the `instrumented` way.

        Args:
            way: which.
            tests: pytest's arguments; nothing: all.
            again: once more, one after the other; the first run's reports stay.
        """
        reports = self.reports / (f"{way}-again" if again else way)
        shutil.rmtree(reports, ignore_errors=True)
        reports.mkdir(parents=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        env |= {"PYTHONPATH": str(ROOT / "scripts"), "PYTEST_PLUGINS": "suite_plugin", "SUITE_REPORTS": str(reports)}
        env |= {"NO_DOCKER": "true"}
        if way == "instrumented":
            env["SUITE_INSTRUMENTOR"] = self.suite.instrumentor
        command = [self._python, "-m", "pytest", "-p", "no:cacheprovider"]
        # A test that hangs tells where and ends its process, which pytest-xdist replaces.
        command += ["--timeout", SECONDS_A_TEST, "--timeout-method", "thread", "-n", 1 if again else self._processes]
        command += [f"--junitxml={reports / 'junit.xml'}", "-o", "junit_family=xunit1", *tests]
        began = time.monotonic()
        with (reports / "output.txt").open("w", encoding="utf-8") as output:
            code = run(command, cwd=self._place, env=env, stdout=output, stderr=subprocess.STDOUT).returncode
        if code not in (0, 1):
            stop(f"pytest ended with {code}, see {reports / 'output.txt'}")
        found, spans = findings(reports)
        return Ran(outcomes(reports / "junit.xml"), found, spans, time.monotonic() - began)


def outcomes(junit: Path) -> dict[str, str]:
    """Test id -> outcome, of a JUnit file of the family that names the source files."""
    found: dict[str, str] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):
        file = case.get("file") or ""
        module = file.removesuffix(".py").replace("/", ".").replace("\\", ".")
        classes = (case.get("classname") or "").removeprefix(module).split(".")[1:]
        test = "::".join([file, *classes, case.get("name") or ""])
        # a test that fails and whose tear-down fails too is there twice
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")] or ["passed"]
        found[test] = "+".join(filter(None, [found.get(test), *ends]))
    return found


def findings(reports: Path) -> tuple[dict[str, list[str]], Counter[str]]:
    """What the plugin wrote, of all processes together."""
    found: dict[str, list[str]] = {"warnings": [], "logged": [], "current": [], "open": []}
    spans: Counter[str] = Counter()
    for path in sorted(reports.glob("*.json")):
        read = json.loads(path.read_text(encoding="utf-8"))
        spans.update(read.pop("spans"))
        for heading, texts in read.items():
            found[heading] += texts
    return found, spans


def settled(runner: Runner, plain: Ran, instrumented: Ran) -> tuple[list[str], list[str]]:
    """The tests that differ for good and those that differ by chance, each as a line that shows its outcomes."""
    seen: dict[str, dict[str, list[str]]] = {}
    for test in {**plain.outcomes, **instrumented.outcomes}:
        pair = {
            "plain": [plain.outcomes.get(test, "absent")],
            "instrumented": [instrumented.outcomes.get(test, "absent")],
        }
        if pair["plain"] != pair["instrumented"]:
            seen[test] = pair
    for way in ("plain", "instrumented") if seen else ():
        for _ in range(RERUNS):
            again = runner.run(way, list(seen), again=True).outcomes
            for test, pair in seen.items():
                pair[way].append(again.get(test, "absent"))
    differing: list[str] = []
    flaky: list[str] = []
    for test, pair in sorted(seen.items()):
        new = [outcome for outcome in pair["instrumented"] if outcome not in pair["plain"]]
        line = f"{test}: " + "; ".join(f"{way} {' '.join(pair[way])}" for way in pair)
        (differing if len(new) > 1 else flaky).append(line)
    return differing, flaky


# -- telling ----------------------------------------------------------------------------------------------------------


def tell(heading: str, lines: list[str]) -> int:
    """Print a finding; returns how many lines there are."""
    print(f"{heading}: {len(lines)}")
    for line in lines:
        print(f"  {line}")
    return len(lines)


def summary(ran: Ran) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(ran.outcomes.values()).items()))
    return f"{len(ran.outcomes)} tests in {ran.seconds:.0f} s: {counts}"


def compare(runner: Runner, tests: list[str]) -> bool:
    """Run both ways and tell; returns whether there is nothing to complain of."""
    plain = runner.run("plain", tests)
    print(f"plain         {summary(plain)}", flush=True)
    instrumented = runner.run("instrumented", tests)
    print(f"instrumented  {summary(instrumented)}", flush=True)
    print(f"spans         {instrumented.spans['started']} started, {instrumented.spans['ended']} ended")
    new = sorted(set(instrumented.found["warnings"]) - set(plain.found["warnings"]))
    wrong = tell("spans left open", instrumented.found["open"])
    wrong += tell("spans left current", instrumented.found["current"])
    provoked = runner.suite.provoked
    logged = [line for line in instrumented.found["logged"] if provoked is None or provoked not in line]
    wrong += tell("lines logged by spanloom or the SDK", logged)
    wrong += tell("warnings that only the instrumented run has", new)
    differing, flaky = settled(runner, plain, instrumented)
    if flaky:
        tell("outcomes that differ by chance", flaky)
    wrong += tell("different outcomes", differing)
    print(f"reports: {runner.reports}")
    return not wrong and instrumented.spans["started"] > 0


def arguments() -> tuple[argparse.Namespace, list[str]]:
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--version", help="of the framework; default: the newest")
    parser.add_argument("--source", type=Path, help="a folder with tests/ (a checkout); default: the release's own")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "suites", help="where environments are kept")
    parser.add_argument("-n", "--processes", type=int, default=2, help="that pytest-xdist starts; default: 2")
    return parser.parse_args(given[:cut]), given[cut + 1 :]


def main() -> int:
    options, tests = arguments()
    suite, work = SUITES[options.suite], options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    project, version = options.source and options.source.resolve(), options.version
    if project is None or version is None:
        release = released(suite, version, work)
        version = release.name.rpartition("-")[2]
        project = project or release
    if not (project / "tests").is_dir():
        stop(f"{project} has no tests/; --source takes a checkout's project folder (libs/langgraph in LangGraph's)")
    python, place = prepare(suite, project, version, work)
    print(f"{suite.distribution} {version}, Python {sys.version.split()[0]}", flush=True)
    return 0 if compare(Runner(suite, python, place, options.processes), tests) else 1


if __name__ == "__main__":
    sys.exit(main())
