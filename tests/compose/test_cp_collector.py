"""The collector with the stack's files: sampling, outages, restarts, files of lines; the test is its backend."""

import json
import time
import urllib.request
from collections import Counter

import pytest

pytestmark = pytest.mark.slow


def size(traces):
    """How many spans there are in `{trace id: {span id: span}}`."""
    return sum(map(len, traces.values()))


def test_what_is_sent_arrives_as_it_was(start_collector, sink, workload, poll, tmp_path):
    backend = sink()
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp)

    sent = workload(3, collector.grpc)

    poll(lambda: size(backend.spans) >= size(sent), collector.server.tell)
    assert backend.spans == sent
    assert max(len(str(plain["attributes"])) for trace in sent.values() for plain in trace.values()) > 20_000
    assert not [line for line in collector.server.text.splitlines() if "\twarn\t" in line and "deprecated" in line]


def test_both_otlp_protocols_are_served(start_collector, sink, workload, poll, tmp_path):
    backend = sink()
    collector = start_collector(tmp_path, "receive", "deliver", TEMPO_OTLP=backend.otlp)

    sent = workload(1, collector.http, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")

    poll(lambda: size(backend.spans) >= size(sent), collector.server.tell)
    assert backend.spans == sent


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_outage_and_a_restart_lose_nothing(start_collector, sink, workload, poll, tmp_path, end):
    backend = sink()
    backend.stop()
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp)
    sent = workload(3, collector.grpc)
    poll(
        lambda: collector.count("otelcol_processor_tail_sampling_global_count_traces_sampled_total") >= len(sent),
        collector.server.tell,
    )
    poll(lambda: collector.count("otelcol_exporter_queue_size", exporter="otlp_grpc/jaeger") > 0, "nothing waits")

    getattr(collector.server, end)()
    backend.start()
    collector.server.start()

    poll(lambda: size(backend.spans) >= size(sent), collector.server.tell)
    assert backend.spans == sent


def post(collector, body, signal="traces"):
    """Send OTLP/JSON."""
    request = urllib.request.Request(f"{collector.http}/v1/{signal}", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        assert answer.status == 200


def post_long_run(collector, trace, size):
    """Send one trace, of a root and so many spans of 50 KB, in one request."""
    run = one_span(trace)
    ((scope,),) = (resource["scopeSpans"] for resource in run["resourceSpans"])
    (root,) = scope["spans"]
    text = [{"key": "text", "value": {"stringValue": "x" * 50_000}}]
    scope["spans"] += [
        {**root, "spanId": f"{number:016x}", "parentSpanId": root["spanId"], "attributes": text}
        for number in range(1, size + 1)
    ]
    post(collector, run)


def test_a_run_of_30_megabytes_is_taken_and_cut_into_batches_that_grpc_takes(start_collector, sink, poll, tmp_path):
    backend = sink()
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp)

    post_long_run(collector, "d" * 32, 600)

    poll(lambda: len(backend.spans.get("d" * 32, ())) == 601, collector.server.tell)
    assert {len(plain["attributes"].get("text", "")) for plain in backend.spans["d" * 32].values()} == {0, 50_000}
    assert backend.largest < 4 * 1024 * 1024


def test_sampling_keeps_errors_and_what_is_slow_or_costly(start_collector, sink, workload, poll, tmp_path):
    backend = sink()
    settings = {"JAEGER_OTLP": backend.otlp, "KEEP_PERCENT": 0, "KEEP_OUTPUT_TOKENS": 1_000_000}
    collector = start_collector(tmp_path, "receive", "deliver", **settings)

    sent = workload(6, collector.grpc)

    decided = "otelcol_processor_tail_sampling_global_count_traces_sampled_total"
    poll(lambda: collector.count(decided) >= len(sent), collector.server.tell)
    failed = {trace: one for trace, one in sent.items() if any(plain["status"][0] == 2 for plain in one.values())}
    assert 0 < len(failed) < len(sent)
    poll(lambda: size(backend.spans) >= size(failed), collector.server.tell)
    assert backend.spans == failed
    assert collector.count(decided, sampled="false") == len(sent) - len(failed)


@pytest.mark.parametrize("setting", [{"KEEP_SLOWER_THAN_MS": 1}, {"KEEP_OUTPUT_TOKENS": 6}])
def test_thresholds_of_sampling_are_settings(start_collector, sink, workload, poll, tmp_path, setting):
    backend = sink()
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp, KEEP_PERCENT=0, **setting)

    sent = workload(1, collector.grpc)

    runs = {trace: one for trace, one in sent.items() if len(one) > 1}
    poll(lambda: backend.spans.keys() >= runs.keys(), collector.server.tell)
    assert {trace: backend.spans[trace] for trace in runs} == runs


def test_files_are_read_from_their_beginning_and_once(start_collector, sink, workload, poll, tmp_path):
    """Two processes of one service, whose files begin alike for longer than the reader looks by default."""
    folder, backend = tmp_path / "jsonl", sink()
    facts = ["service.instance.id=one", *(f"fact.{number}={'x' * 90}" for number in range(15))]
    alike = {"OTEL_RESOURCE_ATTRIBUTES": ",".join(facts)}
    before = workload(2, folder=folder / "a", **alike) | workload(2, folder=folder / "b", **alike)
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp)
    poll(lambda: size(backend.spans) >= size(before), collector.server.tell)
    while_it_runs = workload(1, folder=folder / "c", **alike)
    poll(lambda: while_it_runs.keys() <= backend.spans.keys(), collector.server.tell)
    collector.server.stop()

    collector.server.start()
    after = workload(1, folder=folder / "d", **alike)
    poll(lambda: after.keys() <= backend.spans.keys(), collector.server.tell)

    everything = before | while_it_runs | after
    poll(lambda: size(backend.spans) >= size(everything), collector.server.tell)
    assert backend.spans == everything
    # The second start read the last file only; what was read before is not sent again.
    assert collector.count("otelcol_receiver_accepted_spans_total", receiver="otlp_json_file/traces") == size(after)


def test_a_line_that_is_still_being_written_is_waited_for(start_collector, sink, poll, tmp_path):
    folder, backend = tmp_path / "jsonl", sink()
    folder.mkdir()
    line = (json.dumps(one_span("a" * 32, text="x" * 2_000_000)) + "\n").encode()  # longer than the default limit
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp)
    with (folder / "slow.traces.jsonl").open("wb", buffering=0) as file:
        file.write(line[:1000])
        (folder / "other.traces.jsonl").write_text(json.dumps(one_span("b" * 32)) + "\n")
        poll(lambda: "b" * 32 in backend.spans, collector.server.tell)
        time.sleep(1)  # twice as long as the reader waits for the rest by default
        file.write(line[1000:])

    poll(lambda: "a" * 32 in backend.spans, collector.server.tell)
    (arrived,) = backend.spans["a" * 32].values()
    assert arrived["attributes"] == {"text": "x" * 2_000_000}


def test_no_attribute_is_added_to_spans_of_files(start_collector, sink, poll, tmp_path):
    folder, backend = tmp_path / "jsonl", sink()
    folder.mkdir()
    (folder / "one.traces.jsonl").write_text(json.dumps(one_span("c" * 32, fact="1")) + "\n")
    collector = start_collector(tmp_path, "receive", "deliver", JAEGER_OTLP=backend.otlp)

    poll(lambda: "c" * 32 in backend.spans, collector.server.tell)
    (arrived,) = backend.spans["c" * 32].values()
    assert arrived["attributes"] == {"fact": "1"}


def one_span(trace, span=None, **attributes):
    """An OTLP/JSON request with one span."""
    at = time.time_ns()
    made = {
        "traceId": trace,
        "spanId": span or trace[:16],
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": str(at + 1_000_000),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "files"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "test"}, "spans": [made]}]}]}


def test_logs_are_kept_through_a_restart(start_collector, poll, tmp_path):
    collector = start_collector(tmp_path, "receive", "deliver")
    for number in ("first", "second"):
        record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": number}}
        body = {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}]}
        post(collector, body, signal="logs")
        poll(lambda: collector.logs.exists() and number in collector.logs.read_text(), collector.server.tell)  # noqa: B023
        collector.server.stop()
        collector.server.start()

    assert [json.loads(line).keys() for line in collector.logs.read_text().splitlines()] == [{"resourceLogs"}] * 2
    assert "first" in collector.logs.read_text()


@pytest.mark.parametrize("collectors", [1, 2])
def test_kafka_lies_between_collectors(
    start_collector, servers, program, sink, workload, poll, tmp_path, free_ports, collectors
):
    (port,) = free_ports(1)
    (tmp_path / "broker").mkdir()
    broker = servers([program("broker"), port, 8], tmp_path / "broker", ready=lambda: "ready" in broker_log(tmp_path))
    kafka = f"[127.0.0.1:{port}]"
    backends = [sink() for _ in range(collectors)]
    behind = [
        start_collector(
            tmp_path / f"behind{number}", "from-kafka", "deliver", KAFKA_BROKERS=kafka, JAEGER_OTLP=backend.otlp
        )
        for number, backend in enumerate(backends)
    ]
    front = start_collector(tmp_path / "front", "receive", "to-kafka", KAFKA_BROKERS=kafka)

    post_long_run(front, "e" * 32, 100)  # five times the longest message by default
    for number in range(6):  # a trace that comes bit by bit
        post(front, one_span("f" * 32, span=f"{number + 1:016x}"))
        poll(lambda: front.count("otelcol_exporter_sent_spans_total") > 100 + number, front.server.tell)  # noqa: B023
    sent = workload(20, front.grpc)

    poll(
        lambda: sum(size(backend.spans) for backend in backends) >= size(sent) + 101 + 6,
        lambda: "\n".join(server.tell() for server in (broker, front.server, *(one.server for one in behind))),
    )
    one_place_each(sent, backends, also={"e" * 32, "f" * 32})


def broker_log(folder):
    return (folder / "broker" / "log").read_text()


def test_peers_share_traces_by_id(start_collector, sink, workload, poll, tmp_path):
    backends = [sink(), sink()]
    behind = [
        start_collector(tmp_path / f"behind{number}", "from-peers", "deliver", JAEGER_OTLP=backend.otlp)
        for number, backend in enumerate(backends)
    ]
    peers = ", ".join(one.grpc.removeprefix("http://") for one in behind)
    front = start_collector(tmp_path / "front", "receive", "to-peers", PEERS=f"[{peers}]")

    sent = workload(20, front.grpc)

    poll(
        lambda: sum(size(backend.spans) for backend in backends) >= size(sent),
        lambda: "\n".join(one.server.tell() for one in (front, *behind)),
    )
    one_place_each(sent, backends)


def one_place_each(sent, backends, also=frozenset()):
    """Every span has arrived, all of a trace at one backend, and no backend was idle."""
    places = Counter(trace for backend in backends for trace in backend.spans)
    arrived = {trace: one for backend in backends for trace, one in backend.spans.items()}
    assert set(places.values()) == {1}
    assert {trace: one for trace, one in arrived.items() if trace not in also} == sent
    assert all(backend.spans for backend in backends)
