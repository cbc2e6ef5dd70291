"""What a scripted model says, and how that reads in the OpenAI chat-completions wire format.

A script is a plain function from the request's JSON to a `Reply` or a `Failure`; it says *what* the model
answers. This module turns that into one JSON body or a row of stream chunks. Ids and token counts come from
the texts alone, so that the same request always gets the same answer, whatever runs beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = "dict[str, Any]"

# Enough text for one token, on average, in the tokenizers of today's models.
_CHARACTERS_PER_TOKEN = 4
# What the chat format adds around each message and around the whole prompt.
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_PROMPT = 3
# Prompt caches work on blocks of tokens; the prefix of an earlier turn is reused in whole blocks.
_CACHE_BLOCK = 16


@dataclass(frozen=True)
class ToolCall:
    """A tool the model asks for, with its arguments as a JSON object."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the model answers: text, tool calls or both, and how many tokens it thought with."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class Failure:
    """An HTTP error in place of an answer, in the shape of OpenAI's error object."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def body(self) -> Json:
        """The JSON object that the `openai` client reads into `error.message`, `.type`, `.code`, `.param`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


Respond: TypeAlias = Callable[[Json], Reply | Failure]


def count_tokens(text: str) -> int:
    """About how many tokens `text` is; depends on its length alone."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def prompt_tokens(request: Json) -> int:
    """The size of the whole prompt: messages, tool definitions and the answer's schema."""
    extras = [request[key] for key in ("tools", "response_format") if request.get(key)]
    return (
        _messages_tokens(request["messages"])
        + sum(count_tokens(json.dumps(extra)) for extra in extras)
        + _TOKENS_PER_PROMPT
    )


def content_text(message: Json) -> str:
    """The text of a message whose content may be a string, a list of parts or missing."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    parts: list[Json] = content or []
    return "".join(part.get("text", "") for part in parts)


def completion(request: Json, reply: Reply) -> Json:
    """The body of a `chat.completion` that was not streamed."""
    message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tool_calls:
        message["tool_calls"] = _wire_tool_calls(request, reply)
    return {
        **_envelope(request, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}],
        "usage": usage(request, reply),
    }


def chunks(request: Json, reply: Reply) -> Iterator[Json]:
    """The `chat.completion.chunk` objects of a streamed reply, in order.

    With `stream_options.include_usage` the last one has no choices and the usage, and all others say
    `"usage": null`, as the API reference of chat completions has it.
    """
    envelope = _envelope(request, "chat.completion.chunk")
    options: Json = request.get("stream_options") or {}
    with_usage = bool(options.get("include_usage"))
    if with_usage:
        envelope["usage"] = None

    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**envelope, "choices": [choice]}

    yield chunk({"role": "assistant", "content": "" if reply.text else None})
    for piece in _words(reply.text):
        yield chunk({"content": piece})
    for index, call in enumerate(_wire_tool_calls(request, reply)):
        arguments: str = call["function"]["arguments"]
        head = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [head]})
        for piece in _words(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _finish_reason(reply))
    if with_usage:
        yield {**envelope, "choices": [], "usage": usage(request, reply)}


def usage(request: Json, reply: Reply) -> Json:
    """Token counts of one call, with what an earlier turn of the same conversation had left in the cache."""
    prompt = prompt_tokens(request)
    answer = count_tokens(reply.text) + sum(
        count_tokens(call.name + json.dumps(dict(call.arguments))) for call in reply.tool_calls
    )
    generated = answer + reply.reasoning_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": _cached_tokens(request["messages"]), "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens, "audio_tokens": 0},
    }


def _messages_tokens(messages: list[Json]) -> int:
    return sum(
        _TOKENS_PER_MESSAGE
        + count_tokens(content_text(message))
        + (count_tokens(json.dumps(message["tool_calls"])) if message.get("tool_calls") else 0)
        for message in messages
    )


def _cached_tokens(messages: list[Json]) -> int:
    # Everything before the last assistant message was the prompt of the turn that produced that message.
    turns = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
    prefix = _messages_tokens(messages[: turns[-1]]) if turns else 0
    return prefix - prefix % _CACHE_BLOCK


def _envelope(request: Json, kind: str) -> Json:
    return {
        "id": "chatcmpl-" + _digest(request),
        "object": kind,
        "created": int(time.time()),
        "model": request["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
    }


def _wire_tool_calls(request: Json, reply: Reply) -> list[Json]:
    return [
        {
            "id": "call_" + _digest([index, request]),
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
        }
        for index, call in enumerate(reply.tool_calls)
    ]


def _finish_reason(reply: Reply) -> str:
    return "tool_calls" if reply.tool_calls else "stop"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _words(text: str) -> list[str]:
    # Each piece keeps the white space before its word, so joined pieces are the text again.
    return re.findall(r"\s*\S+|\s+$", text)
