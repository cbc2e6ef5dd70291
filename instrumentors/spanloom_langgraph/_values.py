"""Values of a graph's state as they are recorded: LangChain's messages in short."""

from __future__ import annotations

import sys
from typing import Any, Final, cast

# What tells something of a message; the rest is the provider's answer, which the model call's span has.
_FIELDS: Final = ("type", "content", "name", "id", "tool_calls", "invalid_tool_calls", "tool_call_id", "status")


def plain(value: Any) -> Any:
    """`value` with the messages in it (itself, or in a list or a mapping's list) as mappings of what they say.

    Anything else is as it was; nothing is changed or copied deeply.
    """
    kind: Any = getattr(sys.modules.get("langchain_core.messages.base"), "BaseMessage", None)
    if kind is None:
        return value
    if type(value) is dict:
        return {key: _listed(one, kind) for key, one in cast("dict[Any, Any]", value).items()}
    return _listed(value, kind)


def _listed(value: Any, kind: type) -> Any:
    if type(value) is list:
        return [_message(one) if isinstance(one, kind) else one for one in cast("list[Any]", value)]
    return _message(value) if isinstance(value, kind) else value


def _message(message: Any) -> dict[str, Any]:
    told: dict[str, Any] = message.__dict__  # past pydantic, which takes its time over what is not there
    return {field: told[field] for field in _FIELDS if told.get(field) not in (None, [], "")}
