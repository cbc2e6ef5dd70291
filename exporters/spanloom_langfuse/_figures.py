"""Tokens, cost, times and parameters of a model call, in the forms that both of Langfuse's write paths take."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final, TypeGuard, cast

from spanloom_langfuse import _names as names
from spanloom_langfuse._text import written

# Of these the server takes "" or an empty list for a text of its wire format.
_EMPTY: Final[tuple[Any, ...]] = (None, "", (), [])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
# An object without buckets: the server looks no further, so what it would count a second time is not counted.
NONE: Final = "{}"


def usage(attributes: Mapping[str, Any]) -> str | None:
    """Tokens in buckets that do not overlap, as JSON text; None if none are known.

    The conventions' input tokens include the cached ones and the output tokens those of the reasoning; Langfuse adds
    its buckets up and has a price for each. Its names are those of its price table.
    """
    read = _first(attributes, names.CACHE_READ_TOKENS) or 0
    write = _first(attributes, names.CACHE_WRITE_TOKENS) or 0
    reasoning = _first(attributes, names.REASONING_TOKENS) or 0
    given = {
        "input": _less(_first(attributes, names.INPUT_TOKENS), read + write),
        "input_cached_tokens": read or None,
        "input_cache_creation": write or None,
        "output": _less(_first(attributes, names.OUTPUT_TOKENS), reasoning),
        "output_reasoning_tokens": reasoning or None,
    }
    buckets = {name: tokens for name, tokens in given.items() if tokens is not None}
    return written({**buckets, "total": sum(buckets.values())}) if buckets else None


def answered_from_cache() -> dict[str, str]:
    """A call that cost nothing: without zeros the server would count the text's tokens itself."""
    return {
        names.USAGE_DETAILS: '{"input":0,"output":0,"total":0}',
        names.COST_DETAILS: '{"total":0}',
    }


def cost(attributes: Mapping[str, Any]) -> str | None:
    """What the call cost, in USD; None if nobody has said so, and the server looks it up in its own table."""
    for name in (names.COST_USD, names.USAGE_COST):
        amount = attributes.get(name)
        if _is_number(amount) and amount >= 0:
            return written({"total": float(amount)})
    return None


def completion_start(attributes: Mapping[str, Any], start: int | None) -> str | None:
    """When the first chunk came, in ISO 8601 with a Z.

    Args:
        attributes: the span's.
        start: when the span began, in nanoseconds since 1970.
    """
    seconds = attributes.get(names.TIME_TO_FIRST_CHUNK)
    if start is None or not _is_number(seconds) or seconds < 0:
        return None
    return moment(start + int(seconds * 1e9))


def moment(nanoseconds: int) -> str | None:
    """A time in ISO 8601, UTC, with a Z; None beyond the year 9999."""
    try:
        time = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if time.year >= 1000 else None


def parameters(attributes: Mapping[str, Any]) -> str | None:
    """The parameters of the request, as a flat JSON object of texts and numbers; None if there are none."""
    given = {
        key.removeprefix(names.REQUEST): value
        for key, value in attributes.items()
        if key.startswith(names.REQUEST) and key != names.REQUEST_MODEL
    }
    if names.OUTPUT_TYPE in attributes:
        given["output.type"] = attributes[names.OUTPUT_TYPE]
    flat = {key: _flat(value) for key, value in given.items() if value not in _EMPTY}
    return written(flat) if flat else None


def finish_reason(attributes: Mapping[str, Any]) -> str | None:
    """Why the model has stopped, choice by choice."""
    reasons = attributes.get(names.FINISH_REASONS)
    if isinstance(reasons, str):
        return reasons or None
    if isinstance(reasons, Sequence):
        return ", ".join(str(reason) for reason in cast("Sequence[object]", reasons)) or None
    return None


def _first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = attributes.get(key)
        if _is_number(value) and value >= 0:
            return int(value)
    return None


def _less(tokens: int | None, among_them: int) -> int | None:
    # Who reports more of a part than of the whole has counted it beside.
    return tokens if tokens is None or among_them > tokens else tokens - among_them


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _flat(value: object) -> str | int | float:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) or _is_number(value):
        return value
    return written(value) or str(value)
