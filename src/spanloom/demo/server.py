"""A small OpenAI-compatible model server on loopback, so that demos and tests need no key and no network.

It speaks enough of the API for the real `openai` client and what is built on it: `POST /v1/chat/completions`
(one body or a stream of server-sent events), `POST /v1/embeddings` and `GET /v1/models`, with OpenAI's error
objects. What the model says comes from a `Respond` function (see `replies`).
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.demo.embeddings import embeddings
from spanloom.demo.replies import Failure, Json, Respond, chunks, completion, prompt_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

CHAT_MODEL: Final = "loopback-chat"
EMBEDDING_MODEL: Final = "loopback-embedding"

_LARGEST_BODY: Final = 32 * 1024 * 1024


class ModelServer:
    """Answers on an ephemeral port of 127.0.0.1 while its `with` block runs.

    Args:
        respond: Called with each chat request's JSON, in that request's own thread.
        models: What `GET /v1/models` lists. Requests may name any model.
        context_tokens: A longer prompt gets OpenAI's `context_length_exceeded` error; None for no limit.
        seconds_per_token: How long the model takes for each token of a reply or chunk of a stream.

    When the block ends, open streams are cut, all threads have ended and all sockets are closed.
    """

    def __init__(
        self,
        respond: Respond,
        *,
        models: Sequence[str] = (CHAT_MODEL, EMBEDDING_MODEL),
        context_tokens: int | None = None,
        seconds_per_token: float = 0.0,
    ) -> None:
        self.respond = respond
        self.models = tuple(models)
        self.context_tokens = context_tokens
        self.seconds_per_token = seconds_per_token
        self._http: _HttpServer | None = None
        self._accepting: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What `OpenAI(base_url=...)` or `OPENAI_BASE_URL` wants; only while the server runs."""
        if self._http is None:
            raise RuntimeError("the model server is not running: use it as `with ModelServer(...) as server:`")
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ`, in which OpenAI clients find this server: past any proxy, and without the user's own key."""
        names = environ.get("NO_PROXY") or environ.get("no_proxy")
        past_proxies = ",".join(part for part in (names, "127.0.0.1") if part)
        return {
            **environ,
            "OPENAI_BASE_URL": self.base_url,
            # LangChain's own name for it, which it reads first.
            "OPENAI_API_BASE": self.base_url,
            "OPENAI_API_KEY": "loopback",
            "OPENAI_MODEL": CHAT_MODEL,
            "OPENAI_EMBEDDING_MODEL": EMBEDDING_MODEL,
            # Clients differ in which spelling they read first.
            "NO_PROXY": past_proxies,
            "no_proxy": past_proxies,
        }

    def __enter__(self) -> Self:
        self._http = _HttpServer(self)
        # Short polls: `shutdown` waits for the poll under way.
        self._accepting = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="model-server"
        )
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        http, accepting = self._http, self._accepting
        if http is None or accepting is None:
            return
        self._http = self._accepting = None
        http.shutdown()
        accepting.join()
        http.cut_connections()
        http.server_close()


class _HttpServer(ThreadingHTTPServer):
    # `server_close` waits only for threads that are not daemons.
    daemon_threads = False
    # Parallel batches open many connections at once.
    request_queue_size = 128

    def __init__(self, model: ModelServer) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Wake the threads that wait for the next request of a kept-alive connection."""
        with self._lock:
            for connection in self._open:
                # The client may have closed its end in this moment.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up mid-answer (an early-closed stream, a cancelled task) is everyday business.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; with Nagle's algorithm the second waits for a delayed acknowledgement.
    disable_nagle_algorithm = True
    server: _HttpServer  # pyright: ignore[reportIncompatibleVariableOverride]  # always ours: it made this handler

    def do_GET(self) -> None:
        model = self.server.model
        if (refusal := self._unauthorized()) is not None:
            self._send(refusal)
        elif self.path == "/v1/models":
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "loopback"} for name in model.models]
            self._send({"object": "list", "data": listed})
        else:
            self._send(self._no_such_url())

    def do_POST(self) -> None:
        # The body is read first in any case: what stays unread would be taken for the next request.
        request = self._read_json()
        if (refusal := self._unauthorized()) is not None:
            self._send(refusal)
        elif isinstance(request, Failure):
            self._send(request)
        elif self.path == "/v1/chat/completions":
            self._chat(request)
        elif self.path == "/v1/embeddings":
            self._send(embeddings(request))
        else:
            self._send(self._no_such_url())

    def _chat(self, request: Json) -> None:
        model = self.server.model
        try:
            reply = _chat_problem(request, model.context_tokens) or model.respond(request)
        except Exception as error:
            # A script that fails, or a request of an unforeseen shape: the client is told, not left hanging.
            reply = Failure(500, f"{type(error).__name__}: {error}", type="server_error")
        if isinstance(reply, Failure):
            self._send(reply)
        elif request.get("stream"):
            self._send_stream(chunks(request, reply), model.seconds_per_token)
        else:
            body = completion(request, reply)
            time.sleep(model.seconds_per_token * body["usage"]["completion_tokens"])
            self._send(body)

    def _read_json(self) -> Json | Failure:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            return Failure(400, f"A Content-Length of at most {_LARGEST_BODY} bytes is required.")
        try:
            request: Any = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return Failure(400, "We could not parse the JSON body of your request.")
        if not isinstance(request, dict):
            return Failure(400, "The request body must be a JSON object.")
        body = cast("Json", request)
        if not isinstance(body.get("model"), str) or not body["model"]:
            return Failure(400, "you must provide a model parameter", param="model")
        return body

    def _unauthorized(self) -> Failure | None:
        if self.headers.get("Authorization", "").startswith("Bearer "):
            return None
        return Failure(401, "You didn't provide an API key.", code="invalid_api_key")

    def _no_such_url(self) -> Failure:
        return Failure(404, f"Invalid URL ({self.command} {self.path})", code="unknown_url")

    def _send(self, answer: Json | Failure) -> None:
        failure = answer if isinstance(answer, Failure) else None
        body = json.dumps(failure.body() if failure else answer).encode()
        self._send_head(failure.status if failure else 200, "application/json")
        if failure is not None:
            for name, value in failure.headers.items():
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_stream(self, events: Iterator[Json], seconds_per_chunk: float) -> None:
        self._send_head(200, "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            time.sleep(seconds_per_chunk)
            self._write_chunk(f"data: {json.dumps(event)}\n\n")
        self._write_chunk("data: [DONE]\n\n")
        self._write_chunk("")

    def _send_head(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)

    def _write_chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's own parameter name
        """Nothing: the terminal belongs to the demo."""


def _chat_problem(request: Json, context_tokens: int | None) -> Failure | None:
    """What is wrong with a chat request before the model is asked, if anything."""
    messages: Any = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return Failure(400, "'messages' must be a non-empty array.", param="messages")
    for index, message in enumerate(cast("list[Any]", messages)):
        if not isinstance(message, dict) or not isinstance(cast("Json", message).get("role"), str):
            return Failure(400, f"'messages[{index}]' must be an object with a role.", param="messages")
    if request.get("n") not in (None, 1):
        return Failure(400, "This server gives one choice: 'n' must be 1.", param="n")
    if context_tokens is not None and (tokens := prompt_tokens(request)) > context_tokens:
        return Failure(
            400,
            f"This model's maximum context length is {context_tokens} tokens. However, your messages "
            f"resulted in {tokens} tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )
    return None
