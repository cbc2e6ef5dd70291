"""Reading files: what is skipped, what is told, and how little is held."""

import tracemalloc

import pytest

from spanloom.view import lines
from spanloom.view.files import find_file
from spanloom.view.problems import Problems
from spanloom.view.reader import iter_batches, iter_spans


def ids(path, problems=None, **how):
    return [
        span.span_id
        for batch in iter_batches(find_file(str(path)), problems or Problems(), **how)
        for span in batch.spans
    ]


def test_spans_in_the_order_they_were_written_and_backwards(otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", *(otlp.span("s", str(number)) for number in range(7)), per_line=3)
    assert [span.span_id for span in iter_spans(str(path))] == list("0123456")
    assert ids(path) == list("0123456")
    assert ids(path, backwards=True) == list("6345012")


def test_broken_lines_are_counted_named_and_stepped_over(otlp, tmp_path):
    good = otlp.line(otlp.span("s", "a"))
    bad = [b"{", b"\xff", b'{"x":1}', b"[]", b"nul", b"\x00\x00", good[:40].encode() + good.encode()]
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\n".join([good.encode(), b"", *bad, b'{"resourceLogs":[]}', good.encode()]) + b"\r\n \n")
    for backwards in (False, True):
        problems = Problems()
        assert ids(path, problems, backwards=backwards) == ["a", "a"]
        assert problems.broken == 7
        report = list(problems.report())
        assert report[0] == "7 broken lines skipped:"
        first = "line 9: not JSON" if backwards else "line 3: not JSON: Expecting property name"
        assert report[1].startswith(f"  {path}, {first}")
        assert report[-1] == "  and 2 more"
        assert len(report) == 7


def test_a_torn_last_line_is_told_apart_from_broken_ones(otlp, tmp_path):
    good = otlp.line(otlp.span("s", "a"))
    path = tmp_path / "f.jsonl"
    for cut in range(1, len(good)):
        path.write_text(good + "\n" + good[:cut])
        problems = Problems()
        assert ids(path, problems, backwards=True) == ["a"]
        assert list(problems.report()) == [
            f"incomplete last line skipped (its program is still writing, or was killed): {path}"
        ]
    path.write_text(good + "\n" + good)
    assert ids(path, problems := Problems()) == ["a", "a"]
    assert list(problems.report()) == []


def test_a_byte_order_mark_is_no_data(otlp, tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + otlp.line(otlp.span("s", "a")).encode() + b"\n")
    assert ids(path, problems := Problems()) == ["a"]
    assert problems.broken == 0


def test_spans_without_ids_are_named(otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", otlp.span("s", "a"), otlp.span("s", ""), per_line=2)
    assert ids(path, problems := Problems()) == ["a"]
    assert list(problems.report()) == ["1 broken line skipped:", f"  {path}, line 1: 1 of its spans without ids"]


def test_only_lines_that_contain_the_text_are_parsed(otlp, tmp_path):
    path = tmp_path / "f.jsonl"
    spans = [otlp.line(otlp.span("s", "a", trace="AB" * 16)), otlp.line(otlp.span("s", "b", trace="cd" * 16))]
    path.write_text("\n".join([spans[0], "broken, and not looked at", spans[1]]) + "\n")
    assert ids(path, problems := Problems(), containing=b"abab") == ["a"]
    assert ids(path, problems, containing=b"cdcd", backwards=True) == ["b"]
    assert problems.broken == 0


def test_what_cannot_be_read_is_told(tmp_path):
    problems = Problems()
    assert list(iter_spans(str(tmp_path / "none.jsonl"), problems=problems)) == []
    assert list(iter_spans(str(tmp_path), problems=problems)) == []
    assert list(problems.report()) == [
        f"cannot read {tmp_path / 'none.jsonl'}: No such file or directory",
        f"cannot read {tmp_path}: not a regular file; write the data to a file first",
    ]


def test_a_file_that_vanishes_while_it_is_read_keeps_what_was_read(otlp, tmp_path, monkeypatch):
    monkeypatch.setattr(lines.iter_lines_reversed, "__kwdefaults__", {"limit": lines.MAX_LINE, "block": 1000})
    path = otlp.write(tmp_path / "f.jsonl", *(otlp.span("s", str(number)) for number in range(9)))
    problems = Problems()
    batches = iter_batches(find_file(str(path)), problems, backwards=True)
    assert next(batches).spans[0].span_id == "8"
    path.unlink()
    assert len(list(batches)) < 8
    assert list(problems.report()) == [f"cannot read {path}: No such file or directory"]


@pytest.mark.parametrize("backwards", [False, True])
def test_an_over_long_line_is_stepped_over(otlp, tmp_path, backwards, monkeypatch):
    for reader in (lines.iter_lines, lines.iter_lines_reversed):
        monkeypatch.setitem(reader.__kwdefaults__, "limit", 2000)
    path = tmp_path / "f.jsonl"
    good = otlp.line(otlp.span("s", "a"))
    path.write_text(f"{good}\n{'x' * 3000}\n{good}\n")
    assert ids(path, problems := Problems(), backwards=backwards) == ["a", "a"]
    assert list(problems.report())[1] == f"  {path}, line 2: 3,000 bytes long, no OTLP request"


@pytest.mark.parametrize("backwards", [False, True])
def test_memory_does_not_grow_with_the_file(otlp, tmp_path, backwards):
    path = tmp_path / "f.jsonl"
    line = otlp.line(otlp.span("s", "a", spanloom__input="x" * 4000)) + "\n"
    path.write_text(line * 2000)
    file = find_file(str(path))
    assert file.size > 8_000_000
    tracemalloc.start()
    try:
        count = sum(len(batch.spans) for batch in iter_batches(file, Problems(), backwards=backwards))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2000
    assert peak < 2_000_000
