"""Errors that arrive as data, where no client has made an exception of them: `{"error": {"message": ...}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spanloom.recording._fields import field, word

if TYPE_CHECKING:
    from spanloom.recording._answer import Answer


def add(answer: Answer, thing: object) -> bool:
    """Read an error in the shape that OpenAI, Anthropic, Google and Mistral have; False if it is none."""
    error = field(thing, "error")
    if isinstance(error, str) and isinstance(thing, dict) and len(thing) == 1:  # pyright: ignore[reportUnknownArgumentType]  Ollama's
        error = {"message": error}
    if word(field(error, "message")) is None:
        return False
    answer.failed(error)
    answer.ended("error")
    return True
