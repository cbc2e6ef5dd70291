"""JSON text to values and back, for texts that somebody else has written and that may be cut."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

NOTHING: Any = object()


def parsed(value: object) -> Any:
    """What an attribute holds: the value of its JSON text, or what it is itself; `NOTHING` if it is no JSON.

    Args:
        value: an attribute's value. Structured ones are JSON text by convention; the API takes them as they are, too.
    """
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return NOTHING


def written(value: object) -> str | None:
    """`value` as JSON text that goes into a protobuf string and that JavaScript reads; None if it cannot be."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None
    return text if encodable(text) else json.dumps(value, allow_nan=False, default=_plain, separators=(",", ":"))


def as_text(value: object) -> str | None:
    """A text as it is, anything else as JSON; None if it cannot be written."""
    return value if isinstance(value, str) else written(value)


def encodable(text: str) -> bool:
    """Whether `text` has no lone surrogates, which protobuf refuses."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> object:
    """What `json` does not know: the API's immutable copies of dicts and lists."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return list(cast("Sequence[object]", value))
    return str(value)
