"""Every operation in every shape: one span, its name, kind, attributes, parent, and what is told inside."""

import asyncio
import contextvars
import functools
import inspect
import json

import pytest
from opentelemetry.trace import SpanKind, StatusCode

import spanloom
from spanloom.call import NO_CALL
from spanloom.span import current_scope

OPERATIONS = {
    "invoke_workflow Support": (
        lambda: spanloom.workflow("Support"),
        SpanKind.INTERNAL,
        {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "Support"},
    ),
    "invoke_agent Clerk": (
        lambda: spanloom.agent("Clerk"),
        SpanKind.INTERNAL,
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Clerk"},
    ),
    "run_step grade": (
        lambda: spanloom.node("grade"),
        SpanKind.INTERNAL,
        {"gen_ai.operation.name": "run_step", "gen_ai.step.name": "grade", "spanloom.node.name": "grade"},
    ),
    "chat m-1": (
        lambda: spanloom.chat("m-1", provider="acme", temperature=1, max_tokens=5, messages=["not a parameter"]),
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "acme",
            "gen_ai.request.model": "m-1",
            "gen_ai.request.temperature": 1.0,
            "gen_ai.request.max_tokens": 5,
        },
    ),
    "text_completion m-1": (
        lambda: spanloom.chat("m-1", operation="text_completion", stream=True),
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": "text_completion",
            "gen_ai.provider.name": "unknown",
            "gen_ai.request.model": "m-1",
            "gen_ai.request.stream": True,
        },
    ),
    "embeddings e-1": (
        lambda: spanloom.embeddings("e-1", provider="acme"),
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "acme",
            "gen_ai.request.model": "e-1",
        },
    ),
    "retrieval handbook": (
        lambda: spanloom.retrieval("handbook", top_k=3),
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.data_source.id": "handbook",
            "gen_ai.retrieval.top_k": 3,
        },
    ),
    "rerank r-1": (
        lambda: spanloom.rerank("r-1", provider="acme", top_k=2),
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": "rerank",
            "gen_ai.provider.name": "acme",
            "gen_ai.request.model": "r-1",
            "gen_ai.retrieval.top_k": 2,
        },
    ),
    "execute_tool search": (
        lambda: spanloom.tool("search", call_id="call-1", description="Finds things."),
        SpanKind.INTERNAL,
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": "Finds things.",
            "gen_ai.tool.call.id": "call-1",
        },
    ),
}


@pytest.fixture(params=OPERATIONS)
def operation(request):
    """Name of the span, what makes it, its kind and its attributes."""
    return (request.param, *OPERATIONS[request.param])


def test_every_operation_in_every_shape_is_one_span(spans, shape, operation):
    name, make, kind, attributes = operation

    def inside(call):
        assert call.recording
        call.set("shop.order", 7)
        with spanloom.node("below"):
            return "result"

    assert shape.run(make(), inside) == "result"

    assert spans.tree() == f"\n{name}\n  run_step below\n"
    span = spans.only(name)
    assert span.kind is kind
    extra = {"gen_ai.request.stream": True} if "gen_ai.response.time_to_first_chunk" in span.attributes else {}
    found = {key: value for key, value in span.attributes.items() if "time_to_first_chunk" not in key}
    assert found == {**attributes, **extra, "shop.order": 7}
    assert span.status.status_code is StatusCode.UNSET


def test_an_exception_is_the_span_s_and_the_program_s(spans, shape, operation):
    name, make, *_ = operation
    error = ValueError("no")

    def inside(call):
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        shape.run(make(), inside)

    assert caught.value is error
    span = spans.only(name)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]


def test_nothing_is_recorded_without_a_provider(shape, operation):
    _, make, *_ = operation
    calls = []

    assert shape.run(make(), lambda call: calls.append(call) or 1) == 1
    assert calls == [NO_CALL]
    assert not NO_CALL.recording


def test_a_name_is_the_function_s_where_none_is_given(spans):
    @spanloom.workflow
    def support():
        grade()

    @spanloom.node
    def grade():
        clerk()

    @spanloom.agent()
    def clerk():
        search()
        chat()
        handbook()

    @spanloom.tool
    def search():
        pass

    @spanloom.chat
    def chat():
        pass

    @spanloom.retrieval
    def handbook():
        pass

    support()

    tree = spans.tree("gen_ai.agent.name")
    assert (
        tree
        == """
invoke_workflow support
  run_step grade
    invoke_agent clerk [name=clerk]
      execute_tool search [name=clerk]
      chat
      retrieval handbook
"""
    )


def test_calls_that_nest_recur_and_overlap_are_spans_of_their_own(spans):
    @spanloom.node
    def down(depth):
        return down(depth - 1) if depth else "bottom"

    assert down(2) == "bottom"

    assert spans.tree() == "\nrun_step down\n  run_step down\n    run_step down\n"


def test_a_block_has_one_span(spans):
    once = spanloom.tool("once")
    with once:
        pass

    with pytest.raises(RuntimeError, match=r"spanloom\.tool\(\.\.\.\) has had its block.*again for the next"), once:
        pass

    assert len(spans.spans) == 1


def test_a_block_has_one_span_also_where_nothing_is_recorded():
    once = spanloom.tool("once")
    with once:
        pass
    with pytest.raises(RuntimeError, match="has had its block"), once:
        pass


def test_a_block_without_a_name_says_so(spans, log):
    with spanloom.node():
        pass
    with spanloom.tool(""):
        pass
    with spanloom.workflow():
        pass

    assert [span.name for span in spans.spans] == ["run_step unnamed", "execute_tool unnamed", "invoke_workflow"]
    assert [line.partition(" around")[0] for line in log.lines] == ["spanloom.node()", "spanloom.tool()"]


def test_content_is_recorded_as_each_operation_has_it(content):
    with spanloom.workflow("w") as call:
        call.input({"question": "why?"})
        call.output(["because"])
    with spanloom.tool("t") as call:
        call.arguments({"a": 1})
        call.result(5)
    with spanloom.tool("u") as call:
        call.input("text")
        call.output({"found": 1})
    with spanloom.retrieval("r") as call:
        call.input("why?")
        call.documents([("because", 0.5), {"id": 1, "text": "so"}])
    with spanloom.embeddings("e") as call:
        call.input(["a", "b"])
        call.output([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
        call.usage(input=4)
        call.response(model="e-0001", id="x")

    def told(name, *keys):
        return [content.only(name).attributes.get(key) for key in keys]

    assert told("invoke_workflow w", "spanloom.input", "spanloom.output") == ['{"question":"why?"}', '["because"]']
    assert told("execute_tool t", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result") == [
        '{"a":1}',
        '{"result":5}',
    ]
    assert told("execute_tool u", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result") == [
        '{"input":"text"}',
        '{"found":1}',
    ]
    assert told("retrieval r", "gen_ai.retrieval.query.text", "gen_ai.retrieval.documents") == [
        "why?",
        '[{"content":"because","score":0.5},{"id":"1","content":"so"}]',
    ]
    assert told(
        "embeddings e",
        "spanloom.input",
        "gen_ai.embeddings.dimension.count",
        "gen_ai.usage.input_tokens",
        "gen_ai.response.model",
        "gen_ai.response.id",
    ) == ['["a","b"]', 3, 4, "e-0001", "x"]


def test_without_content_none_is_recorded(spans):
    for make in (spanloom.workflow, spanloom.tool, spanloom.retrieval, spanloom.embeddings, spanloom.chat):
        with make("secret-free") as call:
            call.input("SECRET")
            call.output("SECRET")
    with spanloom.tool("t") as call:
        call.arguments({"a": "SECRET"})
        call.result("SECRET")
    with spanloom.retrieval("r") as call:
        call.documents(["SECRET"])

    assert len(spans.spans) == 7
    assert "SECRET" not in "".join(span.to_json() for span in spans.spans)


def test_a_model_call_is_told_piece_by_piece(content, facts):
    with spanloom.chat("m-1", provider="acme") as call:
        call.input(
            [{"role": "user", "content": "Hi"}],
            system="Be brief.",
            tools=[{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}],
        )
        call.usage(input=10, cache_read=4)
        call.usage(output=3, reasoning=1, cache_write=0)
        call.finish("tool_use")
        call.response(model="m-1-0001")
        call.response(id="r-1")
        call.output({"role": "assistant", "content": "Hello", "tool_calls": []})

    found = facts(content.only("chat m-1"))
    texts = {
        key: json.loads(found.pop(key)) for key in list(found) if isinstance(found[key], str) and found[key][0] == "["
    }
    assert found == {
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.response.model": "m-1-0001",
        "gen_ai.response.id": "r-1",
    }
    assert texts == {
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "finish_reason": "tool_call", "parts": [{"type": "text", "content": "Hello"}]}
        ],
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
        "gen_ai.tool.definitions": [{"type": "function", "name": "search", "parameters": {"type": "object"}}],
    }


def test_a_response_is_read(content, facts):
    response = {
        "object": "chat.completion",
        "id": "c-1",
        "model": "m-1-0001",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }
    answer = {
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.model": "m-1-0001",
        "gen_ai.response.id": "c-1",
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "Hello"}]}],
            separators=(",", ":"),
        ),
    }

    with spanloom.chat("by record") as call:
        call.record(response)

    @spanloom.chat("by a decorator")
    def ask():
        return response

    assert ask() is response
    assert facts(content.only("chat by record")) == answer
    assert facts(content.only("chat by a decorator")) == answer


def test_a_response_of_an_embedding_model_is_read(spans, facts):
    with spanloom.embeddings("e-1") as call:
        call.record({"model": "e-1-0001", "data": [{"embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 5}})

    assert facts(spans.only("embeddings e-1")) == {
        "gen_ai.embeddings.dimension.count": 2,
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.response.model": "e-1-0001",
    }


def test_a_handled_error_is_told(spans):
    with spanloom.tool("t") as call:
        try:
            raise TimeoutError("slow")
        except TimeoutError as exc:
            call.error(exc)

    span = spans.only("execute_tool t")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "TimeoutError: slow")
    assert span.attributes["error.type"] == "TimeoutError"


def test_a_refusal_is_a_finish_reason_and_no_error(spans):
    with spanloom.chat("m-1") as call:
        call.finish("refusal")

    span = spans.only("chat m-1")
    assert span.attributes["gen_ai.response.finish_reasons"] == ("content_filter",)
    assert span.status.status_code is StatusCode.UNSET


def test_what_has_no_place_in_an_operation_is_said_once(spans, log, facts):
    for _ in range(2):
        with spanloom.tool("t") as call:
            call.usage(input=1)
            call.finish("stop")
            call.documents([])
            call.record({})
    with spanloom.chat("m") as call:
        call.arguments({})

    assert facts(spans.only("chat m")) == {}
    assert all(not key.startswith("gen_ai.usage") for span in spans.spans for key in span.attributes)
    assert len(log.lines) == len(set(log.lines)) <= 5


def test_own_attributes_are_of_any_type_and_never_secrets(spans):
    class Odd:
        def __repr__(self):
            raise RuntimeError

    with spanloom.node("n") as call:
        call.set("a.text", "mail bob@example.com")
        call.set("a.number", 1.5)
        call.set("a.flag", True)
        call.set("a.list", ["x", "y"])
        call.set("a.dict", {"k": [1]})
        call.set("a.huge", 2**70)
        call.set("a.none", None)
        call.set("api_key", "hunter2")
        call.set("a.odd", Odd())

    found = spans.only("run_step n").attributes
    odd = found["a.odd"]
    assert "Odd" in odd
    assert {key: value for key, value in found.items() if key.startswith("a")} == {
        "a.text": "mail [REDACTED]",
        "a.number": 1.5,
        "a.flag": True,
        "a.list": ("x", "y"),
        "a.dict": '{"k":[1]}',
        "a.huge": found["a.huge"],
        "api_key": '"[REDACTED]"',
        "a.odd": odd,
    }
    assert isinstance(found["a.huge"], str)


def test_what_is_told_after_the_end_is_nothing(spans, log, facts):
    with spanloom.chat("m") as call:
        pass
    stream = iter(())

    call.usage(input=1)
    call.set("a.b", 1)
    call.error(ValueError())
    assert call.stream(stream) is stream
    assert facts(spans.only("chat m")) == {}
    assert not call.recording
    assert not log.lines


def test_current_is_the_innermost_call(spans):
    assert spanloom.current() is NO_CALL
    with spanloom.workflow("w"):
        with spanloom.chat("m"):
            spanloom.current().usage(input=1)
        spanloom.current().set("a.b", 1)
    assert spanloom.current() is NO_CALL

    assert spans.only("chat m").attributes["gen_ai.usage.input_tokens"] == 1
    assert spans.only("invoke_workflow w").attributes["a.b"] == 1


def test_the_span_is_there_for_links_and_events(spans):
    with spanloom.node("n") as call:
        call.span.add_event("mine")

    assert [event.name for event in spans.only("run_step n").events] == ["mine"]
    assert not NO_CALL.span.is_recording()


def test_what_is_captured_of_decorated_functions(content):
    class Clerk:
        @spanloom.tool(capture=True)
        def search(self, query, *more, top=3, **rest):
            return [query]

        @spanloom.tool(capture=True)
        @staticmethod
        def plain(query):
            return {"found": query}

    @spanloom.node(capture=True)
    async def grade(state):
        return {"ok": state}

    @spanloom.retrieval("handbook", capture=True)
    def find(question):
        return ["because"]

    @spanloom.chat("one", capture=True)
    def ask(question):
        return "because"

    @spanloom.chat("two", capture=True)
    def ask_more(question, style):
        return "because"

    assert Clerk().search("x", "y", limit=5) == ["x"]
    assert Clerk.plain("x") == {"found": "x"}
    assert asyncio.run(grade("s")) == {"ok": "s"}
    assert find("why?") == ["because"]
    assert ask("why?") == ask_more("why?", style="brief") == "because"

    def told(name, *keys):
        return [content.only(name).attributes[key] for key in keys]

    assert told("execute_tool search", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result") == [
        '{"query":"x","more":["y"],"limit":5}',
        '{"result":["x"]}',
    ]
    assert told("execute_tool plain", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result") == [
        '{"query":"x"}',
        '{"found":"x"}',
    ]
    assert told("run_step grade", "spanloom.input", "spanloom.output") == ['{"state":"s"}', '{"ok":"s"}']
    assert told("retrieval handbook", "gen_ai.retrieval.query.text", "gen_ai.retrieval.documents") == [
        "why?",
        '[{"content":"because"}]',
    ]
    (asked,) = json.loads(told("chat one", "gen_ai.input.messages")[0])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "why?"}]}
    assert "brief" in told("chat two", "gen_ai.input.messages")[0]
    assert "because" in told("chat two", "gen_ai.output.messages")[0]


def test_nothing_is_captured_that_was_not_asked_for(content, facts):
    @spanloom.tool
    def search(query):
        return [query]

    search("SECRET")
    assert "SECRET" not in content.only("execute_tool search").to_json()


def test_a_decorated_function_is_the_function_it_was(spans):
    def documented(a: int, *, b: str = "x") -> list[int]:
        """What it does."""
        return [a]

    made = spanloom.tool(documented)

    assert inspect.signature(made) == inspect.signature(documented)
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("documented", "What it does.", documented)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        made()
    assert spans.only("execute_tool documented").attributes["error.type"] == "TypeError"


def test_whatever_can_be_called_can_be_decorated(spans):
    class Model:
        def __call__(self, x):
            return x

    class AsyncModel:
        async def __call__(self, x):
            return x

        def method(self, x):
            return x

    def double(x, times):
        return x * times

    assert spanloom.tool(Model())(1) == 1
    assert asyncio.run(spanloom.tool(AsyncModel())(2)) == 2
    assert spanloom.tool(AsyncModel().method)(3) == 3
    assert spanloom.tool(functools.partial(double, times=2))(2) == 4
    assert spanloom.tool(len)([1]) == 1
    assert spanloom.tool(functools.lru_cache(double))(1, 2) == 2

    assert [span.name.partition(" ")[2] for span in spans.spans] == [
        "Model",
        "AsyncModel",
        "method",
        "double",
        "len",
        "double",
    ]


@pytest.mark.parametrize("wrong", [dict, type("Mine", (), {})])
def test_a_class_is_not_decorated(wrong):
    with pytest.raises(TypeError, match="spanloom decorates functions and methods"):
        spanloom.tool(wrong)


def test_what_is_no_function_is_not_decorated():
    with pytest.raises(TypeError, match="not 5: decorate the method that runs"):
        spanloom.tool("t")(5)


def test_nothing_of_what_was_told_is_kept_by_a_context(content):
    with spanloom.tool("t") as call:
        call.result("x")
        kept = contextvars.copy_context()
    scope = kept.run(current_scope)

    assert not scope.told
    assert not kept.run(spanloom.current).recording


def test_embeddings_of_every_client(spans):
    class Row:
        def __init__(self, values):
            self.values = values

    class Response:
        embeddings = [Row([1.0, 2.0, 3.0, 4.0])]

    responses = {
        "openai": {"data": [{"embedding": [1.0] * 2}], "model": "m", "usage": {"prompt_tokens": 3}},
        "ollama": {"embeddings": [[1.0] * 3], "model": "m", "prompt_eval_count": 4},
        "google": Response(),
        "none": {},
    }
    for name, response in responses.items():
        with spanloom.embeddings(name) as call:
            call.record(response)

    keys = ("gen_ai.embeddings.dimension.count", "gen_ai.usage.input_tokens", "gen_ai.response.model")
    assert [[span.attributes.get(key) for key in keys] for span in spans.spans] == [
        [2, 3, "m"],
        [3, 4, "m"],
        [4, None, None],
        [None, None, None],
    ]


def test_an_error_of_a_call_inside_another_one_is_its_error(spans):
    with spanloom.chat("outer"), spanloom.chat("inner") as call:
        call.error(TimeoutError("slow"))

    assert spans.only("chat outer").attributes["error.type"] == "TimeoutError"


def test_calls_at_once_are_apart(spans):
    @spanloom.chat("m")
    async def ask(number):
        await asyncio.sleep(0)
        spanloom.current().set("a.number", number)
        await below(number)
        return number

    @spanloom.tool
    async def below(number):
        await asyncio.sleep(0)
        spanloom.current().set("a.number", number)

    async def main():
        with spanloom.workflow("all"):
            return await asyncio.gather(*map(ask, range(5)))

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    asked = {span.context.span_id: span.attributes["a.number"] for span in spans.named("chat m")}
    assert sorted(asked.values()) == [0, 1, 2, 3, 4]
    assert all(asked[span.parent.span_id] == span.attributes["a.number"] for span in spans.named("execute_tool below"))


def test_a_response_of_no_known_shape_is_said_once(spans, caplog):
    from spanloom.modelcalls import unread

    unread.cache_clear()
    with spanloom.chat("m", provider="p") as call:
        call.record(object())
        call.record(object())
    (line,) = [record.getMessage() for record in caplog.records if "call.record" in record.getMessage()]
    assert line.startswith("call.record: builtins.object is of no known shape")
    assert "Anthropic" in line
    assert "call.usage" in line
