"""Values and exceptions -> attribute values: bounded and redacted, as the settings allow."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from spanloom.credentials import MARK
from spanloom.frames import without_ours
from spanloom.guard import swallow
from spanloom.jsontext import KEY_BYTES, SMALLEST, Writer, clean, cut, hides, note, size
from spanloom.redact import LONGEST, MARGIN, Redactor
from spanloom.serializers import Serializers

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom.config import Config

_FRAMES: Final = 128  # of a stack trace, the innermost
_NAMES: Final = 1024  # names remembered, each of at most _SHORT characters
_SHORT: Final = 64


class Capture:
    """Turns values and exceptions into attribute values as `config` allows."""

    __slots__ = (
        *("_exception_messages", "_names", "_redactor", "_serializers"),
        *("io", "limit", "messages", "params", "replaced", "state", "tools"),
    )

    def __init__(self, config: Config) -> None:
        self.limit = config.max_value_bytes
        self._redactor = Redactor(config)
        serializers = self._serializers = Serializers(config.serializers) if config.serializers else None
        # What the program wants in a value's place, or the value; for who reads its fields before `json` does.
        self.replaced: Callable[[object], object] | None = serializers.replaced if serializers is not None else None
        self._exception_messages = config.exception_messages
        self._names: dict[str, str] = {}
        self.messages = config.captures("messages")
        self.tools = config.captures("tools")
        self.io = config.captures("io")
        self.params = config.captures("params")
        self.state = config.captures("state")

    def json(self, value: object, limit: int | None = None) -> str | None:
        """JSON text of `value`, at most `limit` (default: the configured bound) UTF-8 bytes.

        Returns None if a redactor failed: the value is dropped then, not sent.
        """
        room = max(limit or self.limit, SMALLEST)
        try:
            return Writer(self._redactor, room, self._serializers).write(value, room)
        except Exception as exc:
            swallow("capture", "a captured value (a redactor or a value failed; nothing of it was kept)", exc)
            return None

    def field(self, key: object, value: object, limit: int) -> str | None:
        """As `json`, for the value below a mapping's key: a credential's is hidden whole."""
        hidden = value is not None and hides(self._redactor, key)
        return f'"{MARK}"' if hidden else self.json(value, limit)

    def name(self, text: str) -> str:
        """A name that stands in a trace even without content (a state's key): redacted, short, encodable."""
        known = self._names.get(text)
        if known is not None:
            return known
        name = self._plain(text, KEY_BYTES)
        if name is None:  # a redactor failed
            name = MARK
        if len(text) <= _SHORT and len(self._names) < _NAMES:  # names repeat, and redaction takes a while
            self._names[text] = name
        return name

    def word(self, text: str) -> str:
        """As `name`, a provider's word that is compared with others: in lower case, unless a part of it is hidden."""
        shown = self.name(text)
        return text.lower() if shown == text else shown

    def identity(self, text: str) -> str | None:
        """An id of a provider's making: short, and redacted by the user's own patterns and callable only.

        Ids are new each time, and looking each through for the built-in set would cost a third of a span. Returns
        None if a redactor failed.
        """
        return self._plain(text, KEY_BYTES) if self._redactor.own else cut(clean(text), KEY_BYTES)

    def text(self, text: str, limit: int | None = None) -> str | None:
        """`text` as it stands, redacted, in at most `limit` (default: the configured bound) UTF-8 bytes.

        Returns None if a redactor failed: the text is dropped then, not sent.
        """
        return self._plain(str.__str__(text), limit or self.limit)

    def message(self, exc: BaseException) -> str | None:
        """`str(exc)`, redacted and bounded; None if messages are off or there is none to be had."""
        if not self._exception_messages:
            return None
        try:
            # a plain `str`, should it be of a subclass
            text = _without_values(exc) if _quotes_values(exc) else str.__str__(str(exc))
        except Exception:
            text = f"<{type(exc).__name__} without a printable message>"
        return self._plain(text, self.limit)

    def stacktrace(self, exc: BaseException) -> str | None:
        """The formatted traceback, redacted; cut at the front, because its end tells most. None if off."""
        if not self._exception_messages:
            return None
        trace = without_ours(exc.__traceback__)
        try:
            if _quotes_values(exc):
                lines = traceback.format_tb(trace, limit=-_FRAMES)
                lines.append(f"{type(exc).__module__}.{type(exc).__qualname__}: {_without_values(exc)}\n")
            else:
                lines = traceback.format_exception(type(exc), exc, trace, limit=-_FRAMES, chain=False)
        except Exception:
            return None
        return self._plain("".join(lines), self.limit, keep_end=True) or None

    def _plain(self, text: str, limit: int, *, keep_end: bool = False) -> str | None:
        """`text` in at most `limit` bytes. As much as may hide half a secret is read beyond, and not kept."""
        beyond = LONGEST if keep_end else MARGIN
        is_cut = len(text) > limit + beyond
        mark = note(len(text))
        try:
            if keep_end:
                window = clean(text[-(limit + beyond) :])
                # as much goes as is made of what lies before the end: half secrets stay as they are there
                unsure = len(self._redactor.text(window[:beyond])) if is_cut else 0
                window = self._redactor.text(window)[unsure:]
                if not is_cut and size(window) <= limit:
                    return window
                return f"{mark}\n{cut(window[::-1], limit - size(mark) - 1)[::-1]}"
            window = self._redactor.text(clean(text[: limit + beyond]))
            if is_cut:
                window = window[:-beyond]
            elif size(window) <= limit:
                return window
            return cut(window, limit - size(mark)) + mark
        except Exception as exc:
            swallow("redact", "a text (a redactor failed)", exc)
            return None


def _quotes_values(exc: BaseException) -> bool:
    """Whether it is a validation error of pydantic: its message quotes what it was given, which is content.

    Of a tool's arguments that would be the program's own state, where LangGraph injects it.
    """
    kind = type(exc)
    return kind.__name__ == "ValidationError" and kind.__module__.partition(".")[0] == "pydantic_core"


def _without_values(exc: Any) -> str:
    """The message of such an error in its own form, without the values."""
    errors: list[dict[str, Any]] = exc.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{len(errors)} validation error{'' if len(errors) == 1 else 's'} for {exc.title}"]
    for error in errors:
        lines += [".".join(map(str, error["loc"])), f"  {error['msg']} [type={error['type']}]"]
    return "\n".join(lines)
