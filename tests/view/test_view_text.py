import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanloom.view.text import clean, clip, duration, width, wrap

# A busy machine is no failure.
calm = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@calm
@given(st.text())
def test_clean_text_cannot_drive_a_terminal(text):
    cleaned = clean(text)
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in cleaned)
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 😀", "plain é 😀"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_clean(text, shown):
    assert clean(text) == shown


@calm
@given(st.text(), st.integers(1, 30))
def test_clipped_text_fits(text, cells):
    cleaned = clean(text)
    clipped = clip(cleaned, cells, "…")
    assert width(clipped) <= cells
    assert clipped == cleaned or cleaned.startswith(clipped.removesuffix("…"))


def test_clip_counts_cells_not_characters():
    assert clip("日本語日本語", 7, "…") == "日本語…"
    assert width("日本語") == 6
    assert width("e\u0301") == 1


@calm
@given(st.text(), st.integers(1, 30))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text, cells):
    lines = list(wrap(text, cells))
    # a wide character does not fit in one cell, and stands alone
    assert all(width(line) <= cells or len(line) == 1 for line in lines)
    whole = "".join(clean(line.expandtabs(4)) for line in text.splitlines())
    assert "".join(lines).replace(" ", "") == whole.replace(" ", "")


def test_wrap_breaks_at_spaces():
    assert list(wrap("the quick brown fox\njumps", 10)) == ["the quick", "brown fox", "jumps"]


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (-1, "?"),
        (0, "0.00ms"),
        (1_500_000, "1.50ms"),
        (312_900_000, "312ms"),
        (1_429_999_999, "1.42s"),
        (59_999_999_999, "59.99s"),
        (125 * 10**9, "2m 05s"),
        (3_720 * 10**9, "1h 02m"),
        (90_000 * 10**9, "1d 01h"),
    ],
)
def test_duration(nanos, text):
    assert duration(nanos) == text
