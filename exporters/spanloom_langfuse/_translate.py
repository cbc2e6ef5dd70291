"""A span in Langfuse's words: which attributes a copy of it gets, and which it loses. Pure functions.

Langfuse's server reads two ways: older servers drop an observation whole for one value of a wrong type, newer ones take
for input and output what other frameworks call so. What is written here is right for both. What a user has written in
Langfuse's words stays, unless the server would drop the observation for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from opentelemetry.util.types import AttributeValue

from spanloom_langfuse import _events as events
from spanloom_langfuse import _figures as figures
from spanloom_langfuse import _names as names
from spanloom_langfuse._content import Content, content
from spanloom_langfuse._kinds import display_name, is_root, kind_of
from spanloom_langfuse._mended import mended
from spanloom_langfuse._text import encodable

_MODEL_CALLS: Final = frozenset({"generation", "embedding"})
# Metadata that observations can be found by; the server keeps attributes as text that nothing is found in.
_FILTERS: Final = {
    names.POCKETFLOW_ACTION: "action",
    names.POCKETFLOW_NEXT: "next",
    names.LANGGRAPH_NEXT: "next",
    names.STATUS: "status",
    names.ERROR_TYPE: "error_type",
}
# Ends that are no error, and yet not what was wanted.
_WARNINGS: Final = frozenset({"cancelled", "exited"})


class About(NamedTuple):
    """What a span does not say itself.

    Attributes:
        environment: the setting of the exporter.
        release: likewise.
        trace_name: the name of the trace, where it is known by now.
        node: the label of a node's box in the graph view.
        step: its place there; nodes of one number are beside each other.
        input: what the program inside a trace's outermost span was given, if that span itself says nothing.
        output: what came of it.
    """

    environment: str | None = None
    release: str | None = None
    trace_name: str | None = None
    node: str | None = None
    step: float | None = None
    input: str | None = None
    output: str | None = None


class Changes(NamedTuple):
    """What is different on the copy.

    Attributes:
        attributes: to be set.
        remove: names of attributes to leave out.
        name: another name; None keeps it.
    """

    attributes: dict[str, AttributeValue]
    remove: frozenset[str] = frozenset()
    name: str | None = None


def translate(span: ReadableSpan, about: About) -> Changes:
    """Say `span` in Langfuse's words.

    Args:
        span: an ended span; it stays as it is.
        about: what the exporter knows besides.
    """
    scope = span.instrumentation_scope
    if scope is not None and str(scope.name).startswith(names.LANGFUSE_SCOPE):
        return Changes({})  # in those words already
    kind = kind_of(span)
    own: Mapping[str, Any] = span.attributes or {}
    handled = Content() if kind is None else content(span, kind)
    made = _trace_wide(span, about) | _outcome(span, kind) | _metadata(span, about, handled)
    made |= _operation(span, kind, handled, about)
    better, wrong = mended(own)
    changes = {key: value for key, value in made.items() if key not in own or key in wrong} | better
    name = str(_safe(display_name(span)))
    return Changes(
        {key: _safe(value) for key, value in changes.items()},
        (handled.moved | wrong) - changes.keys(),
        None if name == span.name else name,
    )


def _operation(span: ReadableSpan, kind: str | None, handled: Content, about: About) -> dict[str, AttributeValue]:
    own: Mapping[str, Any] = span.attributes or {}
    made: dict[str, AttributeValue] = {}
    if kind is None:
        if not any(key.startswith(names.OTHERS) for key in own):
            made[names.TYPE] = "span"  # else an attribute `model` of anybody's would make it a model call
        given, done = about.input, about.output
    else:
        made[names.TYPE] = kind
        given, done = handled.input, handled.output
        if given is None and done is None and _stolen(own):
            given = ""  # the server takes what it is given, and looks for nothing else
    if given is not None:
        made[names.OBSERVATION_INPUT] = given
    if done is not None:
        made[names.OBSERVATION_OUTPUT] = done
    if kind in _MODEL_CALLS:
        made |= _model_call(span, own)
    elif kind is not None and any(key.startswith(names.USAGE) for key in own):
        made |= {names.USAGE_DETAILS: figures.NONE, names.COST_DETAILS: figures.NONE}  # counted on the calls inside
    return made


def _model_call(span: ReadableSpan, own: Mapping[str, Any]) -> dict[str, AttributeValue]:
    found = {
        names.USAGE_DETAILS: figures.usage(own),
        names.COST_DETAILS: figures.cost(own),
        names.COMPLETION_START: figures.completion_start(own, span.start_time),
        names.MODEL_PARAMETERS: figures.parameters(own),
        f"{names.OBSERVATION_METADATA}finish_reason": figures.finish_reason(own),
    }
    if own.get(names.CACHE_HIT) is True:
        found |= figures.answered_from_cache()
    return {key: value for key, value in found.items() if value is not None}


def _trace_wide(span: ReadableSpan, about: About) -> dict[str, AttributeValue]:
    """What Langfuse finds observations and traces by: it looks for it on each span."""
    own: Mapping[str, Any] = span.attributes or {}
    tags: Any = own.get(names.TAGS)
    found: dict[str, Any] = {
        names.ENVIRONMENT: about.environment,
        names.RELEASE: about.release,
        names.VERSION: span.resource.attributes.get(names.SERVICE_VERSION),
        names.TRACE_NAME: about.trace_name,
        names.SESSION_ID: own.get(names.CONVERSATION_ID),
        names.USER_ID: own.get(names.ENDUSER_ID),
        names.TRACE_TAGS: [str(tag) for tag in cast("Sequence[object]", tags)]
        if isinstance(tags, (list, tuple))
        else None,
    }
    made: dict[str, AttributeValue] = {key: value for key, value in found.items() if value}
    for key in (names.VERSION, names.SESSION_ID, names.USER_ID):
        if key in made:
            made[key] = str(made[key])
    for key, value in own.items():
        if key.startswith(names.METADATA) and key != names.METADATA and value not in ((), []):
            made[f"{names.OBSERVATION_METADATA}{key.removeprefix(names.METADATA)}"] = value
            made[f"{names.TRACE_METADATA}{key.removeprefix(names.METADATA)}"] = value
    if is_root(span):
        made[names.APP_ROOT] = True
        if span.parent is not None:
            made[names.AS_ROOT] = True
    return made


def _outcome(span: ReadableSpan, kind: str | None) -> dict[str, AttributeValue]:
    own: Mapping[str, Any] = span.attributes or {}
    if span.status.status_code is StatusCode.ERROR:
        message = events.failure(span)
        return {names.LEVEL: "ERROR", **({names.STATUS_MESSAGE: message} if message else {})}
    status = own.get(names.STATUS)
    if isinstance(status, str) and status:
        cause = own.get(names.CANCELLED_CAUSE)
        level = "WARNING" if status in _WARNINGS else "DEFAULT"
        return {names.LEVEL: level, names.STATUS_MESSAGE: f"{status}: {cause}" if cause else status}
    # Langfuse hides this level unless it is asked for.
    return {names.LEVEL: "DEBUG"} if kind == "span" and own.get(names.POCKETFLOW_PHASE) in ("prep", "post") else {}


def _metadata(span: ReadableSpan, about: About, handled: Content) -> dict[str, AttributeValue]:
    own: Mapping[str, Any] = span.attributes or {}
    found: dict[str, Any] = {key: own[name] for name, key in _FILTERS.items() if own.get(name)}
    found |= {
        "exception": events.exception(span),
        "span_events": events.others(span),
        "linked_traces": events.linked_traces(span),
        "state_changes": handled.state,
    }
    if kind_of(span) is not None:
        found |= {key: value for key, value in own.items() if _is_stolen(key) and value not in ((), [], "")}
    made: dict[str, AttributeValue] = {
        f"{names.OBSERVATION_METADATA}{key}": value for key, value in found.items() if value is not None
    }
    if about.node is not None and about.step is not None:
        made |= {names.GRAPH_NODE: about.node, names.GRAPH_STEP: about.step}
    return made


def _stolen(own: Mapping[str, Any]) -> bool:
    return any(_is_stolen(key) for key in own)


def _is_stolen(key: str) -> bool:
    return key in names.STOLEN or key.startswith(names.STOLEN_PREFIXES)


def _safe(value: AttributeValue) -> AttributeValue:
    """Text that protobuf takes."""
    if isinstance(value, str) and not encodable(value):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
