"""A message's content as clients write it -> the GenAI conventions' parts, by shape alone.

Content is a text or a list of texts and blocks. Blocks are read as OpenAI (chat and responses), Anthropic, Google,
Bedrock and LangChain have them; what is of none of these shapes becomes a generic part. Images, recordings and files
are recorded by reference or by size: their bytes never are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom import messages

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from spanloom.messages import Part

    Block = dict[str, Any]

TOOL_CALLS: Final = frozenset(
    (
        *("tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "input_json_delta"),
        *("function_call", "custom_tool_call", "toolUse", "functionCall"),
    )
)
_TOOL_ANSWERS: Final = frozenset(
    ("tool_result", "toolResult", "function_call_output", "function_response", "functionResponse")
)
_THOUGHTS: Final = frozenset(("reasoning", "thinking", "redacted_thinking", "reasoning_content", "reasoningContent"))
_SERVER_TOOL_CALLS: Final = frozenset(("server_tool_use", "server_tool_call"))
_MODALITIES: Final = {
    **dict.fromkeys(("image", "image_url", "input_image", "image_generation_call"), "image"),
    **dict.fromkeys(("audio", "input_audio"), "audio"),
    **dict.fromkeys(("video", "video_url"), "video"),
    # told by the media type, as a rule
    **dict.fromkeys(("file", "input_file", "document", "text-plain", "media"), "document"),
    **dict.fromkeys(("inline_data", "file_data", "inlineData", "fileData"), "document"),
}
# Where clients put what is known of a file: in the block, or in mappings below these keys.
_NESTED: Final = (*_MODALITIES, "source")
_URLS: Final = ("url", "uri", "file_uri", "fileUri", "file_url", "image_url", "video_url")
_DATA: Final = ("data", "base64", "file_data", "bytes", "result")
_MIME_TYPES: Final = ("mime_type", "media_type", "mimeType")
# Beside the one thing that a block of Google's is.
_BESIDE: Final = frozenset(
    (
        *("thought", "thought_signature", "thoughtSignature", "part_metadata", "partMetadata"),
        *("media_resolution", "mediaResolution", "video_metadata", "videoMetadata"),
    )
)
_HEAD: Final = 256  # characters of a data URL that hold its media type
_LONG: Final = 1024  # a text of so many characters without a space is nobody's words


def parts(content: object, skip: Container[str] = ()) -> list[Part]:
    """The conventions' parts of a message's content.

    Args:
        content: a text, a block, or a list of these; None is no content.
        skip: types of blocks that are recorded elsewhere (tool calls that the message also has as such).
    """
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [messages.text(content)]
    if isinstance(content, dict):
        content = [cast("Block", content)]
    if isinstance(content, (list, tuple)):
        return [part for item in cast("Sequence[object]", content) if (part := _read(item, skip)) is not None]
    return [messages.generic(type(content).__name__, content)]


def response(content: object) -> object:
    """A tool's answer as it is recorded: blocks become parts, of which a single text is just that."""
    if not isinstance(content, (list, tuple)):
        return content
    items = cast("Sequence[object]", content)
    if not all(isinstance(item, str) or (isinstance(item, dict) and "type" in item) for item in items):
        return items  # data, not blocks
    made = parts(items)
    return made[0]["content"] if len(made) == 1 and made[0]["type"] == "text" else made


def tools(offered: object) -> list[Part]:
    """Definitions of the tools that a model is offered, in the form of OpenAI, Anthropic, Bedrock or Google.

    Tools that the provider runs have a type and, as a rule, no name. Of objects and functions the name is known.
    """
    if not isinstance(offered, (list, tuple)):
        return []
    found: list[Part] = []
    for item in cast("Sequence[object]", offered):
        block = cast("Block", item) if isinstance(item, dict) else {"name": _name(item)}
        declared: object = _first(block, ("function_declarations", "functionDeclarations"))
        found += tools(cast("object", declared)) if isinstance(declared, list) else [_tool(block)]
    return found


def _tool(block: Block) -> Part:
    told = _below(block, ("function", "toolSpec"))
    kind = _word(block.get("type"))
    schema = _first(told, ("parameters", "input_schema", "inputSchema", "parametersJsonSchema"))
    if isinstance(schema, dict):
        schema = _below(cast("Block", schema), ("json",))
    is_function = kind in ("", "function", "custom") or schema is not None
    name = _word(told.get("name")) or kind or "unknown"
    return messages.tool(name, "function" if is_function else kind, _word(told.get("description")), schema)


def _name(thing: object) -> str:
    """The name of an object that is a tool, or of a class or function, without running code of its own."""
    name = getattr(thing, "__dict__", {}).get("name") or getattr(thing, "__name__", None)
    return _word(name) or type(thing).__name__


def _read(item: object, skip: Container[str]) -> Part | None:
    if isinstance(item, str):
        return messages.text(item) if item else None
    if not isinstance(item, dict):
        return messages.generic(type(item).__name__, item)
    block = cast("Block", item)
    kind = _kind(block)
    return None if kind in skip else _part(kind, block)


def _kind(block: Block) -> str:
    """A block's type; of one without (Bedrock, Google) the key that is set."""
    kind = block.get("type")
    if isinstance(kind, str):
        return kind
    if block.get("thought") is True and "text" in block:
        return "thinking"
    return next((key for key in block if block[key] is not None and key not in _BESIDE), "unknown")


def _part(kind: str, block: Block) -> Part | None:
    if kind in ("text", "input_text", "output_text", "refusal"):
        said = _first(block, ("text", "refusal"))
        return messages.text(said) if isinstance(said, str) and said else None
    if kind in _THOUGHTS:
        thought = _thought(block)
        return messages.reasoning(thought) if thought else None
    if kind in TOOL_CALLS:
        call = _below(block, ("function", "toolUse", "function_call", "functionCall"))
        identity = _word(_first(call, ("call_id", "toolUseId", "id")) or block.get("id"))
        return messages.tool_call(_word(call.get("name")), _first(call, ("args", "arguments", "input")), identity)
    if kind in _TOOL_ANSWERS:
        answer = _below(block, ("toolResult", "function_response", "functionResponse"))
        identity = _word(_first(answer, ("tool_use_id", "call_id", "toolUseId", "id")))
        return messages.tool_call_response(response(_first(answer, ("content", "output", "response"))), identity)
    if kind in _SERVER_TOOL_CALLS:
        call = {"type": _word(block.get("name")), "arguments": _first(block, ("args", "input"))}
        return messages.server_tool_call(_word(block.get("name")), call, _word(block.get("id")))
    if kind.endswith("_tool_result"):
        answer = {"type": kind, "response": _first(block, ("output", "content"))}
        return messages.server_tool_call_response(answer, _word(_first(block, ("tool_call_id", "tool_use_id"))))
    if kind in _MODALITIES:
        return _media(kind, block)
    told = {key: _readable(value) for key, value in block.items() if key != "type" and key not in _BESIDE}
    return messages.generic(kind, told)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _first(block: Block, keys: Sequence[str]) -> Any:
    return next((value for key in keys if (value := block.get(key)) is not None), None)


def _below(block: Block, keys: Sequence[str]) -> Block:
    """The first mapping below one of `keys`; the block itself where there is none."""
    return next((cast("Block", block[key]) for key in keys if isinstance(block.get(key), dict)), block)


def _thought(block: Block) -> str:
    """Reasoning, as plain text or as a list of summaries; what is encrypted is none."""
    found = _first(
        block, ("reasoning", "thinking", "reasoning_content", "reasoningContent", "reasoningText", "text", "summary")
    )
    if isinstance(found, dict):
        return _thought(cast("Block", found))
    if isinstance(found, list):
        items = cast("list[object]", found)
        return "\n".join([_thought(cast("Block", item)) for item in items if isinstance(item, dict)])
    return _word(found)


def _media(kind: str, block: Block) -> Part:
    found = dict(block)
    inner = block
    for _ in range(3):  # an image, in it its source
        below = _below(inner, _NESTED)
        if below is inner:
            break
        inner = below
        found.update(inner)
    data = next((value for key in _DATA if isinstance(value := found.get(key), (str, bytes))), None)
    url = next((value for key in _URLS if isinstance(value := found.get(key), str)), None)
    is_plain = kind == "text-plain" or "text" in (found.get("type"), found.get("source_type"))
    if is_plain and isinstance(plain := found.get("text", data), str):
        return messages.text(plain)
    if url is not None and url.startswith("data:"):
        data, url = url, None
    mime_type = _word(_first(found, _MIME_TYPES)) or _mime_type(kind, data, found.get("format"))
    file_id = _word(found.get("file_id")) or (_word(found.get("id")) if found.get("source_type") == "id" else "")
    return messages.media(
        _modality(kind, mime_type),
        mime_type,
        uri=url,
        file_id=file_id,
        byte_count=None if data is None else _bytes(data),
    )


def _mime_type(kind: str, data: str | bytes | None, form: object) -> str | None:
    if isinstance(data, str) and data.startswith("data:"):
        return data[5:_HEAD].partition(",")[0].partition(";")[0] or None
    modality = _MODALITIES[kind]
    return f"{modality}/{form}" if isinstance(form, str) and modality != "document" else None


def _modality(kind: str, mime_type: str | None) -> str:
    told = (mime_type or "").partition("/")[0]
    return told if told in ("image", "audio", "video") else _MODALITIES[kind]


def _bytes(data: str | bytes) -> int:
    """How many bytes there are, in a text as base64 (after the head of a data URL)."""
    if isinstance(data, bytes):
        return len(data)
    head = data.find(",", 0, _HEAD) + 1 if data.startswith("data:") else 0
    return (len(data) - head) * 3 // 4 - data.endswith("=") - data.endswith("==")


def _readable(value: object) -> object:
    """Not the bytes of a file, in a block that nobody knows."""
    if isinstance(value, str) and len(value) > _LONG and " " not in value[:_LONG]:
        return f"<{len(value)} characters>"
    return value
