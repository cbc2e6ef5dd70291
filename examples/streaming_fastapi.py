"""A chat over HTTP whose answers are streamed: FastAPI, the OpenAI client, a client that leaves early.

The handler returns while the model is still at work; the answer is read by another task. The span stays open until the
last piece is out, or until the client has gone, and then says what had arrived. The program serves two requests to
itself and ends.

    pip install fastapi uvicorn httpx
    python examples/offline.py spanloom run examples/streaming_fastapi.py      without a key or a network
    OPENAI_API_KEY=... spanloom run examples/streaming_fastapi.py              with a real model
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI, AsyncStream

import spanloom

MODEL = os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini"
PACE = 0.02  # seconds for a piece: nobody reads faster
app = FastAPI()


async def texts(stream: AsyncStream) -> AsyncIterator[str]:
    async with stream:  # the model need not go on for a client that has gone
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content
                    await asyncio.sleep(PACE)


@app.get("/chat/{rider}")
async def chat(rider: str, question: str) -> StreamingResponse:
    messages = [{"role": "system", "content": "You advise riders of e-bikes."}, {"role": "user", "content": question}]
    async with spanloom.session(user_id=rider), spanloom.chat(MODEL, provider="openai") as call:
        call.input(messages)
        stream = await app.state.client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
        )
        # From here on the span is the stream's, whoever reads it.
        return StreamingResponse(texts(call.stream(stream)), media_type="text/plain")


@contextmanager
def served() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    app.state.client = AsyncOpenAI()
    asked = {"question": "How far do I get in winter?"}
    with served() as url, httpx.Client(base_url=url, trust_env=False) as client:
        with client.stream("GET", "/chat/ann", params=asked) as response:
            print("Ann reads:", "".join(response.iter_text()))
        with client.stream("GET", "/chat/ben", params=asked) as response:
            next(response.iter_text())
            print("Ben has seen enough.")


if __name__ == "__main__":
    main()
