"""`init`, `flush`, `shutdown`: what each argument does."""

import os

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import spanloom
from spanloom import config, installed

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Exporter(InMemorySpanExporter):
    """As a third party would register one by entry point."""

    made = []

    def __init__(self):
        super().__init__()
        self.made.append(self)

    @property
    def names(self):
        return [span.name for span in self.get_finished_spans()]


class Broken(Exporter):
    def __init__(self):
        raise RuntimeError("no such host")


@pytest.fixture(autouse=True)
def _nothing_made(monkeypatch):
    monkeypatch.setattr(Exporter, "made", [])


def span(name="work"):
    with trace.get_tracer("test").start_as_current_span(name):
        pass


def lines(tmp_path, folder=".spanloom"):
    return sum(len(path.read_text().splitlines()) for path in (tmp_path / folder).glob("*.jsonl"))


# -- exporters --------------------------------------------------------------------------------------------------


def test_without_arguments_spans_go_to_files_as_they_end(tmp_path):
    provider = spanloom.init()
    span()

    assert trace.get_tracer_provider() is provider
    assert lines(tmp_path) == 1


def test_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", "from-env")
    spanloom.init()
    span()
    spanloom.shutdown()
    spanloom.init(directory="from-argument")
    span()

    assert (lines(tmp_path, "from-env"), lines(tmp_path, "from-argument")) == (1, 1)


def test_exporters_by_name_by_object_and_both(install, tmp_path):
    install("traces_exporter", theirs=Exporter)
    mine = InMemorySpanExporter()
    spanloom.init(exporters=["theirs", mine, "jsonl"])
    span("all three")

    assert spanloom.flush()
    assert Exporter.made[0].names == ["all three"]
    assert [found.name for found in mine.get_finished_spans()] == ["all three"]
    assert lines(tmp_path) == 1


@pytest.mark.parametrize("single", [True, False])
def test_one_exporter_needs_no_list(install, single):
    install("traces_exporter", theirs=Exporter)
    mine = Exporter()
    spanloom.init(exporters=mine if single else "theirs")
    span()
    spanloom.flush()

    assert Exporter.made[-1].names == ["work"]


def test_an_exporter_that_only_looks_like_one():
    class Duck:
        names = []

        def export(self, spans):
            self.names += [found.name for found in spans]
            return SpanExportResult.SUCCESS

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=0):
            return True

    spanloom.init(exporters=[Duck()])
    span()
    spanloom.flush()

    assert Duck.names == ["work"]


def test_no_exporter_at_all(tmp_path):
    spanloom.init(exporters=[])
    span()

    assert list(tmp_path.iterdir()) == []


def test_exporters_from_the_environment(install, monkeypatch, tmp_path):
    install("traces_exporter", theirs=Exporter)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "theirs, jsonl")
    spanloom.init()
    span()
    spanloom.flush()

    assert Exporter.made[0].names == ["work"]
    assert lines(tmp_path) == 1


@pytest.mark.parametrize(
    ("protocol", "name"), [("", "otlp_proto_grpc"), ("grpc", "otlp_proto_grpc"), ("http/protobuf", "otlp_proto_http")]
)
def test_otlp_is_the_exporter_of_the_protocol(install, monkeypatch, protocol, name):
    install("traces_exporter", **{name: Exporter})
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)

    assert installed.make_exporter("otlp") is Exporter.made[0]


# -- arguments that cannot be right -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exporters": "nothing"}, r"no traces exporter 'nothing'; installed: .*jsonl"),
        ({"exporters": [3]}, "exporters: 3 is neither the name of an exporter nor a SpanExporter"),
        ({"exporters": "broken"}, "'broken' cannot be made: no such host"),
        (
            {"capture": ["io", "everything"]},
            "capture: everything unknown; accepted: io, messages, params, state, tools",
        ),
        ({"max_value_bytes": 10}, "max_value_bytes=10: give 256 bytes or more"),
        ({"redact_patterns": ["("]}, r"redact_patterns: '\(' is not a regular expression"),
        ({"redactor": "x"}, "redactor: 'x' cannot be called"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_set_up(install, arguments, message):
    install("traces_exporter", broken=Broken)
    before = config.active()

    with pytest.raises(ValueError, match=message):
        spanloom.init(**arguments)

    assert not isinstance(trace.get_tracer_provider(), TracerProvider)
    assert config.active() is before
    spanloom.init()  # and a right call works afterwards


def test_a_wrong_protocol_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")

    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_PROTOCOL=http/json is not supported here"):
        spanloom.init(exporters="otlp")


# -- settings ---------------------------------------------------------------------------------------------------


def test_arguments_become_the_settings_and_shutdown_gives_them_back(monkeypatch):
    monkeypatch.setenv("SPANLOOM_MAX_VALUE_BYTES", "1000")
    monkeypatch.setenv("SPANLOOM_REDACT", "false")
    spanloom.init(content=True, capture=["io"], exception_messages=False, redact_patterns=["A+"], redactor=str.upper)

    active = config.active()
    assert (active.content, active.capture, active.exception_messages) == (True, {"io"}, False)
    assert [pattern.pattern for pattern in active.redact_patterns] == ["A+"]
    assert active.redactor("x") == "X"
    assert (active.max_value_bytes, active.redact) == (1000, False)

    spanloom.shutdown()

    assert config.active().redactor is None


def test_a_single_word_is_one_word():
    spanloom.init(capture="io", redact_patterns="ACME-[0-9]+")

    assert config.active().capture == {"io"}
    assert [pattern.pattern for pattern in config.active().redact_patterns] == ["ACME-[0-9]+"]


@pytest.mark.parametrize(
    ("given", "argument", "on", "told"),
    [
        ("", None, False, ""),
        ("", True, True, "SPAN_ONLY"),
        ("", False, False, "NO_CONTENT"),
        ("NO_CONTENT", True, True, "SPAN_ONLY"),
        ("SPAN_AND_EVENT", True, True, "SPAN_AND_EVENT"),
        ("SPAN_AND_EVENT", False, False, "NO_CONTENT"),
        ("EVENT_ONLY", None, False, "EVENT_ONLY"),
        ("EVENT_ONLY", False, False, "NO_CONTENT"),
        ("true", None, True, "SPAN_ONLY"),
        ("false", None, False, "NO_CONTENT"),
    ],
)
def test_content_holds_for_the_official_packages_too(monkeypatch, given, argument, on, told):

    monkeypatch.setenv(CONTENT, given)
    spanloom.init(content=argument)

    assert config.active().content is on
    assert config.active().events is told.endswith(("EVENT_ONLY", "AND_EVENT"))
    assert os.environ[CONTENT] == told


@pytest.mark.parametrize("given", ["EVENT_ONLY", "SPAN_AND_EVENT"])
def test_events_stay_off_while_a_pattern_of_the_environment_is_broken(monkeypatch, given):
    monkeypatch.setenv("SPANLOOM_REDACT_PATTERNS", "(")
    monkeypatch.setenv(CONTENT, given)
    spanloom.init()

    assert config.active().events is False
    assert os.environ[CONTENT] == "NO_CONTENT"


def test_content_stays_off_while_a_pattern_of_the_environment_is_broken(monkeypatch, caplog):
    monkeypatch.setenv("SPANLOOM_REDACT_PATTERNS", "(")
    spanloom.init(content=True)
    assert config.active().content is False
    assert "SPANLOOM_REDACT_PATTERNS" in caplog.text

    spanloom.shutdown()
    spanloom.init(content=True, redact_patterns=["ok"])  # the argument stands in for the variable
    assert config.active().content is True


def test_the_service_name(monkeypatch):
    assert spanloom.init(service_name="desk").resource.attributes["service.name"] == "desk"


def test_the_resource_has_the_environments_name_and_the_distribution(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-env")
    attributes = spanloom.init().resource.attributes

    assert attributes["service.name"] == "from-env"
    assert attributes["telemetry.distro.name"] == "spanloom"


# -- a provider of the program's own ----------------------------------------------------------------------------


@pytest.fixture
def theirs():
    """A provider that the program has set, with an exporter."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), Exporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield provider
    provider.shutdown()


def test_an_existing_provider_is_used_and_left_as_it_is(theirs, tmp_path):
    assert spanloom.init() is theirs
    span()
    spanloom.shutdown()
    span("after")

    assert Exporter.made[0].names == ["work", "after"]
    assert lines(tmp_path) == 0


def test_exporters_are_added_to_an_existing_provider(theirs, tmp_path):
    spanloom.init(exporters="jsonl")
    span()

    assert Exporter.made[0].names == ["work"]
    assert lines(tmp_path) == 1


def test_nothing_is_made_for_an_existing_provider_that_is_not_asked_for(theirs, install, monkeypatch):
    install("traces_exporter", theirs=Exporter)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "theirs")
    spanloom.init()

    assert len(Exporter.made) == 1


def test_a_service_name_that_comes_too_late_is_told(theirs, caplog):
    spanloom.init(service_name="desk")

    assert "service_name='desk' has no effect" in caplog.text


# -- again, and the end -----------------------------------------------------------------------------------------


def test_a_second_init_changes_nothing_and_says_so(caplog):
    first = spanloom.init(content=True)

    assert spanloom.init(content=False) is first
    assert config.active().content is True
    assert caplog.messages == ["spanloom.init() was called again and did nothing; call spanloom.shutdown() first."]


def test_shutdown_hands_over_what_had_ended(install):
    install("traces_exporter", theirs=Exporter)
    spanloom.init(exporters="theirs")
    span()
    spanloom.shutdown()
    span("after")

    assert Exporter.made[0].names == ["work"]


def test_init_after_shutdown_works_again(install, caplog):
    install("traces_exporter", theirs=Exporter)
    for number in (1, 2, 3):
        spanloom.init(exporters="theirs", service_name="desk")
        span(str(number))
        spanloom.shutdown()

    assert [exporter.names for exporter in Exporter.made] == [["1"], ["2"], ["3"]]
    assert caplog.messages == []


def test_flush_and_shutdown_without_init():
    spanloom.shutdown()

    assert spanloom.flush() is True


def test_flush_reaches_a_provider_of_the_programs_own(theirs):
    exporter = Exporter()
    spanloom.init(exporters=exporter)
    span()
    spanloom.flush(1000)

    assert exporter.names == ["work"]
