"""The whole stack with its own files: what programs send is in Jaeger, Tempo and Prometheus, whole, and findable."""

import json
import math
import os
import re
import time
import urllib.request
from pathlib import Path

import pytest

from spanloom.demo.research_script import ResearchScript
from spanloom.demo.server import ModelServer

pytestmark = pytest.mark.slow
BOARDS = Path(__file__).parents[2] / "compose" / "grafana" / "dashboards"
# What is drawn of these only while something goes wrong.
QUIET = ("refused_spans", "send_failed", "enqueue_failed")


@pytest.fixture(scope="module")
def collector(backends, request, start_collector, ports, tmp_path_factory):
    """The collector of docker-compose.yml, in front of those of its backends that are here."""
    folder, places = tmp_path_factory.mktemp("collector"), {}
    for name, variable in (("jaeger", "JAEGER_OTLP"), ("tempo", "TEMPO_OTLP"), ("prometheus", "PROMETHEUS_OTLP")):
        if backends.find(name):
            places[variable] = request.getfixturevalue(name).otlp
    return start_collector(folder, "receive", "deliver", COLLECTOR_METRICS_PORT=ports["collector"], **places)


@pytest.fixture(scope="module")
def sent(collector, run, workload):
    """The spans of two programs that have run, LangGraph's demo and the workload, as their files have them."""
    settings = {
        "OTEL_TRACES_EXPORTER": "otlp,jsonl",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",  # milliseconds
        "SPANLOOM_COST": "true",
    }
    with ModelServer(ResearchScript(), seconds_per_token=0.002) as server:
        model = server.environment({})
        desk = run("-m", "spanloom.demo.research", OTEL_SERVICE_NAME="research", **(settings | model))
    orders = workload(40, OTEL_SERVICE_NAME="orders", **settings)
    assert len(desk) >= 1
    assert len(orders) == 41
    return desk | orders


@pytest.fixture(params=["jaeger", "tempo"])
def backend(request, sent):
    """One of the two, with everything sent."""
    return request.getfixturevalue(request.param)


def whole(backend, trace, spans, poll):
    return poll(
        lambda: (found := backend.spans(trace)) and len(found) >= len(spans) and found,
        lambda: f"{len(backend.spans(trace))} of {len(spans)} spans of {trace}\n{backend.server.text[-2000:]}",
    )


def as_texts(attributes):
    """Lists as JSON texts, which Jaeger's storage makes of them, in its own spelling."""
    plain = {}
    for key, value in attributes.items():
        is_list = isinstance(value, list) or (isinstance(value, str) and value.startswith("["))
        parsed = json.loads(value) if is_list and isinstance(value, str) else value
        plain[key] = json.dumps(parsed) if is_list else value
    return plain


def comparable(span, *, exact):
    """The span, events and links in the order of time; for Jaeger without what its storage has no word for."""
    plain = span | {name: sorted(span[name], key=lambda one: one[:2]) for name in ("events", "links")}
    if exact:
        return plain
    links = [link[:2] for link in plain["links"]]
    return plain | {"links": links} | {name: as_texts(plain[name]) for name in ("attributes", "resource")}


def test_every_span_arrives_whole(backend, sent, poll, request):
    exact = "jaeger" not in request.node.callspec.id
    for trace, spans in sent.items():
        found = whole(backend, trace, spans, poll)
        assert found.keys() == spans.keys()
        for span, plain in spans.items():
            assert comparable(found[span], exact=exact) == comparable(plain, exact=exact)


def test_long_messages_are_whole_and_json(backend, sent, poll):
    longest, trace = max(
        (len(plain["attributes"].get("gen_ai.input.messages", "")), trace)
        for trace, spans in sent.items()
        for plain in spans.values()
    )
    assert longest > 20_000

    found = whole(backend, trace, sent[trace], poll)

    texts = [plain["attributes"].get("gen_ai.input.messages", "[]") for plain in found.values()]
    assert max(map(len, texts)) == longest
    assert all(isinstance(json.loads(text), list) for text in texts)


def matching(sent, condition):
    """The traces with a span whose attributes meet a condition."""
    return {trace for trace, spans in sent.items() if any(condition(plain) for plain in spans.values())}


TRACEQL = {
    '{ span.gen_ai.operation.name = "execute_tool" }': lambda span: (
        span["attributes"].get("gen_ai.operation.name") == "execute_tool"
    ),
    '{ span.gen_ai.request.model = "gpt-4o-mini" && span.gen_ai.usage.input_tokens > 4700 }': lambda span: (
        span["attributes"].get("gen_ai.usage.input_tokens", 0) > 4700
    ),
    '{ span.gen_ai.conversation.id = "order-3" }': lambda span: (
        span["attributes"].get("gen_ai.conversation.id") == "order-3"
    ),
    '{ span.spanloom.node.name = "ship" && status = error }': lambda span: (
        span["attributes"].get("spanloom.node.name") == "ship" and span["status"][0] == 2
    ),
    '{ span.gen_ai.output.messages =~ ".*This is order 7.*" }': lambda span: (
        "This is order 7." in span["attributes"].get("gen_ai.output.messages", "")
    ),
    '{ resource.service.name = "research" } && { span.gen_ai.operation.name = "invoke_agent" }': lambda span: (
        span["attributes"].get("gen_ai.operation.name") == "invoke_agent"
    ),
}


@pytest.mark.parametrize("query", TRACEQL)
def test_traceql_finds_genai_attributes_at_once(tempo, sent, poll, query):
    expected = matching(sent, TRACEQL[query])
    assert expected

    # Other tests' traces are there, too.
    poll(lambda: tempo.search(query) & sent.keys() == expected, lambda: f"{tempo.search(query)} instead of {expected}")


def post_span(collector, trace, at, conversation):
    """Send a trace of one span."""
    span = {"traceId": trace, "spanId": trace[:16], "name": "invoke_workflow by hand", "kind": 1}
    span |= {"startTimeUnixNano": str(at), "endTimeUnixNano": str(at + 10**9)}
    span["attributes"] = [{"key": "gen_ai.conversation.id", "value": {"stringValue": conversation}}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "by hand"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}
    request = urllib.request.Request(f"{collector.http}/v1/traces", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


def test_spans_of_days_ago_are_found_at_their_own_time(tempo, collector, poll):
    """As from files that are read in later: by their time, though the backend has them since now only."""
    at, trace = time.time_ns() - 3 * 86_400 * 10**9, os.urandom(16).hex()
    post_span(collector, trace, at, "old")

    poll(lambda: tempo.spans(trace), "the trace by its id")
    seconds = at // 10**9
    poll(
        lambda: (
            tempo.search('{ span.gen_ai.conversation.id = "old" }', start=seconds - 3600, end=seconds + 3600) == {trace}
        ),
        tempo.server.tell,
        patience=180,
    )


def test_jaeger_shows_a_span_once_that_comes_twice(jaeger, collector, poll):
    """Delivery is at least once. (Tempo shows it twice while both lie in one of its blocks.)"""
    at, trace, sent = time.time_ns(), os.urandom(16).hex(), "otelcol_exporter_sent_spans_total"
    before = collector.count(sent, exporter="otlp_grpc/jaeger")
    post_span(collector, trace, at, "twice")
    poll(lambda: collector.count(sent, exporter="otlp_grpc/jaeger") > before, collector.server.tell)
    post_span(collector, trace, at, "twice")
    poll(lambda: collector.count(sent, exporter="otlp_grpc/jaeger") > before + 1, collector.server.tell)

    poll(lambda: jaeger.shown(trace) == 1, lambda: str(jaeger.shown(trace)))


def test_jaeger_finds_genai_attributes(jaeger, sent, poll):
    tags = json.dumps({"gen_ai.operation.name": "execute_tool", "error": "true"})
    expected = matching(
        sent,
        lambda span: (
            span["attributes"].get("gen_ai.operation.name") == "execute_tool"
            and span["status"][0] == 2
            and span["resource"]["service.name"] == "orders"
        ),
    )
    assert expected

    poll(
        lambda: jaeger.search(service="orders", tags=tags) == expected,
        lambda: f"{jaeger.search(service='orders', tags=tags)} instead of {expected}",
    )


# ---- metrics ----


def one(prometheus, query):
    return sum(value for _, value in prometheus.ask(query))


def test_span_metrics_count_every_span(prometheus, sent, poll):
    operations = {}
    for spans in sent.values():
        for plain in spans.values():
            operation = plain["attributes"].get("gen_ai.operation.name")
            if operation:
                key = (plain["resource"]["service.name"], operation, plain["status"][0] == 2)
                operations[key] = operations.get(key, 0) + 1
    query = "sum by (service_name, gen_ai_operation_name, status_code) (traces_span_metrics_calls_total)"

    def counted():
        return {
            (labels["service_name"], labels["gen_ai_operation_name"], labels["status_code"] == "STATUS_CODE_ERROR"): n
            for labels, n in prometheus.ask(query)
            if "gen_ai_operation_name" in labels and labels["service_name"] in ("research", "orders")
        }

    poll(lambda: counted() == operations, lambda: f"{counted()} instead of {operations}")


def test_programs_metrics_have_the_names_that_dashboards_use(prometheus, sent, poll):
    tokens = sum(
        plain["attributes"].get("gen_ai.usage.input_tokens", 0)
        for spans in sent.values()
        for plain in spans.values()
        if plain["attributes"].get("gen_ai.request.model") == "gpt-4o-mini"
    )
    cost = sum(plain["attributes"].get("spanloom.cost.usd", 0) for spans in sent.values() for plain in spans.values())
    ours = 'service_name=~"research|orders"'
    model = f'{ours}, gen_ai_request_model="gpt-4o-mini"'

    poll(
        lambda: one(prometheus, f'gen_ai_client_token_usage_sum{{{model}, gen_ai_token_type="input"}}') == tokens,
        lambda: f"{tokens} tokens; {prometheus.ask('gen_ai_client_token_usage_sum')}",
    )
    assert math.isclose(one(prometheus, f"spanloom_cost_total{{{ours}}}"), cost, rel_tol=1e-9)
    assert one(prometheus, f"gen_ai_client_operation_time_to_first_chunk_seconds_count{{{ours}}}") > 0
    assert {labels["service_name"] for labels, _ in prometheus.ask("spanloom_node_duration_seconds_count")} >= {
        "orders",
        "research",
    }


def test_files_of_all_three_signals_are_read(prometheus, collector, workload, poll):
    workload(
        2,
        folder=collector.jsonl,
        OTEL_SERVICE_NAME="files",
        OTEL_TRACES_EXPORTER="jsonl",
        OTEL_METRICS_EXPORTER="jsonl",
        OTEL_LOGS_EXPORTER="jsonl",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_AND_EVENT",
    )
    assert {".".join(path.name.split(".")[-2:]) for path in collector.jsonl.iterdir()} >= {
        "traces.jsonl",
        "metrics.jsonl",
        "logs.jsonl",
    }

    tokens = 'gen_ai_client_token_usage_sum{service_name="files", gen_ai_token_type="input"}'
    poll(lambda: one(prometheus, tokens) > 0, lambda: str(prometheus.ask(tokens)))
    runs = 'traces_span_metrics_calls_total{service_name="files", gen_ai_operation_name="invoke_workflow"}'
    poll(lambda: one(prometheus, runs) == 2, lambda: str(prometheus.ask(runs)))
    poll(
        lambda: collector.logs.exists() and "gen_ai.client.inference.operation.details" in collector.logs.read_text(),
        collector.server.tell,
    )


def test_exemplars_lead_to_traces(prometheus, sent, poll):
    def exemplars():
        query = "traces_span_metrics_duration_seconds_bucket"
        address = (
            f"{prometheus.address}/api/v1/query_exemplars?query={query}&start={time.time() - 3600}&end={time.time()}"
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as answer:
            data = json.load(answer)["data"]
        return {exemplar["labels"]["trace_id"] for series in data for exemplar in series["exemplars"]}

    assert poll(exemplars, "no exemplars") <= sent.keys() | exemplars()
    assert exemplars() & sent.keys()


@pytest.mark.parametrize("board", ["runs", "models", "pipeline"])
def test_every_panel_shows_something(prometheus, sent, poll, board):
    asked = {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "30m")
        .replace("$__range", "30m")
        .replace("$service", ".*")
        for panel in json.loads((BOARDS / f"{board}.json").read_text("utf-8"))["panels"]
        for target in panel.get("targets", ())
        if "expr" in target
    }
    assert len(asked) > 5

    def empty():
        found = {panel: prometheus.ask(expression) for panel, expression in asked.items()}
        return {
            panel: values
            for panel, values in found.items()
            if all(math.isnan(value) for _, value in values) and not any(word in asked[panel] for word in QUIET)
        }

    poll(lambda: not empty(), lambda: str(empty()))


def test_alert_rules_are_loaded_and_sound(prometheus, sent, poll):
    def rules():
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{prometheus.address}/api/v1/rules"
        ) as answer:
            return [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]

    poll(lambda: all(rule["health"] == "ok" for rule in rules()), lambda: str(rules()))
    alerts = {rule["name"] for rule in rules() if rule["type"] == "alerting"}
    assert {"WorkflowFailing", "WorkflowSlow", "TokenBurst", "ToolFailing", "CollectorLosesSpans"} <= alerts
    # Half of the orders could not be shipped.
    failing = 'ALERTS{alertname="WorkflowFailing", span_name="invoke_workflow orders"}'
    poll(lambda: prometheus.ask(failing), lambda: str(rules()))


def test_grafanas_trace_panels_ask_what_tempo_understands(tempo, sent, poll):
    queries = [
        target["query"]
        for path in BOARDS.glob("*.json")
        for panel in json.loads(path.read_text("utf-8"))["panels"]
        for target in panel.get("targets", ())
        if target.get("queryType") == "traceql"
    ]
    failed = matching(
        sent,
        lambda span: (
            span["status"][0] == 2 and span["attributes"].get("gen_ai.operation.name", "") == "invoke_workflow"
        ),
    )

    assert len(queries) == 2
    (errors,) = (re.sub(r"\$\{service:regex\}", ".*", query) for query in queries if "status" in query)
    poll(lambda: tempo.search(errors) & sent.keys() == failed, lambda: f"{tempo.search(errors)} instead of {failed}")
