"""Model calls of a program's own: told piece by piece, read from a response, or put together from a stream."""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from spanloom import genai, messages, recording
from spanloom.guard import LOG
from spanloom.inference import UNKNOWN, Inference, Inner, Usage
from spanloom.kept import Kept
from spanloom.parts import parts, tools
from spanloom.told import Asked

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from spanloom.messages import Message
    from spanloom.span import Scope


@lru_cache(maxsize=64)  # so that a program reads it once for each
def unread(kind: str) -> None:
    """Say that a response of this type tells nothing."""
    LOG.warning(
        "call.record: %s is of no known shape, so nothing was read from it. Known: %s. Tell the facts yourself: "
        "call.usage, call.output, call.finish, call.response.",
        kind,
        recording.SUPPORTED,
    )


class ModelCall(Asked, Inference):
    """A call of a model.

    Attributes:
        watches: a stream inside is watched, so what a decorated generator yields is not the model's.
    """

    what = "A model call"
    watches = False
    _assembler: recording.Assembler | None = None

    def inside(self, outer: Inference) -> Inner:
        """Streams keep it as they keep a span."""
        return InnerCall(self, outer)

    def tell_input(self, value: object, system: object, offered: object) -> None:
        """The messages."""
        if self.wants_messages:
            self.input_messages = recording.messages(value, self._telemetry.capture.replaced)
            if system is not None:
                self.system_instructions = parts(system)
            if offered is not None:
                self.tool_definitions = tools(offered)

    def tell_output(self, value: object) -> None:
        """The answer, or several."""
        if self.wants_messages:
            reason = _reason_in(cast("dict[str, object]", value)) if isinstance(value, dict) else None
            self.output_messages = [
                messages.output(said["parts"], reason, "assistant" if said["role"] == "user" else said["role"])
                for said in recording.messages(cast("object", value), self._telemetry.capture.replaced)
            ]

    def tell_returned(self, value: object, *, capture: bool) -> None:
        """What a decorated function has returned: the provider's response, or the answer in it."""
        if self.usage is UNKNOWN and not self.output_messages and recording.read(value, self):
            return
        if capture:
            self.tell_output(value)

    def tell_usage(self, usage: Usage) -> None:
        """What is known; the rest stays."""
        if self.usage is UNKNOWN:
            self.usage = usage
        else:
            self.usage = Usage(*(old if new is None else new for new, old in zip(usage, self.usage, strict=True)))

    def tell_finish(self, reasons: Sequence[str]) -> None:
        """In the provider's words or the convention's."""
        self.finish_reasons = [genai.finish_reason(reason) for reason in reasons]

    def tell_response(self, model: str | None, identity: str | None) -> None:
        """Who answered."""
        self.response_model = model or self.response_model
        self.response_id = identity or self.response_id

    def read(self, response: object) -> None:
        """The provider's response."""
        if not recording.read(response, self):
            kind = type(response)
            unread(f"{kind.__module__}.{kind.__qualname__}")

    def item(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  a method, without a cycle
        """What a decorated generator yields: the provider's chunks or pieces of text, where it watches no stream."""
        if not self.watches:
            self.arrived(value)

    def arrived(self, item: Any) -> None:
        """A chunk of the provider's, or a piece of text."""
        assembler = self._assembler
        if assembler is None:
            self.first_chunk()
            assembler = self._assembler = recording.Assembler(self)
        else:  # `next_chunk`, without a call for each item
            self._later_chunks += 1
            self._last_chunk = perf_counter()
        assembler.add(item)

    def drained(self) -> None:
        """Keep what has arrived."""
        assembler, self._assembler = self._assembler, None
        if assembler is not None:
            assembler.finish()

    def collect(self) -> None:
        """A decorated generator's items; and the reasons in the messages, which came in any order."""
        self.drained()
        said, reasons = self.output_messages, self.finish_reasons
        if said and reasons:
            more = [*reasons, *[None] * len(said)]
            self.output_messages = [_with_reason(message, reason) for message, reason in zip(said, more, strict=False)]


class InnerCall(Kept, Inner):
    """A model call of the program's own that another one of ours makes; its streams keep both."""

    def keep(self, keeper: Hashable) -> None:
        """As `Kept.keep`."""
        super().keep(keeper)
        outer = self._outer
        if isinstance(outer, ModelCall):
            outer.watches = True
            outer.keep(keeper)

    def release(self, keeper: Hashable, exc: BaseException | None) -> None:
        """As `Kept.release`."""
        super().release(keeper, exc)
        if isinstance(self._outer, ModelCall):
            self._outer.release(keeper, exc)

    def standing(self) -> Scope:
        """The other one."""
        return self._outer


def _reason_in(told: dict[str, object]) -> str | None:
    reason = told.get("finish_reason")
    return reason if isinstance(reason, str) else None


def _with_reason(message: Message, reason: str | None) -> Message:
    return {**message, "finish_reason": reason} if reason and message["finish_reason"] == "unknown" else message
