"""The GenAI conventions' messages: builders of plain dicts, and their JSON text, bounded and redacted.

The shapes are those of the conventions' JSON Schemas (`gen-ai-input-messages`, `-output-messages`,
`-system-instructions`, `-tool-definitions`). Text that is too long is shortened and messages in the middle are left
out, so what is written stays valid against the schemas, whatever the bound is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.jsontext import SMALLEST, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spanloom.capture import Capture

Part = dict[str, Any]
Message = dict[str, Any]

_UNKNOWN: Final = "unknown"
_REASON: Final = "finish_reason"
_SHORT: Final = 256  # bytes of what is not a part's last field: identifiers of some kind
_MARK: Final = 128  # bytes of a mark for what was left out
_MANY: Final = 256  # items are guessed at, not looked at
_LEAST: Final = 2 * SMALLEST + _MARK  # no message is begun in less
# Fields with these values are ours, not the program's: nothing in them is to be redacted.
_OURS: Final = frozenset(
    (
        *("text", "reasoning", "tool_call", "tool_call_response", "uri", "file", "blob", "generic", "function"),
        *("system", "user", "assistant", "tool", "image", "video", "audio", "document"),
        *("stop", "length", "content_filter", "error", _UNKNOWN),
    )
)


def text(content: str) -> Part:
    """What was said."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Part:
    """What the model thought."""
    return {"type": "reasoning", "content": content}


def tool_call(name: str, arguments: object, call_id: str | None = None) -> Part:
    """A tool that the model asks for; `arguments` as they are (a dict, or text that is no JSON)."""
    return {"type": "tool_call", **({"id": call_id} if call_id else {}), "name": name, "arguments": arguments}


def tool_call_response(response: object, call_id: str | None = None) -> Part:
    """What a tool has answered."""
    return {"type": "tool_call_response", **({"id": call_id} if call_id else {}), "response": response}


def server_tool_call(name: str, call: Part, call_id: str | None = None) -> Part:
    """A tool that the provider runs; `call` has a `type` and what that type has."""
    return {"type": "server_tool_call", **({"id": call_id} if call_id else {}), "name": name, "server_tool_call": call}


def server_tool_call_response(response: Part, call_id: str | None = None) -> Part:
    """What such a tool has answered; `response` has a `type` and what that type has."""
    about = {"id": call_id} if call_id else {}
    return {"type": "server_tool_call_response", **about, "server_tool_call_response": response}


def media(
    modality: str,
    mime_type: str | None = None,
    *,
    uri: str | None = None,
    file_id: str | None = None,
    byte_count: int | None = None,
) -> Part:
    """An image, a recording, a document: by reference where there is one, else by its size. Never its bytes."""
    about: Part = {"modality": modality, **({"mime_type": mime_type} if mime_type else {})}
    if uri:
        return {"type": "uri", **about, "uri": uri}
    if file_id:
        return {"type": "file", **about, "file_id": file_id}
    return {"type": "blob", **about, "content": "" if byte_count is None else f"<{byte_count} bytes>"}


def generic(kind: str, content: object) -> Part:
    """A part that the conventions have no word for; `kind` is its maker's."""
    return {"type": "generic", "generic_type": kind, "content": content}


def message(role: str, parts: Sequence[Part], name: str | None = None) -> Message:
    """A message to the model. `role`: `system`, `user`, `assistant`, `tool` or another."""
    return {"role": role, **({"name": name} if name else {}), "parts": parts}


def output(parts: Sequence[Part], finish_reason: str | None = None, role: str = "assistant") -> Message:
    """What the model has answered, one message for each choice. The schema requires a finish reason."""
    return {"role": role, _REASON: finish_reason or _UNKNOWN, "parts": parts}


def tool(name: str, kind: str = "function", description: str | None = None, parameters: object = None) -> Part:
    """A tool that the model was offered; `parameters` is a JSON Schema."""
    return {
        "type": kind,
        "name": name,
        **({"description": description} if description else {}),
        **({"parameters": parameters} if parameters else {}),
    }


def messages_text(capture: Capture, messages: Sequence[Message], limit: int | None = None) -> str | None:
    """JSON text of input or output messages, at most `limit` (default: the configured bound) UTF-8 bytes.

    Where not everything fits, the last messages count most, and the first one (instructions, as a rule); a message
    of the role `omitted` tells how many are missing between them. None if a redactor failed.
    """
    return _written(capture, limit, lambda writer, room: writer.messages(messages, room))


def parts_text(capture: Capture, parts: Sequence[Part], limit: int | None = None) -> str | None:
    """JSON text of system instructions; as `messages_text`, a text part telling how many are missing."""
    return _written(capture, limit, lambda writer, room: writer.parts(parts, room))


def tools_text(capture: Capture, tools: Sequence[Part], limit: int | None = None) -> str | None:
    """JSON text of tool definitions; as `messages_text`. Parameters go first, descriptions next."""
    return _written(capture, limit, lambda writer, room: writer.tools(tools, room))


class _DroppedError(Exception):
    """A redactor failed: nothing is written."""


def _written(capture: Capture, limit: int | None, write: Callable[[_Writer, int], str]) -> str | None:
    try:
        return write(_Writer(capture), max(limit or capture.limit, _LEAST))
    except _DroppedError:
        return None


class _Writer:
    """Writes the conventions' objects.

    Each gets the room that the others leave, and at least a part of what is left: what is long is shortened before
    what is short goes.
    """

    __slots__ = ("_capture",)

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def messages(self, messages: Sequence[Message], room: int) -> str:
        weights = [_heft(message) for message in messages]
        rest = sum(weights)
        if rest < room and size(whole := _array([self._whole(message, room) for message in messages])) <= room:
            return whole
        left = _left(room, messages)
        first: list[str] = []
        last: list[str] = []
        for index in (0, *range(len(messages) - 1, 0, -1)) if messages else ():
            rest -= weights[index]
            made = self._message(messages[index], _share(room, left, weights[index], rest, 2 if index else 4))
            if size(made) >= left:
                break
            left -= size(made) + 1
            (last if index else first).append(made)
        missing = len(messages) - len(first) - len(last)
        if missing:
            mark = message("omitted", [_missing(missing, "message")])
            if _REASON in messages[0]:
                mark[_REASON] = _UNKNOWN
            first.append(self._message(mark, _MARK))
        return _array([*first, *reversed(last)])

    def _whole(self, fields: Message | Part, room: int) -> str:
        """A message or part as it is, without sharing out the room."""
        pieces: list[str] = []
        for key, value in fields.items():
            made = (
                _array([self._whole(part, room) for part in value]) if key == "parts" else self._field(key, value, room)
            )
            pieces.append(f'"{key}":{made}')
        return f"{{{','.join(pieces)}}}"

    def _message(self, message: Message, room: int) -> str:
        """One message, in more than `room` where that is too little for any."""
        head = "".join(
            f'"{key}":{self._field(key, value, min(_SHORT, room // 4))},'
            for key, value in message.items()
            if key != "parts"
        )
        return f'{{{head}"parts":{self.parts(message["parts"], room - size(head) - 10)}}}'

    def parts(self, parts: Sequence[Part], room: int) -> str:
        left = _left(room, parts)
        weights = [_weight(part) for part in parts]
        rest = sum(weights)
        written: list[str] = []
        for part, weight in zip(parts, weights, strict=True):
            rest -= weight
            made = self._object(part, _share(room, left, weight, rest))
            if size(made) > left:
                written.append(self._object(_missing(len(parts) - len(written), "part"), _MARK))
                break
            left -= size(made) + 1
            written.append(made)
        return _array(written)

    def tools(self, tools: Sequence[Part], room: int) -> str:
        left = _left(room, tools)
        weights = [_weight(tool) for tool in tools]
        rest = sum(weights)
        written: list[str] = []
        for tool, weight in zip(tools, weights, strict=True):
            rest -= weight
            made = self._tool(tool, _share(room, left, weight, rest))
            if size(made) > left:
                missing = len(tools) - len(written)
                written.append(self._object({"type": "omitted", "name": _missing(missing, "tool")["content"]}, _MARK))
                break
            left -= size(made) + 1
            written.append(made)
        return _array(written)

    def _tool(self, tool: Part, room: int) -> str:
        about = dict(tool)
        parameters = about.pop("parameters", None)
        made = self._object(about, room)
        left = room - size(made) - 14
        if parameters is None or left < SMALLEST:
            return made
        schema = self._value(parameters, left)
        return made if "…" in schema else f'{made[:-1]},"parameters":{schema}}}'  # half a JSON Schema is none

    def _object(self, fields: Part, room: int) -> str:
        """A part or tool, in more than `room` where that is too little for any; the last field gets most of it."""
        pieces: list[str] = []
        left = room - 2
        for number, (key, value) in enumerate(fields.items(), 1):
            left -= len(key) + 4
            made = self._value(value, left if number == len(fields) else min(_SHORT, left // 2))
            left -= size(made)
            pieces.append(f'"{key}":{made}')
        return f"{{{','.join(pieces)}}}"

    def _field(self, key: str, value: object, room: int) -> str:
        return self._value(self._capture.word(value) if key == _REASON and type(value) is str else value, room)

    def _value(self, value: object, room: int) -> str:
        if type(value) is str and value in _OURS:
            return f'"{value}"'
        made = self._capture.json(value, max(room, SMALLEST))
        if made is None:
            raise _DroppedError
        return made


def _left(room: int, items: Sequence[object]) -> int:
    """What an array's items may take in all."""
    return room - 2 - (_MARK if len(items) > 1 else 0)


def _share(room: int, left: int, weight: int, rest: int, fraction: int = 2) -> int:
    """How much of what is left one item may take: all, if it is small or the rest allows it; else a fraction."""
    return left if weight <= room // 8 else max(left // fraction, left - rest)


def _array(written: Sequence[str]) -> str:
    return f"[{','.join(written)}]"


def _missing(count: int, what: str) -> Part:
    return text(f"… {count} {what}{'s' if count > 1 else ''} left out")


def _heft(message: Message) -> int:
    """As `_weight`, for a message, most of which are texts."""
    heft = 40
    for part in message["parts"]:
        content = part.get("content")
        heft += (
            (len(content) if content.isascii() else 3 * len(content)) + 40 if type(content) is str else _weight(part)
        )
    return heft


def _weight(value: Any, depth: int = 0) -> int:
    """About how many bytes of JSON text `value` is; for sharing out the room, not for bounding."""
    kind = cast("type[Any]", type(value))
    if kind is str:
        return (len(value) if value.isascii() else 3 * len(value)) + 4
    if kind in (dict, list, tuple) and len(value) > _MANY:
        return 24 * len(value)
    if depth < 6:
        if kind is dict:
            return 2 + sum([_weight(key) + _weight(item, depth + 1) for key, item in tuple(value.items())])
        if kind in (list, tuple):
            return 2 + sum([_weight(item, depth + 1) for item in value])
    return 24
