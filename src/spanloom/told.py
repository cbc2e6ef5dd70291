"""Spans of a program's own, and what the program tells of them, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanloom import names
from spanloom.guard import LOG
from spanloom.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

    from spanloom.inference import Usage
    from spanloom.telemetry import Telemetry


class Told(Kept):
    """An operation whose facts the program tells. Of what has no place in an operation, a log line says so once."""

    what = "this span"

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(telemetry)
        self.told: dict[str, AttributeValue] = {}

    def describe(self) -> dict[str, AttributeValue]:
        """What was told."""
        return {**super().describe(), **self.told}

    def finish(self) -> None:
        """As `Scope.finish`; of what was told nothing is kept, as a background task keeps its context and so this."""
        super().finish()
        if not self.recording:
            self.told = {}

    def tell_called(self, given: dict[str, Any]) -> None:
        """Arguments of a decorated function, by name, that are to be recorded."""
        self.tell_input(given, None, None)

    def tell_input(self, value: object, system: object, offered: object) -> None:
        """What goes in."""
        self._no_instructions(system, offered)
        if self._telemetry.capture.io:
            self._put(names.INPUT, self._telemetry.capture.json(value))

    def tell_output(self, value: object) -> None:
        """What comes out."""
        if self._telemetry.capture.io:
            self._put(names.OUTPUT, self._telemetry.capture.json(value))

    def tell_returned(self, value: object, *, capture: bool) -> None:
        """What a decorated function has returned; `capture`: it is to be recorded."""
        if capture:
            self.tell_output(value)

    def tell_usage(self, usage: Usage) -> None:  # noqa: ARG002  for subclasses
        """Tokens."""
        self._misplaced("usage")

    def tell_finish(self, reasons: Sequence[str]) -> None:  # noqa: ARG002  for subclasses
        """Why the answer ended."""
        self._misplaced("a finish reason")

    def tell_response(self, model: str | None, identity: str | None) -> None:  # noqa: ARG002  for subclasses
        """Who answered."""
        self._misplaced("a model's response")

    def tell_documents(self, documents: object) -> None:  # noqa: ARG002  for subclasses
        """What was found."""
        self._misplaced("documents")

    def tell_arguments(self, arguments: object) -> None:  # noqa: ARG002  for subclasses
        """What a tool is called with."""
        self._misplaced("arguments of a tool")

    def read(self, response: object) -> None:  # noqa: ARG002  for subclasses
        """A provider's response."""
        self._misplaced("a model's response")

    def arrived(self, item: Any) -> None:
        """An item of a stream."""

    def drained(self) -> None:
        """A stream has ended."""

    def _put(self, key: str, text: str | None) -> None:
        if text:
            self.told[key] = text

    def _misplaced(self, what: str) -> None:
        if (self.what, what) not in _SAID:
            _SAID.add((self.what, what))
            LOG.warning("%s cannot have %s; nothing is recorded. This is logged once.", self.what, what)

    def _no_instructions(self, system: object, offered: object) -> None:
        if system is not None or offered is not None:
            self._misplaced("instructions and tools")


_SAID: Final[set[tuple[str, str]]] = set()


class Asked(Told):
    """An operation that a model or a store is asked for: a decorated function's only argument is the question.

    Attributes:
        wants_messages: what is asked is recorded elsewhere than on the span.
    """

    wants_messages = False

    def tell_called(self, given: dict[str, Any]) -> None:
        """The argument, or the JSON text of all of them."""
        if self.wants_messages or self._telemetry.capture.messages:
            value = next(iter(given.values())) if len(given) == 1 else self._telemetry.capture.json(given)
            self.tell_input(value, None, None)

    def tell_response(self, model: str | None, identity: str | None) -> None:
        """Who answered."""
        capture = self._telemetry.capture
        self._put(names.GEN_AI_RESPONSE_MODEL, capture.name(model) if model else None)
        self._put(names.GEN_AI_RESPONSE_ID, capture.identity(identity) if identity else None)
