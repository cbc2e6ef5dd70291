"""Which exporters are chosen, what is tried, and what is said of the others."""

import logging
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanloom.doctor import exporters, folders, sending, settings
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN


def found(*, send=True, seconds=5):
    return list(exporters.findings(send=send, seconds=seconds))


def about(name, findings):
    """The lines about one exporter."""
    return [said for said in findings if said.text.startswith((f"{name}:", f"{name} "))]


def test_by_default_traces_go_to_files_and_nothing_is_sent(env, tmp_path):
    env.chdir(tmp_path)
    first, *rest = found()

    assert first.level == OK
    assert "`spanloom run` and spanloom.init() go to files" in first.text
    assert about("jsonl", rest) == [(OK, f"jsonl: files can be written to {tmp_path}/.spanloom, which will be made")]
    assert about("otlp", rest) == []
    assert list(tmp_path.iterdir()) == []


def test_each_chosen_exporter_is_tried_once(env, http, tmp_path):
    env.setenv("OTEL_TRACES_EXPORTER", "otlp, jsonl,otlp,console")
    env.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)
    env.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=t1")
    env.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))
    findings = found()

    assert [said.level for said in findings if said.level != NOTE] == [OK] * 4
    assert findings[0].text == "Traces go to otlp, jsonl, console, as OTEL_TRACES_EXPORTER says"
    assert http.spans == ["spanloom doctor"]
    assert http.headers["x-token"] == "t1"
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_alone_is_a_choice(env, grpc):
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.url)
    first, second, *_ = found()

    assert first.text == "Traces go to otlp, as an OTEL_EXPORTER_OTLP_* endpoint is set"
    assert second.level == OK
    assert grpc.spans == ["spanloom doctor"]


def test_the_exporters_names_with_the_protocol_in_them(env, http):
    env.setenv("OTEL_TRACES_EXPORTER", "otlp_proto_http")
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)

    assert found()[1].level == OK
    assert http.spans == ["spanloom doctor"]


def test_nothing_is_sent_where_that_is_wanted(env, http):
    env.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)

    assert found(send=False)[1] == (OK, "otlp: chosen, not tried")
    assert http.spans == []


def test_a_protocol_that_there_is_not(env):
    env.setenv("OTEL_TRACES_EXPORTER", "otlp")
    env.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    (said,) = about("otlp", found())

    assert said.level == FAIL
    assert "use grpc or http/protobuf" in said.text


def test_an_exporter_that_is_not_installed_does_not_hide_the_others(env, tmp_path):
    env.setenv("OTEL_TRACES_EXPORTER", "consol,jsonl")
    env.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))
    findings = found()

    (said,) = about("consol", findings)
    assert said.level == FAIL
    assert "there is no traces exporter 'consol'; installed: console, jsonl" in said.text
    assert [said.level for said in about("jsonl", findings)] == [OK]


def test_none(env):
    env.setenv("OTEL_TRACES_EXPORTER", "none")

    assert found()[0] == (WARN, "OTEL_TRACES_EXPORTER=none: traces go nowhere")


def test_langfuse_without_its_keys(env):
    env.setenv("OTEL_TRACES_EXPORTER", "langfuse")
    (said,) = about("langfuse", found())

    assert said.level == FAIL
    assert "LANGFUSE_PUBLIC_KEY" in said.text


@pytest.mark.parametrize(
    ("variable", "name", "add"),
    [
        ("LANGFUSE_SECRET_KEY", "langfuse", "jsonl,langfuse"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otlp", "jsonl,otlp"),
    ],
)
def test_what_is_set_for_an_exporter_that_is_not_chosen(env, tmp_path, variable, name, add):
    env.setenv("OTEL_TRACES_EXPORTER", "jsonl")
    env.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))
    env.setenv(variable, "http://localhost:9")
    (said,) = about(name, found())

    assert said == (WARN, f"{name}: not used, although {variable} is set; add it: OTEL_TRACES_EXPORTER={add}")


def test_those_that_are_not_chosen_are_listed(env):
    env.setenv("OTEL_TRACES_EXPORTER", "console")
    last = found()[-1]

    assert last.level == NOTE
    assert last.text.startswith("Installed and not chosen: ")
    listed = last.text.partition(": ")[2].split(", ")
    assert {"jsonl", "otlp"} <= set(listed)
    assert not {"console", "otlp_proto_grpc"} & set(listed)


def test_exporters_of_metrics_and_logs_are_there_or_not(env):
    env.setenv("OTEL_METRICS_EXPORTER", "otlp,prometheu")
    env.setenv("OTEL_LOGS_EXPORTER", "none")
    findings = found()

    assert (OK, "metrics, otlp: chosen") in findings
    (said,) = about("metrics, prometheu", findings)
    assert said.level == FAIL
    assert about("logs,", findings) == []


def test_a_file_where_the_folder_should_be(env, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        env.setenv("SPANLOOM_JSONL_DIR", str(place))
        (said,) = about("jsonl", found())

        assert said.level == FAIL
        assert "set SPANLOOM_JSONL_DIR to another folder" in said.text


def test_a_folder_that_cannot_be_written(env, tmp_path):
    def denied(**_):
        raise PermissionError(13, "Permission denied")

    env.setattr(folders.tempfile, "TemporaryFile", denied)
    env.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))

    (said,) = about("jsonl", found())
    assert said.level == FAIL
    assert said.text.startswith(
        f"jsonl: nothing can be written to {tmp_path} (Permission denied); set SPANLOOM_JSONL_DIR"
    )


def test_a_disk_that_is_nearly_full(env, tmp_path):
    env.setattr(folders.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * 1024**2))
    env.setenv("SPANLOOM_JSONL_DIR", str(tmp_path))

    assert about("jsonl", found()) == [(WARN, f"jsonl: only 3 MB are free in {tmp_path}")]


class Foreign(SpanExporter):
    """Somebody else's exporter."""

    def __init__(self, result):
        self._result = result

    def export(self, spans):
        if isinstance(self._result, Exception):
            raise self._result
        logging.getLogger("foreign").error("quota of %s used up", "https://u:hunter2@h/?key=s3cret")
        return self._result


@pytest.mark.parametrize(
    ("result", "level", "text"),
    [
        (SpanExportResult.SUCCESS, OK, "a test span was taken in "),
        (SpanExportResult.FAILURE, FAIL, "quota of https://***@h/?*** used up"),
        (RuntimeError("broken\nby design"), FAIL, "RuntimeError: broken"),
    ],
)
def test_exporters_of_others_say_what_they_log(result, level, text):
    said = sending.sent("theirs", Foreign(result), 5)

    assert said.level == level
    assert said.text.startswith(f"theirs: {text}")


def test_one_that_hangs(env):
    import threading

    released = threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans):
            released.wait(30)
            return SpanExportResult.SUCCESS

    env.setattr(sending, "_GRACE", 0.05)
    said = sending.sent("theirs", Hanging(), 0.05)
    released.set()

    assert said.level == FAIL
    assert said.text == "theirs: no answer within 0.05 seconds; see whether it is running and reachable"


def test_the_test_span_names_the_service(env, http):
    env.setenv("OTEL_SERVICE_NAME", "shop")
    span = sending._made_span()

    assert span.resource.attributes["service.name"] == "shop"
    assert span.parent is None
    assert span.end_time > span.start_time


def test_switches_that_turn_recording_off_do_not_turn_the_trial_off(env, http):
    env.setenv("OTEL_SDK_DISABLED", "true")
    env.setenv("OTEL_TRACES_SAMPLER", "always_off")
    env.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url)
    first, second, *_ = settings.findings()

    assert (first.level, first.text.partition(":")[0]) == (WARN, "OTEL_SDK_DISABLED=true")
    assert (second.level, second.text.partition(":")[0]) == (WARN, "OTEL_TRACES_SAMPLER=always_off")
    assert [said.level for said in about("otlp", found())] == [OK]
    assert http.spans == ["spanloom doctor"]
