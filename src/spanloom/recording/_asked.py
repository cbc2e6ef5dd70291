"""What a model is asked, as clients take it -> the conventions' messages, by shape alone.

A text, one message or a list of them: in the form of OpenAI (chat and responses), Anthropic, Google, Bedrock, Ollama,
Mistral, Cohere, LangChain, or as the conventions themselves have them. Objects and dicts are read alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom import messages, parts
from spanloom.recording._fields import is_list, items, parsed, plain, word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spanloom.messages import Message, Part

    Fields = dict[str, Any]

_ROLES: Final = {"model": "assistant", "ai": "assistant", "human": "user", "function": "tool"}
# Items of the responses API that are no messages, and whose they are.
_ITEMS: Final = {
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "reasoning": "assistant",
}
# The conventions' own parts, and the field that tells them from a client's block of the same type.
_OWN: Final = {
    "text": "content",
    "reasoning": "content",
    "tool_call": "arguments",
    "tool_call_response": "response",
    "server_tool_call": "server_tool_call",
    "server_tool_call_response": "server_tool_call_response",
    "uri": "uri",
    "file": "modality",
    "blob": "modality",
    "generic": "content",
}
_THOUGHTS: Final = ("reasoning_content", "thinking", "tool_plan")
_TOOL_IDS: Final = ("tool_call_id", "call_id")
_MESSAGE: Final = frozenset(("role", "content", "parts", "tool_calls"))
# An object's fields are a block of content if these are among them; a picture in memory has fields too.
_BLOCK: Final = frozenset(("type", "text", "inline_data", "file_data", "function_call", "function_response"))


def asked(value: object, replaced: Callable[[object], object] | None = None) -> list[Message]:
    """The conventions' messages of what a model is asked; see the module.

    Args:
        value: as the client takes it.
        replaced: what to read in the place of a value of the program's own types (`Capture.replaced`).
    """
    found: list[Message] = []
    loose: list[object] = []  # texts and blocks without a message around them are the user's

    def gather() -> None:
        said = _parts(list(loose))
        if said:
            found.append(messages.message("user", said))
        loose.clear()

    for item in items(value) if is_list(value) else [value]:
        fields: object = plain(item, replaced)
        told = cast("Fields", fields) if isinstance(fields, dict) else None
        made = _message(told) if told is not None else None
        if made is None:
            loose.append(told if told is not None and not _BLOCK.isdisjoint(told) else item)
        else:
            gather()
            found.append(made)
    gather()
    return found


def _message(told: Fields) -> Message | None:
    """A message; None for a block that stands alone."""
    kind = word(told.get("type"))
    if kind in _ITEMS:
        return messages.message(_ITEMS[kind], _parts([_with_arguments(told)]))
    if not _MESSAGE & told.keys() or (kind in _OWN and _OWN[kind] in told):
        return None
    role = word(told.get("role")) or (kind if kind != "message" else None) or "user"
    role = _ROLES.get(role, role)
    own = told.get("parts")
    said = _parts(own) if own is not None else _answered(told) if role == "tool" else _said(told)
    return messages.message(role, said, word(told.get("name")))


def _answered(told: Fields) -> list[Part]:
    """What a tool has answered."""
    identity = next((known for key in _TOOL_IDS if (known := word(told.get(key)))), None)
    return [messages.tool_call_response(parts.response(told.get("content")), identity)]


def _said(told: Fields) -> list[Part]:
    thoughts = [thought for key in _THOUGHTS if (thought := word(told.get(key)))]
    calls: list[Fields] = [call for call in items(told.get("tool_calls")) if isinstance(call, dict)]
    if isinstance(older := told.get("function_call"), dict):
        calls.append(cast("Fields", older))
    said = _parts(told.get("content"), parts.TOOL_CALLS if calls else ())
    refusal = word(told.get("refusal"))
    audio: object = told.get("audio")
    heard = word(cast("Fields", audio).get("id")) if isinstance(audio, dict) else None
    return [
        *map(messages.reasoning, thoughts),
        *said,
        *([messages.text(refusal)] if refusal else []),
        *([messages.media("audio", file_id=heard)] if heard else []),
        *(part for image in items(told.get("images")) for part in _image(image)),
        *map(_call, calls),
    ]


def _call(told: Fields) -> Part:
    function: Any = told.get("function")
    call: Fields = cast("Fields", function) if isinstance(function, dict) else told
    arguments = next((call[key] for key in ("arguments", "args", "input") if call.get(key) is not None), None)
    return messages.tool_call(word(call.get("name")) or "", parsed(arguments), word(told.get("id")))


def _image(image: object) -> list[Part]:
    """Ollama's: base64, bytes, or a file's name."""
    data = cast("Fields", image).get("value") if isinstance(image, dict) else image
    return parts.parts({"type": "image", "data": data})


def _parts(content: object, skip: Sequence[str] | frozenset[str] = ()) -> list[Part]:
    if not is_list(content):
        content = [] if content is None else [content]
    return [part for item in items(content) if item is not None for part in _part(item, skip)]


def _part(item: object, skip: Sequence[str] | frozenset[str]) -> list[Part]:
    if not isinstance(item, dict):
        return parts.parts([item])
    block = cast("Fields", item)
    kind = word(block.get("type"))
    if kind in _OWN and _OWN[kind] in block:
        return [block]
    return parts.parts(_with_arguments(block), skip)


def _with_arguments(block: Fields) -> Fields:
    """Arguments as what their JSON text says."""
    return {**block, "arguments": parsed(block["arguments"])} if "arguments" in block else block
