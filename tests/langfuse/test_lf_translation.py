"""What becomes of a span in Langfuse: type, name, level, content, figures, and what it is found by."""

import json
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from spanloom_langfuse import LangfuseSpanExporter

OPERATION = "gen_ai.operation.name"
REMOTE = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))


@pytest.fixture
def observed(tracer, langfuse):
    """`observed("chat m", {...})`: what Langfuse stores of such a span."""

    def observe(name="work", attributes=None, *, prepare=None, **options):
        with tracer.start_as_current_span(name, attributes=attributes, **options) as span:
            if prepare is not None:
                prepare(span)
        return langfuse.observations[-1]

    return observe


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({OPERATION: "invoke_workflow"}, "chain"),
        ({OPERATION: "invoke_workflow", "gen_ai.request.model": "m"}, "chain"),
        ({OPERATION: "run_step", "spanloom.node.name": "plan"}, "chain"),
        ({"spanloom.node.name": "plan"}, "chain"),
        ({OPERATION: "invoke_agent", "spanloom.node.name": "plan"}, "agent"),
        ({OPERATION: "create_agent"}, "agent"),
        ({OPERATION: "chat", "gen_ai.request.model": "m"}, "generation"),
        ({OPERATION: "text_completion"}, "generation"),
        ({OPERATION: "generate_content"}, "generation"),
        ({OPERATION: "embeddings", "gen_ai.request.model": "m"}, "embedding"),
        ({OPERATION: "execute_tool", "gen_ai.tool.name": "t"}, "tool"),
        ({OPERATION: "retrieval", "gen_ai.request.model": "m"}, "retriever"),
        ({OPERATION: "rerank", "gen_ai.request.model": "m"}, "retriever"),
        ({"pocketflow.phase": "exec"}, "span"),
        ({"http.request.method": "GET", "url.full": "http://x/"}, "span"),
        ({"db.system.name": "sqlite", "model": "a car"}, "span"),
        ({"gen_ai.request.model": "m"}, "generation"),  # of an older instrumentation: the server knows
        ({}, "span"),
    ],
)
def test_types(observed, attributes, kind):
    assert observed("work", attributes).type == kind


@pytest.mark.parametrize(
    ("span", "attributes", "name"),
    [
        ("invoke_workflow desk", {OPERATION: "invoke_workflow", "gen_ai.workflow.name": "desk"}, "desk"),
        ("invoke_workflow", {OPERATION: "invoke_workflow"}, "invoke_workflow"),
        ("invoke_workflow sub", {OPERATION: "invoke_workflow", "spanloom.node.name": "sub"}, "sub"),
        ("invoke_agent Ann", {OPERATION: "invoke_agent", "gen_ai.agent.name": "Ann"}, "Ann"),
        ("run_step plan", {OPERATION: "run_step", "spanloom.node.name": "plan"}, "plan"),
        ("run_step plan", {OPERATION: "run_step", "gen_ai.step.name": "plan"}, "plan"),
        ("execute_tool add", {OPERATION: "execute_tool", "gen_ai.tool.name": "add"}, "add"),
        (
            "chat gpt-4o",
            {OPERATION: "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.agent.name": "Ann"},
            "chat gpt-4o",
        ),
        ("prep Plan", {"pocketflow.phase": "prep"}, "prep Plan"),
        ("GET /x", {"http.request.method": "GET"}, "GET /x"),
        ("n" * 1500, {}, "n" * 1000),
    ],
)
def test_names(observed, span, attributes, name):
    assert observed(span, attributes).name == name


def test_levels(observed):
    def level(attributes, prepare=None):
        return observed("work", attributes, prepare=prepare).level

    def fail(span):
        span.set_status(Status(StatusCode.ERROR, "no"))

    assert level({"pocketflow.phase": "prep"}) == "DEBUG"
    assert level({"pocketflow.phase": "post"}) == "DEBUG"
    assert level({"pocketflow.phase": "post"}, fail) == "ERROR"
    assert level({"pocketflow.phase": "exec"}) == "DEFAULT"
    assert level({OPERATION: "run_step", "spanloom.status": "cancelled"}) == "WARNING"
    assert level({OPERATION: "invoke_workflow", "spanloom.status": "interrupted"}) == "DEFAULT"
    assert level({OPERATION: "chat", "spanloom.status": "closed"}) == "DEFAULT"
    assert level({}, fail) == "ERROR"


def test_why_a_span_ended_early(observed):
    cancelled = {OPERATION: "run_step", "spanloom.status": "cancelled", "spanloom.cancelled.cause": "TimeoutError"}

    assert observed("work", cancelled).status_message == "cancelled: TimeoutError"
    assert observed("work", {OPERATION: "chat", "spanloom.status": "closed"}).status_message == "closed"
    assert observed("work", cancelled).metadata["status"] == "cancelled"


def test_an_exception_keeps_its_stack_trace(observed):
    def fail(span):
        try:
            raise KeyError("gone")
        except KeyError as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, "KeyError: 'gone'"))
            span.set_attribute("error.type", "KeyError")

    found = observed("exec Plan", {"pocketflow.phase": "exec"}, prepare=fail)

    assert found.status_message == "KeyError: 'gone'"
    assert found.metadata["exception"].startswith("Traceback")
    assert "in fail" in found.metadata["exception"]
    assert found.metadata["error_type"] == "KeyError"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("RateLimitError", "Error code: 429", "RateLimitError: Error code: 429"),
        ("openai.RateLimitError", "RateLimitError: 429", "RateLimitError: 429"),
        ("timeout", None, "timeout"),
        (None, "it broke", "it broke"),
    ],
)
def test_a_failure_says_its_type(observed, kind, text, message):
    def fail(span):
        span.set_status(Status(StatusCode.ERROR, text))
        if kind:
            span.set_attribute("error.type", kind)

    assert observed("chat m", {OPERATION: "chat"}, prepare=fail).status_message == message


def test_events_and_links_to_other_traces_are_kept_as_metadata(observed):
    elsewhere = Link(SpanContext(0xABC, 1, is_remote=False))

    def retry(span):
        span.add_event("spanloom.retry", {"pocketflow.retry.attempt": 1, "error.type": "TimeoutError"}, 10**18)

    found = observed("run_step Plan", {"spanloom.node.name": "Plan"}, prepare=retry, links=[elsewhere])

    assert json.loads(found.metadata["span_events"]) == [
        {
            "name": "spanloom.retry",
            "time": "2001-09-09T01:46:40.000000Z",
            "pocketflow.retry.attempt": 1,
            "error.type": "TimeoutError",
        }
    ]
    assert json.loads(found.metadata["linked_traces"]) == [f"{0xABC:032x}"]


def test_what_nodes_and_runs_are_given_and_make(observed):
    found = observed("run", {OPERATION: "invoke_workflow", "spanloom.input": '{"a":1}', "spanloom.output": '"b"'})

    assert (found.input, found.output) == ('{"a":1}', '"b"')
    assert not any("spanloom.input" in key for key in found.raw)  # not stored a second time


@pytest.mark.parametrize(
    ("changes", "output", "kept"),
    [
        ({"added": {"answer": "x"}}, {"answer": "x"}, False),
        ({"changed": {"messages": {"update": [1]}}}, {"messages": [1]}, False),
        ({"changed": {"n": {"before": 1, "after": 2}}}, {"n": 2}, True),
        ({"changed": {"n": {"before": 1, "update": 2}}, "added": {"m": 3}}, {"m": 3, "n": 2}, True),
        ({"removed": {"n": 1}}, {"removed": {"n": 1}}, False),
        ({"changed": "…"}, {"changed": "…"}, False),
    ],
)
def test_the_output_of_a_node_is_what_it_wrote(observed, changes, output, kept):
    found = observed("run_step p", {"spanloom.node.name": "p", "spanloom.state.changes": json.dumps(changes)})

    assert json.loads(found.output) == output
    assert ("state_changes" in found.metadata) is kept


def test_state_changes_beside_an_output(observed):
    own = {"spanloom.node.name": "p", "spanloom.output": "1", "spanloom.state.changes": '{"added":{"a":1}}'}
    found = observed("run_step p", own)

    assert (found.output, found.metadata["state_changes"]) == ("1", '{"added":{"a":1}}')


def test_tools(observed):
    found = observed(
        "execute_tool add",
        {
            OPERATION: "execute_tool",
            "gen_ai.tool.name": "add",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": '{"a":1}',
            "gen_ai.tool.call.result": "2",
        },
    )

    assert (found.type, found.name, found.input, found.output) == ("tool", "add", '{"a":1}', "2")
    assert found.raw["gen_ai.tool.call.id"] == "c1"


def test_retrieval_and_embeddings(observed):
    documents = '[{"id":"d1","content":"x"}]'
    query = {"gen_ai.retrieval.query.text": "lamps", "gen_ai.retrieval.documents": documents}
    retrieval = observed("retrieval store", {OPERATION: "retrieval", **query})
    embedding = observed(
        "embeddings e",
        {
            OPERATION: "embeddings",
            "gen_ai.request.model": "e",
            "gen_ai.usage.input_tokens": 7,
            "spanloom.input": '["a"]',
        },
    )

    assert (retrieval.input, retrieval.output) == ("lamps", documents)
    assert (embedding.input, embedding.output, embedding.model) == ('["a"]', None, "e")
    assert embedding.usage == {"input": 7, "total": 7}


def test_usage_is_in_buckets_that_do_not_overlap(observed):
    def usage(**tokens):
        own = {f"gen_ai.usage.{key.replace('__', '.')}": value for key, value in tokens.items()}
        return observed("chat m", {OPERATION: "chat", "gen_ai.request.model": "m", **own}).usage

    assert usage(
        input_tokens=1000,
        cache_read__input_tokens=600,
        cache_write__input_tokens=100,
        output_tokens=50,
        reasoning__output_tokens=30,
    ) == {
        "input": 300,
        "input_cached_tokens": 600,
        "input_cache_creation": 100,
        "output": 20,
        "output_reasoning_tokens": 30,
        "total": 1050,
    }
    assert usage(input_tokens=3, output_tokens=0) == {"input": 3, "output": 0, "total": 3}
    assert usage(input_tokens=3, cache_read__input_tokens=0) == {"input": 3, "total": 3}
    assert usage(input_tokens=10, cache_creation__input_tokens=4) == {
        "input": 6,
        "input_cache_creation": 4,
        "total": 10,
    }
    # Counted beside the others, not among them.
    assert usage(input_tokens=10, cache_read__input_tokens=400) == {
        "input": 10,
        "input_cached_tokens": 400,
        "total": 410,
    }
    assert usage(prompt_tokens=5, completion_tokens=6) == {"input": 5, "output": 6, "total": 11}
    assert usage() == {}


def test_usage_above_the_model_calls_is_not_counted_again(observed):
    for operation in ("invoke_workflow", "invoke_agent", "run_step", "execute_tool", "retrieval"):
        found = observed("work", {OPERATION: operation, "gen_ai.usage.input_tokens": 1000, "gen_ai.request.model": "m"})
        assert (found.usage, found.cost) == ({}, {})


def test_cost(observed):
    call = {OPERATION: "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3}

    assert observed("chat m", {**call, "spanloom.cost.usd": 0.0125}).cost == {"total": 0.0125}
    assert observed("chat m", {**call, "gen_ai.usage.cost": 0.5}).cost == {"total": 0.5}
    assert observed("chat m", call).cost == {}  # the server has prices of its own


def test_an_answer_from_a_cache_costs_nothing(observed):
    own = {OPERATION: "chat", "gen_ai.usage.input_tokens": 9, "spanloom.cost.usd": 1.0, "langchain.cache_hit": True}
    found = observed("chat m", own)

    assert found.usage == {"input": 0, "output": 0, "total": 0}
    assert found.cost == {"total": 0}


def test_time_to_the_first_token(observed):
    own = {OPERATION: "chat", "gen_ai.response.time_to_first_chunk": 0.25}

    assert observed("chat m", own, start_time=time.time_ns()).first_token_after == pytest.approx(0.25, abs=1e-5)


def test_model_parameters(observed):
    found = observed(
        "chat m",
        {
            OPERATION: "chat",
            "gen_ai.request.model": "m",
            "gen_ai.response.model": "m-2026",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.stream": True,
            "gen_ai.request.stop_sequences": ["a", "b"],
            "gen_ai.request.encoding_formats": [],
            "gen_ai.output.type": "json",
            "gen_ai.response.finish_reasons": ["stop", "length"],
        },
    )

    assert found.model == "m-2026"
    assert found.parameters == {
        "temperature": 0.5,
        "max_tokens": 100,
        "stream": "true",
        "stop_sequences": '["a","b"]',
        "output.type": "json",
    }
    assert found.metadata["finish_reason"] == "stop, length"


def test_session_user_tags_and_metadata_are_on_each_span(observed):
    found = observed(
        "chat m",
        {
            OPERATION: "chat",
            "gen_ai.conversation.id": "c-1",
            "user.id": "u-1",
            "spanloom.tags": ["beta", "eu"],
            "spanloom.metadata.plan": "gold",
            "spanloom.metadata.seats": 3,
        },
    )

    assert (found.session, found.user, found.tags) == ("c-1", "u-1", ["beta", "eu"])
    assert found.raw["session.id"] == "c-1"  # older servers know the conversation of the root only
    assert (found.metadata["plan"], found.metadata["seats"]) == ("gold", 3)
    assert found.raw["langfuse.trace.metadata.plan"] == "gold"


def test_what_the_span_says_goes_before_what_is_found(observed):
    found = observed(
        "x", {"session.id": "s-1", "gen_ai.conversation.id": "c-1", "enduser.id": "u-2", "spanloom.tags": []}
    )

    assert (found.session, found.user, found.tags) == ("s-1", "u-2", [])


def test_environment_and_release(langfuse, keys, monkeypatch):
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "Staging")
    monkeypatch.setenv("LANGFUSE_RELEASE", "r7")
    about = Resource({"service.version": "1.2", "deployment.environment.name": "production"})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(LangfuseSpanExporter()))
    with provider.get_tracer("t").start_as_current_span("a"):
        provider.get_tracer("t").start_span("b").end()

    assert {(one.environment, one.release, one.version) for one in langfuse.observations} == {("staging", "r7", "1.2")}


def test_the_resources_environment_without_a_setting(langfuse, keys):
    about = Resource({"deployment.environment.name": "production", "service.version": 3})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(LangfuseSpanExporter()))
    provider.get_tracer("t").start_span("a").end()

    assert (langfuse.observations[0].environment, langfuse.observations[0].version) == ("production", "3")


def test_a_trace_is_called_as_its_root(tracer, exporter, langfuse, ended):
    spans = []

    def inside(span):
        spans.append(ended("chat m", {OPERATION: "chat"}))

    root = ended("invoke_workflow desk", {OPERATION: "invoke_workflow", "gen_ai.workflow.name": "desk"}, prepare=inside)
    exporter.export([*spans, root])

    assert [one.trace_name for one in langfuse.observations] == ["desk", "desk"]
    assert [one.app_root for one in langfuse.observations] == [False, True]


def test_a_root_with_a_parent_elsewhere_does_not_name_the_trace(observed):
    with trace.use_span(NonRecordingSpan(REMOTE)):
        found = observed("invoke_workflow desk", {OPERATION: "invoke_workflow", "gen_ai.workflow.name": "desk"})

    assert (found.trace_name, found.app_root, found.raw["langfuse.internal.as_root"]) == (None, True, True)


def test_the_programs_own_trace_name(tracer, langfuse):
    with tracer.start_as_current_span("root"):
        tracer.start_span("child", attributes={"langfuse.trace.name": "mine"}).end()

    assert [one.trace_name for one in langfuse.observations] == ["mine", "mine"]


@pytest.mark.parametrize("batch", [1, 10])
def test_a_web_request_shows_what_the_run_inside_was_about(exporter, langfuse, ended, batch):
    spans = []
    run = {OPERATION: "invoke_workflow", "spanloom.input": '"question"', "spanloom.output": '"answer"'}

    def handler(span):
        def work(span):
            spans.append(ended("chat m", {OPERATION: "chat", "gen_ai.output.messages": "[]"}))

        spans.append(ended("invoke_workflow", run, prepare=work))
        spans.append(ended("SELECT 1", {"db.system.name": "sqlite"}))

    def request(span):
        spans.append(ended("handler", {}, prepare=handler))

    spans.append(ended("POST /ask", {"http.request.method": "POST"}, prepare=request))
    for first in range(0, len(spans), batch):
        exporter.export(spans[first : first + batch])

    web, inside, select = (langfuse.called(name) for name in ("POST /ask", "handler", "SELECT 1"))
    assert (web.type, web.input, web.output) == ("span", '"question"', '"answer"')
    assert (inside.input, inside.output, select.input) == (None, None, None)


def test_a_run_below_a_node_is_not_the_requests(exporter, langfuse, ended):
    spans = []

    def node(span):
        spans.append(ended("invoke_workflow", {OPERATION: "invoke_workflow", "spanloom.input": "1"}))

    root = ended("run_step p", {"spanloom.node.name": "p"}, prepare=node)
    exporter.export([*spans, root])

    assert langfuse.called("p").input is None


@pytest.mark.parametrize(
    ("stolen", "value"),
    [("prompt", "x"), ("input", "x"), ("output", "x"), ("events", "[]"), ("gen_ai.prompt.name", "greeting")],
)
@pytest.mark.parametrize("kind", ["chat", "invoke_workflow"])
def test_attributes_that_the_server_would_take_for_content(observed, stolen, value, kind):
    bare = observed("work", {OPERATION: kind, stolen: value})
    full = observed("work", {OPERATION: kind, stolen: value, "spanloom.output": '"answer"'})

    assert (bare.input, bare.output) == ("", None)
    assert (full.input, full.output) == (None, '"answer"')
    assert bare.metadata[stolen] == full.metadata[stolen] == value


def test_a_foreign_span_with_input_and_output_keeps_them(observed):
    found = observed("own work", {"input": "a", "output": "b"})

    assert (found.type, found.input, found.output) == ("span", "a", "b")


def test_spans_of_langfuses_own_sdk_stay_as_they_are(provider, langfuse):
    own = {"langfuse.observation.type": "span", "langfuse.trace.name": "n"}
    provider.get_tracer("langfuse-sdk").start_span("mine", attributes=own).end()

    assert langfuse.observations[0].raw == own


def test_what_is_written_in_langfuses_words_stays(observed):
    own = {
        "langfuse.observation.type": "guardrail",
        "langfuse.observation.level": "WARNING",
        "langfuse.observation.input": "mine",
        "langfuse.observation.prompt.name": "greeting",
        "langfuse.observation.prompt.version": 3,
    }
    found = observed("chat m", {OPERATION: "chat", "spanloom.output": '"o"', **own})

    assert (found.type, found.level, found.input, found.output) == ("guardrail", "WARNING", "mine", '"o"')
    assert found.prompt == ("greeting", 3)


def test_words_for_which_older_servers_drop_the_observation_are_mended(observed):
    found = observed(
        "chat m",
        {
            OPERATION: "chat",
            "langfuse.observation.prompt.name": "greeting",
            "langfuse.observation.prompt.version": "3",
            "langfuse.observation.completion_start_time": "2026-01-01T00:00:00",
            "langfuse.version": 7,
            "langfuse.observation.status_message": 8,
            "langfuse.trace.tags": [],
            "langfuse.trace.name": "n" * 2000,
        },
    )
    alone = observed("chat m", {OPERATION: "chat", "langfuse.observation.prompt.name": "greeting"})

    assert found.prompt == ("greeting", 3)
    assert (found.first_token, found.version, found.status_message, found.tags) == (None, "7", "8", [])
    assert len(found.trace_name) == 1000
    assert alone.prompt == (None, None)
    assert "greeting" in alone.metadata.values()


def test_the_parameters_of_a_batch_flow_are_its_input(observed):
    params = {OPERATION: "invoke_workflow", "pocketflow.params": '{"item":1}'}

    assert observed("invoke_workflow", params).input == '{"item":1}'
    both = observed("invoke_workflow", {**params, "spanloom.input": "{}"})
    assert (both.input, both.raw["pocketflow.params"]) == ("{}", '{"item":1}')  # what is not shown stays


def test_a_name_that_is_no_unicode_text_does_not_cost_the_span(observed):
    assert observed("a\ud800b").name == "a\ufffdb"
