"""The span of a model call, whoever makes it: what becomes known of the answer, written once at the end."""

from __future__ import annotations

from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.trace import SpanKind, Status, StatusCode

from spanloom import interop, names
from spanloom.carried import stamps
from spanloom.guard import guarded
from spanloom.messages import messages_text, parts_text, tools_text
from spanloom.span import Scope, current_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from spanloom.details import Details
    from spanloom.genai import Operation
    from spanloom.messages import Message, Part


class Usage(NamedTuple):
    """Tokens that were used; None is unknown, which is not 0.

    As the convention has it, the cached tokens are among the input and the reasoning is among the output.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None

    def plus(self, other: Usage) -> Usage:
        """The sum; what only one of the two knows counts as it is."""
        return Usage(*(b if a is None else a if b is None else a + b for a, b in zip(self, other, strict=True)))

    def attributes(self) -> dict[str, AttributeValue]:
        """What is known."""
        return {key: count for key, count in zip(_USAGE, self, strict=True) if count is not None}


_USAGE: Final = (
    names.GEN_AI_USAGE_INPUT_TOKENS,
    names.GEN_AI_USAGE_OUTPUT_TOKENS,
    names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
)
# Texts that are recorded whatever the content settings say.
_ASKED: Final = (names.GEN_AI_REQUEST_STOP_SEQUENCES, names.GEN_AI_REQUEST_REASONING_LEVEL)
_ANSWERED: Final = (names.GEN_AI_RESPONSE_MODEL, names.GEN_AI_RESPONSE_FINISH_REASONS)
UNKNOWN: Final = Usage()
NOTHING_USED: Final = Usage(0, 0)


class Inference(Scope):
    """A model call, from the question to the last of its answer.

    Whoever makes the call sets the fields as their values become known; None is unknown. What stays unknown here is
    taken from calls that this one is made of, and from an official instrumentation of the provider's client below.

    Attributes:
        response_model: the model that has answered.
        response_id: the provider's id of the answer.
        finish_reasons: the convention's words (`spanloom.genai.finish_reason`), one for each choice.
        usage: the tokens used.
        cache_hit: the answer came from a cache in this process, so nothing was used.
        input_messages: what the model was asked, `spanloom.messages`; only while `wants_messages`, like:
        output_messages: what it has answered,
        system_instructions: parts that were given apart from the messages,
        tool_definitions: tools that it was offered.
        wants_messages: what is asked and answered is recorded somewhere; while False no message is built.
    """

    response_model: str | None = None
    response_id: str | None = None
    finish_reasons: Sequence[str] | None = None
    usage = UNKNOWN
    cache_hit = False
    input_messages: Sequence[Message] | None = None
    output_messages: Sequence[Message] | None = None
    system_instructions: Sequence[Part] | None = None
    tool_definitions: Sequence[Part] | None = None
    wants_messages = False
    _time_to_first_chunk: float | None = None
    _asked: Mapping[str, AttributeValue] = MappingProxyType({})
    _started = 0.0
    _inner: Inference | None = None
    _inner_usage = UNKNOWN
    _details: Details | None = None
    _later_chunks = 0
    _last_chunk = 0.0

    def begin(self, operation: Callable[[], Operation]) -> Inference | Inner | None:
        """The scope to make the call in: this one, opened, unless another one's span already stands for the call.

        Args:
            operation: `genai.inference`, asked only where a span is opened.

        Returns:
            A scope without a span if the call is made inside another one of ours (a model that delegates to
            another): what it learns goes there. None if an official instrumentation has opened a call around it.
        """
        outer = current_scope()
        mine = outer if isinstance(outer, Inference) else None
        if mine is not None and mine.recording:
            return self.inside(mine)
        if interop.call_is_open(ours=mine and mine.announced):  # one that has ended is none
            return None
        return self.start(operation())

    def inside(self, outer: Inference) -> Inner:
        """The scope of this call, where it is made inside `outer`."""
        return Inner(self, outer)

    def start(self, operation: Operation) -> Self:
        """Open the span, in any case."""
        self._started = perf_counter()
        self._hide_secrets(operation.attributes, _ASKED)
        self._asked = operation.attributes
        self.open(operation.span_name, operation.attributes, kind=SpanKind.CLIENT)
        if self.recording:
            details = self._telemetry.details
            if details is not None and details.wanted:
                self._details = details
                self._asked = {**stamps(), **operation.attributes}
            if self._details is not None or self._telemetry.capture.messages:
                self.wants_messages = True
            self.announced = interop.announcement(content=self.wants_messages)
        return self

    def part_of(self, outer: Inference) -> None:
        """It is made inside another call, whose span stands for it."""
        if outer.unsampled:
            self._telemetry = self._telemetry.contentless
        self._details = outer._details
        self.wants_messages = self._details is not None or self._telemetry.capture.messages

    def failed(self, kind: str, message: str | None = None) -> None:
        """The provider has answered with an error as data, of which no exception tells.

        Args:
            kind: `error.type`, the provider's code.
            message: what the provider says, which is recorded as an exception's message would be.
        """
        capture = self._telemetry.capture
        self.failure = kind = capture.name(kind)
        self._outcome = {names.ERROR_TYPE: kind}
        told = capture.message(RuntimeError(message)) if message else None
        self.span.set_status(Status(StatusCode.ERROR, f"{kind}: {told}" if told else kind))

    def first_chunk(self) -> None:
        """A part of a streamed answer has arrived; the first time counts."""
        if self._time_to_first_chunk is None:
            self._time_to_first_chunk = perf_counter() - self._started

    def next_chunk(self) -> None:
        """A part of a streamed answer has arrived, after the first one."""
        self._later_chunks += 1
        self._last_chunk = perf_counter()

    def collect(self) -> None:
        """Set the fields from what the call has returned; called once, at its end. For subclasses."""

    def learn(self) -> None:
        """Collect, with nothing used where nothing was asked of a model."""
        self.collect()
        if self.cache_hit:
            self.usage, self._time_to_first_chunk = NOTHING_USED, None
        elif self._later_chunks and self._time_to_first_chunk is not None:
            self.per_chunk = (self._last_chunk - self._started - self._time_to_first_chunk) / self._later_chunks

    def absorb(self, call: Inference) -> None:
        """Keep what a call inside this one has learned: the last answer, and what all of them have used."""
        call.cache_hit = call.cache_hit and (self._inner is None or self._inner.cache_hit)
        self._inner = call
        self.per_chunk = call.per_chunk
        self._inner_usage = self._inner_usage.plus(call.usage)

    def describe(self) -> dict[str, AttributeValue]:
        """What is known of the answer and, where it is captured, what was said."""
        inner = self._inner
        self.cache_hit = self.cache_hit or (inner is not None and inner.cache_hit)
        self.learn()
        found = interop.told(self.announced)
        if inner is not None:
            found.update(inner.answer())
        found.update(self.answer())
        # Of a call that is made of others, these have used what there is to pay: its own figures repeat theirs.
        found.update(self._inner_usage.attributes() if self._inner_usage != UNKNOWN else self.usage.attributes())
        if self._time_to_first_chunk is not None:
            found[names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = self._time_to_first_chunk
        if names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK in found:
            found[names.GEN_AI_REQUEST_STREAM] = True
        self._hide_secrets(found, _ANSWERED)
        if self._telemetry.config.cost:
            from spanloom.cost import cost_of

            found.update(cost_of({**self._asked, **found}, self._telemetry.config))
        if self._telemetry.capture.messages:
            found.update(self.content())
        return found

    def tell(self, attributes: Mapping[str, AttributeValue]) -> None:
        """As `Scope.tell`; and what was asked and answered, to who wants it besides the span."""
        super().tell(attributes)
        if self._details is not None:
            self._details.tell(self, {**self._asked, **attributes})

    def answer(self) -> dict[str, AttributeValue]:
        """What this call itself knows of the answer."""
        found: dict[str, AttributeValue] = {}
        if self.response_model:
            found[names.GEN_AI_RESPONSE_MODEL] = self.response_model
        if self.response_id:
            found[names.GEN_AI_RESPONSE_ID] = self.response_id
        if self.finish_reasons:
            found[names.GEN_AI_RESPONSE_FINISH_REASONS] = self.finish_reasons
        return found

    def _hide_secrets(self, facts: dict[str, AttributeValue], words: Sequence[str]) -> None:
        """In the texts below the keys `words`, and in the id of the response."""
        capture = self._telemetry.capture
        for key in words:
            value: Any = facts.get(key)
            if value is None:
                continue
            if isinstance(value, str):
                facts[key] = capture.name(value)
            else:
                shown = capture.word if key == names.GEN_AI_RESPONSE_FINISH_REASONS else capture.name
                facts[key] = [shown(str(text)) for text in value]
        identity = facts.pop(names.GEN_AI_RESPONSE_ID, None)
        if isinstance(identity, str) and (shown := capture.identity(identity)) is not None:
            facts[names.GEN_AI_RESPONSE_ID] = shown

    def content(self, limit: int | None = None) -> dict[str, str]:
        """JSON texts of what was asked and answered, by attribute, each in at most `limit` bytes (default: as set)."""
        capture = self._telemetry.capture
        answered = self.output_messages or (self._inner.output_messages if self._inner is not None else None)
        texts = (
            (names.GEN_AI_SYSTEM_INSTRUCTIONS, parts_text, self.system_instructions),
            (names.GEN_AI_TOOL_DEFINITIONS, tools_text, self.tool_definitions),
            (names.GEN_AI_INPUT_MESSAGES, messages_text, self.input_messages),
            (names.GEN_AI_OUTPUT_MESSAGES, messages_text, answered),
        )
        below: dict[str, list[Part]] = {}
        if not (self.input_messages and answered):
            with guarded("inference.said", "what a model call below has said (opentelemetry-util-genai has changed)"):
                below = interop.said(self.announced)
        return {
            key: text
            for key, write, own in texts
            if (what := own or below.get(key)) and (text := write(capture, what, limit)) is not None
        }

    def finish(self) -> None:
        """As `Scope.finish`; of what was said nothing is kept, as a background task keeps its context and so this."""
        super().finish()
        self.input_messages = self.output_messages = self.system_instructions = self.tool_definitions = None
        if self.announced is not None:
            interop.forget(self.announced)
        self._inner = self._details = None


class Inner(Scope):
    """A call of ours that another one makes: no span of its own, and what it learns goes to the other one's."""

    def __init__(self, call: Inference, outer: Inference) -> None:
        self._call = call
        self._outer = outer
        self.recording = True
        call.part_of(outer)
        tell = call.item
        if tell is not None:

            def item(value: Any) -> None:
                outer.first_chunk()
                tell(value)

            self.item = item

    def first_chunk(self) -> None:
        """A part of a streamed answer has arrived, of the other one's too."""
        self._outer.first_chunk()

    def enter(self) -> Self:
        """Nothing becomes current."""
        return self

    def leave(self) -> None:
        """Nothing was."""

    def returned(self, result: object) -> None:
        """The call has returned `result`."""
        self._call.result = result

    def close(self, exc: BaseException | None = None, *, end: bool = True) -> None:  # noqa: ARG002  as Scope's
        """An error is told by whom it reaches."""
        self.finish()

    def finish(self) -> None:
        """Once."""
        if self.recording:
            self.recording = False
            with guarded("inference.inner", "what a model call inside another one has learned"):
                self._call.learn()
                self._outer.absorb(self._call)

    __enter__ = enter
