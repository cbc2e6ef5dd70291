"""The command: what it prints, how it ends, what it never prints, and that nothing brings it down."""

import json
import sys

import pytest

from spanloom import cli
from spanloom.cli import doctor_command
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN, Finding


@pytest.fixture
def found(env):
    """`found(findings)`: what the doctor will have found."""
    asked = {}

    def give(*findings):
        def examine(**options):
            asked.update(options)
            print("a package that prints when it is imported")
            yield from findings

        env.setattr(doctor_command, "examine", examine)
        return asked

    return give


def test_it_prints_sections_and_ends_well(found, capsys):
    found(Finding("Installation", OK, "a"), Finding("Installation", NOTE, "b"), Finding("Spool", OK, "c"))

    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr() == (
        "Installation\n  ok    a\n  note  b\nSpool\n  ok    c\nAll is well\n",
        "a package that prints when it is imported\n",
    )


@pytest.mark.parametrize(
    ("levels", "code", "last"),
    [
        ([WARN], 0, "no problems, 1 warning"),
        ([FAIL], 1, "1 problem, no warnings"),
        ([OK, FAIL, WARN, FAIL, WARN], 1, "2 problems, 2 warnings"),
    ],
)
def test_it_counts(found, capsys, levels, code, last):
    found(*(Finding("S", level, "x") for level in levels))

    assert cli.main(["doctor"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_json(found, capsys):
    asked = found(Finding("Exporters", FAIL, "ä"))

    assert cli.main(["doctor", "--json", "--no-send", "--timeout", "2.5"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "findings": [{"section": "Exporters", "level": "fail", "text": "ä"}],
    }
    assert asked == {"send": False, "seconds": 2.5}


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "1e9"])
def test_a_timeout_that_is_none(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--timeout", seconds])

    assert ended.value.code == 2
    assert "invalid number of seconds value" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_examination_shows_no_secret(workshop, http):
    """Everything wrong at once; each thing is said, and nothing is shown that should not be."""
    http.answer = (401, {"Content-Type": "text/plain"}, b"who are you?")
    ran = workshop.run(
        [workshop.tool("spanloom"), "doctor"],
        env={
            "OTEL_TRACES_EXPORTER": "otlp,langfuse,jsonl,nowhere",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": http.url.replace("//", "//me:hunter2@"),
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer hunter2,x-api-key=hunter2",
            "LANGFUSE_PUBLIC_KEY": "pk-lf-hunter2",
            "LANGFUSE_SECRET_KEY": "sk-lf-hunter2",
            "LANGFUSE_BASE_URL": http.url,
            "SPANLOOM_REDACT_PATTERNS": "hunter2-[0-9]+",
            "SPANLOOM_HUNTER": "hunter2",
            "SPANLOOM_COMPAT": "phoenix",
        },
    )
    lines = [line.split(maxsplit=1) for line in ran.out.splitlines() if line.startswith("  ")]
    failed = [text for level, text in lines if level == "FAIL"]

    assert (ran.code, ran.err) == (1, "")
    assert "hunter2" not in ran.out
    assert len(failed) == 3
    assert "401 Unauthorized: who are you?. Check OTEL_EXPORTER_OTLP_HEADERS" in failed[0]
    assert failed[1].startswith("langfuse: ")
    assert failed[2].startswith("nowhere: there is no traces exporter 'nowhere'")
    assert any(level == "warn" and "SPANLOOM_COMPAT=phoenix is not understood" in text for level, text in lines)
    assert http.headers["authorization"].startswith("Basic ")
    assert list(workshop.folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "section"),
    [("opentelemetry/sdk", "Installation"), ("opentelemetry/instrumentation", "Instrumentors")],
)
def test_a_broken_installation_is_described(workshop, broken, section):
    """A package that cannot be imported costs its own section."""
    import opentelemetry.trace

    # A namespace package: ours before the real parts, and only the one that is broken is ours.
    workshop.write(f"{broken}/__init__.py", "raise ImportError('half of me is missing')")
    ran = workshop.run(
        [workshop.python, "-m", "spanloom", "doctor", "--json"], env={"PYTHONPATH": str(workshop.folder)}
    )
    said = json.loads(ran.out)
    failed = {finding["section"] for finding in said["findings"] if finding["level"] == FAIL}

    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert section in failed
    assert any("half of me is missing" in finding["text"] for finding in said["findings"])
    assert {finding["section"] for finding in said["findings"]} >= {"Installation", "Settings", "Exporters"}
    assert opentelemetry.trace.__file__
    assert sys.executable == workshop.python
