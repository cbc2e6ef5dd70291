"""The span of one execution of a node or task, around LangGraph's `run_with_retry` and `arun_with_retry`.

These two run every task exactly once, with all its attempts, in the thread or task that the node runs in; whatever
the node does lies under its span. A sub-graph used as a node is one span: its run's, with the node's facts.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Link

from spanloom.instrument import Begun, below_dropped, current_scope, error_type, names, path_below
from spanloom_langgraph._flow import PARENT_COMMAND, goto, interrupts, status_of
from spanloom_langgraph._runs import GraphScope, run_of
from spanloom_langgraph._shape import END, START
from spanloom_langgraph._state import input_text, output_texts
from spanloom_langgraph._writes import read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Telemetry
    from spanloom_langgraph._runs import Run, Runs
    from spanloom_langgraph._shape import NodeFacts

_NOTHING: Final = nullcontext()


class NodeScope(GraphScope):
    """One execution of a node or task.

    Attributes:
        graph: the sub-graph that is this node; None for any other node.
        within: the run that the node belongs to.
        task: what LangGraph executes (`PregelExecutableTask`), until it has ended.
    """

    _retries = 0
    _told: Collection[object] = ()  # ids of interrupts that have an event on a span below

    def __init__(self, telemetry: Telemetry, task: Any, facts: NodeFacts, within: Run, step: int) -> None:
        super().__init__(telemetry)
        self.graph = facts.graph
        self.within: Run | None = within
        self.task: Any = task
        self._step = step

    def attempt_failed(self, exc: BaseException, policy: Any) -> None:
        """An attempt failed with `exc`, and `policy` (a `langgraph.types.RetryPolicy`) applies to it."""
        number = self._retries + 1
        if number >= policy.max_attempts:  # the last one; the node fails with its error
            return
        self._retries = number
        self.run = self.failure = None
        if not self.recording:
            return
        event: dict[str, AttributeValue] = {
            names.LANGGRAPH_RETRY_ATTEMPT: number,
            names.LANGGRAPH_RETRY_MAX: policy.max_attempts,
            names.ERROR_TYPE: error_type(exc),
        }
        message = self._telemetry.capture.message(exc)
        if message is not None:
            event[names.EXCEPTION_MESSAGE] = message
        if not policy.jitter:  # else LangGraph adds a random part of a second
            event[names.RETRY_DELAY] = float(
                min(policy.max_interval, policy.initial_interval * policy.backoff_factor ** (number - 1))
            )
        self.span.add_event(names.RETRY_EVENT, event)

    def bubbled(self, exc: BaseException) -> dict[str, AttributeValue]:
        """Where a `Command` to the parent graph goes; an interrupt becomes an event on the node that raised it."""
        for event in interrupts(exc, self._telemetry.capture):
            known = event.attributes.get(names.LANGGRAPH_INTERRUPT_ID)
            if known not in self._told:
                self.span.add_event(event.name, event.attributes)
                self._tell_above(known)
        command = exc.args[0] if exc.args and status_of(exc) == PARENT_COMMAND else None
        targets = goto(command)
        return {names.LANGGRAPH_GOTO_PARENT: targets} if targets else {}

    def _tell_above(self, interrupt: object) -> None:
        above = self.parent
        while above is not None:
            if isinstance(above, NodeScope):
                above._told = {*above._told, interrupt}  # noqa: SLF001  of its own class
            above = above.parent

    def describe(self) -> dict[str, AttributeValue]:
        """The decision, the state's changed keys, the attempts; of a sub-graph what its loop has told."""
        found: dict[str, AttributeValue] = {} if self.run is None else self.run.describe()
        if self._retries:
            found[names.LANGGRAPH_RETRY_COUNT] = self._retries
        if self._outcome is None:
            self._describe_decision(found)
        elif names.ERROR_TYPE in self._outcome:
            task: Any = self.task
            within: Any = self.within
            if task.name in within.graph.with_handler:
                within.edges.failed(task.name, task.path, self.span.get_span_context())
        return found

    def _describe_decision(self, found: dict[str, AttributeValue]) -> None:
        task: Any = self.task
        within: Any = self.within
        decision = read(task.writes)
        if decision.edges or decision.sends:
            within.edges.wrote(self._step, task.path, self.span.get_span_context(), decision)
        if decision.sends:
            found[names.LANGGRAPH_SEND] = decision.sends
        if decision.next:
            found[names.LANGGRAPH_NEXT] = decision.next
        elif within.graph.is_state_graph and not decision.sends and task.path[-1] is not True:
            found[names.LANGGRAPH_NEXT] = (END,)
        capture = self._telemetry.capture
        if decision.keys:
            found[names.STATE_CHANGED_KEYS] = tuple([capture.name(key) for key in decision.keys])
        if capture.io or capture.state:
            found.update(output_texts(task, decision, within.graph, self.result, capture))

    def finish(self) -> None:
        """As `Scope.finish`; of the task nothing is kept, as a background task keeps its context and so this scope."""
        super().finish()
        self.task = self.within = self.run = self.graph = None


class Nodes:
    """Opens the spans of nodes."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def begin(self, task: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`run_with_retry(task, retry_policy, ...)` and `arun_with_retry`."""
        current = current_scope()
        if isinstance(current, NodeScope) and current.task is task:  # between us and us somebody has wrapped it
            return None
        above = run_of(current)
        if above is None or (above.dropped and below_dropped()):
            return None
        within: Any = above.run
        if task.name == START:
            return Begun(_NOTHING, (task, *args), kwargs, _start_told(above, task))
        telemetry = self._runs.telemetry
        facts = within.graph.node(task, self._runs.pregel)
        step: int = task.config["metadata"]["langgraph_step"]
        scope = NodeScope(telemetry, task, facts, within, step)
        path = task.path
        attributes: dict[str, AttributeValue] = {
            **facts.start.attributes,
            names.LANGGRAPH_STEP: step,
            names.LANGGRAPH_TASK_ID: task.id,
        }
        scope.path = path_below(above.path, task.name)
        if above.path is not None:
            attributes[names.NODE_PATH] = scope.path
        failed = within.edges.handled(path)
        if failed is None:
            links = within.edges.into(step, task.triggers, path)
        else:
            attributes[names.LANGGRAPH_ERROR_HANDLER_FOR] = failed.name
            links = [Link(failed.span)]
        scope.open(facts.start.span_name, attributes, links=links)
        if scope.recording and scope.capture.io:
            text = input_text(task, scope.capture)
            if text is not None:
                scope.span.set_attribute(names.INPUT, text)
        return Begun(scope, (task, *args), kwargs, scope.returned if telemetry.capture.io else None)

    def begin_decide_retry(self, policy: Any, exc: BaseException) -> Begun | None:
        """`_should_retry_on(retry_policy, exc)`: asked in the task's own context after an attempt has failed."""
        scope = current_scope()
        if not isinstance(scope, NodeScope):
            return None

        def decided(retries: object) -> None:
            if retries:
                scope.attempt_failed(exc, policy)

        return Begun(_NOTHING, (policy, exc), None, decided)


def _start_told(above: GraphScope, task: Any) -> Callable[[object], None]:
    """The graph's own first task has no span: what a function chose there is told by the run's."""

    def told(_result: object) -> None:
        run = above.run
        if run is None:
            return
        decision = read(task.writes)
        run.edges.wrote(task.config["metadata"]["langgraph_step"], task.path, None, decision)
        if run.graph.chooses_start:
            if decision.sends:
                run.found[names.LANGGRAPH_SEND] = decision.sends
            if decision.next or not decision.sends:
                run.found[names.LANGGRAPH_NEXT] = decision.next or (END,)

    return told
