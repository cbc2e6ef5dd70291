"""The command line: arguments, colours, pipes, and how little it imports."""

import argparse
import io
import json
import subprocess
import sys

import pytest

from spanloom.cli import view_command
from spanloom.view.look import colour_wanted

WITHOUT_OTEL = """
import sys
import argparse
from spanloom.cli import view_command
parser = argparse.ArgumentParser()
view_command.add_arguments(parser)
code = view_command.run(parser.parse_args(sys.argv[1:]))
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """`command(*args)`: (exit code, stdout, stderr) of `spanloom view ARGS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPANLOOM_JSONL_DIR", raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*args):
        parser = argparse.ArgumentParser(prog="spanloom view")
        view_command.add_arguments(parser)
        try:
            code = view_command.run(parser.parse_args(args))
        except SystemExit as exit_:
            code = exit_.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_folder_of_the_environment(command, otlp, tmp_path, monkeypatch):
    assert command() == (
        1,
        "",
        "spanloom view: no traces in .spanloom: run `spanloom run app.py` or `spanloom demo` first\n",
    )
    otlp.write(tmp_path / ".spanloom/r.traces.jsonl", otlp.span("default", "1"))
    otlp.write(tmp_path / "other/r.traces.jsonl", otlp.span("chosen", "1"))
    assert command()[1].startswith("default  ")
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", "other")
    assert command()[1].startswith("chosen  ")


def test_every_option_arrives(command, otlp, tmp_path):
    spans = otlp.traces(4)
    spans[1]["status"] = {"code": 2, "message": "x"}
    otlp.write(tmp_path / ".spanloom/r.traces.jsonl", *spans)

    def shown(*args):
        code, out, err = command(*args, "--json")
        assert code == 0, err
        return [json.loads(line)["name"] for line in out.splitlines()]

    assert shown("--all") == ["flow 0", "flow 1", "flow 2", "flow 3"]
    assert shown("--last", "2") == ["flow 2", "flow 3"]
    assert shown("--errors") == ["flow 0"]
    assert shown("--limit", "2") == ["flow 3"]
    assert shown("--trace", "0" * 31 + "2") == ["flow 2"]
    assert shown("0" * 31 + "2") == ["flow 2"]
    assert command("--list")[1].startswith("TIME  ")
    assert "span 00000003bbbbbbbb" in command("--attributes")[1]
    otlp.write(tmp_path / "io.jsonl", otlp.span("s", "1", spanloom__input='"text"'))
    assert "input: text" in command("io.jsonl", "--content")[1]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--last", "0"], "argument --last: invalid whole number above 0 value: '0'"),
        (["--last", "x"], "argument --last: invalid whole number above 0 value: 'x'"),
        (["--limit", "-1"], "argument --limit: invalid whole number value: '-1'"),
        (["--all", "--last", "3"], "argument --last: not allowed with argument --all"),
        (["a", "b"], "unrecognized arguments: b"),
    ],
)
def test_wrong_usage(command, args, told):
    code, out, err = command(*args)
    assert (code, out) == (2, "")
    assert err.endswith(f"spanloom view: error: {told}\n")


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "environ", "colour"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm"}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_when_to_colour(terminal, environ, colour):
    assert colour_wanted(Stream(terminal), environ) is colour


def test_a_pipe_has_no_colours_unless_forced(command, otlp, tmp_path, monkeypatch):
    otlp.write(tmp_path / ".spanloom/r.jsonl", otlp.span("s", "1", error="x"))
    assert "\x1b" not in command()[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[31m" in command()[1]


@pytest.mark.slow
def test_opentelemetry_is_not_imported(otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", otlp.span("s", "1"))
    for args in ([], ["--json"], ["--content", "--attributes"], ["--list", "--all"]):
        ran = subprocess.run(
            [sys.executable, "-c", WITHOUT_OTEL, str(path), *args],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ran.stderr == "[]\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", *otlp.traces(3000))
    with subprocess.Popen(
        [sys.executable, "-m", "spanloom", "view", str(path), "--list", "--all"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline().startswith(b"TIME")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
