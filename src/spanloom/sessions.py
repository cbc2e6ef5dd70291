"""Whose conversation it is: what every span started inside a `with spanloom.session(...)` carries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context

from spanloom import names
from spanloom.call import attribute
from spanloom.carried import STAMPS, stamps
from spanloom.guard import LOG, guarded, swallow
from spanloom.jsontext import KEY_BYTES, clean, cut
from spanloom.span import Scope
from spanloom.telemetry import own_capture
from spanloom.wrapping import Begun, Switch, wrap

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])
_Facts = dict[str, "AttributeValue"]
_MOST: Final = 64  # tags, and pairs of metadata: they are on every span
_LONGEST: Final = 1024  # bytes of a metadata's value
_LOST: Final = "the conversation, user and tags of a session"
_ALWAYS: Final = Switch()
_IDS: Final = (names.GEN_AI_CONVERSATION_ID, names.SESSION_ID, names.USER_ID)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # what W3C baggage allows as a key


class Session:
    """`with` it (once), `async with` it (once), or decorate functions with it (as many as you like)."""

    __slots__ = ("_baggage", "_facts", "_stamping")

    def __init__(self, facts: Callable[[], _Facts], *, baggage: bool = False) -> None:
        self._facts = facts
        self._baggage = baggage
        self._stamping: _Stamping | None = None

    def __call__(self, function: F) -> F:
        """Decorate a function, a coroutine function, a generator or an async generator function."""

        def begin(*args: Any, **_: Any) -> Begun:
            return Begun(self._made(), args)

        return cast("F", wrap(function, begin, _LOST, _ALWAYS))

    def __enter__(self) -> None:
        if self._stamping is not None:
            raise RuntimeError(
                "this spanloom.session(...) has had its block. Call spanloom.session(...) again for the next one."
            )
        self._stamping = self._made().enter()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stamping is not None:
            self._stamping.leave()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, trace)

    def _made(self) -> _Stamping:
        facts: _Facts = {}
        with guarded("session", _LOST):
            facts = self._facts()
        return _Stamping(facts, baggage=self._baggage)


class _Stamping(Scope):
    """Stamps without a span: current where it is entered, as scopes are, but nobody's parent."""

    def __init__(self, facts: _Facts, *, baggage: bool) -> None:
        super().__init__(cast("Any", None))
        self._facts = facts
        self._baggage = baggage

    def enter(self) -> Self:
        """Spans that start from here on carry what was given, and what outer sessions have given."""
        try:
            outer, facts = stamps(), self._facts
            merged = {**outer, **facts}
            tags = (*_texts(outer.get(names.TAGS)), *_texts(facts.get(names.TAGS)))
            if tags:
                merged[names.TAGS] = tuple(dict.fromkeys(tags))[:_MOST]
            context = otel_context.set_value(STAMPS, merged)
            if self._baggage:
                for key, value in merged.items():
                    context = _with_baggage(context, key, value)
            self._token = otel_context.attach(context)
        except Exception as exc:
            swallow("session.enter", _LOST, exc)
        return self

    __enter__ = enter


def session(
    *,
    conversation_id: str | None = None,
    user_id: str | None = None,
    tags: Iterable[str] | None = None,
    metadata: Mapping[str, object] | None = None,
    baggage: bool = False,
) -> Session:
    """Every span started inside is of this conversation and user, those of other instrumentations included.

    What is given here is added to what outer sessions have given; of two the inner one counts, tags add up. It goes
    with threads and tasks to which the context goes. A LangGraph run's `thread_id` is its conversation, if it has one.

    Args:
        conversation_id: `gen_ai.conversation.id` and `session.id`: the program's own id of the conversation, thread or
            session; nothing is made up where there is none.
        user_id: `user.id`, as it is: give a number rather than an e-mail address.
        tags: `spanloom.tags`, short texts to find runs by.
        metadata: `spanloom.metadata.{key}`; texts, numbers, booleans or lists of texts; anything else becomes JSON.
        baggage: hand all of it to the services that are called inside, as W3C baggage: in plain text, to every host
            that the program's instrumented clients call, the model's provider included. They take it up by
            `session_from_baggage`.

    For other instrumentations' spans the provider needs a `SpanloomProcessor`; those that spanloom sets up have one.
    """

    def facts() -> _Facts:
        found: _Facts = {}
        conversation = _identity(conversation_id)
        if conversation:
            found[names.GEN_AI_CONVERSATION_ID] = found[names.SESSION_ID] = conversation
        if user := _identity(user_id):
            found[names.USER_ID] = user
        if tags is not None:
            found[names.TAGS] = _tags([tags] if isinstance(tags, str) else tags)
        for key, value in list((metadata or {}).items())[:_MOST]:
            _add_metadata(found, str(key), value)
        return found

    if tags is not None and not isinstance(tags, (str, list, tuple, set, frozenset)):
        tags = list(tags)  # a decorator needs them at each call
    return Session(facts, baggage=baggage)


def session_from_baggage() -> Session:
    """The session that the calling service has sent along (`session(baggage=True)`), for a block or a handler.

    OpenTelemetry's instrumentation of the web framework, or `propagate.extract`, must have read the headers before.
    What others send is not trusted: it is bounded and redacted as what the program gives itself, and nothing but a
    session's own keys is taken.
    """

    def facts() -> _Facts:
        found: _Facts = {}
        for key, value in otel_baggage.get_all().items():
            if not isinstance(value, str) or not value:
                continue
            if key in _IDS and (identity := _identity(value)):
                found[key] = identity
            elif key == names.TAGS and (known := _tags(_parsed_tags(value))):
                found[key] = known
            elif key.startswith(names.METADATA) and len(found) < _MOST:
                _add_metadata(found, key[len(names.METADATA) :], value)
        return found

    return Session(facts)


def _identity(given: object) -> str | None:
    """An id as it may stand on a span: as it is, if it is short."""
    return None if given is None or given == "" else cut(clean(str(given)), KEY_BYTES)


def _tags(given: Iterable[object]) -> tuple[str, ...]:
    capture = own_capture()
    return tuple(capture.name(str(tag)) for tag in list(given)[:_MOST])


def _parsed_tags(text: str) -> list[object]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return cast("list[object]", found) if isinstance(found, list) else []


def _add_metadata(found: _Facts, key: str, value: object) -> None:
    capture = own_capture()
    made = attribute(capture, key, value, _LONGEST)
    if made is not None:
        found[names.METADATA + capture.name(key)] = tuple(_texts(made)) if isinstance(made, list) else made


def _texts(value: object) -> tuple[str, ...]:
    return tuple(cast("Iterable[str]", value)) if isinstance(value, (list, tuple)) else ()


def _with_baggage(context: otel_context.Context, key: str, value: object) -> otel_context.Context:
    if not (key in _IDS or key == names.TAGS or key.startswith(names.METADATA)):
        return context
    if not _TOKEN.fullmatch(key):
        LOG.warning("the metadata %r cannot be sent as W3C baggage: its name has other characters than a token.", key)
        return context
    return otel_baggage.set_baggage(key, value if isinstance(value, str) else json.dumps(value), context)
