"""What `spanloom view` finds, says and returns."""

import io
import json
import os
import re

import pytest

from spanloom.view import ViewOptions, output, select, show


@pytest.fixture
def folder(otlp, tmp_path):
    """A `.spanloom` with two runs: an older one of two files, and a newer one of two traces."""
    place = tmp_path / ".spanloom"
    child = otlp.span("in a child process", "2" * 16, "1" * 16, 1, 2, trace="a" * 32)
    root = otlp.span("older", "1" * 16, "", 0, 3, trace="a" * 32, error="ValueError: x")
    paths = [
        otlp.write(place / "20251009T085320-1.1.traces.jsonl", root),
        otlp.write(place / "20251009T085320-1.2.traces.jsonl", child),
        otlp.write(place / "20251009T095320-3.3.traces.jsonl", *otlp.traces(2, first=1)),
    ]
    for index, path in enumerate(paths):
        os.utime(path, ns=(otlp.begin + index * 10**12,) * 2)
    return place


def trace_names(text):
    return re.findall(r"^(\S.*?)  \d.*  trace \w+$", text, re.MULTILINE)


def test_the_last_run_in_order_of_start(view, folder):
    seen = view()
    assert (seen.code, seen.err) == (0, "")
    assert trace_names(seen.out) == ["flow 1", "flow 2"]


def test_a_run_of_several_files_is_one(view, folder, otlp):
    for path in folder.glob("*-1.*"):
        os.utime(path, ns=(otlp.begin + 10**15,) * 2)
    seen = view()
    assert trace_names(seen.out) == ["older"]
    assert "└─ in a child process" in seen.out


def test_a_folder_a_file_and_a_trace_id(view, folder):
    assert trace_names(view(folder, directory="elsewhere").out) == ["flow 1", "flow 2"]
    assert trace_names(view(next(folder.glob("*-1.1.*"))).out) == ["older"]
    for trace_id in ("a" * 32, "AAAAAA"):
        seen = view(trace_id)
        assert trace_names(seen.out) == ["older"]
        assert "└─ in a child process" in seen.out
    assert trace_names(view(folder, trace="aaaaaaa", directory="elsewhere").out) == ["older"]


def test_a_file_that_is_named_like_an_id_is_a_file(view, folder, otlp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    otlp.write("abcdef", otlp.span("mine", "1"))
    assert trace_names(view("abcdef").out) == ["mine"]


def test_all_traces_of_the_folder_and_the_last_few(view, folder):
    assert trace_names(view(every=True).out) == ["older", "flow 1", "flow 2"]
    seen = view(last=2)
    assert trace_names(seen.out) == ["flow 1", "flow 2"]
    assert seen.err == ""
    assert trace_names(view(last=9).out) == ["older", "flow 1", "flow 2"]


def test_more_traces_than_are_shown(view, otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", *otlp.traces(30))
    seen = view(path)
    assert trace_names(seen.out) == [f"flow {number}" for number in range(10, 30)]
    assert seen.err == "these are the newest 20 traces: --last N and --all show older ones\n"


def test_the_limit_is_told(view, otlp, tmp_path):
    path = otlp.write(tmp_path / "f.jsonl", *otlp.traces(5))
    seen = view(path, limit=4)
    assert trace_names(seen.out) == ["flow 3", "flow 4"]
    assert seen.err == "stopped reading after 4 spans: --limit N reads more, --limit 0 all\n"


LISTING = """\
TIME                DURATION    SPANS     TOKENS IN/OUT ERRORS  TRACE                             NAME
2025-10-09 08:53:20   3.00ms        2                 -      1  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  older
2025-10-09 08:53:40     10ms        2                 -      -  00000000000000000000000000000001  flow 1
2025-10-09 08:54:00     10ms        2                 -      -  00000000000000000000000000000002  flow 2
"""


@pytest.mark.parametrize("every", [False, True])
def test_the_list_of_all_runs(view, folder, every):
    assert view(listing=True, every=every).out == LISTING


def test_json_lines(view, folder):
    lines = view(every=True, json=True).out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["older", "flow 1", "flow 2"]
    assert json.loads(lines[0])["roots"][0]["children"][0]["name"] == "in a child process"
    listed = [json.loads(line) for line in view(listing=True, json=True).out.splitlines()]
    assert [(trace["spans"], "roots" in trace) for trace in listed] == [(2, False)] * 3


def test_only_errors(view, folder):
    seen = view(every=True, errors=True)
    assert trace_names(seen.out) == ["older"]
    assert "in a child process" not in seen.out
    seen = view(errors=True)
    assert (seen.code, seen.out, seen.err) == (0, "", "no errors in 2 traces\n")


def test_broken_lines_are_told_at_the_end(view, folder):
    path = next(folder.glob("*-3.*"))
    path.write_bytes(b"garbage\n" + path.read_bytes() + b'{"resourceSp')
    seen = view()
    assert seen.code == 0
    assert trace_names(seen.out) == ["flow 1", "flow 2"]
    assert seen.err == (
        f"1 broken line skipped:\n"
        f"  {path}, line 1: not JSON: Expecting value at character 1 of the line\n"
        f"incomplete last line skipped (its program is still writing, or was killed): {path}\n"
    )


def test_a_last_run_without_traces_gives_way_to_the_one_before(view, folder, otlp):
    path = folder / "20251009T105320-9.9.traces.jsonl"
    path.write_text('{"resourceLogs":[]}\n')
    seen = view()
    assert trace_names(seen.out) == ["flow 1", "flow 2"]
    assert seen.err == f"no traces in {path}, going on to the run before\n"


@pytest.mark.parametrize("options", [{}, {"every": True}, {"listing": True}, {"trace": "abcdef"}])
def test_nothing_was_ever_written(view, tmp_path, options):
    place = tmp_path / ".spanloom"
    told = f"spanloom view: no traces in {place}: run `spanloom run app.py` or `spanloom demo` first\n"
    assert [(seen := view(**options)).code, seen.out, seen.err] == [1, "", told]
    place.mkdir()
    assert view(**options).err == told


@pytest.mark.parametrize("every", [False, True])
def test_a_file_of_something_else(view, tmp_path, every):
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")
    seen = view(path, every=every)
    assert (seen.code, seen.out) == (1, "")
    assert seen.err.splitlines() == [
        f"spanloom view: no traces in {path}: it does not hold OTLP/JSON lines",
        "1 broken line skipped:",
        f"  {path}, line 1: not JSON: Expecting value at character 1 of the line",
    ]


def test_an_empty_file(view, tmp_path):
    path = tmp_path / "empty.jsonl"
    path.touch()
    seen = view(path)
    assert (seen.code, seen.out, seen.err) == (1, "", f"spanloom view: no traces in {path}\n")


@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        ("nowhere.jsonl", 1, "no such file or folder: nowhere.jsonl; give one, or a trace id of 6 to 32 hex digits"),
        ("abc", 2, "not a trace id: abc; give 6 to 32 hex digits of one"),
        ("abcdef", 1, "no trace abcdef in {}: `spanloom view --list --all` names those there are"),
        ("\x1b[2J", 1, "no such file or folder: \\x1b[2J; give one, or a trace id of 6 to 32 hex digits"),
        (
            "000000",
            2,
            "2 traces begin with 000000: 00000000000000000000000000000002, 00000000000000000000000000000001",
        ),
    ],
)
def test_a_target_that_is_nothing(view, folder, target, code, told):
    seen = view(target)
    assert (seen.code, seen.out, seen.err) == (code, "", f"spanloom view: {told.format(folder)}\n")


def test_an_id_that_is_none(view, folder):
    assert view(trace="xyzxyz").err == "spanloom view: not a trace id: xyzxyz; give 6 to 32 hex digits of one\n"
    assert view(trace="a" * 33).code == 2


def test_a_folder_that_cannot_be_listed(view, folder, monkeypatch):
    def refuse(path, **how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output, "find_folder", refuse)
    seen = view()
    assert (seen.code, seen.err) == (1, f"spanloom view: cannot read {folder}: Permission denied\n")


def test_a_pipe_is_refused_in_words(view, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    seen = view(tmp_path / "pipe")
    assert seen.code == 1
    assert seen.err.endswith("not a regular file; write the data to a file first\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_hints_on_a_terminal_only(folder):
    def last_line(**options):
        out = Terminal()
        assert show(None, out=out, err=io.StringIO(), directory=str(folder), options=ViewOptions(**options)) == 0
        return out.getvalue().splitlines()[-1]

    assert last_line() == "more: --attributes, --content, --list"
    assert last_line(every=True) == "more: --errors, --attributes, --content, --list"
    assert last_line(listing=True) == "more: spanloom view TRACE-ID"
    assert last_line(json=True).startswith("{")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_without_the_characters_does_not_fail(otlp, tmp_path, encoding):
    path = otlp.write(tmp_path / "f.jsonl", otlp.span("root é", "1", "", 0, 4), otlp.span("日本語", "2", "1", 0, 2))
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    assert show(str(path), out=out, err=io.StringIO(), directory="") == 0
    out.flush()
    text = raw.getvalue().decode(encoding)
    assert ("└─ 日本語" if encoding == "utf-8" else "`- \\u65e5\\u672c\\u8a9e") in text
    assert ("root é" in text) == (encoding != "ascii")


def test_only_what_is_shown_is_held(view, folder, monkeypatch):
    kept = []
    real = select.iter_batches

    def noting(*args, keep=None, **kwargs):
        kept.append(keep)
        return real(*args, keep=keep, **kwargs)

    monkeypatch.setattr(select, "iter_batches", noting)
    for options in ({}, {"content": True}, {"listing": True, "json": True}, {"attributes": True}, {"json": True}):
        view(**options)
    messages = "gen_ai.input.messages"
    assert [keep if keep is None else messages in keep for keep in kept] == [
        False,
        True,
        False,
        False,
        False,
        None,
        None,
    ]
