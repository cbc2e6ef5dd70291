"""The demos through a real agent (Rotel), with `SPANLOOM_COMPAT`: what is added on the way, and nothing else."""

import pytest

from spanloom.cli.demo_command import DEMOS

pytestmark = pytest.mark.slow

ADDED = ("openinference.span.kind", "input.", "output.", "retrieval.documents.", "llm.token_count.")


@pytest.mark.parametrize(
    ("what", "protocol", "number", "chains"),
    [("pocketflow", "http/protobuf", 156, 127), ("langgraph", "grpc", 63, 30)],
)
def test_compat_adds_to_what_is_sent_and_leaves_the_files_alone(
    workshop, agent, backend, what, protocol, number, chains
):
    service = f"{what} with compat"
    env = {
        "OTEL_TRACES_EXPORTER": "otlp,jsonl",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": agent.grpc if protocol == "grpc" else agent.http,
        "OTEL_SERVICE_NAME": service,
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
        "SPANLOOM_COMPAT": "openinference",
    }
    with DEMOS[what].model() as server:
        ran = workshop.traced("-m", DEMOS[what].program, env=server.environment(env))
    assert ran.code == 0, ran.err
    written = {span["spanId"]: span for span in workshop.spans()}
    arrived = {span["id"]: span for span in backend.spans(service, number)}

    assert len(written) == number
    assert {key: (span["name"], span["parent"]) for key, span in arrived.items()} == {
        key: (span["name"], span.get("parentSpanId", "")) for key, span in written.items()
    }
    for key, span in arrived.items():
        own = {pair["key"] for pair in written[key]["attributes"]}
        added = {name for name in span["attributes"] if name not in own}
        assert own <= set(span["attributes"])
        assert "openinference.span.kind" in added
        assert all(name.startswith(ADDED) for name in added)
    kinds = [span["attributes"]["openinference.span.kind"] for span in arrived.values()]
    assert kinds.count("CHAIN") == chains
