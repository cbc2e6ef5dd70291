"""Tools called by the program itself: one span per execution, what is told of it, and what never is."""

import asyncio
import gc
import json
import sys
import weakref
from typing import Annotated

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, Tool, tool
from langchain_core.tools import base as tools_module
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel, create_model

from spanloom import guard
from spanloom.config import Config
from spanloom_langgraph import LangGraphInstrumentor

ARGUMENTS = "gen_ai.tool.call.arguments"
RESULT = "gen_ai.tool.call.result"
ID = "gen_ai.tool.call.id"


@tool
def weather(city: str, days: int = 1) -> str:
    """The weather in a city."""
    return f"sunny in {city} for {days}"


@tool
async def forecast(city: str) -> str:
    """The forecast for a city."""
    await asyncio.sleep(0)
    return f"rain in {city}"


class Shout(BaseTool):
    name: str = "shout"
    description: str = "Says it louder."

    def _run(self, text: str) -> str:
        with trace.get_tracer("mine").start_as_current_span("inside"):
            return text.upper()


def call(name, args, call_id="call_1"):
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def arguments(span):
    return json.loads(span.attributes[ARGUMENTS])


def result(span):
    return json.loads(span.attributes[RESULT])


# -- one span per execution ------------------------------------------------------------------------------------


def test_what_the_span_says(spans):
    answer = weather.invoke(call("weather", {"city": "Paris"}))

    assert answer == ToolMessage("sunny in Paris for 1", name="weather", tool_call_id="call_1")
    span = spans.only("execute_tool weather")
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "The weather in a city.",
        "gen_ai.tool.call.id": "call_1",
    }
    assert len(spans.spans) == 1


WAYS = {
    "invoke": lambda tool, args: tool.invoke(args),
    "invoke with a call": lambda tool, args: tool.invoke(call(tool.name, args)),
    "run": lambda tool, args: tool.run(args),
    "run by keyword": lambda tool, args: tool.run(tool_input=args),
    "batch": lambda tool, args: tool.batch([args])[0],
    "stream": lambda tool, args: next(iter(tool.stream(args))),
    "ainvoke": lambda tool, args: asyncio.run(tool.ainvoke(args)),
    "arun": lambda tool, args: asyncio.run(tool.arun(args)),
    "abatch": lambda tool, args: asyncio.run(tool.abatch([args]))[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_is_one_span(way, content):
    WAYS[way](weather, {"city": "Oslo"})
    assert content.tree() == "\nexecute_tool weather\n"
    assert arguments(content.spans[0]) == {"city": "Oslo"}
    assert result(content.spans[0]) == {"result": "sunny in Oslo for 1"}


@pytest.mark.parametrize("way", ["ainvoke", "arun", "abatch"])
def test_asynchronous_tools_are_one_span(way, content):
    WAYS[way](forecast, {"city": "Oslo"})
    assert content.tree() == "\nexecute_tool forecast\n"
    assert result(content.spans[0]) == {"result": "rain in Oslo"}


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "arun"])
def test_what_a_tool_does_lies_below_it_in_an_executor_too(way, spans, monkeypatch):
    monkeypatch.setattr(trace, "get_tracer", lambda name: spans.provider.get_tracer(name))
    with spans.provider.get_tracer("mine").start_as_current_span("outside"):
        assert WAYS[way](Shout(), {"text": "a"}) == "A"
    assert spans.tree() == "\noutside\n  execute_tool shout\n    inside\n"


def test_a_tool_that_calls_a_tool(spans):
    @tool
    def trip(city: str) -> str:
        """Plans a trip."""
        return weather.invoke({"city": city})

    trip.invoke({"city": "Rome"})
    assert spans.tree() == "\nexecute_tool trip\n  execute_tool weather\n"


def test_parallel_calls_are_siblings(content):
    async def both():
        with content.provider.get_tracer("mine").start_as_current_span("outside"):
            await asyncio.gather(*(forecast.ainvoke({"city": city}) for city in ("Oslo", "Rome", "Bonn")))

    asyncio.run(both())
    tree = content.tree()
    assert tree == "\noutside\n" + "  execute_tool forecast\n" * 3
    told = [(arguments(span)["city"], result(span)["result"]) for span in content.named("execute_tool forecast")]
    assert sorted(told) == [(city, f"rain in {city}") for city in ("Bonn", "Oslo", "Rome")]


# -- content ---------------------------------------------------------------------------------------------------


def test_no_content_unless_asked(spans):
    weather.invoke(call("weather", {"city": "Paris"}))
    assert not {ARGUMENTS, RESULT} & set(spans.spans[0].attributes)


def test_content_of_tools_can_be_left_out(recorder):
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(
        tracer_provider=recorder.provider, config=Config(content=True, capture=frozenset({"messages", "io", "state"}))
    )
    try:
        weather.invoke(call("weather", {"city": "Paris"}))
    finally:
        instrumentor.uninstrument()
    assert not {ARGUMENTS, RESULT} & set(recorder.spans[0].attributes)


def test_arguments_as_the_model_gave_them(content):
    given = {"city": "Paris", "days": 2}
    weather.invoke(call("weather", given))
    assert arguments(content.spans[0]) == given


def test_arguments_before_the_tool_changes_them(content):
    @tool
    def pops(items: list) -> int:
        """Takes them all."""
        items.clear()
        return 0

    pops.invoke({"items": [1, 2]})
    assert arguments(content.spans[0]) == {"items": [1, 2]}


def test_injected_arguments_are_not_recorded(content):
    class Secret:
        pass

    @tool
    def lookup(
        key: str,
        config: RunnableConfig,
        session: Annotated[object, InjectedToolArg],
        call_id: Annotated[str, InjectedToolCallId],
        callbacks=None,
    ) -> str:
        """Looks it up."""
        assert isinstance(session, Secret)
        return f"{key} {call_id} {config['tags']}"

    answer = lookup.invoke(call("lookup", {"key": "k", "session": Secret(), "unknown": "u"}, "call_7"), {"tags": ["t"]})
    assert answer.content == "k call_7 ['t']"
    span = content.only("execute_tool lookup")
    assert arguments(span) == {"key": "k"}
    assert "Secret" not in str(dict(span.attributes))


class Place(BaseModel):
    place: str
    hidden: Annotated[str, InjectedToolArg] = "h"


def go(**kwargs):
    return "done"


def with_v1_schema():
    from pydantic.v1 import BaseModel as Old

    class Place(Old):
        place: str

    return Place


json_schemas = pytest.mark.skipif(not hasattr(tools_module, "ArgsSchema"), reason="came after langchain-core 0.3.29")


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        pytest.param(Place, {"place": "Rome"}, id="model"),
        pytest.param(create_model("Nothing"), {}, id="model without arguments"),
        pytest.param({"type": "object", "properties": {"place": {}}}, {"place": "Rome"}, id="JSON", marks=json_schemas),
        pytest.param({"type": "object"}, {}, id="JSON without arguments", marks=json_schemas),
    ],
)
def test_schemas_of_every_kind(schema, shown, content):
    made = StructuredTool(name="go", description="Goes.", args_schema=schema, func=go)
    made.invoke(call("go", {"place": "Rome", "hidden": "secret", "other": 1}))
    assert arguments(content.only("execute_tool go")) == shown


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pydantic.v1 does not run there")
def test_a_schema_of_pydantic_1(content):
    made = StructuredTool(name="go", description="Goes.", args_schema=with_v1_schema(), func=go)
    made.invoke(call("go", {"place": "Rome", "hidden": "secret"}))
    assert arguments(content.only("execute_tool go")) == {"place": "Rome"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [("text", {"tool_input": "text"}), ({"__arg1": "text"}, {"__arg1": "text"})],
    ids=["text", "as the model calls it"],
)
def test_a_tool_that_takes_one_text(given, shown, content):
    echo = Tool(name="echo", description="Says it again.", func=lambda text: text)
    assert echo.invoke(given) == "text"
    assert arguments(content.only("execute_tool echo")) == shown


def test_one_text_for_a_tool_with_a_schema_goes_by_its_argument(content):
    assert weather.invoke("Rome") == "sunny in Rome for 1"
    assert arguments(content.only("execute_tool weather")) == {"city": "Rome"}


def returning(value, **settings):
    def give() -> object:
        """Gives it."""
        return value

    return StructuredTool.from_function(give, name="give", **settings)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": {"b": 2}}', {"a": {"b": 2}}),
        ('{"a": ', {"result": '{"a": '}),
        ("[1]", {"result": "[1]"}),
        (7, {"result": 7}),
        (None, {"result": None}),
        ([1, "x"], {"result": [1, "x"]}),
    ],
    ids=str,
)
def test_results_are_objects(value, shown, content):
    give = returning(value)
    assert give.invoke({}) is value
    assert result(content.spans[0]) == shown


def test_the_message_is_the_result_and_of_its_artifact_only_that_there_is_one(content):
    give = returning(("two rows", ["row 1", "row 2"]), response_format="content_and_artifact")
    answer = give.invoke(call("give", {}))
    assert answer.artifact == ["row 1", "row 2"]
    span = content.only("execute_tool give")
    assert result(span) == {"result": "two rows"}
    assert span.attributes["langchain.tool.artifact"] is True
    assert "row 1" not in str(dict(span.attributes))


def test_a_message_of_the_tool_s_own(content):
    message = ToolMessage([{"type": "text", "text": "done"}], tool_call_id="call_1")
    assert returning(message).invoke(call("give", {})) is message
    assert result(content.spans[0]) == {"result": [{"type": "text", "text": "done"}]}


def test_secrets_in_arguments_and_results_are_redacted(content):
    @tool
    def login(user: str, password: str) -> dict:
        """Logs in."""
        return {"user": user, "token": password}

    login.invoke(call("login", {"user": "ann", "password": "hunter2"}))
    assert "hunter2" not in str(dict(content.spans[0].attributes))
    assert arguments(content.spans[0])["user"] == result(content.spans[0])["user"] == "ann"


def test_large_results_are_bounded(content):
    returning("x" * 300_000).invoke(call("give", {}))
    assert 8_000 < len(content.spans[0].attributes[RESULT]) <= Config().max_value_bytes


def test_a_schema_that_cannot_be_read_costs_the_arguments_only(content, caplog):
    guard.set_strict(False)
    guard._State.logged.clear()

    class Broken(Shout):
        @property
        def tool_call_schema(self):
            raise RuntimeError("no schema")

    assert Broken().invoke({"text": "a"}) == "A"
    span = content.only("execute_tool shout")
    assert ARGUMENTS not in span.attributes
    assert result(span) == {"result": "A"}
    assert "arguments of a tool" in caplog.text


# -- what is remembered of tools ---------------------------------------------------------------------------------


def test_a_tool_that_is_renamed_or_gets_another_schema(content):
    made = returning("x")
    made.invoke({})
    made.name, made.description = "other", "Gives something else."
    made.args_schema, made.func = Place, go
    made.invoke({"place": "Rome", "hidden": "secret"})
    span = content.only("execute_tool other")
    assert span.attributes["gen_ai.tool.description"] == "Gives something else."
    assert arguments(span) == {"place": "Rome"}


def test_tools_are_not_kept_alive(content):
    made = returning("x")
    made.invoke({})
    known = weakref.ref(made)
    del made
    gc.collect()
    assert known() is None


def test_nothing_grows_with_tools_made_on_the_fly(content):
    def kept():
        gc.collect()
        return sum(type(thing).__name__ == "ToolFacts" for thing in gc.get_objects())

    returning("x").invoke({})
    before = kept()
    for _ in range(20):
        returning("x").invoke({})
    assert kept() <= before


def test_nothing_stands_on_the_tool(spans):
    def stands(on):
        return set(vars(on)), dict(on.__pydantic_private__ or {})

    made, untouched = returning("x"), returning("x")
    made.invoke({})
    BaseTool.run.__wrapped__(untouched, {}, config={})
    assert stands(made) == stands(untouched)


# -- on, off, not sampled ----------------------------------------------------------------------------------------


def test_uninstrument_restores_everything(recorder):
    def now():
        names = ("_handle_tool_error", "_handle_validation_error")
        return dict(vars(BaseTool)), [getattr(tools_module, name) for name in names]

    before = now()
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider)
    assert BaseTool.run is not before[0]["run"]
    instrumentor.uninstrument()
    assert now() == before
    weather.invoke({"city": "Paris"})
    assert not recorder.spans


def test_unsampled_tools_run_and_have_no_span(recorder):
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from spanloom.testing import Recorder

    dropping = Recorder(sampler=ALWAYS_OFF)
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=dropping.provider, config=Config(content=True))
    try:
        assert weather.invoke({"city": "Paris"}) == "sunny in Paris for 1"
        assert asyncio.run(forecast.ainvoke({"city": "Oslo"})) == "rain in Oslo"
    finally:
        instrumentor.uninstrument()
    assert not dropping.spans
    dropping.assert_closed()
