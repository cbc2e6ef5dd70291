"""The span of a graph's run, around `Pregel.stream` and `Pregel.astream`.

`invoke`, `ainvoke`, `batch`, `astream_events` and the rest all go through these two. A graph that another one uses as
a node runs in its node's span, which then is a run's (`spanloom_langgraph._nodes`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from spanloom.instrument import Begun, Scope, below_dropped, current_scope, guarded, names, path_of, stamps
from spanloom_langgraph._edges import Edges
from spanloom_langgraph._flow import bubble_up, status_of
from spanloom_langgraph._others import say_once
from spanloom_langgraph._resume import Stopped, with_context
from spanloom_langgraph._shape import GraphFacts
from spanloom_langgraph._values import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from spanloom.instrument import Telemetry


class Run:
    """One run of a graph, while it lasts: what its nodes' spans need, and what becomes known of it.

    Attributes:
        graph: what is known of the graph.
        edges: who triggers whom.
        found: attributes of the run's span, written at its end.
        cached: names of the nodes that did not run, because their writes came from the cache.
        result: the run's output, where it is to be recorded.
        stops: names of the nodes that the run is to stop before or after, as it was told to.
    """

    __slots__ = ("cached", "edges", "found", "graph", "result", "stops")

    def __init__(self, graph: GraphFacts) -> None:
        self.graph = graph
        self.edges = Edges()
        self.found: dict[str, AttributeValue] = {}
        self.cached: list[str] = []
        self.stops: list[str] = []
        self.result: Any = None

    def describe(self) -> dict[str, AttributeValue]:
        """Attributes of the run's span."""
        return {**self.found, names.LANGGRAPH_CACHED: self.cached} if self.cached else self.found


class GraphScope(Scope):
    """The scope of a run, or of a node, which may itself be a run.

    Attributes:
        run: the run, while this is one.
        graph: the graph that is to run in this scope next, or does; None for a node that is none.
    """

    run: Run | None = None
    graph: Any = None

    def _fail(self, exc: BaseException) -> None:
        if isinstance(exc, bubble_up()):
            self._outcome = {names.STATUS: status_of(exc), **self.bubbled(exc)}
        else:
            super()._fail(exc)

    def bubbled(self, exc: BaseException) -> dict[str, AttributeValue]:  # noqa: ARG002  for subclasses
        """What an exception that only leaves the scope tells besides its status."""
        return {}

    def fail_as(self, kind: str) -> None:
        """What runs below is about to be cancelled because of an error of this type."""
        self.failure = kind


class RunScope(GraphScope):
    """A run that is not a node of another."""

    shows_values = False

    def describe(self) -> dict[str, AttributeValue]:
        """What the run's loop has told."""
        run = self.run
        if run is None:
            return {}
        found = run.describe()
        if self.shows_values and run.result is not None:
            text = self._telemetry.capture.json(plain(run.result))
            if text is not None:
                return {**found, names.OUTPUT: text}
        return found

    def finish(self) -> None:
        """As `Scope.finish`; of the run nothing is kept, as a background task keeps its context and so this scope."""
        super().finish()
        self.run = self.graph = None


def run_of(scope: Scope | None) -> GraphScope | None:
    """The innermost scope of a run that `scope` lies in."""
    while scope is not None:
        if isinstance(scope, GraphScope) and scope.run is not None:
            return scope
        scope = scope.parent
    return None


class Runs:
    """Opens the spans of runs.

    Attributes:
        telemetry: where spans go.
        pregel: the class of compiled graphs.
        stopped: the runs that can be resumed.
    """

    def __init__(self, telemetry: Telemetry, pregel: type) -> None:
        self.telemetry = telemetry
        self.pregel = pregel
        self.stopped = Stopped()
        self._facts: WeakKeyDictionary[Any, GraphFacts] = WeakKeyDictionary()
        self._looked_around = False

    def facts(self, graph: Any) -> GraphFacts:
        """What is known of a graph, read once."""
        facts = self._facts.get(graph)
        if facts is None:
            if not self._looked_around:  # at the first run, when everything is switched on that will be
                self._looked_around = True
                say_once()
            facts = self._facts[graph] = GraphFacts(graph, draft=self.telemetry.config.draft_names)
        return facts

    def begin_stream(self, graph: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`Pregel.stream(self, input, config=None, ...)` and `astream`; a scope for the run, unless it has one."""
        scope = _made_for(graph)
        if scope is not None:
            if scope.recording:
                scope.run = Run(self.facts(graph))  # in `invoke`'s span, or its own node's: anew for each attempt
            return None
        begun = self._begin(graph, args, kwargs)
        if begun is not None:
            cast("RunScope", begun.scope).run = Run(self.facts(graph))
        return begun

    def begin_invoke(self, graph: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`Pregel.invoke(self, input, config=None, ...)` and `ainvoke`, which run `stream` inside.

        They need no change of context at each of its items.
        """
        return self._begin(graph, args, kwargs) if _made_for(graph) is None else None

    def _begin(self, graph: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun | None:
        if below_dropped():
            return None
        above = current_scope()
        facts = self.facts(graph)
        scope = RunScope(self.telemetry)
        scope.graph = graph
        scope.path = path_of(above)
        config: Mapping[str, Any] | None = kwargs.get("config", args[1] if len(args) > 1 else None)
        scope.stamps = conversation(graph, config)
        is_root = run_of(above) is None
        attributes = facts.start.attributes
        if is_root:
            attributes = {**attributes, **facts.shape(graph, self.pregel)}
        scope.open(facts.start.span_name, attributes)
        capture = scope.capture
        if scope.recording and capture.io:
            scope.shows_values = True
            with guarded("langgraph.input", "a run's input"):  # the span is open: what fails here must not lose it
                text = capture.json(plain(shown(args[0] if args else kwargs.get("input"))))
                if text is not None:
                    scope.span.set_attribute(names.INPUT, text)
        carries = self.telemetry.config.langgraph_checkpoint_context and isinstance(config or {}, dict)
        if is_root and scope.recording and not scope.unsampled and carries:
            return self._with_context(scope, graph, args, kwargs, config)
        return Begun(scope, (graph, *args))

    @staticmethod
    def _with_context(
        scope: RunScope, graph: Any, args: tuple[Any, ...], kwargs: dict[str, Any], config: Mapping[str, Any] | None
    ) -> Begun:
        carrying = with_context(config, scope.span)
        if len(args) > 1:
            return Begun(scope, (graph, args[0], carrying, *args[2:]))
        return Begun(scope, (graph, *args), {**kwargs, "config": carrying})


def _made_for(graph: Any) -> GraphScope | None:
    """The current scope, where it was opened for this graph's run: by its node or by `invoke`."""
    scope = current_scope()
    return scope if isinstance(scope, GraphScope) and scope.run is None and scope.graph is graph else None


def conversation(graph: Any, config: Mapping[str, Any] | None) -> Mapping[str, AttributeValue] | None:
    """The stamps of a run whose configuration names a thread; None where it adds nothing to what is carried.

    Args:
        graph: its own configuration counts where the call's does not say; what a LangChain function hands on to the
            graph that it calls, where neither does (`langgraph._internal._config.ensure_config`).
        config: of the call (`RunnableConfig`).
    """
    for source in (config, getattr(graph, "config", None), _handed_on()):
        thread = _part(_part(source, "configurable"), "thread_id")
        if thread is not None:
            carried = stamps()
            known = str(thread)
            if carried.get(names.GEN_AI_CONVERSATION_ID) == known:
                return None
            return {**carried, names.GEN_AI_CONVERSATION_ID: known}
    return None


def _part(config: object, name: str) -> Any:
    """An item of a configuration; None of a wrong one, which is LangGraph's to refuse."""
    return cast("dict[str, Any]", config).get(name) if isinstance(config, dict) else None


def _handed_on() -> Mapping[str, Any] | None:
    variable = getattr(sys.modules.get("langchain_core.runnables.config"), "var_child_runnable_config", None)
    return None if variable is None else variable.get()


def shown(value: Any) -> Any:
    """A run's input as it is recorded: of a `Command`, the parts that are set."""
    if type(value).__name__ != "Command" or not hasattr(value, "resume"):
        return value
    parts = {part: getattr(value, part, None) for part in ("resume", "update", "goto", "graph")}
    return {part: given for part, given in parts.items() if given is not None and given != ()}
