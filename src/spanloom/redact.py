"""Secrets out of text, before it leaves the process.

`Redactor.text` replaces what looks like a secret inside any string, and `hides_key` says whether a mapping's key
names a credential, so that its whole value goes. The built-in set aims at what leaks in practice;
`SPANLOOM_REDACT_PATTERNS` and a callable of the user's come on top.

A pattern runs only over text that holds its trigger, a plain substring: the search for those is much faster than
the patterns, and nearly all text holds none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spanloom.credentials import ESCAPES, MARK, WORD_START, hide_named, names_credential

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom.config import Config

# A cut must not hide half a secret from its pattern. Callers redact this much more than they keep: behind a cut end,
# where the patterns need a few characters only, and before a cut start, where the whole secret must be in view.
MARGIN: Final = 512
LONGEST: Final = 8192  # a private key, a JSON web token

# Not a secret: words with hyphens, as in "sk-learn-extension-package" and "Basic authentication".
_NOT_WORDS: Final = r"(?![A-Za-z]?[a-z]+(?:[-/][A-Za-z][a-z]*)*[.,;:)]?(?![A-Za-z0-9._~+/=-]))"
_PRIVATE_KEY: Final = r"[A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----"
_TOKENS: Final = {  # triggers -> what a token looks like, from the start of a word
    ("sk-", "pk-", "rk-"): rf"(?:sk|pk|rk)-{_NOT_WORDS}[A-Za-z0-9_-]{{16,}}",  # OpenAI, Anthropic, Langfuse
    ("sk_", "pk_", "rk_", "whsec_"): rf"(?:sk|pk|rk|whsec)_(?:live_|test_)?{_NOT_WORDS}[A-Za-z0-9]{{16,}}",  # Stripe
    ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"): r"gh[opusr]_[A-Za-z0-9]{20,}",  # GitHub
    ("github_pat_",): r"github_pat_[A-Za-z0-9_]{20,}",
    ("glpat-",): r"glpat-[A-Za-z0-9_-]{16,}",  # GitLab
    ("AKIA", "ASIA"): r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",  # AWS access key id
    ("AIza",): r"AIza[A-Za-z0-9_-]{30,}",  # Google
    ("ya29.",): r"ya29\.[A-Za-z0-9_-]{20,}",
    ("GOCSPX-",): r"GOCSPX-[A-Za-z0-9_-]{20,}",
    ("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"): r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    ("hf_",): r"hf_[A-Za-z0-9]{20,}",  # Hugging Face
    ("gsk_",): r"gsk_[A-Za-z0-9]{20,}",  # Groq
    ("xai-", "pplx-", "tvly-", "nvapi-"): rf"(?:xai|pplx|tvly|nvapi)-{_NOT_WORDS}[A-Za-z0-9_-]{{16,}}",
    ("lsv2_",): r"lsv2_[a-z]{2}_[A-Za-z0-9_]{16,}",  # LangSmith
    ("npm_",): r"npm_[A-Za-z0-9]{30,}",
    ("pypi-",): r"pypi-AgE[A-Za-z0-9_-]{20,}",
    ("SG.",): r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    ("earer", "EARER", "asic", "ASIC"): rf"(?i:bearer|basic)(?:\s|%20)+{_NOT_WORDS}[A-Za-z0-9._~+/=-]{{12,}}",
    ("eyJ",): r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)*",  # JSON web token
}
_EMAIL: Final = (
    r"(?<!\\)[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}"
    r"\.(?:[A-Za-z]{2,24}|xn--[a-z0-9-]+)(?![A-Za-z0-9])"
)


def _families() -> tuple[tuple[str, tuple[tuple[str, re.Pattern[str]], ...]], ...]:
    """(character, (trigger, pattern)...): without the character, none of the triggers need be looked for."""
    sources = [(trigger, WORD_START + source) for triggers, source in _TOKENS.items() for trigger in triggers]
    sources.append(("-----BEGIN", rf"-----BEGIN {_PRIVATE_KEY}[\s\S]*?(?:-----END {_PRIVATE_KEY}|\Z)"))
    sources.append(("@", r"(?<=://)[^\s/:@\"'<>\\]*:[^\s/\"'<>\\]+(?=@)"))  # user:password in a URL
    sources.append(("@", WORD_START + _EMAIL))
    groups: dict[str, list[tuple[str, re.Pattern[str]]]] = {"_": [], "-": [], "@": [], ".": [], "": []}
    for trigger, source in sources:
        groups[next(char for char in groups if char in trigger)].append((trigger, re.compile(source)))
    return tuple((char, tuple(pairs)) for char, pairs in groups.items())


_FAMILIES: Final = _families()
# Grouped as cards are. The first digit is consumed before the look behind it, so that the search may skip to digits.
_CARD: Final = re.compile(
    rf"[2-6](?:(?<!\d[2-6])(?<!\d\.[2-6])|{'|'.join(f'(?<={escape}[2-6])' for escape in ESCAPES)})(?:"
    r"(?<=3)[47]\d\d[ -]?\d{6}[ -]?\d{5}"
    r"|(?<=3)[0689]\d\d[ -]?\d{6}[ -]?\d{4}"
    r"|(?:(?<=[46])\d|(?<=5)[1-5]|(?<=2)[2-7]|(?<=3)5)\d\d[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}(?:[ -]?\d{3})?"
    r")(?!\d|\.\d)"
)


def _luhn(digits: list[int]) -> bool:
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _card(match: re.Match[str]) -> str:
    """A card's number goes only if it passes the Luhn check: of other numbers nine in ten stay."""
    digits = [int(c) for c in match[0] if c.isdigit()]
    # nineteen digits may also be sixteen and the security code
    return MARK if _luhn(digits) or (len(digits) == 19 and _luhn(digits[:16])) else match[0]


_KNOWN: Final = 512  # clean texts remembered
_SHORTEST: Final = 32  # shorter ones are looked through as fast
_LONGEST_KNOWN: Final = 4096


class Redactor:
    """What `config` says about secrets, ready to apply.

    Attributes:
        own: whether there are patterns or a callable of the user's, which may mean any text, short numbers too.
        keys: what became of short keys of mappings: their JSON text, and whether they name a credential.
    """

    __slots__ = ("_built_in", "_callable", "_clean", "_patterns", "keys", "own")

    def __init__(self, config: Config) -> None:
        self._built_in = config.redact
        self._patterns = config.redact_patterns
        self._callable: Callable[[str], str] | None = config.redactor
        self._clean: set[str] = set()
        self.keys: dict[str, tuple[str, bool]] = {}
        self.own = bool(self._patterns) or self._callable is not None

    def hides_key(self, key: str) -> bool:
        """Whether the value below this key is replaced whole."""
        return self._built_in and names_credential(key)

    def text(self, text: str) -> str:
        """`text` without secrets.

        Raises:
            Exception: whatever the user's callable raised; the caller must then drop the value.
            TypeError: the user's callable returned something other than a string.
        """
        # The same texts come again and again (a conversation's history at each turn); what was clean still is.
        if text in self._clean:
            return text
        given = text
        if self._built_in and len(text) > 4:
            for char, family in _FAMILIES:
                if char in text:
                    for trigger, pattern in family:
                        if trigger in text:
                            text = pattern.sub(MARK, text)
            text = hide_named(text)
            text = _CARD.sub(_card, text)
        for pattern in self._patterns:
            text = pattern.sub(MARK, text)
        if self._callable is not None:
            text = self._callable(text)
            if type(text) is not str:
                raise TypeError(f"the redactor returned {type(text).__name__}, not str")
        elif text == given and _SHORTEST < len(text) <= _LONGEST_KNOWN:
            if len(self._clean) >= _KNOWN:
                self._clean.clear()
            self._clean.add(text)
        return text
