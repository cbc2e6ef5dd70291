"""`spanloom forward`: trace files to a backend, each span at least once, from where the last time ended."""

import gzip
import json
import os
import signal
import threading

import pytest

from spanloom import cli
from spanloom.forward import work
from spanloom_jsonl import encode_spans
from spanloom_otlp import _backoff

from .conftest import PATIENCE, Answer, eventually, ids_in, ids_of


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(_backoff, "_FIRST", 0.01)
    monkeypatch.setattr(_backoff, "LONGEST", 0.02)
    monkeypatch.setattr(work, "_LOOK_EVERY", 0.01)


@pytest.fixture
def write(tmp_path):
    """`write("a.traces.jsonl", spans, ...)`: append a line for each argument, spans or bytes."""

    def write(name, *lines):
        with (tmp_path / name).open("ab") as file:
            for line in lines:
                file.write(line if isinstance(line, bytes) else encode_spans(line) + b"\n")
        return tmp_path / name

    return write


@pytest.fixture
def forward(backend, tmp_path, capsys):
    """Run the command on the test's folder; returns its exit code and what it said."""

    def forward(*arguments, to="otlp", endpoint=backend.url, targets=(tmp_path,)):
        where = ["--endpoint", endpoint, "--protocol", "http"] if endpoint else []
        code = cli.main(["forward", *map(str, targets), "--to", to, *where, *arguments])
        return code, capsys.readouterr().err

    return forward


def test_a_folder_is_forwarded_once_and_then_only_what_is_new(backend, forward, write, make_spans):
    first, second, third = make_spans(3), make_spans(2), make_spans(1)
    write("a.traces.jsonl", first[:2], first[2:])
    write("b.traces.jsonl", second)

    assert forward() == (0, f"spanloom: 5 spans delivered to {backend.url}\n")
    assert sorted(backend.taken) == sorted(ids_of([*first, *second]))

    code, said = forward()
    assert code == 0
    assert "0 spans delivered" in said
    assert "delivered earlier" in said

    write("a.traces.jsonl", third)
    assert forward()[0] == 0
    assert backend.taken[5:] == ids_of(third)


def test_a_file_keeps_its_place_when_it_is_renamed_and_compressed(backend, forward, write, make_spans, tmp_path):
    old, new = make_spans(2), make_spans(2)
    path = write("a.traces.jsonl", old)
    forward()
    write("a.traces.jsonl", new[:1])
    path.rename(tmp_path / "renamed.jsonl")
    forward()
    write("renamed.jsonl", new[1:])
    (tmp_path / "renamed.jsonl.gz").write_bytes(gzip.compress((tmp_path / "renamed.jsonl").read_bytes()))
    (tmp_path / "renamed.jsonl").unlink()

    assert forward()[0] == 0
    assert backend.taken == ids_of([*old, *new])


def test_compressed_files_are_read(backend, forward, make_spans, tmp_path):
    zstandard = pytest.importorskip("zstandard")
    spans = make_spans(4)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(encode_spans(spans[:2]) + b"\n"))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(encode_spans(spans[2:]) + b"\n"))

    assert forward()[0] == 0
    assert sorted(backend.taken) == sorted(ids_of(spans))


def test_broken_lines_are_named_and_the_rest_goes_on(backend, forward, write, make_spans):
    spans = make_spans(3)
    path = write("a.jsonl", spans[:1], b"{broken\n", b"\n", spans[1:2], b'{"resourceSpans":5}\n', spans[2:])

    code, said = forward()

    assert code == 1
    assert backend.taken == ids_of(spans)
    assert f"{path}:2: broken line" in said
    assert f"{path}:5: broken line" in said
    assert said.count("\n") == 3
    assert "2 lines left out" in said


def test_files_that_begin_alike_are_not_taken_for_one(backend, forward, write, make_spans):
    spans = make_spans(4)
    for name, one in zip("abcd", spans, strict=True):
        write(f"{name}.jsonl", b"\n{broken\n", [one])
    write("e.jsonl", b"{broken\n")

    assert forward()[0] == 1
    assert sorted(backend.taken) == sorted(ids_of(spans))
    forward()
    assert len(backend.taken) == 4


def test_half_a_line_waits_for_its_end(backend, forward, write, make_spans):
    spans = make_spans(2)
    whole = encode_spans(spans[1:]) + b"\n"
    path = write("a.jsonl", spans[:1], whole[:40])

    code, said = forward()
    assert code == 1
    assert f"{path}:2: incomplete line" in said
    write("a.jsonl", whole[40:])

    assert forward()[0] == 0
    assert backend.taken == ids_of(spans)


def test_a_last_line_without_its_line_feed_is_a_line(backend, forward, write, make_spans):
    spans = make_spans(1)
    write("a.jsonl", encode_spans(spans))

    assert forward()[0] == 0
    write("a.jsonl", b"\n", make_spans(1))
    assert forward()[0] == 0
    assert backend.taken[:1] == ids_of(spans)
    assert len(backend.taken) == 2


def test_what_is_no_ended_span_is_left_out(backend, forward, write, make_spans):
    spans = make_spans(2)
    started = json.loads(encode_spans(spans[:1]))
    started["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["endTimeUnixNano"] = "0"
    write("a.jsonl", json.dumps(started).encode() + b"\n", spans[1:])
    write("a.logs.jsonl", b'{"resourceLogs":[]}\n')
    logs = write("strange.jsonl", b'{"resourceLogs":[]}\n')

    code, said = forward()

    assert code == 0
    assert backend.taken == ids_of(spans[1:])
    assert "1 span without an end" in said
    assert f"{logs}: these are no traces" in said


def test_batches_are_bounded_in_spans_and_bytes(backend, forward, write, make_spans):
    many, big = make_spans(1300), make_spans(30, size=2000)
    write("a.jsonl", many, *[[span] for span in big], big)

    assert forward("--batch-bytes", "10000")[0] == 0

    assert set(backend.taken) == set(ids_of([*many, *big]))
    assert len(backend.taken) == 1300 + 60
    assert max(len(ids_in(request)) for _, _, request in backend.requests) <= 512
    sizes = [request.ByteSize() for _, _, request in backend.requests if len(ids_in(request)) > 1]
    assert max(sizes) < 20_000


def test_a_wrong_setting_stops_it_and_the_same_command_goes_on(backend, forward, write, make_spans):
    spans = make_spans(3)
    write("a.jsonl", spans)
    backend.answers = [Answer(401)]

    code, said = forward()

    assert code == 1
    assert "OTEL_EXPORTER_OTLP_HEADERS" in said
    assert "goes on from there" in said
    assert len(backend.requests) == 1
    assert forward()[0] == 0
    assert backend.taken == ids_of(spans)


def test_trouble_of_the_backend_is_waited_out_for_a_while(backend, forward, write, make_spans, monkeypatch):
    spans = make_spans(3)
    write("a.jsonl", spans)
    backend.answers = [Answer(503), Answer(429), Answer(500)]

    code, said = forward()
    assert code == 0
    assert backend.taken == ids_of(spans)
    assert said.count("It is tried again.") == 3

    backend.always = Answer(503)
    monkeypatch.setattr(work, "_PATIENCE", 0.1)
    write("b.jsonl", make_spans(1))
    code, said = forward()
    assert code == 1
    assert "answers 503" in said


def test_refused_spans_are_counted_and_the_others_arrive(backend, forward, write, make_spans):
    spans = make_spans(4)
    bad = spans[2].context.span_id
    backend.always = lambda request: Answer(400 if bad in ids_in(request) else 200)
    write("a.jsonl", spans)

    code, said = forward()

    assert code == 1
    assert "1 refused there" in said
    assert backend.taken == [one for one in ids_of(spans) if one != bad]


def test_several_backends_have_each_a_cursor_of_its_own(backend, start_backend, forward, write, make_spans, tmp_path):
    other = start_backend()
    spans = make_spans(2)
    write("a.jsonl", spans)
    forward()

    assert forward(endpoint=other.url)[0] == 0
    assert other.taken == ids_of(spans)
    assert len(list(tmp_path.glob(".forward-otlp-*.cursor"))) == 2
    assert forward("--cursor", str(tmp_path / "mine"))[0] == 0
    assert len(backend.taken) == 4
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600


def test_a_cursor_that_a_kill_has_torn_is_read_as_far_as_it_goes(backend, forward, write, make_spans, tmp_path):
    spans = make_spans(3)
    write("a.jsonl", spans[:1])
    cursor = tmp_path / "cursor"
    forward("--cursor", str(cursor))
    with cursor.open("ab") as file:
        file.write(cursor.read_bytes()[:-3])  # as for another step, torn inside its number
    write("a.jsonl", spans[1:])

    assert forward("--cursor", str(cursor))[0] == 0
    assert forward("--cursor", str(cursor))[0] == 0
    assert backend.taken == ids_of(spans)


def test_a_cursor_that_cannot_be_written_is_named(backend, forward, write, make_spans, tmp_path):
    write("a.jsonl", make_spans(1))

    code, said = forward("--cursor", str(tmp_path / "nowhere" / "cursor"))

    assert code == 1
    assert "--cursor" in said


def test_of_a_spool_only_what_was_put_aside_is_taken(backend, forward, write, make_spans):
    waiting, refused = make_spans(2), make_spans(2)
    write("20260101T000000-1-abcdef.lock", b"")
    write("20260101T000000-1-abcdef.000001.jsonl", waiting)
    write("refused-20260101T000000-1-abcdef.000002.jsonl", refused)

    assert forward()[0] == 0
    assert backend.taken == ids_of(refused)


def test_a_base_address_is_enough(backend, forward, write, make_spans):
    write("a.jsonl", make_spans(1))

    assert forward(endpoint=backend.url.removesuffix("v1/traces"))[0] == 0
    assert backend.requests[0][0] == "/v1/traces"


def test_grpc(grpc_backend, forward, write, make_spans):
    spans = make_spans(3)
    write("a.jsonl", spans)

    assert forward("--endpoint", grpc_backend.url, "--protocol", "grpc", endpoint=None)[0] == 0
    assert grpc_backend.taken == ids_of(spans)


def test_langfuse(backend, forward, write, make_spans, monkeypatch):
    write("a.jsonl", make_spans(2))
    base = backend.url.removesuffix("/v1/traces")
    assert forward("--endpoint", base, to="langfuse", endpoint=None)[0] == 1  # no keys
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")

    code, said = forward("--endpoint", base, to="langfuse", endpoint=None)

    assert code == 0
    assert "2 spans delivered" in said
    assert "sk-lf" not in said
    path, headers, _ = backend.requests[0]
    assert path == "/api/public/otel/v1/traces"
    assert headers["authorization"].startswith("Basic ")
    assert forward("--protocol", "grpc", to="langfuse", endpoint=None)[0] == 2


def test_compatibility_attributes_are_written_where_they_are_asked_for(
    backend, forward, write, make_spans, monkeypatch
):
    monkeypatch.setenv("SPANLOOM_COMPAT", "openinference")
    write("a.jsonl", make_spans(1, **{"gen_ai.operation.name": "chat"}))

    assert forward()[0] == 0
    (span,) = backend.requests[0][2].resource_spans[0].scope_spans[0].spans
    assert "openinference.span.kind" in {pair.key for pair in span.attributes}


def test_wrong_usage(forward, tmp_path, monkeypatch, write, make_spans):
    code, said = forward(targets=[tmp_path / "absent"])
    assert code == 2
    assert "absent" in said
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    code, said = forward(endpoint=None)
    assert code == 2
    assert "http/json" in said
    with pytest.raises(SystemExit) as exit_:
        cli.main(["forward", str(tmp_path)])
    assert exit_.value.code == 2


def test_following_sends_what_is_written_meanwhile(backend, write, make_spans, tmp_path, monkeypatch, capsys):
    spans = make_spans(6)
    write("a.jsonl", spans[:2])
    half = encode_spans(spans[3:4]) + b"\n"
    steps = iter(
        [
            lambda: write("a.jsonl", spans[2:3]),
            lambda: write("a.jsonl", half[:30]),
            lambda: write("a.jsonl", half[30:]),
            lambda: write("b.jsonl", spans[4:]),
            lambda: None,
        ]
    )

    def wait(_):
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(work, "sleep", wait)
    where = ["--endpoint", backend.url, "--protocol", "http"]

    code = cli.main(["forward", str(tmp_path), "--to", "otlp", "--follow", *where])

    assert code == 0
    assert backend.taken == ids_of(spans)
    assert "6 spans delivered" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(backend, workshop, make_spans):
    spans = make_spans(200)
    lines = b"".join(encode_spans([span]) + b"\n" for span in spans)
    (workshop.folder / "a.jsonl").write_bytes(lines)
    release = threading.Event()
    backend.answers = [Answer()] * 5 + [Answer(before=lambda: release.wait(PATIENCE))]
    arguments = ["--to", "otlp", "--endpoint", backend.url, "--protocol", "http", "--batch-bytes", "3000"]
    command = [workshop.tool("spanloom"), "forward", ".", *arguments]
    with workshop.start(command) as process:
        backend.wait(lambda: len(backend.requests) == 6)
        process.kill()
        process.communicate()
    release.set()
    before = len(backend.taken)

    ran = workshop.run(command)

    assert ran.code == 0
    assert set(backend.taken) == set(ids_of(spans))
    assert len(backend.taken) - before < 200  # it has not begun anew


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process there")
def test_following_ends_with_ctrl_c(backend, workshop, make_spans):
    spans = make_spans(2)
    (workshop.folder / "a.jsonl").write_bytes(encode_spans(spans[:1]) + b"\n")
    arguments = ["--follow", "--to", "otlp", "--endpoint", backend.url, "--protocol", "http"]
    with workshop.start([workshop.tool("spanloom"), "forward", ".", *arguments]) as process:
        backend.wait(lambda: backend.taken)
        with (workshop.folder / "a.jsonl").open("ab") as file:
            file.write(encode_spans(spans[1:]) + b"\n")
        backend.wait(lambda: len(backend.taken) == 2)
        eventually(lambda: len((workshop.folder / next_cursor(workshop)).read_bytes().splitlines()) == 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, err
    assert "2 spans delivered" in err


def next_cursor(workshop):
    return next(path.name for path in workshop.folder.glob(".forward-*.cursor"))
