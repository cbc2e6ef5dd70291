"""The loopback model server's clients, an environment in which they reach it, and what a run's trees look like."""

from collections import defaultdict

import pytest
from openai import OpenAI

from spanloom.demo.server import ModelServer


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    # A proxy that the machine needs for the internet must not stand between client and loopback server.
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def ask():
    """`ask(respond, **server_options)` gives a client of a server that runs until the test ends."""
    running = []

    def start(respond, **options):
        server = ModelServer(respond, **options).__enter__()
        client = OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        running.append((server, client))
        return client

    yield start
    for server, client in running:
        client.close()
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def outlines():
    """A function: the spans of a run (as `Workshop.spans` gives them) as indented names, one text per trace.

    Siblings stand in the order of their start; those that run at once (the same `langgraph.step`), by what they are.
    """

    def draw(spans):
        below = defaultdict(list)
        for span in spans:
            below[span.get("parentSpanId", "")].append(span)

        def lines(span):
            yield span["name"]
            drawn = [(_when(child), list(lines(child))) for child in below[span["spanId"]]]
            for _, part in sorted(drawn):
                yield from (f"  {line}" for line in part)

        roots = sorted(below[""], key=lambda span: int(span["startTimeUnixNano"]))
        return ["\n".join(lines(root)) for root in roots]

    def _when(span):
        steps = [pair["value"]["intValue"] for pair in span["attributes"] if pair["key"] == "langgraph.step"]
        return (int(steps[0]), 0) if steps else (0, int(span["startTimeUnixNano"]))

    return draw
