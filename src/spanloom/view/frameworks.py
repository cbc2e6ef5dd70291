"""What PocketFlow and LangGraph say about a span: decisions and edges, items, attempts, interrupts, resumes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from spanloom import names
from spanloom.view.text import duration, listed, shown, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spanloom.view.look import Glyphs
    from spanloom.view.model import Attributes, Event, Span, Value

# What is read for it.
NEEDED: Final = frozenset(
    {
        names.ERROR_TYPE,
        names.EXCEPTION_MESSAGE,
        names.NODE_NAME,
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
        names.LANGGRAPH_NEXT,
        names.LANGGRAPH_SEND,
        names.LANGGRAPH_GOTO_PARENT,
        names.LANGGRAPH_CACHED,
        names.LANGGRAPH_RETRY_ATTEMPT,
        names.LANGGRAPH_RETRY_COUNT,
        names.LANGGRAPH_ERROR_HANDLER_FOR,
        names.LANGGRAPH_CHECKPOINT_RESUMED,
        names.LANGGRAPH_INTERRUPT_NODES,
        names.LANGGRAPH_STATUS,
        names.LANGCHAIN_CACHE_HIT,
    }
)
_END: Final = "__end__"  # LangGraph's name for the end of a graph
HANDED_OVER: Final = "parent_command"  # the status of a node that goes on in the parent graph; its edge tells more


class Fact(NamedTuple):
    """A piece of a line and its style (`""`: the default of its place)."""

    text: str
    style: str = ""


def facts(attributes: Attributes, glyphs: Glyphs) -> Iterator[Fact]:
    """The facts of a span's line, the most telling first."""
    get = attributes.get
    yield from _edges(attributes, glyphs)
    index, size = get(names.POCKETFLOW_BATCH_INDEX), get(names.POCKETFLOW_BATCH_SIZE)
    if index is not None:
        yield Fact(f"item [{shown(index)}]" + (f" of {shown(size)}" if size is not None else ""))
    elif size is not None:
        yield Fact(f"batch of {shown(size)}")
    attempt, most = get(names.POCKETFLOW_RETRY_ATTEMPT), get(names.POCKETFLOW_RETRY_MAX)
    if attempt is not None and (attempt, most) not in ((1, 1), (1, None)):
        yield Fact(f"attempt {shown(attempt)}" + (f"/{shown(most)}" if most is not None else ""))
    retries = get(names.POCKETFLOW_RETRY_COUNT, get(names.LANGGRAPH_RETRY_COUNT))
    if isinstance(retries, int) and retries > 0:
        yield Fact("1 retry" if retries == 1 else f"{retries:,} retries", "yellow")
    if get(names.POCKETFLOW_FALLBACK) is True:
        yield Fact("fallback", "yellow")
    if failed := shown(get(names.LANGGRAPH_ERROR_HANDLER_FOR)):
        yield Fact(f"handles errors of {failed}")
    if cached := listed(get(names.LANGGRAPH_CACHED)):
        yield Fact(f"cached: {cached}")
    if get(names.LANGCHAIN_CACHE_HIT) is True:
        yield Fact("from cache", "yellow")
    if names.LANGGRAPH_CHECKPOINT_RESUMED in attributes:
        yield Fact("resumed", "yellow")


def _edges(attributes: Attributes, glyphs: Glyphs) -> Iterator[Fact]:
    """Where it goes from here: `done → Mail`, `→ research x3, write`, `→ caterer of the parent graph`."""
    get = attributes.get
    action, following = shown(get(names.POCKETFLOW_ACTION)), shown(get(names.POCKETFLOW_NEXT))
    if action or following:
        yield Fact(f"{action} {glyphs.arrow} {following}" if following else action, "green")
    sent = Counter(_items(get(names.LANGGRAPH_SEND)))
    targets = [f"{node} x{count}" if count > 1 else node for node, count in sent.items()]
    targets += ["END" if node == _END else node for node in _items(get(names.LANGGRAPH_NEXT))]
    targets += [f"{node} of the parent graph" for node in _items(get(names.LANGGRAPH_GOTO_PARENT))]
    if targets:
        yield Fact(f"{glyphs.arrow} {', '.join(targets)}", "green")


def _items(value: Value) -> list[str]:
    return [shown(item) for item in (cast("list[Value]", value) if isinstance(value, list) else [value]) if item]


def notes(span: Span, glyphs: Glyphs, *, failed_below: bool) -> Iterator[Fact]:
    """What does not fit in the line of a span: what went wrong on the way, where it waits, what it goes on with.

    Args:
        span: the span.
        glyphs: the characters to draw with.
        failed_below: a failed attempt is a span of its own below, with its message.
    """
    for event in span.events:
        for text in _note(event, span, brief=failed_below):
            yield Fact(f"{glyphs.bullet} {text}", "yellow")


def _note(event: Event, span: Span, *, brief: bool) -> Iterator[str]:
    get = event.attributes.get
    if event.name == names.RETRY_EVENT:
        yield _retry(event, brief=brief)
    elif event.name == names.POCKETFLOW_NO_SUCCESSOR_EVENT:
        where, known = shown(get(names.NODE_NAME)), listed(get(names.POCKETFLOW_SUCCESSORS))
        yield (
            f"no successor for action {shown(get(names.POCKETFLOW_ACTION)) or '?'}"
            + (f" of {where}" if where else "")
            + (f" (it has: {known})" if known else "")
        )
    elif event.name == names.LANGGRAPH_INTERRUPT_EVENT:
        if waiting := listed(get(names.LANGGRAPH_INTERRUPT_NODES)):
            yield f"{shown(get(names.LANGGRAPH_STATUS)).replace('_', ' ') or 'interrupted'}: {waiting}"
    elif event.name == names.LANGGRAPH_RESUME_EVENT:
        yield from (f"goes on with trace {shown(link.trace_id)}" for link in span.links if link.away_from(span))


def _retry(event: Event, *, brief: bool) -> str:
    get = event.attributes.get
    attempt = get(names.POCKETFLOW_RETRY_ATTEMPT, get(names.LANGGRAPH_RETRY_ATTEMPT))
    parts = [f"attempt {shown(attempt) or '?'} failed"]
    if (item := get(names.POCKETFLOW_BATCH_INDEX)) is not None:
        parts.append(f"on item [{shown(item)}]")
    error, message = shown(get(names.ERROR_TYPE)), shown(get(names.EXCEPTION_MESSAGE))
    if error:
        parts.append(f"with {type_name(error)}" + (f": {message}" if message and not brief else ""))
    delay = get(names.RETRY_DELAY)
    if isinstance(delay, (int, float)) and 0 < delay < 1e9:
        parts.append(f"(next after {duration(int(delay * 1e9))})")
    return " ".join(parts)
