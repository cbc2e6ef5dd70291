"""One `execute_tool` span per execution of a tool, around `BaseTool.run` and `arun`.

Every way to call a tool goes through exactly one of the two: an agent's `ToolNode`, `invoke`, `ainvoke` of a
synchronous tool (in an executor), `batch`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Status, StatusCode

from spanloom.instrument import LOG, Begun, Scope, below_dropped, current_scope, error_type, names
from spanloom_langgraph._flow import bubble_up, status_of
from spanloom_langgraph._runs import run_of
from spanloom_langgraph._toolfacts import Tools, outcome, shown_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Patches, Telemetry

_NOTHING: Final = nullcontext()
_FAILED: Final = "tool_error"  # `error.type` of a failure without an exception, as the MCP conventions name it
_LOST: Final = "the span of a tool call"


class ToolScope(Scope):
    """One execution of a tool.

    Attributes:
        handled: the error that the tool's own settings (`handle_tool_error`, `handle_validation_error`) turned into
            its answer.
    """

    handled: Exception | None = None

    def __init__(self, telemetry: Telemetry, call_id: str | None, is_message: Callable[[Any], bool]) -> None:
        super().__init__(telemetry)
        self._call_id = call_id
        self._is_message = is_message

    def _fail(self, exc: BaseException) -> None:
        if isinstance(exc, bubble_up()):  # an interrupt, or a sub-graph's command to its parent
            self._outcome = {names.STATUS: status_of(exc)}
            return
        super()._fail(exc)

    def describe(self) -> dict[str, AttributeValue]:
        """The result; and the error that became one.

        The model is told that such a call has failed, so the operation has ended in an error: `error.type`, status
        ERROR. It has not raised, so there is no `exception` event.
        """
        if self._outcome is not None:  # it has raised
            return {}
        found: dict[str, AttributeValue] = {}
        capture = self._telemetry.capture
        told = outcome(self.result, self._call_id, capture.limit, self._is_message)
        if told.has_artifact:
            found[names.LANGCHAIN_TOOL_ARTIFACT] = True
        if capture.tools and told.shown is not None:
            text = capture.json(told.shown)
            if text is not None:
                found[names.GEN_AI_TOOL_CALL_RESULT] = text
        handled = self.handled
        if handled is not None:
            self.failure = error_type(handled)
            name, message = type(handled).__name__, capture.message(handled)
            self.span.set_status(Status(StatusCode.ERROR, f"{name}: {message}" if message else name))
        elif told.failed:
            self.failure = _FAILED
            self.span.set_status(Status(StatusCode.ERROR))
        if self.failure is not None:
            found[names.ERROR_TYPE] = self.failure
        return found

    def finish(self) -> None:
        """As `Scope.finish`; the error is not kept, with all its frames."""
        super().finish()
        self.handled = None


def patch_tools(module: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap `BaseTool.run` and `arun`, and what tells of handled errors.

    Args:
        module: `langchain_core.tools.base`.
        telemetry: where spans go.
        patches: remembers what was replaced.
    """
    tools = Tools(telemetry.capture)
    message = module.ToolMessage

    def is_message(value: object) -> bool:
        return isinstance(value, message)

    def begin(tool: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`BaseTool.run(self, tool_input, ..., *, tool_call_id=None, ...)`."""
        if below_dropped():
            return None
        facts = tools.facts(tool)
        attributes = facts.attributes.copy()
        call_id = kwargs.get("tool_call_id")
        if isinstance(call_id, str):
            attributes[names.GEN_AI_TOOL_CALL_ID] = call_id
        else:
            call_id = None
        agent = _agent()
        if agent is not None:
            attributes[names.GEN_AI_AGENT_NAME] = agent
        scope = ToolScope(telemetry, call_id, is_message).open(facts.span_name, attributes)
        if not scope.recording:
            return Begun(scope, (tool, *args))
        if facts.arguments is not None and scope.capture.tools:
            # now, as tools may change what they are given
            shown = shown_arguments(args[0] if args else kwargs.get("tool_input"), facts.arguments)
            text = None if shown is None else scope.capture.json(shown)
            if text is not None:
                scope.span.set_attribute(names.GEN_AI_TOOL_CALL_ARGUMENTS, text)
        return Begun(scope, (tool, *args), None, scope.returned)

    def begin_handle(exc: Exception, /, *args: Any, **kwargs: Any) -> Begun:
        """`_handle_tool_error(e, *, flag)` and `_handle_validation_error`: called by `run` in the tool's own scope."""
        scope = current_scope()
        if isinstance(scope, ToolScope) and scope.recording:
            scope.handled = exc
        return Begun(_NOTHING, (exc, *args), kwargs)

    for name in ("run", "arun"):
        patches.wrap(module.BaseTool, name, begin, _LOST)
    for name in ("_handle_tool_error", "_handle_validation_error"):
        if hasattr(module, name):
            patches.wrap(module, name, begin_handle, "the error that a tool has handled")
        else:
            LOG.warning(
                "This version of langchain-core has no %s; of errors that tools handle only the answer is traced. "
                "Upgrade spanloom or langchain-core.",
                name,
            )


def _agent() -> AttributeValue | None:
    """`gen_ai.agent.name` of the agent that executes a tool here: the innermost graph, where it is one."""
    above = run_of(current_scope())
    run = above.run if above is not None else None
    return None if run is None else run.graph.start.attributes.get(names.GEN_AI_AGENT_NAME)
