"""Google's `generate_content`: of an answer every chunk has the same shape. Also the REST API's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import parts
from spanloom.inference import Usage
from spanloom.recording._fields import count, field, index, is_list, items, plain, total, within, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spanloom.recording._answer import Answer, Choice

_USAGE: Final = ("usage_metadata", "usageMetadata")
_FEEDBACK: Final = ("prompt_feedback", "promptFeedback")
_TOTAL: Final = ("total_token_count", "totalTokenCount")
_UNSAID: Final = "FINISH_REASON_UNSPECIFIED"


def add(answer: Answer, thing: object) -> bool:
    """Read a `GenerateContentResponse`; False if it is none."""
    candidates = field(thing, "candidates")
    usage = field(thing, *_USAGE)
    blocked = None
    if not is_list(candidates):
        candidates = ()
        # The question was refused: there is no candidate that could tell it.
        blocked = word(field(field(thing, *_FEEDBACK), "block_reason", "blockReason"))
        if blocked is None and count(field(usage, *_TOTAL)) is None:
            return False
    if answer.model is None:
        answer.model = word(field(thing, "model_version", "modelVersion"))
    if answer.identity is None:
        answer.identity = word(field(thing, "response_id", "responseId"))
    if usage is not None:
        answer.used(_usage, usage)
    if blocked is not None:
        answer.ended("content_filter")
    for candidate in candidates:
        reason = field(candidate, "finish_reason", "finishReason")
        if reason is not None and word(reason) != _UNSAID:
            answer.ended(reason, index(field(candidate, "index")))
        if answer.content:
            _read(answer.choice(index(field(candidate, "index"))), items(within(candidate, "content", "parts")))
    return True


def _read(choice: Choice, told: Sequence[object]) -> None:
    for part in told:
        said = field(part, "text")
        call = field(part, "function_call", "functionCall")
        if said is not None:
            (choice.reasoning if field(part, "thought") else choice.text)(said)
        elif call is not None:
            arguments = plain(field(call, "args"))
            choice.call(object(), word(field(call, "name")), word(field(call, "id")), arguments)
        else:
            choice.whole(parts.parts(plain(part)))


def _usage(told: Sequence[object]) -> Usage:
    """Tokens of a `UsageMetadata`: results of tools are beside the prompt, thoughts beside the answer."""
    (usage,) = told
    thought = count(field(usage, "thoughts_token_count", "thoughtsTokenCount"))
    return Usage(
        total(
            count(field(usage, "prompt_token_count", "promptTokenCount")),
            count(field(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount")),
        ),
        total(count(field(usage, "candidates_token_count", "candidatesTokenCount")), thought),
        count(field(usage, "cached_content_token_count", "cachedContentTokenCount")),
        None,
        thought,
    )
