"""Messages, stack traces and names: redacted, bounded, encodable, and the end of a stack trace is kept."""

import sys
import traceback

import pytest

from spanloom.capture import Capture
from spanloom.config import Config


def make(**config):
    return Capture(Config(**config))


def caught(function, *args):
    """The exception that a call raises."""
    try:
        function(*args)
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


def fail(exc):
    raise exc


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


class Text(str):
    """A text that raises from whatever a subclass may define."""

    def _no(self, *args):
        raise AssertionError("called")

    __getitem__ = __len__ = encode = isascii = __format__ = _no


class Odd(Exception):
    def __str__(self):
        return Text("odd")


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (ValueError("plain"), "plain"),
        (ValueError(), ""),
        (KeyError("k"), "'k'"),
        (ValueError("a", 1), "('a', 1)"),
        (ValueError("a\ud800"), "a?"),
        (OSError(2, "gone", "file"), "[Errno 2] gone: 'file'"),
        (ValueError("mail jane@example.com, password=hunter2"), "mail [REDACTED], password=[REDACTED]"),
        (Unprintable(), "<Unprintable without a printable message>"),
        (Odd(), "odd"),
    ],
)
def test_messages(exc, message):
    assert make().message(exc) == message
    assert type(make().message(exc)) is str


def test_messages_and_stacks_can_be_off():
    capture = make(exception_messages=False, content=True)
    exc = caught(fail, Unprintable())
    assert (capture.message(exc), capture.stacktrace(exc)) == (None, None)


def test_messages_come_without_content_too():
    assert make(content=False).message(ValueError("x")) == "x"


def test_a_long_message_keeps_its_beginning():
    message = make(max_value_bytes=256).message(ValueError("é" * 1000))
    assert message.startswith("é" * 100)
    assert message.endswith("é… 1000 chars")
    assert len(message.encode()) <= 256
    assert make(max_value_bytes=256).message(ValueError("x" * 256)) == "x" * 256


def test_a_stack_is_python_s_own():
    exc = caught(fail, ValueError("why"))
    assert make().stacktrace(exc) == "".join(traceback.format_exception(exc, chain=False))


def test_an_exception_never_raised_has_a_stack_of_one_line():
    assert make().stacktrace(ValueError("x")) == "ValueError: x\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with 3.11")
def test_notes_are_part_of_it():
    exc = caught(fail, ValueError("x"))
    exc.add_note("seen by jane@example.com")
    assert make().stacktrace(exc).endswith("ValueError: x\nseen by [REDACTED]\n")


@pytest.mark.parametrize("limit", [256, 1000, 16_384])
@pytest.mark.parametrize("letter", ["x", "é", "\x00", "𝄞"])
def test_a_long_stack_keeps_its_end(limit, letter):
    exc = caught(fail, ValueError(f"{letter * 40_000} the end"))
    stack = make(max_value_bytes=limit).stacktrace(exc)
    assert len(stack.encode()) <= limit
    assert stack.endswith(f"{letter} the end\n")
    whole = len("".join(traceback.format_exception(exc)))
    assert stack.startswith(f"… {whole} chars\n{letter}")


def even(number):
    return odd(number - 1) if number else fail(ValueError("bottom"))


def odd(number):
    return even(number - 1)


def test_a_deep_stack_is_read_from_its_inner_end():
    exc = caught(even, 400)
    stack = make(max_value_bytes=1_000_000).stacktrace(exc)
    lines = stack.splitlines()
    assert lines[-1] == "ValueError: bottom"
    assert "in fail" in "".join(lines[-4:])
    assert sum(line.startswith("  File") for line in lines) <= 128


def test_a_recursion_error():
    def endless():
        return endless()

    exc = caught(endless)
    stack = make().stacktrace(exc)
    assert stack.rstrip().splitlines()[-1].startswith("RecursionError: ")


def test_secrets_in_source_lines_and_messages():
    def connect(password):
        raise ValueError(f"cannot log in with {password!r}")

    exc = caught(lambda: connect(password="hunter2-in-source"))
    stack = make().stacktrace(exc)
    assert 'connect(password="[REDACTED]")' in stack
    assert "password=" in make().stacktrace(caught(fail, ValueError("password=hunter2"))).splitlines()[-1]
    assert "hunter2" not in make().stacktrace(caught(fail, ValueError("password=hunter2"))).splitlines()[-1]


def test_a_private_key_that_begins_before_the_cut_is_gone():
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq\n" * 100 + "-----END RSA PRIVATE KEY-----\n"
    for after in range(0, 2500, 100):
        exc = caught(fail, ValueError("x" * 9000 + key + "y " * (after // 2)))
        assert "MIIE" not in make(max_value_bytes=1000).stacktrace(exc)


def test_exceptions_that_break_formatting_have_no_stack(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no")

    exc = caught(fail, ValueError("x"))
    monkeypatch.setattr(traceback, "format_exception", broken)
    assert make().stacktrace(exc) is None
    assert make().message(exc) == "x"


def test_pydantic_s_validation_errors_quote_no_values():
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Order", amount=(int, ...), items=(list[int], ...))

    def check():
        model(amount="all that jane has", items=[1, "the red one"])

    exc = caught(check)
    said = (
        "2 validation errors for Order\n"
        "amount\n"
        "  Input should be a valid integer, unable to parse string as an integer [type=int_parsing]\n"
        "items.1\n"
        "  Input should be a valid integer, unable to parse string as an integer [type=int_parsing]"
    )
    assert make().message(exc) == said
    stack = make().stacktrace(exc)
    assert "in check" in stack
    assert stack.endswith(f"pydantic_core._pydantic_core.ValidationError: {said}\n")


# -- texts ------------------------------------------------------------------------------------------------------


def test_plain_texts_are_redacted_and_bounded():
    assert make().text("jane@example.com asks") == "[REDACTED] asks"
    assert make().text("a\ud800b") == "a?b"
    assert make(max_value_bytes=1000).text("é" * 5000).endswith("… 5000 chars")
    assert len(make(max_value_bytes=1000).text("é" * 5000).encode()) <= 1000
    assert 90 < len(make().text("x" * 5000, 100).encode()) <= 100


def test_a_text_is_dropped_where_the_redactor_fails(lenient):
    assert make(redactor=lambda text: 1 / 0).text("secret") is None
    assert lenient.lines


# -- names ------------------------------------------------------------------------------------------------------


def test_names_are_remembered_but_not_without_end():
    calls = []
    capture = make(redactor=lambda text: (calls.append(text), text)[1])
    for _ in range(3):
        assert capture.name("documents") == "documents"
        capture.name("x" * 65)
    assert calls == ["documents", "x" * 65, "x" * 65, "x" * 65]
    for number in range(5000):
        capture.name(str(number))
    assert len(capture._names) <= 1024


def test_names():
    assert make().name("a\ud800b") == "a?b"
    assert make().name("") == ""
    assert make().name("jane@example.com") == "[REDACTED]"
    assert make().name("k" * 1000).endswith("… 1000 chars")
    assert len(make().name("é" * 1000).encode()) <= 256
