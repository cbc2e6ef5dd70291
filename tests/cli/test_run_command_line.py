"""What `spanloom run` makes of its command line, without starting anything."""

import json
import os
import sys
from pathlib import Path

import pytest

from spanloom.cli import main


class Replaced(BaseException):
    """Where a real `execve` would have replaced the process."""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run(*args)`: the command, our variable's content and PYTHONPATH; the process stays."""
    monkeypatch.chdir(tmp_path)
    for name in ("SPANLOOM_JSONL_DIR", "PYTHONPATH", "SPANLOOM_RUN"):
        monkeypatch.delenv(name, raising=False)

    def replace(path, command, environment):
        raise Replaced(path, command, environment)

    monkeypatch.setattr(os, "execve", replace)

    def start(*args):
        with pytest.raises(Replaced) as caught:
            main(["run", *args])
        path, command, environment = caught.value.args
        assert path == command[0]
        return command, json.loads(environment["SPANLOOM_RUN"]), environment["PYTHONPATH"].split(os.pathsep)

    return start


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (["app.py"], ["app.py"]),
        (["app.py", "--dir", "x", "-m", "--"], ["app.py", "--dir", "x", "-m", "--"]),
        (["app.py", "--", "a"], ["app.py", "--", "a"]),
        (["--", "app.py", "--", "a"], ["app.py", "--", "a"]),
        (["--no-content", "--dir", "x", "app.py"], ["app.py"]),
        (["-m", "pkg.mod", "-h"], ["-m", "pkg.mod", "-h"]),
        (["--quiet", "-m", "pkg", "--", "x"], ["-m", "pkg", "--", "x"]),
        (["-", "x"], ["-", "x"]),
    ],
)
def test_everything_after_the_program_is_the_programs(run, tmp_path, given, command):
    (tmp_path / "app.py").touch()

    assert run(*given)[0] == [sys.executable, *command]


def test_what_is_handed_on(run, tmp_path):
    (tmp_path / "app.v2.py").touch()

    assert run("app.v2.py")[1] == {
        "directory": str(tmp_path / ".spanloom"),
        "shown": ".spanloom",
        "content": None,
        "quiet": False,
        "pid": os.getpid(),
        "name": "app.v2",
    }
    assert run("--dir", "sub", "--no-content", "--quiet", "-m", "pkg.mod")[1] == {
        "directory": str(tmp_path / "sub"),
        "shown": "sub",
        "content": False,
        "quiet": True,
        "pid": os.getpid(),
        "name": "pkg.mod",
    }


def test_the_folder_comes_from_the_option_then_the_variable_then_the_default(run, monkeypatch, tmp_path):
    def folder(*options):
        return run(*options, "-m", "x")[1]["directory"]

    assert folder() == str(tmp_path / ".spanloom")
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", "~/v")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder() == str(tmp_path / "home/v")
    assert folder("--dir", "o") == str(tmp_path / "o")


def test_a_folder_as_program_lends_its_name(run, tmp_path):
    (tmp_path / "desk").mkdir()

    assert run("desk/")[1]["name"] == "desk"
    assert run(".")[1]["name"] == tmp_path.name


def test_our_way_in_comes_first_and_once_and_the_users_path_stays(run, monkeypatch):
    (entry,) = run("-m", "x")[2]
    assert (Path(entry) / "sitecustomize.py").exists()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/a", entry, "/b"]))

    assert run("-m", "x")[2] == [entry, "/a", "/b"]


def test_a_current_folder_that_is_gone(run, monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(os, "getcwd", lambda: (_ for _ in ()).throw(FileNotFoundError("no such folder")))

    assert run("-m", "x")[1]["directory"] == ".spanloom"


@pytest.fixture
def executables(tmp_path, monkeypatch):
    """Executable files of several kinds in a folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    starts = {
        "python-script": b"#!/usr/bin/env python3\n",
        "shell-script": b"#!/bin/sh\n",
        "binary": b"\x7fELF\x02\x01\x01\x00",
        "zipapp": b"PK\x03\x04",
        "bare": b"print(1)\n",
    }
    for name, start in starts.items():
        (folder / name).write_bytes(start)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize("name", ["python-script", "shell-script", "binary", "bare"])
def test_a_command_is_started_as_it_is(run, executables, name):
    assert run(name, "x")[0] == [str(executables / name), "x"]


@pytest.mark.parametrize(
    ("name", "python"),
    [("python-script", True), ("shell-script", False), ("binary", False), ("zipapp", True), ("bare", True)],
)
def test_a_file_given_by_its_path_runs_in_python_if_it_can(run, executables, name, python):
    path = str(executables / name)

    assert run(path, "x")[0] == ([sys.executable, path, "x"] if python else [path, "x"])


def test_a_folder_that_python_cannot_run_does_not_hide_a_command(run, executables, tmp_path):
    (tmp_path / "bare").mkdir()
    assert run("bare")[0] == [str(executables / "bare")]

    (tmp_path / "bare" / "__main__.py").touch()
    assert run("bare")[0] == [sys.executable, "bare"]


@pytest.mark.parametrize("given", [[], ["--"], ["--quiet"], ["-m"], [""]])
def test_no_program_is_one_line_and_2(given, capsys):
    assert main(["run", *given]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err == "spanloom: run what? For example: spanloom run app.py\n"


def test_a_missing_program_is_one_line_and_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["run", "nope.py"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("spanloom: there is no program 'nope.py' here, and no such command on PATH")
    assert line.endswith("(for a module write: spanloom run -m nope.py)")


def test_a_program_that_cannot_be_started_is_one_line_and_2(executables, monkeypatch, capsys):
    (executables / "broken").write_bytes(b"#!/no/such/interpreter\n")
    (executables / "broken").chmod(0o755)

    assert main(["run", "broken"]) == 2

    assert (
        capsys.readouterr().err == f"spanloom: {executables / 'broken'} cannot be started: No such file or directory\n"
    )


def test_options_that_contradict_each_other(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--content", "--no-content", "app.py"])

    assert ended.value.code == 2
    assert "--no-content" in capsys.readouterr().err


def test_the_command_without_a_sub_command_shows_what_there_is(capsys):
    assert main([]) == 2
    out = capsys.readouterr().out
    assert all(name in out for name in ("run", "view", "demo"))

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("spanloom ")


def test_ctrl_c_is_130(monkeypatch):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("spanloom.cli.run_command.run", interrupt)

    assert main(["run", "x"]) == 130
