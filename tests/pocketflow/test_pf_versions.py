"""PocketFlow's own test-suite under instrumentation, and our tests on its older versions (from the package index)."""

import json
import os
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
# A pytest plugin: notes the outcome of each test, and traces them all where TRACED is set.
PLUGIN = """
import json, os

outcomes, recorder = {}, None

def pytest_configure(config):
    global recorder
    if "TRACED" in os.environ:
        from spanloom import guard
        from spanloom.config import Config
        from spanloom.testing import Recorder
        from spanloom_pocketflow import PocketFlowInstrumentor

        guard.set_strict(True)
        recorder = Recorder()
        PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider, config=Config(content=True))

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome

def pytest_runtest_teardown(item):
    if recorder is not None:
        recorder.assert_closed()

def pytest_sessionfinish(session):
    import pocketflow

    told = {"outcomes": outcomes, "spans": len(recorder.spans) if recorder else 0, "where": pocketflow.__file__}
    with open(os.environ["OUTCOMES"], "w") as file:
        json.dump(told, file)
"""


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=400, check=False, **options
    )


def pip(*arguments):
    """Run pip, or skip where it cannot get at the package index."""
    done = python("-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        pytest.skip(f"pip {arguments[0]} of PocketFlow failed: {reason}")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """PocketFlow's source distribution, unpacked; its tests are in it."""
    folder = tmp_path_factory.mktemp("source")
    pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), "pocketflow==0.0.3")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        # The filter came in patch releases (3.10.12, 3.11.4); the archive is the index's own either way.
        file.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / "pocketflow-0.0.3"


def run_suite(source, tmp_path, **environment):
    (tmp_path / "outcomes_plugin.py").write_text(PLUGIN)
    told = tmp_path / "outcomes.json"
    done = python(
        *("-m", "pytest", "-q", "-p", "outcomes_plugin", "-p", "no:randomly", "-p", "no:asyncio"),
        *("-p", "no:cacheprovider", "tests"),
        cwd=source,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "OUTCOMES": str(told), **environment},
    )
    assert told.exists(), done.stdout + done.stderr
    return json.loads(told.read_text())


def test_pocketflows_own_tests(source, tmp_path):
    without = run_suite(source, tmp_path)
    within = run_suite(source, tmp_path, TRACED="1")
    assert within["outcomes"] == without["outcomes"]
    assert len(within["outcomes"]) > 50
    assert set(without["outcomes"].values()) == {"passed"}
    assert within["where"].startswith(str(source))
    assert within["spans"] > 500


@pytest.mark.parametrize("version", ["0.0.1", "0.0.2", "0.0.3"])
def test_these_tests_on_other_versions(version, tmp_path):
    pip("install", "--quiet", "--no-deps", "--target", str(tmp_path), f"pocketflow=={version}")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    check = f"""
        import importlib.metadata, pocketflow
        assert importlib.metadata.version("pocketflow") == {version!r}
        assert pocketflow.__file__.startswith({str(tmp_path)!r}), pocketflow.__file__
    """
    assert python("-c", textwrap.dedent(check), env=environment).returncode == 0
    done = python(
        *("-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-m", "not slow", str(HERE)),
        cwd=HERE.parents[1],
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-5000:]
