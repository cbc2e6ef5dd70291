"""What is known of an answer so far, whole or piece by piece, and how it comes onto the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import genai, messages
from spanloom.recording._fields import count, field, parsed, word

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from spanloom.inference import Inference, Usage
    from spanloom.messages import Message, Part

_TEXT: Final = "text"
_REASONING: Final = "reasoning"
_CALL: Final = "tool_call"
_SERVER_CALL: Final = "server_tool_call"
_MOST: Final = 1 << 20  # characters kept of a choice: what is written of them is bounded far below
_OTHER: Final = "_OTHER"  # the convention's word for an error without one


class _Block:
    """A part of an answer that may still grow."""

    __slots__ = ("identity", "kind", "name", "parts", "pieces", "value")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.name: str | None = None
        self.identity: str | None = None
        self.value: object = None
        self.parts: Sequence[Part] = ()

    def made(self) -> Sequence[Part]:
        """The convention's parts."""
        said = "".join(self.pieces)
        if self.kind == _TEXT:
            return [messages.text(said)]
        if self.kind == _REASONING:
            return [messages.reasoning(said)]
        if self.kind in (_CALL, _SERVER_CALL):
            arguments = parsed(said) if self.value is None or said else parsed(self.value)
            name = self.name or ""
            if self.kind == _CALL:
                return [messages.tool_call(name, arguments, self.identity)]
            return [messages.server_tool_call(name, {"type": name, "arguments": arguments}, self.identity)]
        return self.parts


class Choice:
    """One of the answers that were asked for, as a rule the only one.

    Attributes:
        reason: why it ended, the convention's word.
    """

    __slots__ = ("_at", "_blocks", "_room", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self._blocks: list[_Block] = []
        self._at: dict[Hashable, _Block] = {}
        self._room = _MOST

    def text(self, piece: object, key: Hashable = None) -> None:
        """What is said goes on: in the block `key`, or at the end."""
        self._said(_TEXT, piece, key)

    def reasoning(self, piece: object, key: Hashable = None) -> None:
        """What is thought goes on."""
        self._said(_REASONING, piece, key)

    def call(
        self,
        key: Hashable,
        name: str | None = None,
        identity: str | None = None,
        arguments: object = None,
        *,
        by_server: bool = False,
    ) -> None:
        """A tool call begins or goes on.

        Args:
            key: its place among the calls; another `identity` at the same place is another call.
            name: the tool.
            identity: the call's id.
            arguments: a piece of their JSON text, or all of them.
            by_server: whether the provider runs the tool.
        """
        block = self._at.get((_CALL, key))
        if block is None or (identity and block.identity and identity != block.identity):
            block = self._opened(_SERVER_CALL if by_server else _CALL, (_CALL, key))
        block.name = block.name or name
        block.identity = block.identity or identity
        if isinstance(arguments, str):
            self._grow(block, arguments)
        elif arguments is not None:
            block.value = arguments

    def whole(self, parts: Sequence[Part]) -> None:
        """Parts that are complete."""
        if parts:
            self._opened("whole", None).parts = parts

    def clear(self) -> None:
        """Forget what was said: it is told anew."""
        self._blocks.clear()
        self._at.clear()

    def message(self) -> Message | None:
        """The convention's message; None where nothing was said and nothing ended."""
        made = [part for block in self._blocks for part in block.made()]
        return messages.output(made, self.reason) if made or self.reason else None

    def _said(self, kind: str, piece: object, key: Hashable) -> None:
        if not isinstance(piece, str) or not piece:
            return
        if key is None:
            block = self._blocks[-1] if self._blocks else None
            if block is None or block.kind != kind:
                block = self._opened(kind, None)
        else:
            block = self._at.get((kind, key)) or self._opened(kind, (kind, key))
        self._grow(block, piece)

    def _grow(self, block: _Block, piece: str) -> None:
        if self._room > 0:
            self._room -= len(piece)
            block.pieces.append(piece)

    def _opened(self, kind: str, key: Hashable) -> _Block:
        block = self._at[key] = _Block(kind)
        self._blocks.append(block)
        return block


class Answer:
    """What a provider has answered so far.

    Attributes:
        content: whether what was said is kept.
        model: that has answered.
        identity: the provider's id of the answer.
        told: what was told of the usage, in the provider's words.
    """

    __slots__ = ("_choices", "_counted", "_error", "content", "identity", "model", "told")

    def __init__(self, *, content: bool) -> None:
        self.content = content
        self.model: str | None = None
        self.identity: str | None = None
        self.told: Sequence[object] = ()
        self._counted: Callable[[Sequence[object]], Usage] | None = None
        self._choices: dict[int, Choice] = {}
        self._error: tuple[str, str | None] | None = None

    def choice(self, position: int = 0) -> Choice:
        """The answer at that position."""
        found = self._choices.get(position)
        if found is None:
            found = self._choices[position] = Choice()
        return found

    def ended(self, reason: object, position: int = 0) -> None:
        """An answer has ended, for a reason in the provider's words; nothing happens if there is none."""
        told = word(reason)
        if told:
            self.choice(position).reason = genai.finish_reason(told)

    def used(self, counted: Callable[[Sequence[object]], Usage], *told: object) -> None:
        """Keep what was told of the usage; it is counted once, at the end.

        Args:
            counted: makes the convention's usage of it.
            told: the provider's objects.
        """
        self._counted, self.told = counted, told

    def failed(self, error: object) -> None:
        """The provider has answered with an error, an object with some of `code`, `type`, `status`, `message`."""
        kind = next((told for key in ("code", "type", "status") if (told := word(field(error, key)))), None)
        number = count(field(error, "code", "status"))
        self._error = kind or (_OTHER if number is None else str(number)), word(field(error, "message"))

    def write(self, call: Inference) -> None:
        """Onto the call, what is known; the rest of the call stays as it is."""
        if self.model:
            call.response_model = self.model
        if self.identity:
            call.response_id = self.identity
        choices = [choice for _, choice in sorted(self._choices.items())]
        reasons = [choice.reason for choice in choices if choice.reason]
        if reasons:
            call.finish_reasons = reasons
        if self._counted is not None:
            call.usage = self._counted(self.told)
        if self.content:
            said = [message for choice in choices if (message := choice.message()) is not None]
            if said:
                call.output_messages = said
        if self._error is not None:
            call.failed(*self._error)
