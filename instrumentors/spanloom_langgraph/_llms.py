"""One `text_completion` span per call of a LangChain model that completes texts (`BaseLLM`).

`generate` is every call that is not streamed to its caller, with one prompt or several: what the provider gets at once
is one call. LangChain's cache answers inside it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from spanloom.instrument import Begun, below_dropped, current_scope, names
from spanloom_langgraph._calls import Call
from spanloom_langgraph._messages import completion, prompts
from spanloom_langgraph._models import split, tell_first_chunk, told_by, wrap_all
from spanloom_langgraph._requests import operation
from spanloom_langgraph._responses import raw_usage_of, read_metadata, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from spanloom.instrument import Patches, Telemetry

_GENERATE: Final = ("prompts", "stop", "callbacks", "tags", "metadata", "run_name", "run_id")


class CompletionCall(Call):
    """A call of a model that completes texts.

    Args:
        telemetry: where the span goes.
        given: the prompts.

    Attributes:
        given: the prompts.
    """

    def __init__(self, telemetry: Telemetry, given: Sequence[str]) -> None:
        super().__init__(telemetry)
        self.given = given
        self._pieces: list[str] = []

    def item(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  a method, without a cycle
        """A chunk, which is plain text here."""
        if self._time_to_first_chunk is None:
            self.first_chunk()
        else:
            self.next_chunk()
        if self.wants_messages and isinstance(value, str):
            self._pieces.append(value)

    def collect(self) -> None:
        """What was asked, and what was answered."""
        if self.wants_messages:
            self.input_messages = prompts(self.given)
            if self._pieces:
                self.output_messages = [completion("".join(self._pieces), "error" if self.failure else None)]
        result = self.result
        if result is None or not result.generations:
            return
        answered = [generation for choices in result.generations for generation in choices]
        output: Mapping[str, Any] = result.llm_output or {}
        # LangChain lists the runs of the prompts that its cache had no answer to.
        self.cache_hit = not result.run and not output
        self.usage = raw_usage_of(output) or self.usage
        read_metadata(self, output, None)
        reasons = [reason_of(generation.generation_info or {}, calls_tools=False) for generation in answered]
        self.finish_reasons = [reason for reason in reasons if reason]
        if self.wants_messages:
            self.output_messages = [
                completion(generation.text, reason) for generation, reason in zip(answered, reasons, strict=True)
            ]

    def finish(self) -> None:
        """As `Inference.finish`; what was asked and answered is let go."""
        super().finish()
        self.given, self._pieces = (), []


class Completions:
    """Opens the spans of text completions.

    Args:
        telemetry: where spans go.
        base: `BaseLLM`.
    """

    def __init__(self, telemetry: Telemetry, base: Any) -> None:
        self._telemetry = telemetry
        self._base = base

    def begin_generate(self, model: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`generate(self, prompts, stop, callbacks, *, tags, metadata, run_name, run_id, **kwargs)`."""
        if below_dropped():
            return None
        own, asked = split(_GENERATE, args, kwargs)
        call = CompletionCall(self._telemetry, own["prompts"])
        scope = call.begin(lambda: operation(names.OP_TEXT_COMPLETION, model, told_by(model, None, own, asked), asked))
        return None if scope is None else Begun(scope, (model, *args), None, scope.returned)

    def begin_helper(self, _model: Any, /, *args: Any, **kwargs: Any) -> None:
        """`_generate_helper(self, prompts, stop, run_managers, ...)`: inside `generate`, once the runs have begun."""
        scope = current_scope()
        run_managers = split(("prompts", "stop", "run_managers"), args, kwargs)[0].get("run_managers")
        if isinstance(scope, CompletionCall) and scope.recording and run_managers:
            tell_first_chunk(scope, run_managers[0])

    def begin_stream(self, is_async: bool, model: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`stream(self, input, config, *, stop, **kwargs)`; models that cannot stream call `generate`."""
        if below_dropped() or not self._streams(type(model), is_async=is_async):
            return None
        own, asked = split(("input", "config", "stop"), args, kwargs)
        call = CompletionCall(self._telemetry, ())
        scope = call.begin(
            lambda: operation(names.OP_TEXT_COMPLETION, model, told_by(model, None, own, asked), asked, streaming=True)
        )
        if scope is None:
            return None
        if call.recording and call.wants_messages:
            with suppress(Exception):  # what LangChain refuses it will refuse again, and the call fails with that
                call.given = (model._convert_input(own["input"]).to_string(),)  # noqa: SLF001
        return Begun(scope, (model, *args))

    def _streams(self, kind: Any, *, is_async: bool) -> bool:
        base = self._base
        return kind._stream is not base._stream or (is_async and kind._astream is not base._astream)  # noqa: SLF001


def patch_llms(module: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap `BaseLLM` of `langchain_core.language_models.llms`."""
    completions = Completions(telemetry, getattr(module, "BaseLLM", None))
    whole, streamed, token = "text completions", "streamed text completions", "first tokens of text completions"
    wrap_all(
        module,
        "BaseLLM",
        {
            "generate": (completions.begin_generate, whole),
            "agenerate": (completions.begin_generate, whole),
            "_generate_helper": (completions.begin_helper, token),
            "_agenerate_helper": (completions.begin_helper, token),
            "stream": (partial(completions.begin_stream, False), streamed),
            "astream": (partial(completions.begin_stream, True), streamed),
        },
        patches,
    )
