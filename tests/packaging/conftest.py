"""The wheel, built once, and clean environments that it is installed in."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What pip says when there is no index to be reached, or nothing on it.
UNREACHABLE = (
    "No matching distribution found",
    "Max retries exceeded",
    "Temporary failure in name resolution",
    "Connection refused",
    "Network is unreachable",
    "timed out",
    "ProxyError",
)


def _run(command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder with the sdist and the wheel, which is built from the sdist as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    done = _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(built):
    """The wheel's path."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel_files(wheel):
    """The wheel's files: name to content."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pip(python, *arguments):
    """Run the pip of an environment; skip the test where the index cannot be reached."""
    done = _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *arguments])
    said = done.stdout + done.stderr
    if done.returncode and any(words in said for words in UNREACHABLE):
        pytest.skip(f"no package index within reach for the wheel's dependencies: {said.strip().splitlines()[-1]}")
    assert done.returncode == 0, said


def _environment(folder, *requirements):
    assert _run([sys.executable, "-m", "venv", str(folder)]).returncode == 0
    python = folder / "bin" / "python"
    pip(python, *requirements)
    return python


@pytest.fixture(scope="session")
def base_python(wheel, tmp_path_factory):
    """The interpreter of an environment with the wheel and what it requires, and nothing else."""
    return _environment(tmp_path_factory.mktemp("base") / "venv", str(wheel))


@pytest.fixture(scope="session")
def demo_python(wheel, tmp_path_factory):
    """The interpreter of an environment with the wheel and its extras `demo` and `fast`."""
    return _environment(tmp_path_factory.mktemp("demo") / "venv", f"{wheel}[demo,fast]")


@pytest.fixture
def base(workshop, base_python):
    """A workshop that uses `base_python`."""
    return type(workshop)(workshop.folder, base_python)


@pytest.fixture
def full(workshop, demo_python):
    """A workshop that uses `demo_python`, with a module `hello` whose `flow.run({})` makes three spans."""
    shop = type(workshop)(workshop.folder, demo_python)
    shop.write(
        "hello.py",
        """
        from pocketflow import Flow, Node
        class Hello(Node):
            def exec(self, prep_res):
                return "hi there"
        class Greeting(Flow):
            pass
        flow = Greeting(start=Hello())
        """,
    )
    return shop


@pytest.fixture(scope="session")
def foreign_site(tmp_path_factory):
    """A folder for PYTHONPATH with a distribution of somebody else's, built and installed by pip.

    It names spanloom nowhere but in its imports: an instrumentor of the framework `gadget`, which lies beside
    it, and a traces exporter.
    """
    folder = tmp_path_factory.mktemp("foreign")
    for name, text in FOREIGN.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder / "site")]
    done = _run([sys.executable, "-m", "pip", "install", "-q", *options, str(folder / "project")])
    assert done.returncode == 0, done.stderr
    for name, text in GADGET.items():
        path = folder / "site" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return os.fspath(folder / "site")


GADGET = {
    "gadget.py": """
class Gadget:
    def turn(self, times):
        if times < 0:
            raise ValueError("backwards")
        return "x" * times
""",
    "gadget-1.5.dist-info/METADATA": "Name: gadget\nVersion: 1.5\n",
}

FOREIGN = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "gadget-telemetry"
version = "2.0"
[project.entry-points.opentelemetry_instrumentor]
gadget = "gadget_telemetry:GadgetInstrumentor"
[project.entry-points.opentelemetry_traces_exporter]
foreign = "gadget_telemetry:ForeignExporter"
[tool.hatch.build.targets.wheel]
include = ["gadget_telemetry.py"]
""",
    "gadget_telemetry.py": '''
"""An instrumentor and an exporter as a third party writes them."""
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanloom.instrument import Begun, GatedInstrumentor, Patches, Scope, Telemetry, on_import


class GadgetInstrumentor(GatedInstrumentor):
    def instrumentation_dependencies(self):
        return ("gadget >= 1",)

    def _instrument(self, **kwargs):
        telemetry = Telemetry.create(__name__, kwargs.get("tracer_provider"), kwargs.get("config"))
        patches = self._patches = Patches()

        def begin(gadget, times):
            return Begun(Scope(telemetry).open("turn gadget", {"gadget.times": times}), (gadget, times))

        on_import("gadget", lambda module: patches.wrap(module.Gadget, "turn", begin, "spans of gadgets"))

    def _uninstrument(self, **kwargs):
        self._patches.restore()


class ForeignExporter(SpanExporter):
    def export(self, spans):
        for span in spans:
            print("foreign:", span.name, dict(span.attributes))
        return SpanExportResult.SUCCESS
''',
}
