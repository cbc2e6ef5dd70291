"""What one span says about itself in one line: status, model and tokens, its framework's facts, changed keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spanloom import names
from spanloom.view import frameworks
from spanloom.view.frameworks import Fact
from spanloom.view.text import clean, duration, listed, number, plural, shown, type_name
from spanloom.view.usage import Usage, is_model_call, operation, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.view.look import Glyphs
    from spanloom.view.model import Span
    from spanloom.view.tree import Node
    from spanloom.view.usage import Rollup

# What the default view reads; everything else (prompts above all) is not even held in memory.
NEEDED: Final = frozenset(
    {
        names.GEN_AI_OPERATION_NAME,
        names.GEN_AI_REQUEST_MODEL,
        names.GEN_AI_RESPONSE_MODEL,
        names.GEN_AI_RESPONSE_FINISH_REASONS,
        names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
        names.GEN_AI_USAGE_INPUT_TOKENS,
        names.GEN_AI_USAGE_OUTPUT_TOKENS,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
        names.GEN_AI_TOOL_NAME,
        names.GEN_AI_TOOL_CALL_ID,
        names.GEN_AI_CONVERSATION_ID,
        names.EXCEPTION_TYPE,
        names.STATUS,
        names.CANCELLED_CAUSE,
        names.STATE_CHANGED_KEYS,
        *frameworks.NEEDED,
    }
)
_WORKFLOWS: Final = frozenset({names.OP_INVOKE_WORKFLOW, names.OP_INVOKE_AGENT})
_STYLES: Final = {
    names.OP_INVOKE_WORKFLOW: "bold",
    names.OP_INVOKE_AGENT: "bold",
    names.OP_RUN_STEP: "blue",
    names.OP_EXECUTE_TOOL: "magenta",
}


def style_of(span: Span) -> str:
    """The style of a span's name and bar, by what kind of operation it is."""
    return "cyan" if is_model_call(span) else _STYLES.get(operation(span), "")


def facts(node: Node, glyphs: Glyphs, *, alone: bool) -> Iterator[Fact]:
    """The facts of a span, the most telling first.

    Args:
        node: a node with a span.
        glyphs: the characters to draw with.
        alone: the trace has this root only, so that its sums already stand in the header.
    """
    span = node.span
    if span is None:
        return
    get = span.attributes.get
    if span.state:
        yield Fact(span.state, "yellow")
    if span.failed:
        yield Fact(f"{glyphs.cross} {error_name(span)}", "red")
    elif (status := shown(get(names.STATUS))) and status != frameworks.HANDED_OVER:
        cause = shown(get(names.CANCELLED_CAUSE))
        yield Fact(f"{status} ({type_name(cause)})" if cause else status, "yellow")
    if is_model_call(span):
        yield from _model_call(span)
    elif (call_id := shown(get(names.GEN_AI_TOOL_CALL_ID))) and names.GEN_AI_TOOL_NAME in span.attributes:
        yield Fact(call_id)
    yield from frameworks.facts(span.attributes, glyphs)
    if operation(span) in _WORKFLOWS and not alone:
        yield from map(Fact, sums(node.rollup))
    if changed := listed(get(names.STATE_CHANGED_KEYS)):
        yield Fact(f"changed: {changed}")


def _model_call(span: Span) -> Iterator[Fact]:
    get = span.attributes.get
    model = shown(get(names.GEN_AI_RESPONSE_MODEL)) or shown(get(names.GEN_AI_REQUEST_MODEL))
    if model and not span.name.endswith(model):
        yield Fact(model)
    own = usage(span)
    if any(own):
        yield Fact(tokens(own))
    if reasons := listed(get(names.GEN_AI_RESPONSE_FINISH_REASONS)):
        yield Fact(reasons)
    first = get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    if isinstance(first, (int, float)) and 0 <= first < 1e9:
        yield Fact(f"first chunk {duration(int(first * 1e9))}")


def notes(node: Node, glyphs: Glyphs) -> Iterator[Fact]:
    """What does not fit in the line of a span: where an error came up its message, and what happened on the way."""
    span = node.span
    if span is None:
        return
    if node.origin and (message := _message(span)):
        yield Fact(message, "red")
    failed_below = any(child.span is not None and child.span.failed for child in node.children)
    yield from frameworks.notes(span, glyphs, failed_below=failed_below)


def error_name(span: Span) -> str:
    """The short name of a span's error: `error.type` without its module, else the `Type` of a status `Type: text`."""
    kind = shown(span.attributes.get(names.ERROR_TYPE))
    if kind:
        return type_name(kind)
    name = type_name(span.message.partition(":")[0])
    return name if name.isidentifier() else "error"


def _message(span: Span) -> str:
    """The status message, or that of the exception event; empty if it tells no more than the error's name."""
    message = span.message
    if not message:
        raised = (event.attributes for event in span.events if event.name == names.EXCEPTION_EVENT)
        message = next((shown(attributes.get(names.EXCEPTION_MESSAGE)) for attributes in raised), "")
    return "" if clean(message) == error_name(span) else message


def sums(rollup: Rollup) -> Iterator[str]:
    """A roll-up in words: spans, model calls, tokens, errors."""
    yield plural(rollup.spans, "span")
    if rollup.open:
        yield f"{number(rollup.open)} not ended"
    if rollup.model_calls:
        yield plural(rollup.model_calls, "model call")
    if any(rollup.usage):
        yield tokens(rollup.usage)
    if rollup.errors:
        yield plural(rollup.errors, "error")


def tokens(count: Usage) -> str:
    """`1,204 in (512 cached) / 96 out (64 reasoning)`."""
    cached = f" ({number(count.cached)} cached)" if count.cached else ""
    reasoning = f" ({number(count.reasoning)} reasoning)" if count.reasoning else ""
    return f"{number(count.input)} in{cached} / {number(count.output)} out{reasoning}"
