"""Fixtures of every test: a recorder with fixed ids and clock, spanloom's own errors raised, programs to run."""

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spanloom import guard
from spanloom.testing import Recorder

PATIENCE = 60  # seconds; only a hanging program meets it

# A test run that was started with nohup or in the background ignores these, and its children would inherit that.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@dataclass
class Ran:
    """A program that has ended; `said` are spanloom's own lines, taken out of `err`."""

    code: int
    out: str
    err: str
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, code, out, err):
        said = [line for line in err.splitlines() if line.startswith("spanloom: ")]
        rest = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("spanloom: "))
        return cls(code, out, rest, said)

    @property
    def behaviour(self):
        """What the program's user sees of the program."""
        return self.code, self.out, self.err


class Workshop:
    """A folder with programs, in which commands run with a clean environment.

    Args:
        folder: where.
        python: the interpreter; the commands installed beside it are meant too.
    """

    def __init__(self, folder, python=sys.executable):
        self.folder = Path(folder)
        self.python = str(python)
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "SPANLOOM_", "PYTHON", "COV_", "PYTEST_"))
        }
        # Nothing on the way to a loopback server, and no .pyc files that one run leaves to the other.
        self.env |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}

    def write(self, name, source):
        """A file of the program; returns its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def start(self, command, env=None, **options):
        """`subprocess.Popen` here; pipes unless `options` say otherwise."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=self.env | (env or {}), text=True, **(pipes | options))

    def run(self, command, *, env=None, stdin=None):
        """Run a command to its end."""
        with self.start(command, env, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE) as process:
            try:
                out, err = process.communicate(stdin, timeout=PATIENCE)
            finally:
                process.kill()
        return Ran.of(process.returncode, out, err)

    def plain(self, *args, **options):
        """`python ARGS`."""
        return self.run([self.python, *args], **options)

    def traced(self, *args, **options):
        """`spanloom run ARGS`."""
        return self.run(self.command(*args), **options)

    def command(self, *args):
        """The command line of `spanloom run ARGS`, in the same words for the interpreter as `plain` uses."""
        return [self.python, self.tool("spanloom"), "run", *args]

    def tool(self, name):
        """A command that is installed beside the interpreter."""
        return str(Path(self.python).with_name(name))

    def same(self, *args, **options):
        """Run both ways, find no difference, and return the traced one."""
        plain, traced = self.plain(*args, **options), self.traced(*args, **options)
        assert traced.behaviour == plain.behaviour
        assert len(traced.said) == 1, traced.said
        return traced

    def files(self, folder=".spanloom"):
        """The trace files, oldest name first."""
        return sorted((self.folder / folder).glob("*.jsonl"))

    def spans(self, folder=".spanloom"):
        """Every span in the trace files, as OTLP/JSON has it, plus `resource` and `scope` as plain values."""
        found = []
        for path in self.files(folder):
            for line in path.read_text(encoding="utf-8").splitlines():
                for resource in json.loads(line)["resourceSpans"]:
                    about = attributes(resource["resource"])
                    for scope in resource["scopeSpans"]:
                        found += [
                            {**span, "resource": about, "scope": scope["scope"]["name"]} for span in scope["spans"]
                        ]
        return found

    def names(self, folder=".spanloom"):
        """The spans' names, sorted."""
        return sorted(span["name"] for span in self.spans(folder))


def attributes(holder):
    """OTLP/JSON attributes as a dict; numbers stay the texts that OTLP/JSON has for them."""
    return {pair["key"]: next(iter(pair["value"].values()), None) for pair in holder.get("attributes", ())}


@pytest.fixture(autouse=True)
def _strict():
    guard.set_strict(True)
    yield
    guard.set_strict(False)


class Log:
    """What spanloom has logged."""

    def __init__(self, caplog):
        self._caplog = caplog

    @property
    def lines(self):
        """The messages of the logger `spanloom`."""
        return [record.getMessage() for record in self._caplog.records if record.name == "spanloom"]


@pytest.fixture
def log(caplog):
    """The lines that spanloom logs."""
    with caplog.at_level(logging.INFO, logger="spanloom"):
        yield Log(caplog)


@pytest.fixture
def lenient(log):
    """The guard as users have it: errors are swallowed and logged, once per site; nothing was logged before."""
    guard._State.logged.clear()
    guard.set_strict(False)
    yield log
    guard._State.logged.clear()


@pytest.fixture
def recorder():
    """Records spans; asserts at the end that none was left open or current."""
    kept = Recorder()
    yield kept
    kept.assert_closed()


@pytest.fixture
def workshop(tmp_path):
    """An empty folder with a clean environment to run programs in."""
    return Workshop(tmp_path)


@pytest.fixture(scope="session")
def workshops(tmp_path_factory):
    """`workshops(name)`: as `workshop`, for fixtures that outlive a test."""
    return lambda name: Workshop(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session", name="attributes")
def _attributes():
    """A function: OTLP/JSON attributes as a dict."""
    return attributes


@pytest.fixture(scope="session")
def rotel():
    """The Rotel collector's program and environment; skips the test where it cannot run."""
    found = importlib.util.find_spec("rotel")
    if found is None:
        pytest.skip("rotel is not installed: pip install rotel (Linux only)")
    program = str(Path(found.origin).with_name("rotel-agent"))
    # It is linked with Python's shared library, which may lie beside this Python only.
    libraries = filter(None, (sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")))
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
    tried = subprocess.run([program, "version"], env=env, capture_output=True, text=True, check=False)
    if "error while loading shared libraries" in tried.stderr:
        pytest.skip(f"{tried.stderr.strip()} (on Debian: apt-get install libpython3.{sys.version_info[1]})")
    return program, env
