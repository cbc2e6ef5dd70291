"""OpenAI's responses API: a whole `Response`, or the events of a streamed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import messages, parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, is_list, items, parsed, plain, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.messages import Part
    from spanloom.recording._answer import Answer

_EVENT: Final = "response."
# Tools that the program runs: the answer ended to have them run.
_CALLS: Final = frozenset(
    ("function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call")
)
_SERVER_CALLS: Final = frozenset(("web_search_call", "file_search_call", "code_interpreter_call", "mcp_call"))
_TEXTS: Final = frozenset(("response.output_text.delta", "response.refusal.delta", "response.audio.transcript.delta"))
_THOUGHTS: Final = frozenset(("response.reasoning_text.delta", "response.reasoning_summary_text.delta"))
_ARGUMENTS: Final = frozenset(("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"))


def add(answer: Answer, thing: object) -> bool:
    """Read a `Response` or a `ResponseStreamEvent`; False if it is none."""
    kind = field(thing, "type")
    if isinstance(kind, str) and kind.startswith(_EVENT):
        _event(answer, kind, thing)
        return True
    if kind == "error" and answer.model is not None:  # the stream's own error event
        answer.failed(thing)
        answer.ended("failed")
        return True
    if field(thing, "object") != "response" or not is_list(field(thing, "output")):
        return False
    _whole(answer, thing)
    return True


def _event(answer: Answer, kind: str, event: object) -> None:
    if kind in _TEXTS or kind in _THOUGHTS or kind in _ARGUMENTS:
        if answer.content:
            _delta(answer, kind, event)
        return
    response = field(event, "response")
    if response is not None:
        _whole(answer, response)
    elif kind == "response.output_item.added" and answer.content:
        item = field(event, "item")
        if field(item, "type") in ("function_call", "custom_tool_call"):
            answer.choice().call(_place(event), word(field(item, "name")), word(field(item, "call_id")))
    elif kind == "response.output_item.done" and answer.content:
        item = field(event, "item")
        if field(item, "type") not in ("message", "reasoning", "function_call", "custom_tool_call"):
            answer.choice().whole(_item(item))


def _delta(answer: Answer, kind: str, event: object) -> None:
    piece = field(event, "delta")
    choice = answer.choice()
    if kind in _ARGUMENTS:
        choice.call(_place(event), arguments=piece)
    elif kind in _THOUGHTS:
        choice.reasoning(piece, (_place(event), index(field(event, "summary_index", "content_index"))))
    else:
        choice.text(piece, (_place(event), index(field(event, "content_index"))))


def _place(event: object) -> int:
    return index(field(event, "output_index"))


def _whole(answer: Answer, response: object) -> None:
    """A response in any state; its output, where it has any yet, is what the events before it have told."""
    answer.model = word(field(response, "model")) or answer.model
    answer.identity = word(field(response, "id")) or answer.identity
    usage = field(response, "usage")
    if usage is not None:
        answer.used(_usage, usage)
    output = items(field(response, "output"))
    answer.ended(_reason(response, output))
    error = field(response, "error")
    if error is not None:
        answer.failed(error)
    if answer.content and output:
        choice = answer.choice()
        choice.clear()
        choice.whole([part for item in output for part in _item(item)])


def _reason(response: object, output: Sequence[object]) -> str | None:
    """A response has a status; why it is what it is must be found."""
    status = word(field(response, "status"))
    if status == "completed":
        return "tool_call" if any(word(field(item, "type")) in _CALLS for item in output) else "stop"
    if status == "incomplete":
        return word(within(response, "incomplete_details", "reason")) or status
    return None if status in ("in_progress", "queued") else status


def _item(item: object) -> Sequence[Part]:
    kind = word(field(item, "type"))
    if kind == "message":
        return parts.parts(plain(items(field(item, "content"))))
    if kind == "reasoning":
        thoughts = [word(field(said, "text")) for key in ("summary", "content") for said in items(field(item, key))]
        return [messages.reasoning(thought) for thought in thoughts if thought]
    if kind in ("function_call", "custom_tool_call"):
        arguments = parsed(field(item, "arguments", "input"))
        return [messages.tool_call(word(field(item, "name")) or "", arguments, word(field(item, "call_id")))]
    if kind is not None and kind in _SERVER_CALLS:
        call = {"type": kind, **plain(item)}
        identity = word(call.pop("id", None))
        return [messages.server_tool_call(word(call.get("name")) or kind.removesuffix("_call"), call, identity)]
    return parts.parts(plain(item))


def _usage(told: Sequence[object]) -> Usage:
    (usage,) = told
    asked = field(usage, "input_tokens_details")
    return Usage(
        count(field(usage, "input_tokens")),
        count(field(usage, "output_tokens")),
        count(field(asked, "cached_tokens")),
        count(field(asked, "cache_write_tokens")),
        count(within(usage, "output_tokens_details", "reasoning_tokens")),
    )
