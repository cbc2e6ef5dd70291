"""Whatever a span carries, it arrives, older servers take it, and the span itself stays as it was."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from spanloom_langfuse import LangfuseSpanExporter, _names

# Words of Langfuse's own that a program may have written in any type, and that are mended.
MENDED = {
    *(_names.VERSION, _names.RELEASE, _names.STATUS_MESSAGE, _names.TRACE_NAME, _names.COMPLETION_START),
    *(*_names.PROMPT_NAMES, *_names.PROMPT_VERSIONS),
}
READ = {value for key, value in vars(_names).items() if key.isupper() and isinstance(value, str) and "." in value[:-1]}
WORDS = sorted(
    {word for word in READ if not word.startswith("langfuse") and word != _names.OPERATION}
    | MENDED
    | {
        "prompt",
        "input",
        "output",
        "events",
        "model",
        "gen_ai.prompt.name",
        "gen_ai.usage.other",
        "gen_ai.request.top_k",
    }
    | {"spanloom.metadata.x", *_names.INPUT_TOKENS}
)
OPERATIONS = ["chat", "embeddings", "invoke_agent", "invoke_workflow", "run_step", "execute_tool", "retrieval", "other"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "parts", "type", "content", "name", "id", "added", "changed", "update", "x"]),
            inner,
        )
    ),
    max_leaves=6,
)
PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text", "reasoning", "tool_call", "tool_call_response", "uri", "blob", "file", "generic"]
        )
    },
    optional=dict.fromkeys(("content", "name", "arguments", "response", "id", "uri", "mime_type", "modality"), JSON),
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": JSON | st.just("user"), "parts": st.lists(PARTS, max_size=3)}), max_size=3
)
TEXTS = st.text(max_size=20) | JSON.map(json.dumps) | MESSAGES.map(json.dumps)
VALUES = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.lists(st.text(max_size=5), max_size=3).map(tuple)
    | st.lists(st.integers(-9, 9), max_size=3).map(tuple)
)
ATTRIBUTES = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=8)
IDS = st.integers(1, 5)
EVENTS = st.builds(
    Event, st.sampled_from(["exception", "gen_ai.choice", _names.DETAILS_EVENT, "x"]), ATTRIBUTES, st.integers(0, 2**62)
)


@st.composite
def spans(draw):
    operation = draw(st.none() | st.sampled_from(OPERATIONS))
    own = draw(ATTRIBUTES) | ({_names.OPERATION: operation} if operation else {})
    trace, parent = draw(IDS), draw(st.none() | IDS)
    start = draw(st.integers(0, 2**62))
    return ReadableSpan(
        name=draw(st.text(max_size=5) | st.just("n" * 2000)),
        context=SpanContext(trace, draw(IDS), is_remote=False),
        parent=None if parent is None else SpanContext(trace, parent, is_remote=draw(st.booleans())),
        resource=Resource({"service.version": draw(st.sampled_from(["1", 2]))}),
        attributes=own,
        events=draw(st.lists(EVENTS, max_size=2)),
        links=[Link(SpanContext(draw(IDS), draw(IDS), is_remote=False)) for _ in range(draw(st.integers(0, 2)))],
        status=Status(StatusCode.ERROR, draw(st.text(max_size=5))) if draw(st.booleans()) else Status(),
        start_time=start,
        end_time=start + draw(st.integers(0, 10**12)),
    )


def seen(span):
    return (
        span.name,
        span.context,
        span.parent,
        repr(dict(span.attributes)),
        repr(list(map(vars, span.events))),
        repr(span.status),
    )


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(batch=st.lists(spans(), min_size=1, max_size=4))
def test_every_span_arrives_and_stays_as_it_was(observations_of, batch):
    before = [seen(span) for span in batch]
    exporter = LangfuseSpanExporter("pk-lf-x", "sk-lf-x", "http://127.0.0.1:9")

    translated = exporter._translated(batch)

    assert not exporter._told_untranslated
    assert [seen(span) for span in batch] == before
    request = encode_spans(translated)
    assert len(observations_of(request)) == len(batch)  # and their types are those that older servers take
    for span, copy in zip(batch, translated, strict=True):
        assert (copy.context, copy.parent, copy.kind, copy.start_time, copy.end_time, copy.links) == (
            *(span.context, span.parent, span.kind, span.start_time, span.end_time, span.links),
        )
        for key, value in span.attributes.items():
            if key not in copy.attributes:
                assert key in MOVED
            elif not key.startswith("langfuse."):
                assert copy.attributes[key] is value or key in {"session.id", "user.id"}
        assert all(
            key in span.attributes or key.startswith("langfuse.") or key in {"session.id", "user.id"}
            for key in copy.attributes
        )


# What goes as input and output instead, and words of Langfuse's for which a server drops a span.
MOVED = {
    *(_names.INPUT_MESSAGES, _names.OUTPUT_MESSAGES, _names.SYSTEM_INSTRUCTIONS, _names.TOOL_DEFINITIONS),
    *(_names.TOOL_ARGUMENTS, _names.TOOL_RESULT, _names.QUERY_TEXT, _names.DOCUMENTS),
    *(_names.INPUT, _names.OUTPUT, _names.STATE_CHANGES, _names.POCKETFLOW_PARAMS),
    *(_names.COMPLETION_START, _names.TRACE_TAGS),
    *(*_names.PROMPT_NAMES, *_names.PROMPT_VERSIONS),
}
