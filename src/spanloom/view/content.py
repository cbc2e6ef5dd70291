"""Captured content, readable: conversations, tool calls, inputs and outputs, changes of the state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom import names
from spanloom.view.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.view.model import Span, Value

# The history is repeated in every call of a loop; the last messages and a count of the others tell enough.
_MESSAGES: Final = 6
_LANGCHAIN_MESSAGES: Final = ("human", "ai", "tool", "system")
# The attributes that hold content.
NEEDED: Final = frozenset(
    {
        names.POCKETFLOW_PARAMS,
        names.INPUT,
        names.OUTPUT,
        names.GEN_AI_SYSTEM_INSTRUCTIONS,
        names.GEN_AI_INPUT_MESSAGES,
        names.GEN_AI_OUTPUT_MESSAGES,
        names.GEN_AI_TOOL_CALL_ARGUMENTS,
        names.GEN_AI_TOOL_CALL_RESULT,
        names.GEN_AI_RETRIEVAL_QUERY_TEXT,
        names.GEN_AI_RETRIEVAL_DOCUMENTS,
        names.STATE_CHANGES,
        names.LANGGRAPH_INTERRUPT_VALUE,
    }
)


class Block(NamedTuple):
    """A labelled text of any number of lines, not yet cleaned."""

    label: str
    text: str
    style: str = ""


def blocks(span: Span) -> Iterator[Block]:
    """The content that a span carries, in the order in which it came about."""
    get = span.attributes.get
    if (params := get(names.POCKETFLOW_PARAMS)) is not None:
        yield Block("params", pretty(params))
    if (value := get(names.INPUT)) is not None:
        yield Block("input", pretty(value))
    if (query := get(names.GEN_AI_RETRIEVAL_QUERY_TEXT)) is not None:
        yield Block("query", _plain(query))
    if (documents := get(names.GEN_AI_RETRIEVAL_DOCUMENTS)) is not None:
        yield from _documents(documents)
    if (arguments := get(names.GEN_AI_TOOL_CALL_ARGUMENTS)) is not None:
        yield Block("arguments", _plain(arguments))
    if (system := get(names.GEN_AI_SYSTEM_INSTRUCTIONS)) is not None:
        yield from _message("system", _parsed(system))
    if (messages := get(names.GEN_AI_INPUT_MESSAGES)) is not None:
        yield from _messages(messages)
    if (messages := get(names.GEN_AI_OUTPUT_MESSAGES)) is not None:
        yield from _messages(messages, style="green")
    if (result := get(names.GEN_AI_TOOL_CALL_RESULT)) is not None:
        yield Block("result", _plain(result), "green")
    if (value := get(names.OUTPUT)) is not None:
        yield Block("output", pretty(value), "green")
    if (changes := get(names.STATE_CHANGES)) is not None:
        yield from _changes(changes)
    for event in span.events:
        if (value := event.attributes.get(names.LANGGRAPH_INTERRUPT_VALUE)) is not None:
            yield Block("interrupt", pretty(value), "yellow")


def pretty(value: Value) -> str:
    """A captured value (JSON text) as one reads it: strings without their quotes, anything else as compact JSON."""
    return _plain(_parsed(value))


def _plain(value: Any) -> str:
    """Text as it stands, anything else as compact JSON."""
    return value if type(value) is str else _compact(value)


def _messages(value: Value, style: str = "") -> Iterator[Block]:
    messages = _parsed(value)
    if not isinstance(messages, list):
        yield Block("messages", pretty(value), style)
        return
    items = cast("list[Any]", messages)
    if len(items) > _MESSAGES:
        yield Block("", f"({plural(len(items) - _MESSAGES, 'earlier message')})", "dim")
    for item in items[-_MESSAGES:]:
        if not isinstance(item, dict):
            yield Block("message", _plain(item), style)
            continue
        message = cast("dict[str, Any]", item)
        body = message.get("parts", message.get("content"))
        yield from _message(_word(message.get("role"), "message"), body, style)


def _message(role: str, body: Any, style: str = "") -> Iterator[Block]:
    """One message. The conventions say `parts`, a list of typed objects; others have plain text in their place."""
    for part in cast("list[Any]", body) if isinstance(body, list) else [body]:
        if not isinstance(part, dict):
            yield Block(role, _plain(part), style)
            continue
        fields = cast("dict[str, Any]", part)
        kind = fields.get("type")
        if kind == "text":
            yield Block(role, _plain(fields.get("content")), style)
        elif kind == "reasoning":
            yield Block(f"{role} (reasoning)", _plain(fields.get("content")), "dim")
        elif kind == "tool_call":
            arguments = _plain(fields.get("arguments", {}))
            yield Block(_called(f"{role} calls", fields), f"{_word(fields.get('name'), '?')}({arguments})", "magenta")
        elif kind == "tool_call_response":
            yield Block(_called(role, fields), _plain(fields.get("response", fields.get("result"))), style)
        else:
            yield Block(role, _compact(fields), style)


def _called(label: str, part: dict[str, Any]) -> str:
    call_id = _word(part.get("id"), "")
    return f"{label} [{call_id}]" if call_id else label


def _documents(value: Value) -> Iterator[Block]:
    """What was found, a block each; the conventions say a list of objects."""
    documents = _parsed(value)
    for document in cast("list[Any]", documents) if isinstance(documents, list) else [documents]:
        yield Block("found", _plain(document), "green")


def _changes(value: Value) -> Iterator[Block]:
    """The JSON object that `spanloom.state` writes (`Snapshot.values`, `updates`)."""
    changes = _parsed(value)
    if not isinstance(changes, dict):
        yield Block("state", pretty(value))
        return
    for group, entries in cast("dict[str, Any]", changes).items():
        if not isinstance(entries, dict):  # the count of what did not fit
            yield Block(f"state {group}", pretty(entries), "dim")
            continue
        for key, change in cast("dict[str, Any]", entries).items():
            if group == "changed" and isinstance(change, dict):
                yield from _change(f"state ~ {key}", cast("dict[str, Any]", change))
            else:
                yield Block(f"state {'-' if group == 'removed' else '+'} {key}", _compact(change))


def _change(label: str, change: dict[str, Any]) -> Iterator[Block]:
    """The value before and after; or what was written, where the framework makes the new value of it."""
    if "update" not in change:
        was, now = _compact(change.get("before")), _compact(change.get("after"))
        yield Block(label, f"was {was}\nnow {now}")
        return
    update = change["update"]
    items = cast("list[Any]", update) if isinstance(update, list) else [update]
    if not any(map(_is_langchain_message, items)):
        yield Block(label, _compact(update))
        return
    for item in items:
        if _is_langchain_message(item):
            yield from _message(f"{label} + {item['type']}", _parts(item))
        else:  # the mark of what was cut
            yield Block(label, _compact(item), "dim")


def _is_langchain_message(value: Any) -> bool:
    """Whether it is one of LangChain's messages: these are objects, recorded by their fields."""
    return isinstance(value, dict) and "content" in value and cast("Any", value).get("type") in _LANGCHAIN_MESSAGES


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A LangChain message's content and tool calls as the conventions have them."""
    said: Any = message["content"]
    if message["type"] == "tool":
        return [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": said}]
    parts: list[dict[str, Any]] = []
    calls: Any = message.get("tool_calls")
    for call in cast("list[Any]", calls) if isinstance(calls, list) else ():
        if isinstance(call, dict):
            fields = cast("dict[str, Any]", call)
            parts.append({**fields, "type": "tool_call", "arguments": fields.get("args")})
    return [{"type": "text", "content": said}, *parts] if said or not parts else parts


def _parsed(value: Any) -> Any:
    """What a JSON text stands for; the text itself where it is none (or one that was cut)."""
    if type(value) is str:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _compact(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "(nested too deeply to show)"


def _word(value: Any, default: str) -> str:
    return value if type(value) is str and value else default
