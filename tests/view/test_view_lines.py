import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spanloom.view.lines import Line, iter_lines, iter_lines_reversed

# Few symbols, so that line ends, carriage returns and cut multi-byte characters are frequent.
texts = st.lists(st.sampled_from(["\n", "\r\n", "a", "é", "😀", '{"k":1}', " "]), max_size=40).map("".join)
with_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


def both(path, size, **how):
    forwards = list(iter_lines(str(path), size, **{k: v for k, v in how.items() if k != "block"}))
    backwards = list(iter_lines_reversed(str(path), size, **how))
    return forwards, backwards[::-1]


@with_files
@given(text=texts, block=st.integers(1, 12), cut=st.integers(0, 200))
@example(text="\n", block=1, cut=1)
@example(text="a\n\nb", block=2, cut=4)
def test_backwards_gives_the_lines_of_forwards(tmp_path, text, block, cut):
    data = text.encode()
    size = min(cut, len(data))
    path = tmp_path / "f"
    path.write_bytes(data)
    forwards, backwards = both(path, size, block=block)
    assert backwards == forwards
    pieces = data[:size].split(b"\n")
    last = pieces.pop()
    assert [line.data for line in forwards] == pieces + ([last] if last else [])
    assert all(data[line.offset : line.offset + line.size] == line.data for line in forwards)
    assert [line.ended for line in forwards] == [True] * len(pieces) + [False] * bool(last)


@with_files
@given(text=texts, block=st.integers(1, 12), limit=st.integers(1, 10))
def test_longer_lines_than_the_limit_keep_their_place_but_not_their_bytes(tmp_path, text, block, limit):
    data = text.encode()
    path = tmp_path / "f"
    path.write_bytes(data)
    forwards, backwards = both(path, len(data), block=block, limit=limit)
    assert backwards == forwards
    whole = list(iter_lines(str(path), len(data)))
    assert forwards == [line._replace(data=line.data if line.size <= limit else b"") for line in whole]


def test_reading_backwards_reads_only_what_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 5_000_000 + b"\nlast\n")
    import builtins

    read = []
    real = builtins.open

    def counting(*args, **kwargs):
        read.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(builtins, "open", counting)
    lines = iter_lines_reversed(str(path), path.stat().st_size)
    assert next(lines) == Line(5_000_001, b"last", 4, True)
    assert len(read) == 1


def test_a_file_that_was_replaced_is_not_read_on(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"zero\none\ntwo\n")
    lines = iter_lines_reversed(str(path), 13, block=4)
    assert next(lines).data == b"two"
    other = tmp_path / "g"
    other.write_bytes(b"something else\n")
    other.replace(path)
    with pytest.raises(OSError, match="replaced"):
        next(lines)


def test_a_file_that_shrank_is_not_read_backwards_and_ends_forwards(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"one\ntw")
    with pytest.raises(OSError, match="cut"):
        next(iter_lines_reversed(str(path), 8))
    assert [line.data for line in iter_lines(str(path), 8)] == [b"one", b"tw"]
