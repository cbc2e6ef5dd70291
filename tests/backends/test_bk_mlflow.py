"""The demos' traces in a real MLflow: by HTTP with what `SPANLOOM_COMPAT` adds, and the lines of files as they are."""

import base64
import json
from collections import Counter, defaultdict

import pytest

pytestmark = pytest.mark.slow

API = "api/3.0/mlflow/traces"


class Mlflow:
    """A running MLflow server, asked through its REST interface."""

    def __init__(self, lab, port):
        self._lab = lab
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, path, **body):
        """The answer to a GET, or to a POST with fields."""
        status, said = self._lab.call(f"{self.address}/{path}", json.dumps(body).encode() if body else None)
        assert status == 200, said
        return said

    def experiment(self, name):
        """The id of a new experiment."""
        return self.ask("api/2.0/mlflow/experiments/create", name=name)["experiment_id"]

    def post(self, experiment, line):
        """Send one line of OTLP/JSON as it is; returns the HTTP status."""
        headers = {"x-mlflow-experiment-id": experiment}
        return self._lab.call(f"{self.address}/v1/traces", line, headers)[0]

    def traces(self, experiment):
        """What it says about each trace of an experiment, by the trace's id."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        found = self.ask(f"{API}/search", locations=[place], max_results=500)
        return {about["trace_id"].removeprefix("tr-"): about for about in found.get("traces", [])}

    def spans(self, experiment, at_least):
        """The spans of an experiment, once so many have arrived, by their ids, with plain attributes."""

        def ask():
            return [
                span
                for trace in self.traces(experiment)
                for span in self.ask(f"{API}/get?trace_id=tr-{trace}")["trace"].get("spans", [])
            ]

        found = self._lab.eventually(ask, lambda found: len(found) >= at_least, f"experiment {experiment}")
        return {_hex(span["span_id"]): {**span, "told": plain(span["attributes"])} for span in found}


def _hex(text):
    return base64.b64decode(text).hex()


def plain(pairs):
    """Protobuf's attributes in JSON as a dict of plain values."""

    def value(given):
        ((kind, content),) = given.items() or (("none", None),)
        if kind == "array_value":
            return [value(item) for item in content.get("values", [])]
        if kind == "kvlist_value":
            return plain(content.get("values", []))
        return content

    return {pair["key"]: value(pair.get("value", {})) for pair in pairs}


@pytest.fixture(scope="module")
def mlflow(lab, tmp_path_factory):
    """A running MLflow server with nothing in it."""
    command, folder = lab.program("mlflow"), tmp_path_factory.mktemp("mlflow")
    (port,) = lab.free_ports(1)
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
        "--workers": "1",
    }
    env = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = [part for option in options.items() for part in option]
    with lab.running([command, "server", *arguments], env, folder, f"http://127.0.0.1:{port}/health"):
        yield Mlflow(lab, port)


@pytest.fixture(scope="module")
def arrived(mlflow, send):
    """`arrived(what, mode)`: what was sent, the experiment, and its spans in MLflow by their ids; each is sent once."""
    kept = {}

    def get(what, mode):
        if (what, mode) not in kept:
            experiment = mlflow.experiment(f"{what} {mode}")
            if mode == "files":
                # A run of its own: MLflow has each trace once.
                sent = send(what, {"OTEL_TRACES_EXPORTER": "jsonl"})
                assert {mlflow.post(experiment, line) for line in sent.lines} == {200}
            else:
                env = {
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": mlflow.address,
                    "OTEL_EXPORTER_OTLP_HEADERS": f"x-mlflow-experiment-id={experiment}",
                }
                sent = send(what, env | {"SPANLOOM_COMPAT": "openinference"})
            kept[what, mode] = sent, experiment, mlflow.spans(experiment, len(sent.spans))
        return kept[what, mode]

    return get


both = pytest.mark.parametrize("what", ["pocketflow", "langgraph"])
modes = pytest.mark.parametrize(
    ("what", "mode"), [("pocketflow", "compat"), ("langgraph", "compat"), ("langgraph", "files")]
)


@modes
def test_every_span_arrives_under_its_parent_with_its_status(arrived, what, mode):
    sent, _, spans = arrived(what, mode)

    assert len(spans) == {"pocketflow": 156, "langgraph": 63}[what]
    assert sent.tree() == {
        key: (
            span["name"],
            _hex(span["parent_span_id"]) if span.get("parent_span_id") else None,
            _hex(span["trace_id"]),
            span["status"].get("code") == "STATUS_CODE_ERROR",
        )
        for key, span in spans.items()
    }


@modes
def test_types(arrived, what, mode):
    """Without compat runs, nodes and searches have none."""
    _, _, spans = arrived(what, mode)
    found = Counter((span["name"].partition(" ")[0], span["told"].get("mlflow.spanType")) for span in spans.values())

    chain = "CHAIN" if mode == "compat" else None
    assert (
        found
        == {
            "pocketflow": {
                ("invoke_workflow", chain): 11,
                ("run_step", chain): 30,
                ("prep", chain): 26,
                ("exec", chain): 31,
                ("exec_fallback", chain): 1,
                ("post", chain): 28,
                ("chat", "LLM" if mode == "compat" else "CHAT_MODEL"): 24,
                ("embeddings", "EMBEDDING"): 5,
            },
            "langgraph": {
                ("invoke_workflow", chain): 5,
                ("run_step", chain): 25,
                ("invoke_agent", "AGENT"): 3,
                ("chat", "LLM" if mode == "compat" else "CHAT_MODEL"): 16,
                ("execute_tool", "TOOL"): 7,
                ("retrieval", "RETRIEVER" if mode == "compat" else None): 3,
                ("embeddings", "EMBEDDING"): 4,
            },
        }[what]
    )


@modes
def test_tokens_are_counted_once(mlflow, arrived, what, mode):
    sent, experiment, _ = arrived(what, mode)
    found = {
        trace: json.loads(about["trace_metadata"].get("mlflow.trace.tokenUsage", "{}"))
        for trace, about in mlflow.traces(experiment).items()
    }

    assert {
        trace: (used.get("input_tokens", 0), used.get("output_tokens", 0)) for trace, used in found.items()
    } == sent.tokens()
    if mode == "compat":  # without it the total leaves out embeddings
        assert {trace: used.get("total_tokens", 0) for trace, used in found.items()} == {
            trace: sum(both) for trace, both in sent.tokens().items()
        }


@modes
def test_messages_are_the_input_and_output_of_model_calls(arrived, what, mode):
    sent, _, spans = arrived(what, mode)
    read = 0
    for span in sent.named("chat"):
        there = spans[span["spanId"]]["told"]
        for side, key in (("spanInputs", "gen_ai.input.messages"), ("spanOutputs", "gen_ai.output.messages")):
            if key in span["told"]:
                assert there[f"mlflow.{side}"] == json.loads(span["told"][key])
                read += 1

    assert read > 30


@pytest.mark.parametrize("mode", ["compat", "files"])
def test_tool_calls(arrived, mode):
    sent, _, spans = arrived("langgraph", mode)
    calls = sent.named("execute_tool")

    for call in calls:
        there = spans[call["spanId"]]["told"]
        assert there["mlflow.spanInputs"] == json.loads(call["told"]["gen_ai.tool.call.arguments"])
        assert there["mlflow.spanOutputs"] == json.loads(call["told"]["gen_ai.tool.call.result"])
    assert sum(call["status"].get("code") == 2 for call in calls) == 1


@modes
def test_errors(mlflow, arrived, what, mode):
    """Of traces as of spans; a trace whose root is well is well."""
    sent, experiment, spans = arrived(what, mode)
    failed = list(sent.failed())

    assert failed
    for span, exception in failed:
        there = spans[span["spanId"]]
        assert there["status"].get("message", "") == span["status"].get("message", "")
        assert exception in [plain(event["attributes"]) for event in there["events"]]
    assert {trace: about["state"] for trace, about in mlflow.traces(experiment).items()} == {
        span["traceId"]: "ERROR" if span["status"].get("code") == 2 else "OK"
        for span in sent.spans
        if not span.get("parentSpanId")
    }


@pytest.mark.parametrize("mode", ["compat", "files"])
def test_the_conversation_is_a_session(mlflow, arrived, mode):
    _, experiment, _ = arrived("langgraph", mode)
    found = [about["trace_metadata"].get("mlflow.trace.session") for about in mlflow.traces(experiment).values()]

    assert found == ["street-lamps", "street-lamps"]


def test_without_compat_it_has_none(mlflow, arrived):
    _, experiment, _ = arrived("langgraph", "files")

    assert not any(about.get("request_preview") for about in mlflow.traces(experiment).values())


@both
def test_with_compat_a_trace_has_request_and_response(mlflow, arrived, what):
    """What MLflow's list of traces shows."""
    sent, experiment, _ = arrived(what, "compat")
    roots = {span["traceId"]: span for span in sent.spans if not span.get("parentSpanId")}
    shown = defaultdict(set)
    for trace, about in mlflow.traces(experiment).items():
        for side, key in (("request", "spanloom.input"), ("response", "spanloom.output")):
            if key in roots[trace]["told"]:
                shown[side].add(bool(about.get(f"{side}_preview")))

    assert shown == {"request": {True}, "response": {True}}
