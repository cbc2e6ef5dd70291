"""The spans of LangChain's model calls: what becomes known of an answer that comes whole, in chunks or as events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import Inference, Usage, guarded, messages, names, parts
from spanloom_langgraph._messages import answer, asked
from spanloom_langgraph._responses import is_cache_hit, raw_usage_of, read_metadata, reason_of, usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Telemetry

_NOTHING: Final[Mapping[str, Any]] = {}


class Call(Inference):
    """A call of any model of LangChain's."""

    def describe(self) -> dict[str, AttributeValue]:
        """As `Inference`, and whether LangChain's cache has answered."""
        found = super().describe()
        if self.cache_hit:
            found[names.LANGCHAIN_CACHE_HIT] = True
        return found


class ChatCall(Call):
    """A call of a chat model (`BaseChatModel`), whose answer comes whole.

    Args:
        telemetry: where the span goes.
        given: the messages (`BaseMessage`).
        kwargs: the call's arguments for the provider; the tools are among them.

    Attributes:
        given: the messages.
    """

    def __init__(self, telemetry: Telemetry, given: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__(telemetry)
        self.given = given
        self._kwargs = kwargs

    def collect(self) -> None:
        """What was asked, and what was answered."""
        if self.wants_messages:
            self.input_messages = asked(self.given)
            self.tool_definitions = parts.tools(self._kwargs.get("tools") or self._kwargs.get("functions"))
        self.collect_answer()

    def collect_answer(self) -> None:
        """Read the result (`ChatResult`)."""
        result = self.result
        if result is not None and result.generations:
            self.read([generation.message for generation in result.generations], result.llm_output)

    def read(self, answered: Sequence[Any], output: object = None) -> None:
        """Learn from whole answers.

        Args:
            answered: a message (`AIMessage`) for each choice.
            output: what the model tells of all of them (`llm_output`).
        """
        first = answered[0]
        read_metadata(self, first.response_metadata, first.id)
        reasons = [
            reason_of(message.response_metadata, calls_tools=bool(getattr(message, "tool_calls", None)))
            for message in answered
        ]
        self.finish_reasons = [reason for reason in reasons if reason]
        # Where there are several choices, each tells what all of them have used.
        used = next((told for message in answered if (told := getattr(message, "usage_metadata", None))), None)
        self.cache_hit = self.cache_hit or is_cache_hit(used)
        self.usage = usage_of(used) or raw_usage_of(output) or raw_usage_of(first.response_metadata) or Usage()
        if self.wants_messages:
            self.output_messages = [answer(message, reason) for message, reason in zip(answered, reasons, strict=True)]

    def unfinished(self) -> str | None:
        """The finish reason of an answer that has told none."""
        return "error" if self.failure else None

    def finish(self) -> None:
        """As `Inference.finish`; what was asked is let go."""
        super().finish()
        self.given, self._kwargs = (), _NOTHING


class StreamedCall(ChatCall):
    """A call whose answer comes in chunks (`AIMessageChunk`); these are put together only where content is captured."""

    def __init__(self, telemetry: Telemetry, given: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__(telemetry, given, kwargs)
        self._metadata: dict[str, Any] = {}
        self._usage: list[Any] = []
        self._id: object = None
        self._calls_tools = False
        self._chunks: list[Any] | None = None
        self._begun = False

    def item(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  a method, without a cycle
        """A chunk; its fields are read past pydantic, as there may be thousands."""
        told: dict[str, Any] = value.__dict__
        if self._begun:
            self.next_chunk()
        else:
            self._begun = True
            self.first_chunk()
            self._id = told.get("id")  # later ones have LangChain's, where the provider tells its own once
            if self.wants_messages:  # not before: now it is known whether the call is sampled
                self._chunks = []
        if metadata := told.get("response_metadata"):
            self._metadata.update(metadata)
        if used := told.get("usage_metadata"):
            self._usage.append(used)
        if told.get("tool_call_chunks"):
            self._calls_tools = True
        if self._chunks is not None:
            self._chunks.append(value)

    def collect_answer(self) -> None:
        """What the chunks that have arrived tell together."""
        read_metadata(self, self._metadata, self._id)
        reason = reason_of(self._metadata, calls_tools=self._calls_tools)
        self.finish_reasons = [reason] if reason else None
        for used in self._usage:  # several chunks add up, as LangChain has it
            self.usage = self.usage.plus(usage_of(used) or Usage())
        if self._chunks:
            with guarded("langgraph.chunks", "what a model has answered in a stream"):
                first, *more = self._chunks
                whole = first + more if more else first
                self.output_messages = [answer(whole, reason or self.unfinished())]

    def finish(self) -> None:
        """As `ChatCall.finish`, and so is what was answered."""
        super().finish()
        self._chunks = None


class EventsCall(ChatCall):
    """A call whose answer comes as events (`langchain_protocol`), which LangChain collects in an object of its own.

    Args:
        telemetry: where the span goes.
        given: the messages (`BaseMessage`).
        kwargs: the call's arguments for the provider.
        collected: LangChain's `ChatModelStream` or `AsyncChatModelStream`.
    """

    def __init__(self, telemetry: Telemetry, given: Sequence[Any], kwargs: Mapping[str, Any], collected: Any) -> None:
        super().__init__(telemetry, given, kwargs)
        self._collected: Any = collected
        self._texts: dict[str, list[str]] = {}

    def item(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  a method, without a cycle
        """An event. The last one ends the span: the synchronous reader asks for no more, and never gets to the end."""
        if self._time_to_first_chunk is None:
            self.first_chunk()
        else:
            self.next_chunk()
        event = value.get("event")
        if event == "message-finish":
            if self.recording:
                self.close()
        elif event == "content-block-delta" and self.wants_messages:
            delta: Mapping[str, Any] = value.get("delta") or {}
            for kind in ("text", "reasoning"):
                if isinstance(delta.get(kind), str):
                    self._texts.setdefault(kind, []).append(delta[kind])

    def collect_answer(self) -> None:
        """What LangChain has collected; of an answer without an end, the texts that have arrived."""
        message = self._collected.output_message
        if message is not None:
            self.read([message])
        elif self._texts:
            said = [getattr(messages, kind)("".join(texts)) for kind, texts in self._texts.items()]
            self.output_messages = [messages.output(said, self.unfinished())]

    def finish(self) -> None:
        """As `ChatCall.finish`, and so is what was answered."""
        super().finish()
        self._collected = None
        self._texts.clear()
