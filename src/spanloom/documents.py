"""What a search has found, as the GenAI conventions have it: id, score and content of each document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spanloom.capture import Capture

_IDS: Final = ("id", "document_id", "doc_id")
_SCORES: Final = ("score", "relevance_score", "_score", "similarity", "distance")
_TEXTS: Final = ("content", "page_content", "text", "document")
_SMALLEST: Final = 256  # bytes; of one document's text


def documents_text(documents: object, capture: Capture) -> str | None:
    """`gen_ai.retrieval.documents`: JSON text in which the documents share the configured bound.

    Args:
        documents: a list of texts, of dicts or objects with some of id, score and content under the names that
            vector stores have for them, or of pairs of one of these and a score.
        capture: bounds and redacts.

    Returns:
        None if a redactor failed.
    """
    given = list(cast("Sequence[object]", documents)) if isinstance(documents, (list, tuple)) else [documents]
    left = capture.limit
    waiting = min(len(given), max(left // _SMALLEST, 1))
    texts: list[str] = []
    for document in given[:waiting]:
        text = capture.json(shown(_replaced(document, capture)), left // waiting - 1)
        if text is None:
            return None
        texts.append(text)
        left -= len(text.encode()) + 1
        waiting -= 1
    if len(texts) < len(given):
        texts.append(f'{{"omitted":{len(given) - len(texts)}}}')
    return f"[{','.join(texts)}]"


def _replaced(document: object, capture: Capture) -> object:
    """The document, alone or with its score, as the program wants it recorded."""
    if capture.replaced is None:
        return document
    if isinstance(document, tuple):
        return tuple(map(capture.replaced, cast("tuple[object, ...]", document)))
    return capture.replaced(document)


def shown(document: object) -> dict[str, Any]:
    """One document as the object that the convention wants; what a dict has besides stays in it."""
    if isinstance(document, tuple):
        pair = cast("tuple[object, ...]", document)
        if len(pair) == 2 and _is_number(pair[1]):
            return {**shown(pair[0]), "score": pair[1]}
    if isinstance(document, dict):
        fields = dict(cast("dict[str, Any]", document))
    elif isinstance(document, (str, bytes, int, float, tuple, list, type(None))):
        return {"content": document}
    else:
        fields = {key: value for key, value in _own(document).items() if key in (*_IDS, *_SCORES, *_TEXTS, "metadata")}
    for key, spellings in (("id", _IDS), ("score", _SCORES), ("content", _TEXTS)):
        _rename(fields, key, spellings)
    known = fields.get("metadata")
    if isinstance(known, dict):  # where LangChain's stores have them
        about = cast("dict[str, Any]", known)
        for key, spellings in (("id", _IDS), ("score", _SCORES)):
            found = next((about[name] for name in spellings if about.get(name) is not None), None)
            if fields.get(key) is None and found is not None and (key == "id" or _is_number(found)):
                fields[key] = found
    if fields.get("id") is not None:
        fields["id"] = str(fields["id"])
    if not isinstance(document, dict):
        fields.pop("metadata", None)  # the program's own, which it has not handed over
    return {key: value for key, value in fields.items() if value is not None}


def _rename(fields: dict[str, Any], key: str, spellings: Sequence[str]) -> None:
    if fields.get(key) is None:
        found = next((name for name in spellings if fields.get(name) is not None), None)
        if found is not None:
            fields[key] = fields.pop(found)


def _own(document: object) -> Mapping[str, Any]:
    """The fields that stand on an object itself: asking it for others could run its code."""
    return cast("Mapping[str, Any]", getattr(document, "__dict__", {}))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
