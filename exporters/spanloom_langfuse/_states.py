"""Messages in the state of a graph, which are LangChain's as a rule, as those of a chat, so that they are shown as one.

LangChain's messages have a `type` (`human`, `ai`, `tool`, `system`) where a chat's have a `role`, and arguments of tool
calls as objects. What a message has besides stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from spanloom_langfuse._text import parsed, written

_ROLES: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "tool": "tool", "system": "system"}
# The short form that graphs take: a pair of a role and a text.
_PAIRS: Final = _ROLES | {"user": "user", "assistant": "assistant"}


def with_chat(text: str) -> str:
    """A state, or a list of messages, as JSON text, with its messages in the form of a chat; anything else as it is."""
    if '"messages"' not in text and not text.startswith("[{"):
        return text
    state = parsed(text)
    if isinstance(state, dict):
        about = cast("dict[str, Any]", state)
        said = _messages(about.get("messages"))
        made = None if said is None else {**about, "messages": said}
    else:
        made = _messages(state)
    return text if made is None else written(made) or text


def _messages(value: object) -> list[Any] | None:
    """The messages in the form of a chat; None where none of them is in LangChain's."""
    if not isinstance(value, list):
        return None
    found = cast("list[object]", value)
    made = [_message(one) for one in found]
    return None if made == found else made


def _message(one: object) -> object:
    if isinstance(one, list):
        pair = cast("list[object]", one)
        is_pair = len(pair) == 2 and isinstance(pair[0], str) and pair[0] in _PAIRS and isinstance(pair[1], str)
        return {"role": _PAIRS[str(pair[0])], "content": pair[1]} if is_pair else pair
    if not isinstance(one, dict):
        return one
    message = cast("dict[str, Any]", one)
    kind = message.get("type")
    if "role" in message or not isinstance(kind, str) or kind not in _ROLES:
        return message
    made = {"role": _ROLES[kind], "content": message.get("content", "")}
    made |= {key: value for key, value in message.items() if key not in ("type", "id", "tool_calls", "content")}
    if made.get("status") == "success":
        del made["status"]
    calls: Any = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        made["tool_calls"] = [_call(call) for call in cast("Sequence[object]", calls)]
    return made


def _call(call: object) -> object:
    if not isinstance(call, Mapping):
        return call
    about = cast("Mapping[str, Any]", call)
    if "function" in about:
        return dict(about)
    function = {"name": str(about.get("name") or ""), "arguments": written(about.get("args", {})) or "{}"}
    return {"id": str(about.get("id") or ""), "type": "function", "function": function}
