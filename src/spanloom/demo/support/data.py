"""The shop's files: tickets, orders and help articles, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def read_rows(name: str) -> list[dict[str, Any]]:
    """All rows of `{name}.jsonl`, in the file's order."""
    lines = (_FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]
