"""The model calls the support desk makes, over the `openai` client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI
    from openai.types.chat import (
        ChatCompletionMessage,
        ChatCompletionMessageParam,
        ChatCompletionToolParam,
    )

Answer = TypeVar("Answer", bound=BaseModel)

CHAT_MODEL = os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini"
EMBEDDING_MODEL = os.environ.get("OPENAI_EMBEDDING_MODEL") or "text-embedding-3-small"


def conversation(system: str, user: str) -> list[ChatCompletionMessageParam]:
    """The first two messages of a conversation."""
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


class Model:
    """Everything but the review; a call is not repeated here, since the nodes have their own retries."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def structured(self, answer: type[Answer], system: str, user: str) -> Answer:
        """Ask for an answer of a given shape."""
        completion = self._client.chat.completions.parse(
            model=CHAT_MODEL, messages=conversation(system, user), response_format=answer
        )
        return _parsed(completion.choices[0].message.parsed)

    def with_tools(
        self,
        messages: list[ChatCompletionMessageParam],
        tools: list[ChatCompletionToolParam],
        *,
        must_call: bool = False,
    ) -> ChatCompletionMessage:
        """Ask for an answer or for tool calls."""
        completion = self._client.chat.completions.create(
            model=CHAT_MODEL,
            messages=messages,
            tools=tools,
            tool_choice="required" if must_call else "auto",
        )
        return completion.choices[0].message

    def streamed(self, system: str, user: str) -> str:
        """Ask for a text, read as it is written."""
        pieces: list[str] = []
        with self._client.chat.completions.create(
            model=CHAT_MODEL,
            messages=conversation(system, user),
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            for chunk in stream:
                pieces.extend(choice.delta.content or "" for choice in chunk.choices)
        return "".join(pieces)

    def embed(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        response = self._client.embeddings.create(model=EMBEDDING_MODEL, input=texts)
        return [item.embedding for item in response.data]


class AsyncModel:
    """What the review asks for, many calls at a time."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def structured(self, answer: type[Answer], system: str, user: str) -> Answer:
        """Ask for an answer of a given shape."""
        completion = await self._client.chat.completions.parse(
            model=CHAT_MODEL, messages=conversation(system, user), response_format=answer
        )
        return _parsed(completion.choices[0].message.parsed)

    async def streamed(self, system: str, user: str) -> str:
        """Ask for a text, read as it is written."""
        pieces: list[str] = []
        async with await self._client.chat.completions.create(
            model=CHAT_MODEL,
            messages=conversation(system, user),
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            async for chunk in stream:
                pieces.extend(choice.delta.content or "" for choice in chunk.choices)
        return "".join(pieces)


def _parsed(answer: Any) -> Any:
    if answer is None:
        raise ValueError("the model refused to answer in the form that was asked for")
    return answer
