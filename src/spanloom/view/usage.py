"""Tokens of model calls, and sums over subtrees that count nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom import names

if TYPE_CHECKING:
    from spanloom.view.model import Span, Value

_MODEL_OPERATIONS: Final = frozenset(
    {names.OP_CHAT, names.OP_TEXT_COMPLETION, names.OP_GENERATE_CONTENT, names.OP_EMBEDDINGS}
)


class Usage(NamedTuple):
    """Tokens. `cached` are among the input, `reasoning` among the output."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    def plus(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(*map(sum, zip(self, other, strict=True)))


NO_USAGE: Final = Usage()


def operation(span: Span) -> str:
    """The GenAI operation that the span stands for; empty where it stands for none."""
    name = span.attributes.get(names.GEN_AI_OPERATION_NAME)
    return name if type(name) is str else ""


def is_model_call(span: Span) -> bool:
    """Whether the span is a call of a model: by its operation, or, from older writers, by its request model."""
    name = operation(span)
    return name in _MODEL_OPERATIONS or (not name and names.GEN_AI_REQUEST_MODEL in span.attributes)


def usage(span: Span) -> Usage:
    """The span's own tokens; none where it has no (valid) counts."""
    get = span.attributes.get
    return Usage(
        _count(get(names.GEN_AI_USAGE_INPUT_TOKENS)),
        _count(get(names.GEN_AI_USAGE_OUTPUT_TOKENS)),
        _count(get(names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS)),
        _count(get(names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS)),
    )


def _count(value: Value) -> int:
    return int(value) if type(value) in (int, float) and value > 0 else 0  # pyright: ignore[reportArgumentType, reportOperatorIssue]  narrowed by the type test


class Rollup(NamedTuple):
    """What a span and everything below it add up to.

    `errors` counts where errors came up: a span with status ERROR below which no span failed with the same error.
    `open` counts the spans that have not ended.
    """

    spans: int = 0
    errors: int = 0
    model_calls: int = 0
    usage: Usage = NO_USAGE
    open: int = 0

    def plus(self, other: Rollup) -> Rollup:
        """The sum of both."""
        return Rollup(
            self.spans + other.spans,
            self.errors + other.errors,
            self.model_calls + other.model_calls,
            self.usage.plus(other.usage) if any(other.usage) else self.usage,
            self.open + other.open,
        )


def with_self(below: Rollup, span: Span, *, origin: bool) -> Rollup:
    """The roll-up of `span`, given that of its children.

    Args:
        below: the children's sum.
        span: the span.
        origin: whether an error came up in it.

    A model call around model calls (a client library that wraps another, both instrumented) is one call, and its
    own counts, where it has any, stand for those below. Other spans' counts are sums of somebody's and ignored.
    """
    calls, tokens = below.model_calls, below.usage
    if is_model_call(span):
        own = usage(span)
        calls, tokens = 1, own if any(own) else tokens
    return Rollup(below.spans + 1, below.errors + origin, calls, tokens, below.open + bool(span.state))
