"""Attribute values that somebody else wrote -> the same values without secrets.

What spanloom writes is redacted while it is written (`capture`). Here the text is finished and its shape is its
writer's: JSON stays JSON, structures stay structures, and a value in which nothing is hidden stays the very object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.credentials import MARK
from spanloom.guard import swallow
from spanloom.jsontext import clean, hides
from spanloom.redact import MARGIN, Redactor

if TYPE_CHECKING:
    from spanloom.config import Config

_JSON_STARTS: Final = ("{", "[", '"')


class Scrubber:
    """Applies the redaction that `config` asks for.

    Attributes:
        needed: whether it asks for any.
    """

    __slots__ = ("_redactor", "needed")

    def __init__(self, config: Config) -> None:
        self._redactor = Redactor(config)
        self.needed = config.redact or self._redactor.own

    def value(self, value: Any, limit: int | None = None) -> Any:
        """An attribute's value (OpenTelemetry's `AnyValue`) without secrets; `value` itself where there are none.

        Args:
            value: a text, JSON text, or a structure of them.
            limit: the length at which the SDK cuts texts, if it does: a text of that length may end in half a secret.

        Returns:
            The value; `MARK` if a redactor failed, so that nothing unseen is sent.
        """
        try:
            return self._text(value, limit) if isinstance(value, str) else self._within(value)
        except Exception as exc:
            swallow("scrub", "a value that another instrumentation wrote (a redactor failed)", exc)
            return MARK

    def _text(self, given: str, limit: int | None) -> str:
        text = str.__str__(given)
        if text.lstrip()[:1] in _JSON_STARTS:
            try:
                parsed = json.loads(text, object_pairs_hook=_object)
            except (ValueError, RecursionError):
                pass  # no JSON, or cut
            else:
                redacted = self._within(parsed)
                if redacted is parsed:
                    return given
                return clean(json.dumps(redacted, ensure_ascii=False, separators=(",", ":")))
        redacted = self._redactor.text(text)
        if limit is not None and len(text) >= limit:
            redacted = redacted[: -min(MARGIN, max(limit // 2, 1))] + "…"
        return given if redacted == text else redacted

    def _within(self, value: Any) -> Any:
        """`value`, or a copy if something in it had to be hidden."""
        if isinstance(value, str):
            redacted = self._redactor.text(str.__str__(value))
            return value if redacted == value else redacted
        if isinstance(value, Mapping):
            return self._mapping(cast("Mapping[str, Any]", value))
        if isinstance(value, (bytes, bytearray)):
            text = value.decode("utf-8", "replace")
            redacted = self._redactor.text(text)
            return value if redacted == text else redacted
        if isinstance(value, Sequence):
            given = cast("Sequence[Any]", value)
            made = [self._within(item) for item in given]
            return given if all(new is old for new, old in zip(made, given, strict=True)) else made
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = repr(value).removesuffix(".0")  # a card number stored as a number is one all the same
            redacted = self._redactor.text(text)
            return value if redacted == text else redacted
        return value

    def _mapping(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        made: dict[str, Any] = {}
        changed = isinstance(value, _Repeating)
        for key, item in value.items():
            name = self._within(key)
            inside = MARK if item is not None and hides(self._redactor, key) else self._within(item)
            changed = changed or name is not key or inside is not item
            made[name] = inside
        return made if changed else value


class _Repeating(dict[str, Any]):
    """An object in which a key stands twice. Only the last is seen here, so the text must not stay as it is."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Repeating(made)
