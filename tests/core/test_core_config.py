"""Every setting: right values, wrong values (one line that names the variable and what is accepted), defaults."""

import dataclasses

import pytest

from spanloom import config
from spanloom.config import Config, activate, active, compile_patterns, trace_directory

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
FLAGS = {
    "SPANLOOM_CAPTURE_EXCEPTION_MESSAGES": ("exception_messages", True),
    "SPANLOOM_LANGGRAPH_CHECKPOINT_CONTEXT": ("langgraph_checkpoint_context", False),
    "SPANLOOM_REDACT": ("redact", True),
    "SPANLOOM_DRAFT_NAMES": ("draft_names", True),
}


def read(**environ):
    return Config.from_environment(environ)


def test_nothing_set_is_the_default(log):
    assert read() == Config()
    blank = {name: "  " for name in vars(config).values() if isinstance(name, str) and name.startswith("SPANLOOM_")}
    assert len(blank) >= 8
    assert read(**blank, **{CONTENT: ""}) == Config()
    assert log.lines == []


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("NO_CONTENT", False),
        ("SPAN_ONLY", True),
        ("EVENT_ONLY", False),
        ("SPAN_AND_EVENT", True),
        ("span_only", True),
        ("true", True),
        ("True", True),
        (" on ", True),
        ("1", True),
        ("yes", True),
        ("false", False),
        ("0", False),
        ("off", False),
        ("no", False),
    ],
)
def test_content(log, value, content):
    assert read(**{CONTENT: value}) == Config(content=content, events=value.endswith(("EVENT_ONLY", "AND_EVENT")))
    assert log.lines == []


def test_content_misspelt_is_off(log):
    assert read(**{CONTENT: "SPANS"}).content is False
    (line,) = log.lines
    assert line.startswith(f"{CONTENT}=spans is not understood; accepted: ")
    for accepted in ("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT", "true", "false"):
        assert accepted in line
    assert line.endswith("Using NO_CONTENT.")


@pytest.mark.parametrize("name", FLAGS)
def test_flags(log, name):
    field, default = FLAGS[name]
    for text, value in {"true": True, "ON": True, " 1": True, "yes": True, "False": False, "0": False}.items():
        assert read(**{name: text}) == dataclasses.replace(Config(), **{field: value})
    assert log.lines == []
    assert getattr(read(**{name: "maybe"}), field) is default
    assert log.lines == [f"{name}=maybe is not understood; accepted: true, false. Using {str(default).lower()}."]


def test_max_value_bytes(log):
    assert read(SPANLOOM_MAX_VALUE_BYTES="256").max_value_bytes == 256
    assert read(SPANLOOM_MAX_VALUE_BYTES=" 100000 ").max_value_bytes == 100_000
    assert log.lines == []


@pytest.mark.parametrize("value", ["255", "0", "-1", "16k", "1e6", "1_000", "٣٠٠", "9" * 5000])
def test_max_value_bytes_wrong(log, value):
    assert read(SPANLOOM_MAX_VALUE_BYTES=value).max_value_bytes == 16_384
    (line,) = log.lines
    assert line.startswith("SPANLOOM_MAX_VALUE_BYTES=")
    assert "a whole number of bytes, 256 or more" in line
    assert line.endswith("Using 16384.")


LISTS = {
    "SPANLOOM_CAPTURE": ("capture", ["io", "messages", "params", "state", "tools"]),
    "SPANLOOM_POCKETFLOW_PHASES": ("pocketflow_phases", ["exec", "post", "prep"]),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_names(log, name):
    field, accepted = LISTS[name]
    first, second, *_ = accepted
    for text, value in {
        "all": accepted,
        "ALL": accepted,
        "none": [],
        first: [first],
        f" {first} , {second.upper()},": [first, second],
        f"{first},{first}": [first],
        ",": accepted,
    }.items():
        assert getattr(read(**{name: text}), field) == frozenset(value), text
    assert log.lines == []


@pytest.mark.parametrize("name", LISTS)
def test_a_wrong_name_in_a_list_costs_only_itself(log, name):
    field, accepted = LISTS[name]
    assert getattr(read(**{name: f"{accepted[0]},nope,what"}), field) == {accepted[0]}
    assert log.lines == [
        f"{name}=nope,what is not understood; accepted: all, none, or a list of {', '.join(accepted)}. "
        "Using the rest of the list."
    ]


def test_pocketflow_modules(log):
    def modules(text):
        return read(SPANLOOM_POCKETFLOW_MODULES=text).pocketflow_modules

    assert modules("myapp.flow") == ("myapp.flow",)
    assert modules("pocketflow, myapp.flow,,pocketflow") == ("pocketflow", "myapp.flow")
    assert log.lines == []
    assert modules("my-app, flow, a..b") == ("flow",)
    assert modules("3x") == ("pocketflow",)
    assert [line.split(" ")[0] for line in log.lines] == [
        "SPANLOOM_POCKETFLOW_MODULES=my-app,a..b",
        "SPANLOOM_POCKETFLOW_MODULES=3x",
    ]
    assert all("a list of import names such as pocketflow,myapp.flow" in line for line in log.lines)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ('["ACME-[0-9]+", "x|y"]', ["ACME-[0-9]+", "x|y"]),
        ('["ACME-\\\\d+"]', ["ACME-\\d+"]),
        ('"ACME-[0-9]+"', ["ACME-[0-9]+"]),
        ("ACME-[0-9]+", ["ACME-[0-9]+"]),
        ("ACME-\\d+", ["ACME-\\d+"]),
        ("[0-9]", ["[0-9]"]),
        ("[123]", ["[123]"]),
        ("123", ["123"]),
        ("[]", []),
        ("", []),
    ],
)
def test_redact_patterns(log, text, patterns):
    settings = read(SPANLOOM_REDACT_PATTERNS=text)
    assert [pattern.pattern for pattern in settings.redact_patterns] == patterns
    assert log.lines == []


@pytest.mark.parametrize(
    "text", ["ACME-(", '["fine", "("]', '["ACME-[0-9]+", "x"', '["\\d+"]', "a{99999999999999999999}"]
)
def test_a_broken_redact_pattern_switches_content_off(log, text):
    settings = read(**{CONTENT: "true"}, SPANLOOM_REDACT_PATTERNS=text, SPANLOOM_CAPTURE_EXCEPTION_MESSAGES="true")
    assert (settings.content, settings.exception_messages, settings.redact_patterns) == (False, False, ())
    (line,) = log.lines
    assert line.startswith("SPANLOOM_REDACT_PATTERNS")
    assert 'give a JSON list of patterns such as ["ACME-[0-9]+"]' in line
    assert line.endswith("Until then no content and no exception messages are captured.")


def test_compile_patterns_names_the_setting():
    assert [pattern.pattern for pattern in compile_patterns(["a", "b"], "x")] == ["a", "b"]
    with pytest.raises(ValueError, match=r"^my_setting: '\(' is not a regular expression"):
        compile_patterns(["a", "("], "my_setting")


def test_one_line_for_each_wrong_variable(log):
    read(
        **{CONTENT: "x"},
        SPANLOOM_CAPTURE="x",
        SPANLOOM_CAPTURE_EXCEPTION_MESSAGES="x",
        SPANLOOM_MAX_VALUE_BYTES="x",
        SPANLOOM_REDACT="x",
        SPANLOOM_DRAFT_NAMES="x",
        SPANLOOM_POCKETFLOW_PHASES="x",
        SPANLOOM_POCKETFLOW_MODULES="1",
    )
    named = [line.split("=")[0] for line in log.lines]
    assert len(named) == len(set(named)) == 8


def test_what_is_captured():
    everything = Config(content=True)
    assert all(everything.captures(kind) for kind in ("io", "state", "params"))
    assert not everything.captures("other")
    assert not any(Config(content=False).captures(kind) for kind in ("io", "state", "params"))
    assert Config(content=True, capture=frozenset({"io"})).captures("io")
    assert not Config(content=True, capture=frozenset({"io"})).captures("state")


def test_replace():
    settings = Config(content=True, max_value_bytes=300)
    assert settings.replace(redact=False, content=None) == Config(content=True, max_value_bytes=300, redact=False)
    assert settings.replace(content=False).content is False
    assert settings.replace() == settings
    with pytest.raises(TypeError, match="contents"):
        settings.replace(contents=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.content = False


def test_trace_directory(monkeypatch):
    assert trace_directory({}) == ".spanloom"
    assert trace_directory({"SPANLOOM_JSONL_DIR": " "}) == ".spanloom"
    assert trace_directory({"SPANLOOM_JSONL_DIR": " /var/traces "}) == "/var/traces"
    monkeypatch.setenv("SPANLOOM_JSONL_DIR", "from/process")
    assert trace_directory() == "from/process"


def test_the_process_s_settings(monkeypatch):
    monkeypatch.setenv("SPANLOOM_MAX_VALUE_BYTES", "300")
    activate(None)
    try:
        assert active().max_value_bytes == 300
        monkeypatch.setenv("SPANLOOM_MAX_VALUE_BYTES", "400")
        assert active().max_value_bytes == 300  # read once
        activate(None)
        assert active().max_value_bytes == 400
        given = Config(max_value_bytes=500)
        activate(given)
        assert active() is given
    finally:
        activate(None)
