"""Text embeddings without a model: hashed bags of words, for the loopback model server.

Each word adds one to a bucket chosen by its hash, and the vector is scaled to length one, so that the dot
product of two texts says how many of their words they share. Simple, but a real search.
"""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from typing import Any, cast

from spanloom.demo.replies import Failure, Json, count_tokens

_DEFAULT_DIMENSIONS = 256
# Words too common to say what a text is about.
_STOP_WORDS = (
    " a an and are as at be but by can do does for from has have how i if in is it its me my no not of on or "
    "our so that the their them then there this to was we were what when where which who will with you your "
)
# Words are compared by their first letters: "reset" and "resetting" are one, and so are "bulb" and "bulbs".
_STEM_LENGTH = 5


def embed(text: str, dimensions: int = _DEFAULT_DIMENSIONS) -> list[float]:
    """The unit vector of `text`; a text without words that count gives the zero vector."""
    vector = [0.0] * dimensions
    for word in re.findall(r"[a-z0-9]+", text.lower()):
        if f" {word} " not in _STOP_WORDS:
            vector[zlib.crc32(word.rstrip("s")[:_STEM_LENGTH].encode()) % dimensions] += 1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def embeddings(request: Json) -> Json | Failure:
    """The body that answers `POST /v1/embeddings`; vectors as floats or base64, as the request asks."""
    given: Any = request.get("input")
    texts = cast("list[Any]", given if isinstance(given, list) else [given])
    if not texts or not all(isinstance(text, str) for text in texts):
        return Failure(400, "'input' must be a string or a non-empty array of strings.", param="input")
    dimensions = request.get("dimensions", _DEFAULT_DIMENSIONS)
    if not isinstance(dimensions, int) or dimensions < 1:
        return Failure(400, "'dimensions' must be a positive integer.", param="dimensions")
    as_base64 = request.get("encoding_format") == "base64"
    tokens = sum(count_tokens(text) for text in texts)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector) if as_base64 else vector,
            }
            for index, vector in enumerate(embed(text, dimensions) for text in texts)
        ],
        "model": request["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
