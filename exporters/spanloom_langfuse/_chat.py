"""Messages of the GenAI conventions to those of OpenAI's chat API, the form that Langfuse shows as a conversation.

In the conventions' own form Langfuse shows neither tool calls nor reasoning, and with tool definitions beside them no
text at all. The conventions' parts are `text`, `reasoning`, `tool_call`, `tool_call_response`, `blob`, `file`, `uri`
(JSON Schemas `gen-ai-input-messages` and `gen-ai-output-messages`); what has no counterpart becomes text.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from spanloom_langfuse._text import NOTHING, as_text, parsed, written

Object = dict[str, Any]

# Langfuse knows OpenAI's messages by their roles.
_ROLES: Final = {"developer": "system", "omitted": "system", "model": "assistant", "ai": "assistant", "human": "user"}
_KNOWN_ROLES: Final = frozenset({"system", "user", "assistant", "tool", "function"})
_SHOWN_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"})


def chat_input(messages: object, instructions: object, tools: object) -> str | None:
    """What a model was asked, as JSON text: the messages, or `{"messages": ..., "tools": ...}`.

    Args:
        messages: the attribute `gen_ai.input.messages`, or None; the next two likewise.
        instructions: `gen_ai.system_instructions`.
        tools: `gen_ai.tool.definitions`.

    Returns:
        The text; None where there is nothing. What is no JSON (it may have been cut) is returned as it is.
    """
    offered = _objects(tools)
    said = _conversation(messages)
    if said is None:
        return as_text(messages)
    system = _system(instructions)
    if system is not None and not any(message.get("role") == "system" for message in said):
        said.insert(0, system)
    if not said and not offered:
        return None
    return written({"messages": said, "tools": [_tool(tool) for tool in offered]} if offered else said)


def chat_output(messages: object) -> str | None:
    """What a model has answered, as JSON text: a message, or a list of them where there are several choices."""
    said = _conversation(messages)
    if said is None:
        return as_text(messages)
    return written(said[0] if len(said) == 1 else said) if said else None


def _conversation(messages: object) -> list[Object] | None:
    """The messages in chat form; none where there is nothing, None where they are no list of objects."""
    if messages is None:
        return []
    value = parsed(messages)
    if not isinstance(value, (list, tuple, Mapping)):
        return None
    found = [cast("object", value)] if isinstance(value, Mapping) else list(cast("Sequence[object]", value))
    if not all(isinstance(message, Mapping) for message in found):
        return None
    return [made for message in cast("Sequence[Mapping[str, Any]]", found) for made in _messages(message)]


def _messages(message: Mapping[str, Any]) -> list[Object]:
    """One message of the conventions as those that it is in chat form: each tool's answer is one of its own."""
    parts = message.get("parts")
    if not isinstance(parts, (list, tuple)):
        return [dict(message)]  # in chat form already, or in some other that is shown as it is
    collected = _Message()
    for part in cast("list[object]", parts):
        collected.add(part)
    return collected.messages(message)


class _Message:
    """What the parts of a message come to."""

    def __init__(self) -> None:
        self._content: list[Object] = []
        self._thinking: list[Object] = []
        self._calls: list[Object] = []
        self._answers: list[Object] = []

    def add(self, part: object) -> None:
        about: Mapping[str, Any] = cast("Mapping[str, Any]", part) if isinstance(part, Mapping) else {"content": part}
        kind, content = about.get("type"), about.get("content")
        if kind == "reasoning":
            self._thinking.append({"type": "thinking", "content": as_text(content) or ""})
        elif kind == "tool_call":
            self._calls.append(_call(about, about.get("arguments")))
        elif kind == "server_tool_call":  # run by the provider: what it was given has a shape for each tool
            self._calls.append(_call(about, about.get("server_tool_call")))
        elif kind == "tool_call_response":
            self._answers.append(_answer(about, about.get("response", about.get("result"))))
        elif kind == "server_tool_call_response":
            self._answers.append(_answer(about, about.get("server_tool_call_response")))
        else:
            self._content.append(_shown(about, kind))

    def messages(self, message: Mapping[str, Any]) -> list[Object]:
        said = str(message.get("role") or "user")
        role = _ROLES.get(said, said if said in _KNOWN_ROLES else "user")
        own: Object = {"role": role, "content": self._text()}
        if isinstance(message.get("name"), str) and message["name"]:
            own["name"] = message["name"]
        if self._thinking:
            own["thinking"] = self._thinking
        if self._calls:
            own["tool_calls"] = self._calls
        if self._answers and not (self._content or self._thinking or self._calls):
            return self._answers
        return [own, *self._answers] if self._calls else [*self._answers, own]

    def _text(self) -> str | list[Object]:
        if not self._content:
            return ""
        return self._content[0]["text"] if len(self._content) == 1 and "text" in self._content[0] else self._content


def _call(part: Mapping[str, Any], arguments: object) -> Object:
    given = arguments if isinstance(arguments, str) else written({} if arguments is None else arguments)
    function = {"name": str(part.get("name") or ""), "arguments": given or "{}"}
    # Without an id that is a text the whole conversation is shown as JSON.
    return {"id": str(part.get("id") or ""), "type": "function", "function": function}


def _answer(part: Mapping[str, Any], response: object) -> Object:
    return {"role": "tool", "tool_call_id": str(part.get("id") or ""), "content": as_text(response) or ""}


def _shown(part: Mapping[str, Any], kind: object) -> Object:
    """A part of a message's content: text, an image that can be shown, or a word about what it is."""
    content = part.get("content")
    if kind in (None, "text"):
        return {"type": "text", "text": as_text(content) or ""}
    mime_type = str(part.get("mime_type") or "")
    uri = part.get("uri")
    if kind == "uri" and isinstance(uri, str):
        image = part.get("modality") == "image" and uri.startswith(("http://", "https://", "data:image/"))
        return _image(uri) if image else _mark(part, mime_type, uri)
    if kind == "blob" and isinstance(content, str):
        # Without the bytes there is a mark of ours, in angle brackets, or nothing.
        image = mime_type in _SHOWN_IMAGES and bool(content) and not content.startswith("<")
        return _image(f"data:{mime_type};base64,{content}") if image else _mark(part, mime_type, content[:80])
    if kind == "file":
        return _mark(part, mime_type, str(part.get("file_id") or ""))
    return {"type": "text", "text": written(dict(part)) or ""}


def _image(url: str) -> Object:
    return {"type": "image_url", "image_url": {"url": url}}


def _mark(part: Mapping[str, Any], mime_type: str, what: str) -> Object:
    words = (str(part.get("modality") or part.get("type")), mime_type, what)
    return {"type": "text", "text": f"[{' '.join(word for word in words if word)}]"}


def _system(instructions: object) -> Object | None:
    """System instructions as a message: the conventions have a list of parts, some write a text."""
    if instructions is None or instructions == "":
        return None
    value = parsed(instructions)
    if isinstance(value, (list, tuple)):
        collected = _Message()
        for part in cast("list[object]", value):
            collected.add(part)
        return collected.messages({"role": "system"})[-1] if value else None
    return {"role": "system", "content": as_text(instructions if value is NOTHING else value) or ""}


def _objects(value: object) -> list[Mapping[str, Any]]:
    found = parsed(value)
    if not isinstance(found, (list, tuple)):
        return []
    return [
        cast("Mapping[str, Any]", item) for item in cast("list[object]", found) if isinstance(item, Mapping) and item
    ]


def _tool(tool: Mapping[str, Any]) -> Object:
    """A tool definition in chat form. One without a name, or of another shape, would cost the whole conversation."""
    kind = str(tool.get("type") or "function")
    inner = tool.get("function")
    about: Mapping[str, Any] = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool
    named: Object = {"name": str(about.get("name") or kind)}
    if isinstance(about.get("description"), str):
        named["description"] = about["description"]
    if isinstance(about.get("parameters"), Mapping):
        named["parameters"] = about["parameters"]
    return {"type": kind, "function": named}
