"""A streamed answer of a web handler, over a real server: the consumer is another task, and clients may leave."""

import asyncio
import contextlib
import threading

import pytest

import spanloom

fastapi = pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")

from fastapi.responses import StreamingResponse  # noqa: E402

pytestmark = pytest.mark.slow
PATIENCE = 30


class Site:
    """An application whose answers wait for `go` after their first piece."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.go = threading.Event()
        self.left = threading.Event()
        self.app = fastapi.FastAPI()
        self.app.get("/async")(self.answer_async)
        self.app.get("/sync")(self.answer_sync)
        self.app.get("/decorated")(self.answer_decorated)

    async def model(self):
        try:
            yield "Hel"
            while not self.go.is_set():
                await asyncio.sleep(0.01)
            with spanloom.node("inside the stream"):
                yield "lo"
        finally:
            self.left.set()

    def blocking_model(self):
        yield "Hel"
        assert self.go.wait(PATIENCE)
        yield "lo"

    async def answer_async(self):
        with spanloom.chat("m-1", provider="acme") as call:
            return StreamingResponse(call.stream(self.model()), media_type="text/plain")

    def answer_sync(self):
        with spanloom.chat("m-1", provider="acme") as call:
            return StreamingResponse(call.stream(self.blocking_model()), media_type="text/plain")

    async def answer_decorated(self):
        @spanloom.chat("m-1", provider="acme")
        async def ask():
            async for piece in self.model():
                yield piece

        return StreamingResponse(ask(), media_type="text/plain")

    @contextlib.contextmanager
    def running(self):
        server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as client:
                yield client
        finally:
            self.go.set()
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def site(content):
    return Site(content)


@pytest.mark.parametrize("path", ["/async", "/sync", "/decorated"])
def test_the_span_lasts_as_long_as_the_answer(site, content, path):
    with site.running() as client, client.stream("GET", path) as response:
        pieces = response.iter_text()
        assert next(pieces) == "Hel"
        assert not content.named("chat m-1")
        site.go.set()
        assert "".join(pieces) == "lo"

    span = content.only("chat m-1")
    assert '"content":"Hello"' in span.attributes["gen_ai.output.messages"]
    assert "spanloom.status" not in span.attributes
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    if path != "/sync":
        assert content.tree() == "\nchat m-1\n  run_step inside the stream\n"


@pytest.mark.parametrize("path", ["/async", "/decorated"])
def test_a_client_that_leaves_ends_the_span_with_what_had_arrived(site, content, path):
    with site.running() as client:
        with client.stream("GET", path) as response:
            pieces = response.iter_text()  # dropped, it would leave at once
            assert next(pieces) == "Hel"
            assert not content.named("chat m-1")
        assert site.left.wait(PATIENCE)
        assert not site.go.is_set()

    span = content.only("chat m-1")
    assert '"content":"Hel"' in span.attributes["gen_ai.output.messages"]
    assert span.attributes["spanloom.status"] == "cancelled"
    assert not span.events
