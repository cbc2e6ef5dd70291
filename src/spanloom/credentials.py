"""Names of credentials, and what stands behind them in text: `password=…`, `"apiKey": "…"`, `<secret>…</secret>`.

A secret that nobody can recognise by its look is recognised by its name: as a mapping's key (`names_credential`) and
inside any string (`hide_named`), JSON and code inside strings included, at any depth of escaping.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "[REDACTED]"
# A word starts behind anything but a letter or digit, and also behind an escape: \n, \x0a, \u000a, %20.
ESCAPES: Final = (r"\\[abfnrtv0]", r"%[0-9A-Fa-f]{2}", r"\\x[0-9A-Fa-f]{2}", r"\\u[0-9A-Fa-f]{4}")
WORD_START: Final = rf"(?:(?<![A-Za-z0-9])|{'|'.join(f'(?<={escape})' for escape in ESCAPES)})"

_KINDS_OF_KEY: Final = (
    "api",
    "secret",
    "access",
    "private",
    "account",
    "signing",
    "encryption",
    "master",
    "subscription",
)
_KINDS_OF_TOKEN: Final = ("access", "refresh", "id", "auth", "bearer", "session", "api", "oauth", "bot", "security")
_WHOLE: Final = ("secret", "passphrase", "authorization", "credential", "cookie")
_ANYWHERE: Final = ("password", "passwd")  # also at the end of a longer word: PGPASSWORD
# These only as the whole key: "max_tokens", "token_count" and the like are numbers people need.
_ALONE: Final = frozenset({"token", "pwd", "auth"})

_JOINT: Final = r"[_\-. ]?"
_NAME: Final = re.compile(
    rf"(?:(?:{WORD_START}|(?<=[a-z0-9])(?=[A-Z]))(?i:"
    rf"(?:{'|'.join(_KINDS_OF_KEY)}){_JOINT}keys?|(?:{'|'.join(_KINDS_OF_TOKEN)}){_JOINT}tokens?|"
    rf"client{_JOINT}secrets?|set{_JOINT}cookies?|(?:{'|'.join(_WHOLE)})s?)"
    rf"|(?i:(?:{'|'.join(_ANYWHERE)})s?))\Z"
)
_STARTS_ALONE: Final = re.compile(WORD_START.replace("[A-Za-z0-9]", r"[A-Za-z0-9_.\-]", 1))
_TAIL: Final = 32  # the longest name and what WORD_START looks at; so a huge key costs nothing
_JOINTS: Final = str.maketrans("", "", "_-. ")
_ENDINGS: Final = (
    *_WHOLE,
    *_ANYWHERE,
    *(f"{kind}key" for kind in _KINDS_OF_KEY),
    *(f"{kind}token" for kind in _KINDS_OF_TOKEN),
)
_ALL_ENDINGS: Final = (*_ENDINGS, *(f"{ending}s" for ending in _ENDINGS))
_LAST_WORDS: Final = tuple(f"{word}{s}" for word in ("key", "token", *_WHOLE, *_ANYWHERE) for s in ("", "s"))

_HINTS: Final = ("key", "token", *_WHOLE, *_ANYWHERE, "pwd", "auth")
# Each pattern begins with a plain word, which the search skips to. On lower-case text.
_WORD: Final = r"(?P<word>{}s?)(?P<quote>\\{{0,15}}[\"'])?"
_ASSIGNED: Final = {hint: re.compile(_WORD.format(hint) + r"\s*(?P<sign>[:=]+>?|%3d|>)\s*") for hint in _HINTS}
_OPTION: Final = {hint: re.compile(_WORD.format(hint) + r",?\s+") for hint in _HINTS}  # --password X
_OPTION_START: Final = re.compile(r"--[A-Za-z0-9-]*\Z")
_PLAIN: Final = r"[^\s\"',;&}\])<>]"
_VALUE: Final = re.compile(
    rf"(?:None|null|\[REDACTED\])(?!{_PLAIN})"  # no secret, or none any more
    r"|[A-Za-z]{0,2}(?P<quote>\\{0,15}(?:\"\"\"|'''|[\"']))"
    rf"|(?P<word>\[REDACTED\]{_PLAIN}+|(?![\[({{]){_PLAIN}+)"
    r"|(?P<bracket>[\[({])"
)
_LINE: Final = re.compile(r"[^\r\n\"'\\<]+")  # a header's value: `Authorization: Token abc`
_BRACKET: Final = re.compile(r"[\[\](){}]")


def names_credential(key: str) -> bool:
    """Whether a mapping's key names a credential, so that its whole value must go."""
    key = key[-_TAIL:].rstrip(" :=?*\r\n")
    return _ends_name(key) or key.lower() in _ALONE


def _ends_name(text: str) -> bool:
    """Whether `text`, of at most `_TAIL` characters, ends with a credential's name."""
    low = text.lower()
    return (
        low.endswith(_LAST_WORDS)  # two quick looks first
        and low.translate(_JOINTS).endswith(_ALL_ENDINGS)
        and _NAME.search(text) is not None
    )


def hide_named(text: str) -> str:
    """`text` with the values behind names of credentials replaced by `MARK`."""
    low = text.lower()
    if len(low) != len(text):  # there is one letter whose small form is longer
        low = text.replace("\u0130", "i").lower()
    hints = [hint for hint in _HINTS if hint in low]
    if not hints:
        return text
    found = [named for hint in hints for named in _ASSIGNED[hint].finditer(low) if _is_name(text, named)]
    if "--" in low:
        found += [named for hint in hints for named in _OPTION[hint].finditer(low) if _is_option(text, named)]
    kept: list[str] = []
    done = 0
    for named in sorted(found, key=lambda named: named.start()):
        if named.end() < done:  # inside a value that is gone already
            continue
        span = _value(text, named.end(), header=named["word"].startswith(("authorization", "cookie")))
        if span is not None:
            start, stop, quoted = span
            quote = "" if quoted else named["quote"] or ""  # JSON inside the text stays JSON
            kept += (text[done:start], quote, MARK, quote)
            done = stop
    return "".join((*kept, text[done:])) if done else text


def _is_name(text: str, named: re.Match[str]) -> bool:
    """Whether the word before a sign ends a credential's name."""
    word, end = named["word"], named.end("word")
    if _ends_name(text[max(0, end - _TAIL) : end]):
        return True
    # "Unexpected token: }" names none; "token": does
    sure = named["quote"] is not None or word == "pwd" or named["sign"] in ("=", "%3d")
    return word in _ALONE and sure and _STARTS_ALONE.match(text, named.start()) is not None


def _is_option(text: str, named: re.Match[str]) -> bool:
    """Whether the word is a command-line option such as `--api-key`."""
    return _OPTION_START.search(text[max(0, named.start() - _TAIL) : named.start()]) is not None and names_credential(
        text[max(0, named.end("word") - _TAIL) : named.end("word")].rpartition("--")[2]
    )


def _value(text: str, start: int, *, header: bool) -> tuple[int, int, bool] | None:
    """Start and end of the value at `start`, and whether quotes stay around it; None if there is nothing to hide."""
    value = _VALUE.match(text, start)
    if value is None:
        return None
    if (quote := value["quote"]) is not None:
        return value.end(), _closing(text, value.end(), quote), True
    if value["bracket"] is not None:
        depth = 0
        for bracket in _BRACKET.finditer(text, start):
            depth += 1 if bracket[0] in "[({" else -1
            if depth == 0:
                return start, bracket.end(), False
        return start, len(text), False
    if value["word"] is None:
        return None
    line = _LINE.match(text, start) if header else None
    return start, max(value.end(), line.end() if line else 0), False


def _closing(text: str, start: int, quote: str) -> int:
    """Where the closing quote is: one with as many backslashes as the opening; else the end (it was cut off)."""
    at = text.find(quote, start)
    while at > start and text[at - 1] == "\\":
        at = text.find(quote, at + len(quote))
    return at if at >= 0 else len(text)
