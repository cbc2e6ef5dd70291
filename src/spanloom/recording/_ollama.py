"""Ollama's chat and generate: of an answer every chunk has the same shape, and the last one is `done`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spanloom import parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, items, plain, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.recording._answer import Answer, Choice


def add(answer: Answer, thing: object) -> bool:
    """Read a `ChatResponse` or a `GenerateResponse`; False if it is none."""
    done = field(thing, "done")
    if not isinstance(done, bool):
        return False
    message, response = field(thing, "message"), field(thing, "response")
    if message is None and not isinstance(response, str):
        return False
    if answer.model is None:
        answer.model = word(field(thing, "model"))
    if done:
        answer.ended(field(thing, "done_reason"))
        answer.used(_usage, thing)
    if answer.content:
        choice = answer.choice()
        if message is None:
            choice.reasoning(field(thing, "thinking"))
            choice.text(response)
        else:
            _read(choice, message)
    return True


def _read(choice: Choice, message: object) -> None:
    choice.reasoning(field(message, "thinking"))
    choice.text(field(message, "content"))
    for call in items(field(message, "tool_calls")):
        function = field(call, "function")
        choice.call(
            object(), word(field(function, "name")), word(field(call, "id")), plain(field(function, "arguments"))
        )
    for image in items(field(message, "images")):
        data = field(image, "value") or image
        choice.whole(parts.parts({"type": "image", "data": data}))


def _usage(told: Sequence[object]) -> Usage:
    (last,) = told
    return Usage(count(field(last, "prompt_eval_count")), count(field(last, "eval_count")))
