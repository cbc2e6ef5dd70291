"""From a program that knows nothing of tracing, through official OTLP exporters and a real agent, and read back."""

import json

import pytest

pytestmark = pytest.mark.slow

APP = """
import asyncio
from pocketflow import AsyncFlow, AsyncParallelBatchNode, BatchNode, Flow, Node

class Ask(Node):
    def prep(self, shared):
        shared["asked"] = shared.get("asked", 0) + 1
        return {"text": "grüße \\U0001f600", "number": 2**53 + 1, "half": 0.5}
    def post(self, shared, prep_res, exec_res):
        return "again" if shared["asked"] < 2 else "done"

class Retry(Node):
    def exec(self, prep_res):
        if self.cur_retry == 0:
            raise TimeoutError("slow model")
        return ["ok"]

class Rescue(Node):
    def exec(self, prep_res):
        raise KeyError("gone")
    def exec_fallback(self, prep_res, exc):
        return "saved"

class Items(BatchNode):
    def prep(self, shared):
        return [1, 2]
    def exec(self, item):
        return item * 10

class Together(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return ["a", "b"]
    async def exec_async(self, item):
        await asyncio.sleep(0)
        return item

class Bad(Node):
    def exec(self, prep_res):
        raise ValueError("no such ticket")

class Desk(Flow):
    pass

class Gather(AsyncFlow):
    pass

ask, retry = Ask(), Retry(max_retries=2)
ask - "again" >> ask
ask - "done" >> retry
retry >> Rescue() >> Items()
Desk(start=ask).run({})
asyncio.run(Gather(start=Together()).run_async({}))
try:
    Flow(start=Bad()).run({})
except ValueError:
    print("done")
"""

TREES = """\
invoke_workflow ERROR
  run_step Bad ERROR
    exec Bad ERROR
invoke_workflow Desk
  run_step Ask
    prep Ask
    post Ask
  run_step Ask
    prep Ask
    post Ask
  run_step Retry
    exec Retry ERROR
    exec Retry
  run_step Rescue
    exec Rescue ERROR
    exec_fallback Rescue
  run_step Items
    prep Items
    exec Items
    exec Items
invoke_workflow Gather
  run_step Together
    prep Together
    exec Together
    exec Together
"""


def from_json_value(value):
    """An OTLP/JSON value as a plain value."""
    ((kind, content),) = value.items() or (("none", None),)
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [from_json_value(item) for item in content.get("values", ())]
    if kind == "kvlistValue":
        return from_json_attributes(content.get("values", ()))
    return content


def from_json_attributes(pairs):
    return {pair["key"]: from_json_value(pair["value"]) for pair in pairs}


def from_file(folder):
    """The spans in the trace files, in the same plain form as those that arrived."""
    spans = []
    for path in folder.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                about = from_json_attributes(resource["resource"]["attributes"])
                for scope in resource["scopeSpans"]:
                    spans += [
                        from_json(span) | {"scope": scope["scope"]["name"], "resource": about}
                        for span in scope["spans"]
                    ]
    return spans


def from_json(span):
    def attributes(holder):
        return from_json_attributes(holder.get("attributes", ()))

    return {
        "name": span["name"],
        "trace": span["traceId"],
        "id": span["spanId"],
        "parent": span.get("parentSpanId", ""),
        "kind": span["kind"],
        "flags": span["flags"],
        "start": int(span["startTimeUnixNano"]),
        "end": int(span["endTimeUnixNano"]),
        "attributes": attributes(span),
        "events": [(event["name"], int(event["timeUnixNano"]), attributes(event)) for event in span.get("events", ())],
        "links": [(link["traceId"], link["spanId"], attributes(link)) for link in span.get("links", ())],
        "status": (span["status"].get("code", 0), span["status"].get("message", "")),
    }


def by_id(spans):
    return sorted(spans, key=lambda span: span["id"])


def trees(spans):
    """The spans as indented text, each trace for itself, siblings by start; parallel ones have one name here."""
    below = {}
    for span in sorted(spans, key=lambda span: span["start"]):
        below.setdefault(span["parent"], []).append(span)

    def text(span, depth):
        line = "  " * depth + span["name"] + (" ERROR" if span["status"][0] == 2 else "")
        return "\n".join([line, *(text(child, depth + 1) for child in below.get(span["id"], ()))])

    return sorted(text(root, 0) for root in below[""])


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_opentelemetry_instrument_to_a_real_agent_and_back(workshop, agent, backend, protocol):
    """What arrives is, to the last bit, what our own exporter writes of the same spans."""
    service = f"through {protocol}"
    workshop.write("app.py", APP)
    ran = workshop.run(
        [workshop.tool("opentelemetry-instrument"), workshop.python, "app.py"],
        env={
            "OTEL_TRACES_EXPORTER": "otlp,jsonl",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": agent.grpc if protocol == "grpc" else agent.http,
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_SERVICE_NAME": service,
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
        },
    )
    assert ran.behaviour == (0, "done\n", "")

    written = from_file(workshop.folder / ".spanloom")
    arrived = backend.spans(service, len(written))

    assert trees(arrived) == trees(written) == sorted(trees_of(TREES))
    assert by_id(arrived) == by_id(written)
    (ask, *_) = (span for span in arrived if span["name"] == "prep Ask")
    assert json.loads(ask["attributes"]["spanloom.output"]) == {
        "text": "grüße \U0001f600",
        "number": 2**53 + 1,
        "half": 0.5,
    }


def test_otlp_by_its_endpoint_alone_under_spanloom_run(workshop, agent, backend):
    """One variable is enough; without it the traces would lie in files."""
    workshop.write("app.py", APP)
    ran = workshop.traced("app.py", env={"OTEL_EXPORTER_OTLP_ENDPOINT": agent.grpc, "OTEL_SERVICE_NAME": "endpoint"})
    arrived = backend.spans("endpoint", len(TREES.splitlines()))

    assert ran.behaviour == (0, "done\n", "")
    assert trees(arrived) == sorted(trees_of(TREES))
    assert not (workshop.folder / ".spanloom").exists()
    assert not any("spanloom.output" in span["attributes"] for span in arrived)  # content stays here


def test_the_lines_of_our_files_posted_as_they_are(workshop, agent, backend):
    workshop.write("app.py", APP)
    assert workshop.traced("app.py", env={"OTEL_SERVICE_NAME": "posted"}).behaviour == (0, "done\n", "")
    written = from_file(workshop.folder / ".spanloom")

    lines = [line for path in workshop.files() for line in path.read_bytes().splitlines()]
    assert {agent.post_json(line) for line in lines} == {200}
    arrived = backend.spans("posted", len(written))

    assert by_id(arrived) == by_id(written)


def trees_of(text):
    """Cut `TREES` into its trees."""
    found = []
    for line in text.splitlines():
        if line.startswith(" "):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found
