"""How tools end: errors raised, handled by the tool itself, told by its message; cancellation."""

import asyncio
import json
import sys
import types

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool, ToolException
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ValidationError

from spanloom.config import Config
from spanloom.instrument import Patches, Telemetry
from spanloom_langgraph import LangGraphInstrumentor
from spanloom_langgraph._tools import patch_tools

TOOL_EXCEPTION = "langchain_core.tools.base.ToolException"
VALIDATION_ERROR = "pydantic_core._pydantic_core.ValidationError"


class Amount(BaseModel):
    amount: int


def failing(exc, **settings):
    def pay(amount: int) -> str:
        raise exc

    async def apay(amount: int) -> str:
        raise exc

    return StructuredTool(name="pay", description="Pays.", args_schema=Amount, func=pay, coroutine=apay, **settings)


def call(args, call_id="call_1"):
    return {"name": "pay", "args": args, "id": call_id, "type": "tool_call"}


def sync(tool, given):
    return tool.invoke(given)


def in_loop(tool, given):
    return asyncio.run(tool.ainvoke(given))


both = pytest.mark.parametrize("run", [sync, in_loop])


def ended(span):
    """Status, its description, `error.type` and the events of a span."""
    status = span.status
    return (
        status.status_code,
        status.description,
        span.attributes.get("error.type"),
        [event.name for event in span.events],
    )


# -- raised ----------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("exc", [ValueError("no money"), ToolException("no money")], ids=["error", "tool's"])
def test_what_is_raised_is_an_error_and_the_call_id_is_known(run, exc, spans):
    with pytest.raises(type(exc)) as caught:
        run(failing(exc), call({"amount": 1}))

    assert caught.value is exc
    span = spans.only("execute_tool pay")
    kind = TOOL_EXCEPTION if isinstance(exc, ToolException) else "ValueError"
    assert ended(span) == (StatusCode.ERROR, f"{type(exc).__name__}: no money", kind, ["exception"])
    assert span.attributes["gen_ai.tool.call.id"] == "call_1"
    assert "gen_ai.tool.call.result" not in span.attributes


@both
def test_invalid_arguments_are_an_error_that_quotes_no_values(run, content):
    with pytest.raises(ValidationError):
        run(failing(None), call({"amount": "all that ann has", "state": {"owner": "ann"}}))

    span = content.only("execute_tool pay")
    code, description, kind, events = ended(span)
    assert (code, kind, events) == (StatusCode.ERROR, VALIDATION_ERROR, ["exception"])
    assert description.startswith("ValidationError: 1 validation error for Amount\namount\n  Input should be a valid")
    event = span.events[0].attributes
    assert event["exception.stacktrace"].startswith("  File ")
    for text in (description, event["exception.message"], event["exception.stacktrace"]):
        assert "ann" not in text
    assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == {"amount": "all that ann has"}


def test_a_missing_argument_quotes_nothing_of_the_others(spans):
    with pytest.raises(ValidationError):
        failing(None).invoke(call({"state": "the state's secret"}))
    span = spans.only("execute_tool pay")
    assert "[type=missing]" in span.status.description
    assert "secret" not in span.status.description + str(dict(span.events[0].attributes))


@both
@pytest.mark.parametrize("setting", [False, "raise"])
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python keeps a frame of ours in the traceback")
def test_the_traceback_is_as_without_us(run, setting, recorder):
    def handler(exc):
        raise exc

    def frames():
        tool = failing(ToolException("no money"), handle_tool_error=handler if setting else False)
        with pytest.raises(ToolException) as caught:
            run(tool, call({"amount": 1}))
        return [frame.name for frame in caught.traceback]

    without = frames()
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider)
    try:
        assert frames() == without
    finally:
        instrumentor.uninstrument()
    assert recorder.spans


def test_an_error_passes_through_an_outer_tool_with_one_event(spans):
    exc = ValueError("no money")
    inner = failing(exc)

    def shop() -> str:
        """Shops."""
        return inner.invoke({"amount": 1})

    with pytest.raises(ValueError) as caught:
        StructuredTool.from_function(shop).invoke({})
    assert caught.value is exc
    assert spans.tree("status", "events") == ("\nexecute_tool shop [ERROR]\n  execute_tool pay [ERROR, exception]\n")


# -- handled by the tool -----------------------------------------------------------------------------------------

HANDLERS = {
    "as it is": (True, "no money"),
    "by a text": ("ask the bank", "ask the bank"),
    "by a function": (lambda exc: f"sorry: {exc}", "sorry: no money"),
}


@both
@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("call_id", ["call_1", None])
def test_a_handled_error_is_an_error_of_the_operation_without_an_exception(run, handler, call_id, content):
    setting, said = HANDLERS[handler]
    tool = failing(ToolException("no money"), handle_tool_error=setting)
    answer = run(tool, call({"amount": 1}) if call_id else {"amount": 1})

    if call_id:
        assert answer == ToolMessage(said, name="pay", tool_call_id="call_1", status="error")
    else:
        assert answer == said
    span = content.only("execute_tool pay")
    assert ended(span) == (StatusCode.ERROR, "ToolException: no money", TOOL_EXCEPTION, [])
    assert json.loads(span.attributes["gen_ai.tool.call.result"]) == {"result": said}


@both
def test_handled_invalid_arguments(run, spans):
    tool = failing(None, handle_validation_error=True)
    answer = run(tool, call({"amount": "all that ann has"}))

    assert answer.status == "error"
    code, description, kind, events = ended(spans.only("execute_tool pay"))
    assert (code, kind, events) == (StatusCode.ERROR, VALIDATION_ERROR, [])
    assert "ann" not in description


def test_a_handler_that_raises(spans):
    exc = RuntimeError("handler")

    def handler(_):
        raise exc

    with pytest.raises(RuntimeError) as caught:
        failing(ToolException("no money"), handle_tool_error=handler).invoke(call({"amount": 1}))
    assert caught.value is exc
    assert ended(spans.only("execute_tool pay")) == (
        StatusCode.ERROR,
        "RuntimeError: handler",
        "RuntimeError",
        ["exception"],
    )


def test_a_handled_error_of_an_inner_tool_is_the_inner_one_s(spans):
    inner = failing(ToolException("no money"), handle_tool_error=True)

    def shop() -> str:
        """Shops."""
        return inner.invoke({"amount": 1})

    assert StructuredTool.from_function(shop).invoke({}) == "no money"
    assert spans.tree("status", "events") == "\nexecute_tool shop\n  execute_tool pay [ERROR]\n"


def test_messages_of_handled_errors_can_be_left_out(recorder):
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider, config=Config(exception_messages=False))
    try:
        failing(ToolException("no money"), handle_tool_error=True).invoke(call({"amount": 1}))
    finally:
        instrumentor.uninstrument()
    assert ended(recorder.only("execute_tool pay")) == (StatusCode.ERROR, "ToolException", TOOL_EXCEPTION, [])


def test_a_message_that_says_it_failed(spans):
    def pay() -> ToolMessage:
        """Pays."""
        return ToolMessage("no money", tool_call_id="call_1", status="error")

    StructuredTool.from_function(pay).invoke(call({}))
    assert ended(spans.only("execute_tool pay")) == (StatusCode.ERROR, None, "tool_error", [])


def test_a_langchain_without_the_handlers_costs_one_line_each(recorder, caplog):
    class Old:
        name, description, args_schema = "old", "Old.", None

        def run(self, given, *, tool_call_id):
            return ToolMessage("no money", tool_call_id=tool_call_id, status="error")

        async def arun(self, given, *, tool_call_id):
            return self.run(given, tool_call_id=tool_call_id)

    module = types.ModuleType("langchain_core.tools.base")
    module.BaseTool, module.ToolMessage = Old, ToolMessage
    patches = Patches()
    patch_tools(module, Telemetry.create("test", recorder.provider, Config()), patches)
    Old().run("x", tool_call_id="call_1")
    patches.restore()
    assert ended(recorder.only("execute_tool old")) == (StatusCode.ERROR, None, "tool_error", [])
    assert [line.getMessage().partition(";")[0] for line in caplog.records] == [
        "This version of langchain-core has no _handle_tool_error",
        "This version of langchain-core has no _handle_validation_error",
    ]


# -- not errors --------------------------------------------------------------------------------------------------


def test_a_cancelled_tool(spans):
    async def pay(amount: int) -> str:
        await asyncio.Event().wait()

    tool = StructuredTool(name="pay", description="Pays.", args_schema=Amount, coroutine=pay)

    async def cancel():
        running = asyncio.create_task(tool.ainvoke({"amount": 1}))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel())
    span = spans.only("execute_tool pay")
    assert ended(span) == (StatusCode.UNSET, None, None, [])
    assert span.attributes["spanloom.status"] == "cancelled"


def test_an_interrupting_user(spans):
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt()).invoke({"amount": 1})
    assert spans.only("execute_tool pay").attributes["spanloom.status"] == "cancelled"
