"""Secrets out of text, before it leaves the process.

Two ways in: `Redactor.text` replaces what looks like a secret inside any string, and `secret_key` says whether a
mapping's key names a credential, so that its whole value goes. The built-in set aims at what leaks in practice;
`SPANLOOM_REDACT_PATTERNS` and a callable of the user's come on top.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom.config import Config

MARK: Final = "[REDACTED]"
# A cut must not hide half a secret from its pattern: callers redact this many characters past their cut.
MARGIN: Final = 512

_CREDENTIAL_WORDS: Final = (
    r"api[_-]?key|apikey|secret[_-]?key|access[_-]?key|private[_-]?key|client[_-]?secret|secret|passwd|password|"
    r"passphrase|access[_-]?token|refresh[_-]?token|id[_-]?token|auth[_-]?token|bearer[_-]?token|session[_-]?token|"
    r"authorization|proxy[_-]?authorization|credentials?|set[_-]?cookie|cookie|x[_-]api[_-]key"
)
# "token" and "pwd" only as a whole key: "max_tokens", "token_count" and the like are numbers people need.
_SECRET_KEY: Final = re.compile(
    rf"(?:^|.*[_\-. ])(?:{_CREDENTIAL_WORDS})s?$|^(?:token|pwd|auth)$", re.IGNORECASE
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_BUILT_IN: Final = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"\b(?:sk|pk|rk)-(?:[A-Za-z]+-)*[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, Langfuse
            r"\b(?:sk|pk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}",  # Stripe
            r"\bgh[opusr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}",
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS access key id
            r"\bAIza[A-Za-z0-9_-]{30,}",  # Google
            r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bhf_[A-Za-z0-9]{20,}|\bgsk_[A-Za-z0-9]{20,}",
            r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",  # JSON web token
            r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{12,}",
            r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)",  # user:password in a URL
            r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+\b",  # e-mail
        )
    )
)
# key = value, "key": "value", also inside JSON that is itself text (\" around the words).
_ASSIGNMENT: Final = re.compile(
    rf"(?i)(?P<key>(?<![A-Za-z0-9])(?:[A-Za-z0-9_-]{{0,40}}[_-])?(?:{_CREDENTIAL_WORDS})(?:\\?[\"'])?\s*[:=]\s*)"
    rf"(?:(?P<quote>\\?[\"'])(?:(?!(?P=quote)).)*(?:(?P=quote)|\Z)|[^\s\"',;&}}\]]+)"
)
_CARD: Final = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])")


def secret_key(key: str) -> bool:
    """Whether a mapping's key names a credential (`api_key`, `Authorization`, `dbPassword`)."""
    if len(key) > 128:
        return False
    return _SECRET_KEY.match(key) is not None or _SECRET_KEY.match(_CAMEL.sub("_", key)) is not None


def _card(match: re.Match[str]) -> str:
    """A run of 13 to 19 digits goes only if it passes the Luhn check: ids and timestamps mostly do not."""
    digits = [int(c) for c in match[0] if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return MARK if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else match[0]


class Redactor:
    """What `config` says about secrets, ready to apply."""

    __slots__ = ("_built_in", "_callable", "_patterns")

    def __init__(self, config: Config) -> None:
        self._built_in = config.redact
        self._patterns = config.redact_patterns
        self._callable: Callable[[str], str] | None = config.redactor

    def hides_key(self, key: str) -> bool:
        """Whether the value below this key is replaced whole."""
        return self._built_in and secret_key(key)

    def text(self, text: str) -> str:
        """`text` without secrets.

        Raises:
            Exception: whatever the user's callable raised; the caller must then drop the value.
            TypeError: the user's callable returned something other than a string.
        """
        if self._built_in and len(text) > 5:
            text = _BUILT_IN.sub(MARK, text)
            text = _ASSIGNMENT.sub(lambda m: m["key"] + MARK, text)
            text = _CARD.sub(_card, text)
        for pattern in self._patterns:
            text = pattern.sub(MARK, text)
        if self._callable is not None:
            text = self._callable(text)
            if type(text) is not str:
                raise TypeError(f"the redactor returned {type(text).__name__}, not str")
        return text
