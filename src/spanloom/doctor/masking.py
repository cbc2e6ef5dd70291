"""What may be secret, out of what is said."""

from __future__ import annotations

import re
from typing import Final

from spanloom.config import Config
from spanloom.redact import Redactor

_SECRET: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|PATTERNS", re.IGNORECASE)
_HEADERS: Final = re.compile(r"_HEADERS$")
_MASK: Final = "***"


def shown(name: str, value: str) -> str:
    """A variable's value without what may be secret: keys, values of headers, credentials and queries of addresses.

    Args:
        name: the variable's.
        value: what it is set to.
    """
    if _HEADERS.search(name):
        return ",".join(f"{pair.partition('=')[0].strip()}={_MASK}" for pair in value.split(",") if "=" in pair)
    return _MASK if _SECRET.search(name) else without_secrets(value)


def without_secrets(text: str) -> str:
    """A text without credentials and queries of addresses, and without what looks like a key or a token."""
    text = re.sub(r"(?<=://)[^/@\s]*@", f"{_MASK}@", text)
    text = re.sub(r"(://[^\s?#]*)\?[^\s]*", rf"\1?{_MASK}", text)
    return Redactor(Config()).text(text)
