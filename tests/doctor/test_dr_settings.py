"""The settings in force, and what is never shown."""

import re
from pathlib import Path

import pytest

from spanloom import config
from spanloom.doctor import settings
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN, examined
from spanloom.doctor.masking import shown, without_secrets

ROOT = Path(__file__).parents[2]


def found():
    return list(settings.findings())


def line(start, findings):
    (said,) = (said for said in findings if said.text.startswith(start))
    return said


@pytest.mark.parametrize(
    ("given", "start"),
    [
        (None, "Content is not recorded: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT is not set"),
        ("false", "Content is not recorded: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=false"),
        ("SPAN_ONLY", "Content is recorded on spans (io, messages, params, state, tools): OTEL_INSTRUMENTATION_"),
        ("EVENT_ONLY", "Content is recorded in events (io, "),
        ("SPAN_AND_EVENT", "Content is recorded on spans and in events (io, "),
    ],
)
def test_content_and_who_says_so(env, given, start):
    if given is not None:
        env.setenv(config.CAPTURE_MESSAGE_CONTENT, given)

    assert line("Content", found()).text.startswith(start)


def test_spanloom_run_records_content_only_where_it_writes_files(env):
    assert "`spanloom run`, which writes files, records it" in line("Content", found()).text

    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    assert "spanloom run" not in line("Content", found()).text


def test_kinds_of_content(env):
    env.setenv(config.CAPTURE_MESSAGE_CONTENT, "true")
    env.setenv(config.CAPTURE, "none")

    assert "(but no kind of it: SPANLOOM_CAPTURE=none)" in line("Content", found()).text


def test_events_need_an_exporter(env):
    env.setenv(config.CAPTURE_MESSAGE_CONTENT, "EVENT_ONLY")
    assert line("Events", found()) == (WARN, "Events go nowhere: set OTEL_LOGS_EXPORTER, to otlp for example")

    env.setenv("OTEL_LOGS_EXPORTER", "console")
    assert not any(said.text.startswith("Events") for said in found())


def test_redaction(env):
    assert line("Secrets", found()) == (OK, "Secrets are redacted by the built-in patterns")

    env.setenv(config.REDACT_PATTERNS, '["ACME-[0-9]+"]')
    config.activate(None)
    assert line("Secrets", found()).text.endswith("built-in patterns, and 1 of your own")

    env.setenv(config.REDACT, "false")
    config.activate(None)
    assert line("SPANLOOM_REDACT=false:", found()).level == WARN


def test_a_variable_that_nobody_reads(env):
    env.setenv("SPANLOOM_REDCT", "secret value")
    env.setenv("SPANLOOM_XYZZY_PLUGH", "1")
    findings = found()

    assert (
        WARN,
        "SPANLOOM_REDCT is set, and no variable of spanloom's is called so; did you mean SPANLOOM_REDACT?",
    ) in (findings)
    assert line("SPANLOOM_XYZZY_PLUGH", findings).text.endswith("is called so")
    assert not any("secret value" in said.text for said in findings)


def test_it_knows_every_variable_of_the_readmes_table():
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    documented = {name for row in rows for name in re.findall(r"`(SPANLOOM_[A-Z_]+)`", row.split("|")[1])}

    assert settings.variables() == documented


def test_values_that_are_not_understood_are_warnings(env):
    env.setenv("SPANLOOM_MAX_VALUE_BYTES", "many")
    warnings = [finding.text for finding in examined("Settings", "spanloom.doctor.settings") if finding.level == WARN]

    assert len(warnings) == 1
    assert warnings[0].startswith("SPANLOOM_MAX_VALUE_BYTES=many is not understood; accepted: ")


@pytest.mark.parametrize(
    ("sampler", "argument", "level", "text"),
    [
        ("always_off", None, WARN, "OTEL_TRACES_SAMPLER=always_off: no trace that begins here is recorded"),
        ("parentbased_always_off", None, WARN, "OTEL_TRACES_SAMPLER=parentbased_always_off: no trace"),
        ("Sometimes", None, WARN, "OTEL_TRACES_SAMPLER=Sometimes is not known and everything is recorded; known: "),
        ("traceidratio", "0.25", NOTE, "25% of all traces are recorded (OTEL_TRACES_SAMPLER=traceidratio)"),
        ("parentbased_traceidratio", "0", WARN, "0% of all traces are recorded"),
        ("traceidratio", "a lot", WARN, "OTEL_TRACES_SAMPLER_ARG=a lot is no number from 0 to 1"),
    ],
)
def test_sampling(env, sampler, argument, level, text):
    env.setenv("OTEL_TRACES_SAMPLER", sampler)
    if argument is not None:
        env.setenv("OTEL_TRACES_SAMPLER_ARG", argument)

    assert line(text, found()).level == level


@pytest.mark.parametrize(("sampler", "argument"), [("always_on", ""), ("traceidratio", "1"), ("traceidratio", "")])
def test_sampling_that_leaves_nothing_out_needs_no_word(env, sampler, argument):
    before = found()
    env.setenv("OTEL_TRACES_SAMPLER", sampler)
    env.setenv("OTEL_TRACES_SAMPLER_ARG", argument)

    assert [said for said in found() if not said.text.startswith("OTEL_TRACES_SAMPLER")] == before


def test_a_configuration_file_takes_the_variables_place(env):
    env.setenv("OTEL_CONFIG_FILE", "otel.yaml")

    assert line("OTEL_CONFIG_FILE is set: ", found()).level == NOTE


def test_a_service_that_has_a_name(env):
    assert line("OTEL_SERVICE_NAME is not set", found()).level == NOTE

    env.setenv("OTEL_SERVICE_NAME", "shop")
    assert line("OTEL_SERVICE_NAME", found()) == (NOTE, "OTEL_SERVICE_NAME=shop")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic s3cret, x=1,odd s3cret", "Authorization=***,x=***"),
        ("LANGFUSE_PUBLIC_KEY", "pk-lf-s3cret", "***"),
        ("LANGFUSE_SECRET_KEY", "s3cret", "***"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k/s3cret.pem", "***"),
        ("SPANLOOM_REDACT_PATTERNS", '["s3cret-[0-9]+"]', "***"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:s3cret@h:1/p?token=s3cret", "https://***@h:1/p?***"),
        ("HTTPS_PROXY", "http://s3cret@proxy:3128", "http://***@proxy:3128"),
        ("OTEL_TRACES_EXPORTER", "otlp,jsonl", "otlp,jsonl"),
        ("SPANLOOM_JSONL_DIR", "/var/traces", "/var/traces"),
    ],
)
def test_what_is_shown_of_a_value(name, value, said):
    assert shown(name, value) == said
    assert "s3cret" not in said


def test_what_looks_like_a_key_is_not_shown_wherever_it_stands():
    assert "AKIAIOSFODNN7EXAMPLE" not in shown("OTEL_RESOURCE_ATTRIBUTES", "a=AKIAIOSFODNN7EXAMPLE")
    assert "eyJ" not in without_secrets("refused: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijkl")


def test_what_breaks_is_a_finding(env):
    def broken():
        raise ImportError("no module named 'wrapt'")

    env.setattr(settings.environment, "sdk_disabled", broken)
    (only,) = examined("Settings", "spanloom.doctor.settings")

    assert only == ("Settings", FAIL, "This cannot be examined further: ImportError: no module named 'wrapt'")
    (missing,) = examined("Future", "spanloom.doctor.future")
    assert missing.level == FAIL
    assert "spanloom.doctor.future" in missing.text
