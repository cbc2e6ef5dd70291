"""Settings: one frozen object, read from the environment once.

(Exporters work without the rest of spanloom, so each reads its own few variables.)
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spanloom.guard import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CAPTURE_MESSAGE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
COMPLETION_HOOK: Final = "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK"
CAPTURE: Final = "SPANLOOM_CAPTURE"
CAPTURE_EXCEPTION_MESSAGES: Final = "SPANLOOM_CAPTURE_EXCEPTION_MESSAGES"
MAX_VALUE_BYTES: Final = "SPANLOOM_MAX_VALUE_BYTES"
REDACT: Final = "SPANLOOM_REDACT"
REDACT_PATTERNS: Final = "SPANLOOM_REDACT_PATTERNS"
DRAFT_NAMES: Final = "SPANLOOM_DRAFT_NAMES"
METRIC_NAMES: Final = "SPANLOOM_METRIC_NAMES"
POCKETFLOW_PHASES: Final = "SPANLOOM_POCKETFLOW_PHASES"
POCKETFLOW_MODULES: Final = "SPANLOOM_POCKETFLOW_MODULES"
LANGGRAPH_CHECKPOINT_CONTEXT: Final = "SPANLOOM_LANGGRAPH_CHECKPOINT_CONTEXT"
COST: Final = "SPANLOOM_COST"
PRICES: Final = "SPANLOOM_PRICES"
JSONL_DIR: Final = "SPANLOOM_JSONL_DIR"

DEFAULT_DIRECTORY: Final = ".spanloom"
CAPTURE_KINDS: Final = frozenset({"messages", "tools", "io", "state", "params"})
LEGACY: Final = "legacy"
MAIN: Final = "main"
PHASES: Final = frozenset({"prep", "exec", "post"})
MIN_VALUE_BYTES: Final = 256

TRUE: Final = frozenset({"true", "1", "yes", "on"})
FALSE: Final = frozenset({"false", "0", "no", "off"})
# Whether content goes onto spans, and into events -> the word for it.
CONTENT_MODES: Final = {
    (False, False): "NO_CONTENT",
    (True, False): "SPAN_ONLY",
    (False, True): "EVENT_ONLY",
    (True, True): "SPAN_AND_EVENT",
}


@dataclass(frozen=True)
class Config:
    """What is on. Build it with `Config.from_environment()`; override single fields with `replace`.

    Attributes:
        content: record values (inputs, outputs, state, parameters) on spans.
        events: emit an event for each model call, with what was asked and answered.
        completion_hook: the name of the entry point that is handed what was asked and answered, the official GenAI
            packages' own (`upload`); empty for none.
        capture: which kinds of content, of `CAPTURE_KINDS`; no effect where content goes nowhere.
        exception_messages: record messages and stack traces of exceptions (the type always is).
        max_value_bytes: upper bound of one captured value's JSON text, in UTF-8 bytes.
        redact: apply the built-in redaction set (API keys, bearer tokens, credentials, e-mail, card numbers).
        redact_patterns: further regular expressions; each match is replaced.
        redactor: a callable `str -> str` applied last; if it raises, the value is dropped.
        serializers: what is recorded in the place of values of a type and its subclasses: functions from such a value
            to a plain one.
        draft_names: write names that are still drafts of the GenAI conventions (`gen_ai.step.name`).
        metric_names: `legacy` (what the official Python packages emit) or `main` (the conventions' newer names).
        pocketflow_phases: which PocketFlow phases get spans, of `PHASES`.
        pocketflow_modules: import names under which PocketFlow (or a copy of it) is patched.
        langgraph_checkpoint_context: keep the span's context (`traceparent`) in the metadata of LangGraph's
            checkpoints, so that a resume in another process is linked to the interrupted run.
        cost: record what model calls have cost (`spanloom.cost`).
        prices: the path of a JSON file with prices of one's own.
    """

    content: bool = False
    events: bool = False
    completion_hook: str = ""
    capture: frozenset[str] = CAPTURE_KINDS
    exception_messages: bool = True
    max_value_bytes: int = 16_384
    redact: bool = True
    redact_patterns: tuple[re.Pattern[str], ...] = ()
    redactor: Callable[[str], str] | None = None
    serializers: Mapping[type, Callable[[Any], Any]] = field(default_factory=dict[type, Any], hash=False)
    draft_names: bool = True
    metric_names: str = LEGACY
    pocketflow_phases: frozenset[str] = PHASES
    pocketflow_modules: tuple[str, ...] = ("pocketflow",)
    langgraph_checkpoint_context: bool = False
    cost: bool = False
    prices: str | None = None

    def captures(self, kind: str) -> bool:
        """Whether values of `kind` (of `CAPTURE_KINDS`) are recorded on spans."""
        return self.content and kind in self.capture

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read every variable once. A wrong value is logged (one line, naming what is accepted) and ignored."""
        return _Reader(os.environ if environ is None else environ).config(cls())

    def replace(self, **changes: object) -> Config:
        """A copy with `changes`; fields given as None keep their value.

        Raises:
            TypeError: an unknown field.
        """
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})


_PATTERNS_FORM: Final = 'a JSON list of patterns such as ["ACME-[0-9]+"], each backslash doubled'


class _Reader:
    """Parses the variables; every complaint goes through `reject`, so that all read alike."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def config(self, default: Config) -> Config:
        content, events = self._content((default.content, default.events))
        hook = self._get(COMPLETION_HOOK)
        messages = self._flag(CAPTURE_EXCEPTION_MESSAGES, default.exception_messages)
        patterns: tuple[re.Pattern[str], ...] = ()
        try:
            patterns = self._patterns(REDACT_PATTERNS)
        except ValueError as exc:  # a pattern that does not redact would leak, so nothing is captured
            LOG.warning(
                "%s; give %s. Until then no content and no exception messages are captured.", exc, _PATTERNS_FORM
            )
            content = events = messages = False
            hook = ""
        return Config(
            content=content,
            events=events,
            completion_hook=hook,
            capture=self._names(CAPTURE, CAPTURE_KINDS, default.capture),
            exception_messages=messages,
            max_value_bytes=self._bytes(MAX_VALUE_BYTES, default.max_value_bytes),
            redact=self._flag(REDACT, default.redact),
            redact_patterns=patterns,
            draft_names=self._flag(DRAFT_NAMES, default.draft_names),
            metric_names=self._one_of(METRIC_NAMES, (LEGACY, MAIN), default.metric_names),
            pocketflow_phases=self._names(POCKETFLOW_PHASES, PHASES, default.pocketflow_phases),
            pocketflow_modules=self._modules(POCKETFLOW_MODULES, default.pocketflow_modules),
            langgraph_checkpoint_context=self._flag(LANGGRAPH_CHECKPOINT_CONTEXT, default.langgraph_checkpoint_context),
            cost=self._flag(COST, default.cost),
            prices=self._get(PRICES) or default.prices,
        )

    def _get(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def _content(self, default: tuple[bool, bool]) -> tuple[bool, bool]:
        """Whether content goes onto spans, and into events."""
        text = self._get(CAPTURE_MESSAGE_CONTENT).lower()
        if not text:
            return default
        if text in TRUE or text in FALSE:
            return text in TRUE, False
        for places, word in CONTENT_MODES.items():
            if text == word.lower():
                return places
        reject(
            CAPTURE_MESSAGE_CONTENT,
            text,
            "NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, true, false",
            "NO_CONTENT",
        )
        return False, False  # the side on which nothing leaks

    def _flag(self, name: str, default: bool) -> bool:
        text = self._get(name).lower()
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        if text:
            reject(name, text, "true, false", str(default).lower())
        return default

    def _one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        text = self._get(name).lower()
        if text in allowed:
            return text
        if text:
            reject(name, text, ", ".join(allowed), default)
        return default

    def _bytes(self, name: str, default: int) -> int:
        text = self._get(name)
        if text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= MIN_VALUE_BYTES:
            return int(text)
        if text:
            reject(name, text, f"a whole number of bytes, {MIN_VALUE_BYTES} or more", str(default))
        return default

    def _names(self, name: str, allowed: frozenset[str], default: frozenset[str]) -> frozenset[str]:
        given = [part for part in (p.strip().lower() for p in self._get(name).split(",")) if part]
        if not given or given == ["all"]:
            return default
        if given == ["none"]:
            return frozenset()
        unknown = sorted(set(given) - allowed)
        if unknown:
            reject(
                name,
                ",".join(unknown),
                f"all, none, or a list of {', '.join(sorted(allowed))}",
                "the rest of the list",
            )
        return frozenset(given) & allowed

    def _modules(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        given = tuple(part for part in (p.strip() for p in self._get(name).split(",")) if part)
        wrong = [part for part in given if not all(piece.isidentifier() for piece in part.split("."))]
        if wrong:
            reject(
                name,
                ",".join(wrong),
                "a list of import names such as pocketflow,myapp.flow",
                "the rest of the list",
            )
        # each once: a module that is patched twice would give every span twice
        return tuple(dict.fromkeys(part for part in given if part not in wrong)) or default

    def _patterns(self, name: str) -> tuple[re.Pattern[str], ...]:
        text = self._get(name)
        if not text:
            return ()
        try:
            sources: object = json.loads(text)
        except ValueError as exc:
            if text.startswith('["'):  # meant as a list; as one regular expression it would match something else
                raise ValueError(f"{name} is not a JSON list ({exc})") from exc
            sources = text
        if isinstance(sources, list) and all(isinstance(source, str) for source in sources):  # pyright: ignore[reportUnknownVariableType]  json
            return compile_patterns(sources, name)  # pyright: ignore[reportUnknownArgumentType]  checked above
        # one bare regular expression is what people write first; some, such as [0-9], are JSON too
        return compile_patterns([sources if isinstance(sources, str) else text], name)


def compile_patterns(sources: Iterable[str], name: str) -> tuple[re.Pattern[str], ...]:
    """Compile regular expressions of the user's.

    Args:
        sources: the expressions.
        name: the setting they came from, for the message.

    Raises:
        ValueError: one of them does not compile. A pattern that silently did not redact would leak.
    """
    compiled: list[re.Pattern[str]] = []
    for source in sources:
        try:
            compiled.append(re.compile(source))
        except (re.error, OverflowError, RecursionError) as exc:
            raise ValueError(f"{name}: {source!r} is not a regular expression ({exc})") from exc
    return tuple(compiled)


def reject(name: str, value: str, accepted: str, used: str) -> None:
    """The one form in which a wrong setting is reported: variable, value, what is accepted, what is used."""
    LOG.warning("%s=%s is not understood; accepted: %s. Using %s.", name, value, accepted, used)


def trace_directory(environ: Mapping[str, str] | None = None) -> str:
    """The folder of the JSONL traces: `SPANLOOM_JSONL_DIR`, else `.spanloom` below the working directory."""
    return (os.environ if environ is None else environ).get(JSONL_DIR, "").strip() or DEFAULT_DIRECTORY


class _Active:
    config: Config | None = None


def active() -> Config:
    """The process's settings: what `spanloom.init` was given, else what the environment says."""
    if _Active.config is None:
        _Active.config = Config.from_environment()
    return _Active.config


def activate(config: Config | None) -> None:
    """Make `config` the process's settings; None returns to the environment's. Instrumentors read it once."""
    _Active.config = config
