"""What a program holds of a span of its own: the place where it tells what it knows, when it knows it."""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from spanloom.guard import LOG, swallow
from spanloom.inference import Usage
from spanloom.jsontext import KEY_BYTES, key_text
from spanloom.kept import Kept
from spanloom.modelcalls import ModelCall
from spanloom.span import Scope, current_scope
from spanloom.streaming import Keeper, coroutine, is_stream, is_watched, watcher
from spanloom.telemetry import own
from spanloom.told import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from spanloom.capture import Capture

S = TypeVar("S")
_GENERATORS: Final = (types.GeneratorType, types.AsyncGeneratorType)
_SCALARS: Final = (bool, int, float)
_LARGEST: Final = 2**63


class Call:
    """A workflow, an agent's run, a step, a model call, a search or a tool call while it runs.

    What is told is recorded when the span ends. Nothing here raises, and where the span is not recording (no
    provider, not sampled, ended) nothing is done; `recording` tells, so that costly values need not be made then.
    Content (inputs, outputs, messages, arguments, documents) is recorded as the settings say, bounded and redacted.
    """

    __slots__ = ("_facts", "_scope")

    def __init__(self, scope: Scope, facts: Told | None = None) -> None:
        self._scope = scope
        self._facts = facts

    @property
    def recording(self) -> bool:
        """Whether anything that is told now will be recorded."""
        return self._scope.recording

    @property
    def span(self) -> Span:
        """The OpenTelemetry span, for links and events of the program's own; one that does nothing where none is."""
        return self._scope.span

    def input(self, value: object, *, system: object = None, tools: object = None) -> None:
        """What goes in; told again, it replaces what was told before.

        Args:
            value: of a model call the messages, as the client takes them: a text, a message, or a list of these in
                the form of OpenAI, Anthropic, Google, ... or of the GenAI conventions. Of a search the query, of a
                tool the arguments, else any value.
            system: of a model call, instructions that the client takes apart from the messages.
            tools: of a model call, definitions of the tools it may ask for, as the client takes them.
        """
        self._tell(lambda facts: facts.tell_input(value, system, tools))

    def output(self, value: object) -> None:
        """What comes out: of a model call the answer (a text or a message; a list of messages are several choices),
        of a search the documents, of embeddings the vectors (of which only the length is recorded), else any value.
        """  # noqa: D205  one sentence
        self._tell(lambda facts: facts.tell_output(value))

    def usage(
        self,
        *,
        input: int | None = None,  # noqa: A002  the convention's word
        output: int | None = None,
        cache_read: int | None = None,
        cache_write: int | None = None,
        reasoning: int | None = None,
    ) -> None:
        """Tokens that a model call or embeddings have used; what is left out stays unknown, which is not 0.

        Args:
            input: of the request, those from a cache included (Anthropic's clients count these apart: add them).
            output: of the answer, those of its reasoning included.
            cache_read: of the input, read from the provider's cache.
            cache_write: of the input, written to it.
            reasoning: of the output.
        """
        if self._scope.recording:
            given = (input, output, cache_read, cache_write, reasoning)
            usage = Usage(*[one if type(one) is int else None for one in given])
            self._tell(lambda facts: facts.tell_usage(usage))

    def finish(self, *reasons: str) -> None:
        """Why a model's answer ended, one reason for each choice, in the provider's words or the convention's.

        A refusal or a filtered answer is told here (`refusal`, `content_filter`); it is no error.
        """
        self._tell(lambda facts: facts.tell_finish([reason for reason in reasons if reason]))

    def response(self, *, model: str | None = None, id: str | None = None) -> None:  # noqa: A002  the convention's word
        """Which model has answered, and the provider's id of the answer."""
        known = None if model is None else key_text(model)
        identity = None if id is None else key_text(id)
        self._tell(lambda facts: facts.tell_response(known, identity))

    def record(self, response: object) -> None:
        """Read a response: model, id, finish reasons, usage, messages and tool calls, as far as it has them.

        Args:
            response: what the client has returned (`spanloom.recording.SUPPORTED`), or a dict of its shape; it is
                only looked at.
        """
        self._tell(lambda facts: facts.read(response))

    def documents(self, documents: object) -> None:
        """What a retrieval has found, or a rerank has put into order.

        Args:
            documents: a list of texts, of dicts or objects with id, score and content under one of their usual names,
                or of pairs of one of these and a score.
        """
        self._tell(lambda facts: facts.tell_documents(documents))

    def arguments(self, arguments: object) -> None:
        """What a tool is called with: a dict, as the model gave it."""
        self._tell(lambda facts: facts.tell_arguments(arguments))

    def result(self, result: object) -> None:
        """What a tool has returned."""
        self.output(result)

    def set(self, key: str, value: object) -> None:
        """An attribute of the program's own.

        Args:
            key: its name; a name of one's own domain, such as `shop.order_id`.
            value: a text, a number, a boolean or a list of texts; anything else becomes JSON text. Recorded whatever
                the content settings say, bounded and redacted.
        """
        scope, facts = self._scope, self._facts
        telemetry = own() if scope.recording else None
        if telemetry is None:
            return
        try:
            made = attribute(telemetry.capture, key, value)
            if made is not None:
                if facts is None:
                    scope.span.set_attribute(key, made)
                else:
                    facts.told[key] = made
        except Exception as exc:
            swallow("call.set", "an attribute of the program's own", exc)

    def error(self, exc: BaseException) -> None:
        """The operation has failed with `exc`, although no exception leaves its block: it was handled."""
        scope = self._scope
        if scope.recording and isinstance(scope, Kept):
            standing = scope.standing()
            if not isinstance(exc, BaseException):  # pyright: ignore[reportUnnecessaryIsInstance]  whatever comes
                LOG.warning("call.error() takes an exception, not %s; nothing is recorded.", type(exc).__name__)
            elif isinstance(standing, Kept):
                standing.problem = exc

    def stream(self, stream: S) -> S:
        """A stream that this call returns or reads: the span stays open until it ends.

        Args:
            stream: an iterator or an iterable, sync or async: a client's stream, a generator.

        Returns:
            The same for the consumer: every item as it is, `send`, `throw`, `close` (`asend`, ...), attributes and
            the context manager of `stream`. Where nothing is recorded, `stream` itself.

        Of a model call the time to the first chunk, the texts, the tool calls and the usage are recorded as they
        arrive. The span ends when the stream does: used up, closed, failed, cancelled or dropped, in whatever task
        or thread that happens, with what had arrived by then; but never before the call's own block.
        """
        scope, facts = self._scope, self._facts
        if not scope.recording or not isinstance(scope, Kept) or is_watched(stream, scope):
            return stream
        watch = watcher(stream)
        if watch is None:
            LOG.warning("call.stream() takes an iterator or an iterable, sync or async, not %s.", type(stream).__name__)
            return stream
        try:
            return cast("S", watch(stream, self._keeper(scope, facts)))
        except Exception as exc:
            swallow("call.stream", "what a stream yields", exc)
            return stream

    @staticmethod
    def _keeper(scope: Kept, facts: Told | None) -> Keeper:
        if not isinstance(facts, ModelCall):
            return Keeper(scope)
        facts.watches = True
        if scope is facts:
            return Keeper(scope, facts.arrived, facts.drained)
        call = facts

        def arrived(item: Any) -> None:
            cast("Any", scope).first_chunk()  # of the call that this one is part of
            call.arrived(item)

        return Keeper(scope, arrived, facts.drained)

    def _tell(self, tell: Callable[[Told], None]) -> None:
        if self._scope.recording:
            facts = self._facts
            try:
                if facts is None:
                    LOG.debug("the current span is no call of the program's own: only set() has a meaning there")
                else:
                    tell(facts)
            except Exception as exc:
                swallow("call", "what a program tells of a call", exc)


def attribute(capture: Capture, key: str, value: object, limit: int | None = None) -> AttributeValue | None:
    """A program's value as an attribute's, in at most `limit` (default: the configured bound) bytes; None if none."""
    if value is None:
        return None
    if capture.field(key, True, KEY_BYTES) != "true":  # the name is a credential's
        return capture.field(key, value, KEY_BYTES)
    if isinstance(value, _SCALARS) and (not isinstance(value, int) or -_LARGEST <= value < _LARGEST):
        return value
    if isinstance(value, str):
        return capture.text(value, limit)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in cast("Sequence[object]", value)):
        texts = cast("Sequence[str]", value)
        room = max((limit or capture.limit) // max(len(texts), 1), KEY_BYTES)
        return [made for text in texts if (made := capture.text(text, room)) is not None]
    return capture.json(cast("object", value), limit)


NO_CALL: Final = Call(Scope(cast("Any", None)))


def scope_of(call: Call) -> Scope:
    """The scope in which the call is made."""
    return call._scope  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  of this module


def current() -> Call:
    """The call that is open here: of the innermost `with` block or decorated function; one that does nothing if none.

    Inside a span of an instrumentor's (a LangGraph node, say) only its `set` and `span` have a meaning.
    """
    scope = current_scope()
    if scope is None or not scope.recording:
        return NO_CALL
    return Call(scope, scope if isinstance(scope, Told) else None)


def called(call: Call, given: dict[str, Any]) -> None:
    """Record what a decorated function was given, by the parameters' names."""
    call._tell(lambda facts: facts.tell_called(given))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def adopted(call: Call, result: Any, *, capture: bool) -> Any:
    """What a decorated function gives its caller: its result, watched until it has happened where it has yet to.

    Args:
        call: the function's.
        result: as it was returned. A coroutine and a generator have yet to happen; of a model call any iterator.
        capture: record it. A model's response is read in any case, where the function has told nothing of it.
    """
    scope, facts = call._scope, call._facts  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if not isinstance(scope, Kept) or facts is None:
        return result
    told = functools.partial(facts.tell_returned, capture=capture)
    try:
        if inspect.iscoroutine(result):
            return coroutine(result, Keeper(scope), told)
        if (
            issubclass(type(result), _GENERATORS)
            or is_watched(result)
            or (isinstance(facts, ModelCall) and is_stream(result))
        ):
            return call.stream(result)
        told(result)
    except Exception as exc:
        swallow("call.adopt", "the result of a decorated function", exc)
    return result
