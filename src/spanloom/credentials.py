"""Names of credentials, and what stands behind them in text: `password=…`, `"apiKey": "…"`, `<secret>…</secret>`.

A secret that nobody can recognise by its look is recognised by its name: as a mapping's key (`names_credential`) and
inside any string (`hide_named`), JSON and code inside strings included, at any depth of escaping.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "[REDACTED]"
# A word starts behind anything but a letter or digit, and also behind an escape: \n, \x0a, \u000a, %20.
WORD_START: Final = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv0])|(?<=%[0-9A-Fa-f]{2})|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
)

_S: Final = r"[_\-. ]?"
_NAMES: Final = (
    rf"(?:api|secret|access|private|account|signing|encryption|master|subscription){_S}keys?|client{_S}secrets?|secrets?|"
    rf"passphrases?|(?:access|refresh|id|auth|bearer|session|api|oauth|bot|security){_S}tokens?|authorization|"
    rf"credentials?|(?:set{_S})?cookies?"
)
_ANYWHERE: Final = r"passwords?|passwd"  # also at the end of a longer word: PGPASSWORD
# These only as a whole word: "max_tokens", "token_count" and the like are numbers people need.
_ALONE: Final = r"token|pwd|auth"
_CAMEL_START: Final = r"(?<=[a-z0-9])(?=[A-Z])"
_STARTS: Final = re.compile(rf"{WORD_START}|{_CAMEL_START}")
_STARTS_ALONE: Final = re.compile(WORD_START.replace("[A-Za-z0-9]", r"[A-Za-z0-9_.\-]", 1))

_ENDINGS: Final = ("key", "secret", "passphrase", "token", "authorization", "credential", "cookie", "password", "passwd")
_KEY_ENDINGS: Final = (*_ENDINGS, *(f"{ending}s" for ending in _ENDINGS), "pwd", "auth")
_KEY: Final = re.compile(
    rf"(?:(?:{WORD_START}|{_CAMEL_START})(?i:{_NAMES})|(?i:{_ANYWHERE})|(?i:^(?:{_ALONE})))\Z", re.MULTILINE
)
_KEY_TAIL: Final = 128  # only the end of a key counts, so a huge one costs nothing

_HINTS: Final = (*_ENDINGS, "pwd", "auth")
_QUOTE: Final = r"\\{0,15}[\"']"
_SEPARATOR: Final = r"(?:[:=]+>?|%3d|>)"
_NAMED: Final = re.compile(  # on lower-case text
    rf"(?:(?P<start>{_NAMES})|{_ANYWHERE})(?:{_QUOTE})?\s*{_SEPARATOR}\s*"
    rf"|(?P<alone>{_ALONE})(?:{_QUOTE}\s*{_SEPARATOR}|\s*(?:=|%3d)|(?<=pwd):)\s*"
    rf"|--(?:[a-z0-9]+-)*(?:{_NAMES}|{_ANYWHERE}|{_ALONE})(?:{_QUOTE})?,?\s+"  # --password X, also in a list of arguments
)
_VALUE: Final = re.compile(
    r"(?:None|null)\b"  # says that there is no secret
    r"|[A-Za-z]{0,2}(?P<quote>\\{0,15}(?:\"\"\"|'''|[\"']))"
    r"|(?P<bracket>[\[({])"
    r"|(?P<word>[^\s\"',;&}\])<>]+)"
)
_LINE: Final = re.compile(r"[^\r\n\"'\\<]+")  # a header's value: `Authorization: Token abc`
_BRACKET: Final = re.compile(r"[\[\](){}]")


def names_credential(key: str) -> bool:
    """Whether a mapping's key names a credential, so that its whole value must go."""
    key = key[-_KEY_TAIL:].rstrip(" :=?*\r\n")
    return key.lower().endswith(_KEY_ENDINGS) and _KEY.search(key) is not None


def hide_named(text: str) -> str:
    """`text` with the values behind names of credentials replaced by `MARK`."""
    low = text.lower()
    if len(low) != len(text):  # the one letter whose small form is longer
        low = text.replace("\u0130", "i").lower()
    if not any(hint in low for hint in _HINTS):
        return text
    kept: list[str] = []
    done = 0
    for named in _NAMED.finditer(low):
        start, end = named.span()
        if start < done:
            continue
        if named["start"] is not None and not _STARTS.match(text, start):
            continue
        if named["alone"] is not None and not _STARTS_ALONE.match(text, start):
            continue
        header = (named["start"] or "").endswith(("authorization", "cookie", "cookies"))
        stop = _value_end(text, end, header=header)
        if stop > end:
            kept += (text[done:end], MARK)
            done = stop
    if not done:
        return text
    kept.append(text[done:])
    return "".join(kept)


def _value_end(text: str, start: int, *, header: bool) -> int:
    """Where the value that begins at `start` ends; `start` itself if there is nothing to hide."""
    value = None if text.startswith(MARK, start) else _VALUE.match(text, start)
    if value is None:
        return start
    if (quote := value["quote"]) is not None:
        return _closing(text, value.end(), quote)
    if value["bracket"] is not None:
        depth = 0
        for bracket in _BRACKET.finditer(text, start):
            depth += 1 if bracket[0] in "[({" else -1
            if depth == 0:
                return bracket.end()
        return len(text)
    if value["word"] is None:
        return start
    line = _LINE.match(text, start) if header else None
    return max(value.end(), line.end() if line else 0)


def _closing(text: str, start: int, quote: str) -> int:
    """Behind the closing quote: one with as many backslashes as the opening; else the end (it was cut off)."""
    at = start
    while (at := text.find(quote, at)) >= 0:
        if at == start or text[at - 1] != "\\":
            return at + len(quote)
        at += len(quote)
    return len(text)
