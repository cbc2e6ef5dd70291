"""`SpanloomLogProcessor`: no secrets in what other instrumentations log of model calls."""

import logging

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import spanloom
from spanloom import config
from spanloom.config import Config
from spanloom.credentials import MARK
from spanloom.logprocessor import SpanloomLogProcessor, put_first
from spanloom.version import VERSION

KEY = "sk-abcdefghijklmnop1234567890"
EVENT = "gen_ai.client.inference.operation.details"
MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": f"my key is {KEY}"}]}]


class Site:
    """A logger provider with our processor first, into which another instrumentation logs."""

    def __init__(self, settings=None, **options):
        self.exporter = InMemoryLogRecordExporter()
        self.provider = LoggerProvider(shutdown_on_exit=False, **options)
        self.processor = SpanloomLogProcessor(settings or Config())
        self.provider.add_log_record_processor(self.processor)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))

    def send(self, scope=("theirs", "1"), **record):
        """What becomes of a record on its way to the exporter."""
        self.provider.get_logger(*scope).emit(LogRecord(**record))
        return self.exporter.get_finished_logs()[-1].log_record


@pytest.fixture
def site():
    return Site()


def test_it_is_public():
    assert spanloom.SpanloomLogProcessor is SpanloomLogProcessor


@pytest.mark.parametrize(
    "key",
    [
        *("input.messages", "output.messages", "system_instructions", "tool.definitions"),
        *("tool.call.arguments", "tool.call.result", "retrieval.query.text", "retrieval.documents"),
    ],
)
def test_content_attributes_are_redacted_and_stay_structures(site, key):
    given = {f"gen_ai.{key}": MESSAGES, "gen_ai.request.model": "m-1", "other": KEY}
    sent = site.send(event_name=EVENT, attributes=given)

    told = sent.attributes[f"gen_ai.{key}"][0]
    assert told["parts"][0]["content"] == f"my key is {MARK}"
    assert told["role"] == "user"
    assert sent.attributes["gen_ai.request.model"] == "m-1"
    assert sent.attributes["other"] == KEY  # no content: theirs to answer for
    assert MESSAGES[0]["parts"][0]["content"].endswith(KEY)  # what the program holds is the program's


def test_exceptions_texts_are_redacted_in_every_record(site):
    sent = site.send(body="failed", attributes={"exception.message": f"bad {KEY}", "exception.type": "ValueError"})

    assert dict(sent.attributes) == {"exception.message": f"bad {MARK}", "exception.type": "ValueError"}
    assert sent.body == "failed"


@pytest.mark.parametrize(
    "named",
    [{"event_name": "gen_ai.user.message"}, {"attributes": {"event.name": "gen_ai.choice", "x": 1}}],
    ids=["field", "attribute"],
)
def test_bodies_of_genai_events_are_redacted(site, named):
    """Older packages have the messages there."""
    sent = site.send(body={"content": KEY, "role": "user", "password": "x", "n": 1}, **named)

    assert dict(sent.body) == {"content": MARK, "role": "user", "password": MARK, "n": 1}


def test_the_programs_own_log_lines_stay_as_they_are(site):
    sent = site.send(body=f"hello {KEY}", attributes={"x": KEY})

    assert (sent.body, dict(sent.attributes)) == (f"hello {KEY}", {"x": KEY})
    assert site.send().attributes == {}


def test_what_spanloom_writes_is_redacted_already(site):
    sent = site.send(scope=("spanloom", VERSION), event_name=EVENT, attributes={"gen_ai.input.messages": KEY})

    assert sent.attributes["gen_ai.input.messages"] == KEY


def test_a_record_without_secrets_stays_the_very_same(site):
    sent = []
    site.provider.add_log_record_processor(SimpleLogRecordProcessor(InMemoryLogRecordExporter()))
    record = LogRecord(event_name=EVENT, attributes={"gen_ai.input.messages": [{"role": "user"}]})
    logger = site.provider.get_logger("theirs")
    before = SpanloomLogProcessor.on_emit

    def watch(self, log_record):
        sent.append(log_record.log_record.attributes)
        before(self, log_record)
        sent.append(log_record.log_record.attributes)

    site.processor.on_emit = watch.__get__(site.processor)
    logger.emit(record)
    assert sent[0] is sent[1]


def test_limits_of_the_provider_stay(monkeypatch):
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "3")
    sent = Site().send(event_name=EVENT, attributes={"gen_ai.input.messages": KEY, "b": 2, "c": 3})
    assert dict(sent.attributes) == {"gen_ai.input.messages": MARK, "b": 2, "c": 3}
    sent.attributes["d"] = 4  # as with the SDK's own, one more drops the oldest
    assert len(sent.attributes) == 3


def test_without_redaction_nothing_is_read():
    sent = Site(Config(redact=False)).send(event_name=EVENT, attributes={"gen_ai.input.messages": KEY}, body=KEY)

    assert (sent.attributes["gen_ai.input.messages"], sent.body) == (KEY, KEY)


def test_the_processs_settings_are_followed(site):
    site.processor._in_force._given = None
    config.activate(Config(redact=False))
    try:
        assert site.send(event_name=EVENT, body=KEY).body == KEY
    finally:
        config.activate(None)
    assert site.send(event_name=EVENT, body=KEY).body == MARK


def test_if_a_redactor_fails_the_value_is_not_sent(lenient):
    sent = Site(Config(redactor=lambda _: 1 / 0)).send(event_name=EVENT, attributes={"gen_ai.input.messages": "hi"})

    assert sent.attributes["gen_ai.input.messages"] == MARK
    assert "a redactor failed" in lenient.lines[0]


def test_a_failure_of_ours_is_not_the_programs(lenient):
    SpanloomLogProcessor(Config()).on_emit(object())

    assert "the redaction of a log record of another instrumentation" in lenient.lines[0]


def test_it_alone_is_no_reason_to_make_records():
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SpanloomLogProcessor(Config()))
    enabled = getattr(provider.get_logger("theirs"), "enabled", None)
    if enabled is None:
        pytest.skip("loggers of this SDK cannot be asked")
    assert enabled() is False
    provider.add_log_record_processor(SimpleLogRecordProcessor(InMemoryLogRecordExporter()))
    assert enabled() is True
    assert provider.force_flush()


def test_it_can_be_put_before_exporters_that_are_there():
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    put_first(provider, SpanloomLogProcessor(Config()))
    provider.get_logger("theirs").emit(LogRecord(event_name=EVENT, body=KEY))

    assert exporter.get_finished_logs()[0].log_record.body == MARK


def test_shutdown_and_flush_have_nothing_to_do(site, caplog):
    with caplog.at_level(logging.DEBUG):
        assert site.processor.force_flush() is True
        assert site.processor.shutdown() is None
    assert caplog.records == []
