"""The loopback model server's clients, and an environment in which they reach it."""

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
