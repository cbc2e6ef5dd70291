"""What one span says about itself in one line: model and tokens, action and edge, attempts, items, changed keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom import names
from spanloom.view.text import clean, duration, number, plural
from spanloom.view.usage import Usage, is_model_call, operation, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.view.look import Glyphs
    from spanloom.view.model import Attributes, Event, Span, Value
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
        names.ERROR_TYPE,
        names.EXCEPTION_TYPE,
        names.EXCEPTION_MESSAGE,
        names.NODE_NAME,
        names.STATUS,
        names.STATE_CHANGED_KEYS,
        names.RETRY_DELAY,
        names.POCKETFLOW_ACTION,
        names.POCKETFLOW_NEXT,
        names.POCKETFLOW_RETRY_ATTEMPT,
        names.POCKETFLOW_RETRY_MAX,
        names.POCKETFLOW_RETRY_COUNT,
        names.POCKETFLOW_FALLBACK,
        names.POCKETFLOW_BATCH_INDEX,
        names.POCKETFLOW_BATCH_SIZE,
        names.POCKETFLOW_SUCCESSORS,
    }
)
_WORKFLOWS: Final = frozenset({names.OP_INVOKE_WORKFLOW, names.OP_INVOKE_AGENT})
_STYLES: Final = {
    names.OP_INVOKE_WORKFLOW: "bold",
    names.OP_INVOKE_AGENT: "bold",
    names.OP_RUN_STEP: "blue",
    names.OP_EXECUTE_TOOL: "magenta",
}


class Fact(NamedTuple):
    """A piece of a line and its style (`""`: the default of its place)."""

    text: str
    style: str = ""


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
    if span.failed:
        yield Fact(f"{glyphs.cross} {error_name(span)}", "red")
    elif status := _text(get(names.STATUS)):
        yield Fact(status, "yellow")
    if is_model_call(span):
        yield from _model_call(span)
    elif (call_id := _text(get(names.GEN_AI_TOOL_CALL_ID))) and names.GEN_AI_TOOL_NAME in span.attributes:
        yield Fact(call_id)
    yield from _pocketflow(span.attributes, glyphs)
    if operation(span) in _WORKFLOWS and not alone:
        yield from map(Fact, sums(node.rollup))
    if changed := _listed(get(names.STATE_CHANGED_KEYS)):
        yield Fact(f"changed: {changed}")


def _model_call(span: Span) -> Iterator[Fact]:
    get = span.attributes.get
    model = _text(get(names.GEN_AI_RESPONSE_MODEL)) or _text(get(names.GEN_AI_REQUEST_MODEL))
    if model and not span.name.endswith(model):
        yield Fact(model)
    own = usage(span)
    if any(own):
        yield Fact(tokens(own))
    if reasons := _listed(get(names.GEN_AI_RESPONSE_FINISH_REASONS)):
        yield Fact(reasons)
    first = get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    if isinstance(first, (int, float)) and 0 <= first < 1e9:
        yield Fact(f"first chunk {duration(int(first * 1e9))}")


def _pocketflow(attributes: Attributes, glyphs: Glyphs) -> Iterator[Fact]:
    get = attributes.get
    action, following = _text(get(names.POCKETFLOW_ACTION)), _text(get(names.POCKETFLOW_NEXT))
    if action or following:
        yield Fact(f"{action} {glyphs.arrow} {following}" if following else action, "green")
    index, size = get(names.POCKETFLOW_BATCH_INDEX), get(names.POCKETFLOW_BATCH_SIZE)
    if index is not None:
        yield Fact(f"item [{_text(index)}]" + (f" of {_text(size)}" if size is not None else ""))
    elif size is not None:
        yield Fact(f"batch of {_text(size)}")
    attempt, most = get(names.POCKETFLOW_RETRY_ATTEMPT), get(names.POCKETFLOW_RETRY_MAX)
    if attempt is not None and (attempt, most) not in ((1, 1), (1, None)):
        yield Fact(f"attempt {_text(attempt)}" + (f"/{_text(most)}" if most is not None else ""))
    retries = get(names.POCKETFLOW_RETRY_COUNT)
    if isinstance(retries, int) and retries > 0:
        yield Fact("1 retry" if retries == 1 else f"{retries:,} retries", "yellow")
    if get(names.POCKETFLOW_FALLBACK) is True:
        yield Fact("fallback", "yellow")


def notes(node: Node, glyphs: Glyphs) -> Iterator[Fact]:
    """What does not fit in the line of a span: where an error came up its message, and what went wrong on the way."""
    span = node.span
    if span is None:
        return
    if node.origin and (message := _message(span)):
        yield Fact(message, "red")
    failed_below = any(child.span is not None and child.span.failed for child in node.children)
    for event in span.events:
        if event.name == names.RETRY_EVENT:
            yield Fact(f"{glyphs.bullet} {_retry(event, brief=failed_below)}", "yellow")
        elif event.name == names.POCKETFLOW_NO_SUCCESSOR_EVENT:
            get = event.attributes.get
            where, known = _text(get(names.NODE_NAME)), _listed(get(names.POCKETFLOW_SUCCESSORS))
            yield Fact(
                f"{glyphs.bullet} no successor for action {_text(get(names.POCKETFLOW_ACTION)) or '?'}"
                + (f" of {where}" if where else "")
                + (f" (it has: {known})" if known else ""),
                "yellow",
            )


def _retry(event: Event, *, brief: bool) -> str:
    """`brief`: the failed attempt is a span of its own below, with its message."""
    get = event.attributes.get
    parts = [f"attempt {_text(get(names.POCKETFLOW_RETRY_ATTEMPT)) or '?'} failed"]
    if (item := get(names.POCKETFLOW_BATCH_INDEX)) is not None:
        parts.append(f"on item [{_text(item)}]")
    error, message = _text(get(names.ERROR_TYPE)), _text(get(names.EXCEPTION_MESSAGE))
    if error:
        parts.append(f"with {error}" + (f": {message}" if message and not brief else ""))
    delay = get(names.RETRY_DELAY)
    if isinstance(delay, (int, float)) and 0 < delay < 1e9:
        parts.append(f"(next after {duration(int(delay * 1e9))})")
    return " ".join(parts)


def error_name(span: Span) -> str:
    """The short name of a span's error: `error.type` without its module, else the `Type` of a status `Type: text`."""
    kind = _text(span.attributes.get(names.ERROR_TYPE))
    name = (kind or span.message.partition(":")[0]).rpartition(".")[2]
    return name if name.isidentifier() else kind or "error"


def _message(span: Span) -> str:
    """The status message, or that of the exception event; empty if it tells no more than the error's name."""
    message = span.message
    if not message:
        raised = (event.attributes for event in span.events if event.name == names.EXCEPTION_EVENT)
        message = next((_text(attributes.get(names.EXCEPTION_MESSAGE)) for attributes in raised), "")
    return "" if clean(message) == error_name(span) else message


def sums(rollup: Rollup) -> Iterator[str]:
    """A roll-up in words: spans, model calls, tokens, errors."""
    yield plural(rollup.spans, "span")
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


def _text(value: Value) -> str:
    """A value for a line: text cleaned, numbers as they are, nothing for None."""
    return "" if value is None else clean(value if type(value) is str else str(value))


def _listed(value: Value) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)
