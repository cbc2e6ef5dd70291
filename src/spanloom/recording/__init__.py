"""What a model has answered, read out of the objects that clients return: by shape, without importing any client.

`read` takes a whole response, `Assembler` the items of a streamed one; both put what they find onto a call. Known are
OpenAI (chat completions, responses, text completions) and the services and clients that speak its language (Azure,
LiteLLM, Mistral, ...), Anthropic, Google GenAI, Ollama, Cohere (version 2) and AWS Bedrock (converse), as their
clients' objects or as plain dicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom.guard import guarded, swallow
from spanloom.recording import (
    _anthropic,
    _bedrock,
    _chat,
    _cohere,
    _errors,
    _google,
    _interactions,
    _ollama,
    _responses,
)
from spanloom.recording._answer import Answer
from spanloom.recording._asked import asked as messages
from spanloom.recording._fields import field

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom.inference import Inference

__all__ = ["SUPPORTED", "Assembler", "messages", "read"]

SUPPORTED: Final = (
    "OpenAI (chat completions, responses), Azure OpenAI, LiteLLM, Mistral, Anthropic, Google GenAI, Ollama, "
    "Cohere v2, AWS Bedrock converse: their clients' objects, or dicts of the same shape"
)
# Each reads an answer or a piece of one into an `Answer`, or returns False: it is of another family.
_FAMILIES: Final[tuple[Callable[[Answer, object], bool], ...]] = (
    _chat.add,
    _responses.add,
    _anthropic.add,
    _google.add,
    _interactions.add,
    _ollama.add,
    _cohere.add,
    _bedrock.add,
    _errors.add,
)
_WRAPPERS: Final = ("data", "chunk")  # below which Mistral, and OpenAI's stream helper, have the chunk
_PATIENCE: Final = 64  # items of no known family, after which nobody looks any more


def read(response: object, call: Inference) -> bool:
    """Put onto `call` what `response` tells: model, id, finish reasons, usage; messages where they are captured.

    Args:
        response: what a client has returned.
        call: where to; what the response does not tell stays as it is there.

    Returns:
        False if it is of no known shape (`SUPPORTED`): nothing was changed then. It never raises.
    """
    with guarded("recording.read", "what a response tells of a model call"):
        for family in _FAMILIES:
            answer = Answer(content=call.wants_messages)
            if family(answer, response):
                answer.write(call)
                return True
    return False


class Assembler:
    """Puts a streamed answer together.

    Args:
        call: what the answer belongs to.
    """

    __slots__ = ("_answer", "_call", "_family", "_known", "_left", "_wrapper")

    def __init__(self, call: Inference) -> None:
        self._call = call
        self._answer = Answer(content=call.wants_messages)
        self._family: Callable[[Answer, object], bool] | None = None
        self._wrapper: str | None = None
        self._known = False
        self._left = _PATIENCE

    def add(self, chunk: object) -> None:
        """The next item of the stream: a client's chunk or event, a dict of its shape, or a piece of text.

        It never raises. Items of no known shape are left alone; what the first known one is, the others are too.
        """
        try:
            family = self._family
            if family is None:
                self._first(chunk)
            elif not family(self._answer, chunk if self._wrapper is None else field(chunk, self._wrapper)):
                _errors.add(self._answer, chunk)
        except Exception as exc:
            swallow("recording.add", "a piece of a streamed answer", exc)

    def finish(self) -> bool:
        """Put onto the call what has arrived, of a partial stream too.

        Returns:
            False if nothing of a known shape has.
        """
        if self._known:
            with guarded("recording.finish", "what a streamed answer tells of a model call"):
                self._answer.write(self._call)
        return self._known

    def _first(self, chunk: object) -> None:
        """A piece of text, or the item that tells the family."""
        if isinstance(chunk, str):
            self._known = True
            if self._answer.content:
                self._answer.choice().text(chunk)
        elif self._left:
            self._left -= 1
            for wrapper in (None, *_WRAPPERS):
                inner = chunk if wrapper is None else field(chunk, wrapper)
                for family in _FAMILIES if inner is not None else ():
                    if family(self._answer, inner):
                        self._family, self._wrapper, self._known = family, wrapper, True
                        return
