"""The state of the spool, of real ones."""

import os
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

from spanloom.doctor import spool
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN
from spanloom_otlp import Outcome, SpooledSpanExporter, Verdict


class Inner:
    def __init__(self, verdict):
        self._verdict = verdict

    def deliver(self, spans):
        return Outcome(self._verdict, "so it is")

    def shutdown(self):
        pass


@pytest.fixture
def spooled(env, tmp_path):
    """`spooled(verdict, number)`: what the doctor says after so many spans have met with that."""
    env.setenv("SPANLOOM_SPOOL_DIR", str(tmp_path / "spool"))
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")

    def run(verdict, number, name="otlp"):
        exporter = SpooledSpanExporter(Inner(verdict), tmp_path / "spool", name, patience=5)
        spans = [tracer.start_span(f"span {index}") for index in range(number)]
        for span in spans:
            span.end()
        exporter.export(spans)
        exporter.force_flush(5000)
        exporter.shutdown()
        return list(spool.findings())

    return run


def test_none(env):
    assert list(spool.findings()) == [
        (NOTE, "SPANLOOM_SPOOL_DIR is not set: what a backend does not take for a minute or so is lost")
    ]


def test_one_that_was_never_used(env, tmp_path):
    env.setenv("SPANLOOM_SPOOL_DIR", str(tmp_path / "spool"))

    assert list(spool.findings()) == [(OK, f"spool: files can be written to {tmp_path}/spool, which will be made")]
    assert not (tmp_path / "spool").exists()


def test_one_that_cannot_be(env, tmp_path):
    (tmp_path / "spool").write_text("")
    env.setenv("SPANLOOM_SPOOL_DIR", str(tmp_path / "spool"))
    (said,) = spool.findings()

    assert said.level == FAIL
    assert said.text.endswith("set SPANLOOM_SPOOL_DIR to another folder")


def test_all_delivered(spooled):
    assert spooled(Verdict.DELIVERED, 2)[1:] == [(OK, "otlp: nothing waits")]


def test_some_wait(spooled, tmp_path):
    spooled(Verdict.DELIVERED, 1, "langfuse")
    two_hours_ago = time.time() - 7_300
    spooled(Verdict.LATER, 3)
    for path in (tmp_path / "spool" / "otlp").iterdir():
        os.utime(path, (two_hours_ago, two_hours_ago))
    _, langfuse, otlp = spool.findings()

    assert langfuse == (OK, "langfuse: nothing waits")
    assert otlp.level == WARN
    assert otlp.text.startswith(f"otlp: waiting in {tmp_path}/spool/otlp: 3 spans, ")
    assert " bytes, the oldest for 2 hours; a program" in otlp.text


def test_some_were_refused(spooled, tmp_path):
    (_, _, said) = spooled(Verdict.REFUSED, 1)

    assert said.level == WARN
    assert said.text.startswith(f"otlp: refused by the backend, and put aside in {tmp_path}/spool/otlp: 1 span; ")


def test_some_were_lost(spooled, tmp_path):
    spooled(Verdict.DELIVERED, 1)
    (tmp_path / "spool" / "otlp" / "lost.json").write_text('{"size": 1200, "age": 3}')

    assert list(spool.findings())[-1] == (WARN, "otlp: lost so far: 1,203 spans (age 3, size 1200)")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7_199, "120 minutes"), (200_000, "2 days")],
)
def test_durations(seconds, text):
    assert spool._duration(seconds) == text
