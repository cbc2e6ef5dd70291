"""The demos' traces in a real Phoenix: by HTTP as they are, and by gRPC with what `SPANLOOM_COMPAT` adds."""

import json
import math
from collections import Counter

import pytest

pytestmark = pytest.mark.slow

CHAINS = {"run_step", "prep", "exec", "exec_fallback", "post", "invoke_workflow"}


class Phoenix:
    """A running Phoenix, asked through its REST interface."""

    def __init__(self, lab, http, grpc):
        self._lab = lab
        self.http, self.grpc = (f"http://127.0.0.1:{port}" for port in (http, grpc))

    def ask(self, path):
        """All pages of a list of its first version."""
        from_, found = "", []
        while from_ is not None:
            status, page = self._lab.call(f"{self.http}/v1/{path}limit=1000{from_}")
            if status == 404:  # a project is there with its first span
                return []
            assert status == 200, page
            found += page["data"]
            from_ = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
        return found

    def session(self, name):
        """A session with its traces."""
        status, said = self._lab.call(f"{self.http}/v1/sessions/{name}")
        assert status == 200, said
        return said["data"]

    def spans(self, project, at_least):
        """The spans of a project, once so many have arrived, by their ids."""
        found = self._lab.eventually(
            lambda: self.ask(f"projects/{project}/spans?"), lambda found: len(found) >= at_least, project
        )
        return {span["context"]["span_id"]: span for span in found}


@pytest.fixture(scope="module")
def phoenix(lab, tmp_path_factory):
    """A running Phoenix with nothing in it."""
    command, folder = lab.program("phoenix"), tmp_path_factory.mktemp("phoenix")
    http, grpc = lab.free_ports(2)
    env = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(http),
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_AGENTS_DISABLE_BASH": "true",
    }
    with lab.running([command, "serve"], env, folder, f"http://127.0.0.1:{http}/healthz"):
        yield Phoenix(lab, http, grpc)


@pytest.fixture(scope="module")
def arrived(phoenix, send):
    """`arrived(what, mode)`: what was sent, and its spans in Phoenix by their ids; each is sent once."""
    kept = {}

    def get(what, mode):
        if (what, mode) not in kept:
            project = f"{what}-{mode}"
            env = {
                "plain": {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": phoenix.http},
                "compat": {
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": phoenix.grpc,
                    "SPANLOOM_COMPAT": "openinference,cache_creation",
                },
            }[mode]
            sent = send(what, {**env, "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={project}"})
            kept[what, mode] = sent, phoenix.spans(project, len(sent.spans))
        return kept[what, mode]

    return get


def kinds(spans):
    """How many spans there are of each kind and first word of the name."""
    return Counter((span["span_kind"], span["name"].partition(" ")[0]) for span in spans.values())


both = pytest.mark.parametrize("what", ["pocketflow", "langgraph"])
modes = pytest.mark.parametrize("mode", ["plain", "compat"])


@both
@modes
def test_every_span_arrives_under_its_parent_with_its_status(arrived, what, mode):
    sent, spans = arrived(what, mode)

    assert len(spans) == {"pocketflow": 156, "langgraph": 63}[what]
    assert sent.tree() == {
        key: (span["name"], span["parent_id"], span["context"]["trace_id"], span["status_code"] == "ERROR")
        for key, span in spans.items()
    }


@both
def test_without_compat_only_what_the_conventions_have_has_a_kind(arrived, what):
    _, spans = arrived(what, "plain")

    assert {kind for kind, name in kinds(spans) if name in CHAINS} == {"UNKNOWN"}
    assert {(kind, name) for kind, name in kinds(spans) if name not in CHAINS} <= {
        ("LLM", "chat"),
        ("TOOL", "execute_tool"),
        ("AGENT", "invoke_agent"),
        ("EMBEDDING", "embeddings"),
        ("RETRIEVER", "retrieval"),
    }


@both
def test_with_compat_every_span_has_one(arrived, what):
    _, spans = arrived(what, "compat")

    assert (
        kinds(spans)
        == {
            "pocketflow": {
                ("CHAIN", "invoke_workflow"): 11,
                ("CHAIN", "run_step"): 30,
                ("CHAIN", "prep"): 26,
                ("CHAIN", "exec"): 31,
                ("CHAIN", "exec_fallback"): 1,
                ("CHAIN", "post"): 28,
                ("LLM", "chat"): 24,
                ("EMBEDDING", "embeddings"): 5,
            },
            "langgraph": {
                ("CHAIN", "invoke_workflow"): 5,
                ("CHAIN", "run_step"): 25,
                ("AGENT", "invoke_agent"): 3,
                ("LLM", "chat"): 16,
                ("TOOL", "execute_tool"): 7,
                ("RETRIEVER", "retrieval"): 3,
                ("EMBEDDING", "embeddings"): 4,
            },
        }[what]
    )


@both
@modes
def test_tokens_are_counted_once(phoenix, arrived, what, mode):
    """Those of models: Phoenix shows the tokens of embeddings on their spans only."""
    sent, _ = arrived(what, mode)
    traces = phoenix.ask(f"projects/{what}-{mode}/traces?")

    assert sum(map(sum, sent.tokens("chat").values())) > 2000
    assert {
        trace["trace_id"]: (trace["token_count_prompt"], trace["token_count_completion"]) for trace in traces
    } == sent.tokens("chat")


@both
@modes
def test_messages_are_read(arrived, what, mode):
    """As Phoenix shows a chat, message by message; with compat they are the columns `input` and `output`, too."""
    sent, spans = arrived(what, mode)
    read = 0
    for span in sent.named("chat"):
        there = spans[span["spanId"]]["attributes"]
        for side, key in (("input", "gen_ai.input.messages"), ("output", "gen_ai.output.messages")):
            messages = json.loads(span["told"].get(key, "[]"))
            for index, message in enumerate(messages):
                base = f"llm.{side}_messages.{index}.message"
                assert there[f"{base}.role"] == message["role"]
                texts = [part["content"] for part in message["parts"] if part["type"] == "text"]
                assert there.get(f"{base}.content", "") == "".join(texts) or message["role"] == "tool"
                read += 1
            if messages and mode == "compat":
                assert there[f"{side}.value"] == span["told"][key]
                assert there[f"{side}.mime_type"] == "application/json"

    assert read > 50


@modes
def test_tool_calls_are_read_where_they_are_asked_for_run_and_answered(arrived, mode):
    sent, spans = arrived("langgraph", mode)
    (asking, *_), (tool, *_) = sent.named("chat loopback-chat"), sent.named("execute_tool search_archive")
    call_id = tool["told"]["gen_ai.tool.call.id"]
    asked, ran, answered = (
        {
            key.rpartition(".message.")[2]: value
            for span in spans.values()
            for key, value in span["attributes"].items()
            if value == call_id and key.startswith(start)
        }
        for start in ("llm.output_messages", "tool.id", "llm.input_messages")
    )

    assert asked == {"tool_calls.0.tool_call.id": call_id}
    assert ran == {"tool.id": call_id}
    assert answered == {"tool_call_id": call_id, "tool_calls.0.tool_call.id": call_id}
    there = spans[tool["spanId"]]["attributes"]
    assert there["tool.name"] == "search_archive"
    assert {"query": there["tool.parameters.query"]} == json.loads(tool["told"]["gen_ai.tool.call.arguments"])
    assert there["output.value"] == tool["told"]["gen_ai.tool.call.result"]
    assert there.get("input.value") == (tool["told"]["gen_ai.tool.call.arguments"] if mode == "compat" else None)
    assert asking["spanId"] in spans


@both
@modes
def test_errors_have_their_exceptions(arrived, what, mode):
    sent, spans = arrived(what, mode)
    failed = list(sent.failed())

    assert failed
    for span, exception in failed:
        there = spans[span["spanId"]]
        assert there["status_message"] == span["status"].get("message", "")
        assert exception in [event["attributes"] for event in there["events"]]


@modes
def test_the_conversation_is_a_session(phoenix, arrived, mode):
    """One, for all projects: whoever uses the id of a conversation again goes on with it."""
    sent, _ = arrived("langgraph", mode)
    session = phoenix.session("street-lamps")

    assert {trace["trace_id"] for trace in session["traces"]} >= set(sent.tokens())
    assert len(sent.tokens()) == 2


@both
def test_with_compat_runs_nodes_and_searches_have_input_and_output(arrived, what):
    sent, spans = arrived(what, "compat")
    plain_sent, plain = arrived(what, "plain")
    root = next(span for span in sent.named("invoke_workflow") if span["told"].get("spanloom.input"))

    assert spans[root["spanId"]]["attributes"]["input.value"] == root["told"]["spanloom.input"]
    assert not any("input.value" in plain[span["spanId"]]["attributes"] for span in plain_sent.named("invoke_workflow"))
    for span in sent.named("retrieval"):
        there = spans[span["spanId"]]["attributes"]
        assert there["input.value"] == span["told"]["gen_ai.retrieval.query.text"]
        documents = json.loads(span["told"]["gen_ai.retrieval.documents"])
        assert [there[f"retrieval.documents.{index}.document.content"] for index in range(len(documents))] == [
            document["content"] for document in documents
        ]


@pytest.mark.parametrize(("mode", "written"), [("plain", None), ("compat", 40)])
def test_tokens_written_to_the_cache_need_compat(arrived, mode, written):
    sent, spans = arrived("extra", mode)
    (chat,), (rank,) = sent.named("chat"), sent.named("rerank")
    there = spans[chat["spanId"]]["attributes"]

    assert there["llm.token_count.prompt_details.cache_read"] == 30
    assert there.get("llm.token_count.prompt_details.cache_write") == written
    assert spans[rank["spanId"]]["span_kind"] == ("RERANKER" if mode == "compat" else "UNKNOWN")
    assert math.isclose(there["llm.token_count.total"], 120)
    assert there["session.id"] == "c-17"
    assert there["user.id"] == "u-3"
