"""`scripts/receivers.py`: where backends are looked for, and what counts as installed. It installs nothing here."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "receivers.py"


@pytest.fixture
def receivers(lab, monkeypatch):
    """The script as a module."""
    monkeypatch.delenv("SPANLOOM_RECEIVERS", raising=False)
    return lab.script()


def test_the_cache(receivers, monkeypatch, tmp_path):
    assert receivers.cache_folder() == Path.home() / ".cache" / "spanloom" / "receivers"

    monkeypatch.setenv("SPANLOOM_RECEIVERS", str(tmp_path / "a"))
    assert receivers.cache_folder() == tmp_path / "a"
    assert receivers.cache_folder(str(tmp_path / "b")) == tmp_path / "b"


def test_half_an_installation_is_none(receivers, tmp_path):
    folder = receivers.folder_of("mlflow", tmp_path)
    command = receivers.program_folder(folder) / "mlflow"
    assert receivers.program("mlflow", tmp_path) is None

    command.parent.mkdir(parents=True)
    command.write_text("")
    assert receivers.program("mlflow", tmp_path) is None

    (folder / receivers.STAMP).write_text("")
    assert receivers.program("mlflow", tmp_path) == command
    assert receivers.install("mlflow", tmp_path)


@pytest.mark.slow
def test_list_and_wrong_names(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, SCRIPT, "--cache", tmp_path, *arguments], capture_output=True, text=True, check=False
        )

    listed, wrong = run("list"), run("install", "jaeger")

    assert listed.returncode == 0
    assert [line.partition(":")[2] for line in listed.stdout.splitlines()] == [" not installed"] * 2
    assert wrong.returncode == 2
    assert "choose from" in wrong.stderr
    assert list(tmp_path.iterdir()) == []


def test_tests_are_skipped_with_the_command_that_installs(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("SPANLOOM_RECEIVERS", str(tmp_path))
    with pytest.raises(
        pytest.skip.Exception, match=r"phoenix is not installed: .*scripts/receivers\.py install phoenix"
    ):
        lab.program("phoenix")
