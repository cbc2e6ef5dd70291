"""What a program has written in Langfuse's words itself: it stays, in types that Langfuse takes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from spanloom_langfuse import _names as names
from spanloom_langfuse._kinds import LONGEST_NAME
from spanloom_langfuse._text import as_text

_HAS_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_TEXTS: Final = (names.VERSION, names.STATUS_MESSAGE, names.RELEASE, names.TRACE_NAME, names.SESSION_ID, names.USER_ID)


def mended(own: Mapping[str, Any]) -> tuple[dict[str, AttributeValue], set[str]]:
    """What is to be set, and what to be left out, because older servers drop an observation for it.

    Args:
        own: the span's attributes.
    """
    made: dict[str, AttributeValue] = {}
    remove: set[str] = set()
    for key in _TEXTS:
        if key in own and not isinstance(own[key], str):
            made[key] = as_text(own[key]) or ""
    name = own.get(names.TRACE_NAME)
    if isinstance(name, str) and len(name) > LONGEST_NAME:
        made[names.TRACE_NAME] = name[:LONGEST_NAME]
    if own.get(names.TRACE_TAGS) in ((), []):
        remove.add(names.TRACE_TAGS)
    started = own.get(names.COMPLETION_START)
    if started is not None and not (isinstance(started, str) and _HAS_ZONE.fullmatch(started)):
        remove.add(names.COMPLETION_START)
    for prompt, number in zip(names.PROMPT_NAMES, names.PROMPT_VERSIONS, strict=True):
        if prompt not in own and number not in own:
            continue
        version = own.get(number)
        if isinstance(version, str) and version.isascii() and version.isdigit():
            made[number] = version = int(version)
        if not (type(version) is int and version > 0 and own.get(prompt) and isinstance(own[prompt], str)):
            made.pop(number, None)
            # One without the other links to nothing, and costs the observation.
            made |= {
                f"{names.OBSERVATION_METADATA}{key.removeprefix(names.LANGFUSE)}": own[key]
                for key in (prompt, number)
                if key in own
            }
            remove |= {prompt, number}
    return made, remove
