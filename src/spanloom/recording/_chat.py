"""Chat completions in OpenAI's shape: OpenAI, Azure, LiteLLM, Mistral, and the many services that speak it.

An answer and a chunk of one differ in a word (`message`, `delta`), so both are read alike. Text completions too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom import messages, parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, is_list, items, one, plain, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.messages import Part
    from spanloom.recording._answer import Answer, Choice

_SAID: Final = ("message", "delta")
_NO_ID: Final = "null"  # Mistral's, for calls without one


def add(answer: Answer, thing: object) -> bool:
    """Read a `ChatCompletion`, a `ChatCompletionChunk` or their like; False if it is none."""
    choices = one(thing, "choices")
    kind = cast("type[Any]", type(choices))
    if kind is not list and not is_list(choices):
        return False
    if answer.model is None or answer.identity is None:
        if not _is_completion(thing, choices):
            return False
        answer.model = word(field(thing, "model"))
        answer.identity = word(field(thing, "id"))
    usage = one(thing, "usage")
    if usage is not None:
        answer.used(usage_of, usage)
    for choice in choices:
        if one(choice, "finish_reason") is not None:
            _ended(answer, thing, choice)
        if answer.content:
            _read(answer.choice(index(field(choice, "index"))), choice)
    return True


def _is_completion(thing: object, choices: Sequence[object]) -> bool:
    """A list of choices is a common thing; these have what a model said."""
    if not choices:  # Azure's first chunk, and everybody's last one
        return any(word(field(thing, key)) for key in ("object", "model", "id")) or field(thing, "usage") is not None
    return field(choices[0], *_SAID, "text", "finish_reason") is not None


def _ended(answer: Answer, thing: object, choice: object) -> None:
    answer.ended(field(choice, "finish_reason"), index(field(choice, "index")))
    error = field(choice, "error") or field(thing, "error")  # OpenRouter
    if field(error, "message") is not None:
        answer.failed(error)
    groq = within(thing, "x_groq", "usage")
    if groq is not None:
        answer.used(usage_of, groq)


def _read(choice: Choice, told: object) -> None:
    said = field(told, *_SAID)
    if said is None:
        choice.text(field(told, "text"))
        return
    choice.reasoning(field(said, "reasoning_content", "reasoning"))
    content = field(said, "content")
    if isinstance(content, str):
        choice.text(content)
    elif content is not None:
        _read_blocks(choice, items(content))
    choice.text(field(said, "refusal"))
    images, audio = field(said, "images"), field(said, "audio")
    if images is not None:
        choice.whole(parts.parts(plain(items(images))))
    if audio is not None:
        choice.whole(_audio(audio))
    for position, call in enumerate(items(field(said, "tool_calls"))):
        place = field(call, "index")
        _call(choice, place if isinstance(place, int) else position, call)
    if field(said, "function_call") is not None:  # before there were tools
        _call(choice, 0, said)


def _read_blocks(choice: Choice, blocks: Sequence[object]) -> None:
    """Content in blocks (Mistral): texts and thoughts arrive in pieces."""
    for block in blocks:
        if isinstance(block, str) or field(block, "type") == "text":
            choice.text(block if isinstance(block, str) else field(block, "text"))
        elif field(block, "type") == "thinking":
            for piece in items(field(block, "thinking")):
                choice.reasoning(field(piece, "text"))
        else:
            choice.whole(parts.parts(plain(block)))


def _call(choice: Choice, place: int, call: object) -> None:
    function = field(call, "function", "custom", "function_call")
    identity = word(field(call, "id"))
    choice.call(
        place,
        word(field(function, "name")),
        None if identity == _NO_ID else identity,
        plain(field(function, "arguments", "input")),
    )


def _audio(audio: object) -> list[Part]:
    """Speech: what was said, and how much of it there is."""
    transcript, data = word(field(audio, "transcript")), word(field(audio, "data"))
    said = [messages.text(transcript)] if transcript else []
    return said + (parts.parts({"type": "audio", "data": data}) if data else [])


def usage_of(told: Sequence[object]) -> Usage:
    """Tokens of a `CompletionUsage`, with the words that services have for the details."""
    (usage,) = told
    asked, answered = field(usage, "prompt_tokens_details"), field(usage, "completion_tokens_details")
    given, made = count(field(usage, "prompt_tokens")), count(field(usage, "completion_tokens"))
    read = field(asked, "cached_tokens")
    if read is None:
        read = field(usage, "cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
    written = field(asked, "cache_write_tokens", "cache_creation_tokens")
    if written is None:
        written = field(usage, "cache_creation_input_tokens")
    thought = count(field(answered, "reasoning_tokens"))
    if thought is None:
        thought = count(field(usage, "reasoning_tokens"))
    if thought and made is not None and count(field(usage, "total_tokens")) == (given or 0) + made + thought:
        made += thought  # xAI has them beside the output, not among it; the total tells
    return Usage(given, made, count(read), count(written), thought)
