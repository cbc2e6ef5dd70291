"""What surrounds spans, log records and metrics in an OTLP/JSON request: each resource and scope as text, once."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from spanloom_jsonl._values import attributes, text


class Frame(NamedTuple):
    """The text before and after what a resource or a scope holds."""

    head: bytes
    tail: bytes


_MAX_FRAMES: Final = 256
_T = TypeVar("_T")


def cached(build: Callable[[_T], Frame]) -> Callable[[_T], Frame]:
    """Remember by identity: a Resource hashes by dumping itself to JSON; both kinds never change."""
    seen: dict[int, tuple[_T, Frame]] = {}

    def frame(item: _T) -> Frame:
        # The entry holds the object, so its id cannot go to another one while the entry stands.
        entry = seen.get(id(item))
        if entry is None:
            if len(seen) >= _MAX_FRAMES:
                seen.clear()
            entry = seen[id(item)] = (item, build(item))
        return entry[1]

    return frame


class Frames:
    """The frames of one signal.

    Args:
        signal: its name in OTLP's fields (`Spans` in `resourceSpans` and `scopeSpans`).
        items: the field of a scope's items (`spans`).
    """

    def __init__(self, signal: bytes, items: bytes) -> None:
        self.head: Final = b'{"resource%b":[' % signal

        def of_resource(resource: Resource) -> Frame:
            return Frame(
                b'{"resource":{%b},"scope%b":[' % (_field(b"attributes", attributes(resource.attributes)), signal),
                b"]%b}" % _schema_url(resource.schema_url),
            )

        def of_scope(scope: InstrumentationScope | None) -> Frame:
            if scope is None:
                return Frame(b'{"scope":{},"%b":[' % items, b"]}")
            fields = [b'"name":%b' % text(scope.name or "")]
            if scope.version:
                fields.append(b'"version":%b' % text(scope.version))
            if encoded := attributes(scope.attributes):
                fields.append(_field(b"attributes", encoded))
            head = b'{"scope":{%b},"%b":[' % (b",".join(fields), items)
            return Frame(head, b"]%b}" % _schema_url(scope.schema_url))

        self.resource: Final = cached(of_resource)
        self.scope: Final = cached(of_scope)


def _field(name: bytes, encoded: bytes) -> bytes:
    return b'"%b":[%b]' % (name, encoded) if encoded else b""


def _schema_url(url: str | None) -> bytes:
    return b',"schemaUrl":%b' % text(url) if url else b""
