"""What a run's loop tells: checkpoints, resumes, interrupts, cached nodes; and the way back for its background work.

Three methods of `langgraph.pregel._loop.PregelLoop` are watched, none is changed: `_first` (input and checkpoint are
known), `_suppress_interrupt` (the run ends), `output_writes` (a cached node's writes are reused). In sync runs
`put_writes` is called by worker threads outside of any context, so what it saves would lie under no run.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.instrument import Begun, Carried, Scope, current_scope, error_type, names
from spanloom_langgraph._flow import INTERRUPTED, bubble_up, interrupts, status_of
from spanloom_langgraph._resume import carried
from spanloom_langgraph._runs import GraphScope, RunScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

    from spanloom_langgraph._runs import Runs

_CARRIED: Final = "_spanloom_carried"  # on the loop, which LangGraph makes and drops with the run
_RESUMING: Final = "__pregel_resuming"
_NOTHING: Final = nullcontext()


class Loop:
    """Watches the loops of runs."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def begin_first(self, loop: Any, **_: Any) -> None:
        """`PregelLoop._first(self, *, input_keys, updated_channels)`: the checkpoint to start from is loaded."""
        scope = _running()
        if scope is None:
            return
        setattr(loop, _CARRIED, Carried())
        resumed = self._resumed(loop)
        if resumed is not None and scope.recording:
            self._note_resume(loop, scope, resumed)

    def _resumed(self, loop: Any) -> str | None:
        """The id of the checkpoint that the run goes on from; None for a run that starts anew."""
        if not loop.checkpoint["channel_versions"]:
            return None
        goes_on = loop.input is None or type(loop.input).__name__ == "Command"
        if not loop.config["configurable"].get(_RESUMING, goes_on):
            return None
        return cast("str", loop.checkpoint["id"])

    def _note_resume(self, loop: Any, scope: GraphScope, checkpoint: str) -> None:
        run = scope.run
        if run is None:
            return
        run.found[names.LANGGRAPH_CHECKPOINT_RESUMED] = checkpoint
        before = (
            self._runs.interrupted.at(checkpoint)
            or self._runs.interrupted.at(_thread(loop))
            or carried(cast("Mapping[str, Any] | None", loop.checkpoint_metadata))
        )
        mine = scope.span.get_span_context()
        if before is not None and before.span_id != mine.span_id:
            scope.span.add_link(before)
        scope.span.add_event(names.LANGGRAPH_RESUME_EVENT, {names.LANGGRAPH_CHECKPOINT_ID: checkpoint})

    def begin_end(self, loop: Any, *args: Any) -> Begun | None:
        """`PregelLoop._suppress_interrupt(self, exc_type, exc_value, traceback)`: the run ends.

        It is the first that is called then: tasks that still run are cancelled after it.
        """
        scope = _running()
        if scope is None:
            return None
        exc: BaseException | None = args[1] if len(args) > 1 else None
        if exc is not None and not isinstance(exc, bubble_up()):
            scope.fail_as(error_type(exc))

        def ended(_result: object) -> None:
            self._note_end(loop, scope, exc)

        return Begun(_NOTHING, (loop, *args), None, ended)

    def _note_end(self, loop: Any, scope: GraphScope, exc: BaseException | None) -> None:
        run = scope.run
        if run is None or not scope.recording:
            return
        found = run.found
        if loop.checkpointer is not None:
            found[names.LANGGRAPH_CHECKPOINT_ID] = loop.checkpoint["id"]
        namespace = "|".join(loop.checkpoint_ns)
        if namespace:
            found[names.LANGGRAPH_CHECKPOINT_NS] = namespace
        if isinstance(scope, RunScope) and scope.shows_values:
            run.result = getattr(loop, "output", None)
        if exc is None or not isinstance(exc, bubble_up()):
            return
        status = status_of(exc)
        found[names.STATUS] = status
        if status == INTERRUPTED:
            self._note_interrupt(loop, scope, exc)

    def _note_interrupt(self, loop: Any, scope: GraphScope, exc: BaseException) -> None:
        stopped: SpanContext = scope.span.get_span_context()
        self._runs.interrupted.remember(loop.checkpoint["id"], stopped)
        self._runs.interrupted.remember(_thread(loop), stopped)
        if not interrupts(exc, self._runs.telemetry.capture):  # none from inside a node: before or after some
            tasks = cast("Mapping[str, Any]", getattr(loop, "tasks", {}))
            scope.span.add_event(
                names.LANGGRAPH_INTERRUPT_EVENT,
                {
                    names.LANGGRAPH_STATUS: loop.status,
                    names.LANGGRAPH_INTERRUPT_NODES: [task.name for task in tasks.values()],
                },
            )

    def begin_output(self, loop: Any, *args: Any, **kwargs: Any) -> None:
        """`PregelLoop.output_writes(self, task_id, writes, *, cached=False)`: cached, the task does not run."""
        scope = _running() if kwargs.get("cached") else None
        if scope is not None and scope.run is not None:
            task = loop.tasks.get(args[0] if args else kwargs.get("task_id"))
            if task is not None and task.cache_key is not None:  # else restored with the checkpoint
                scope.run.cached.append(task.name)

    def begin_put_writes(self, loop: Any, *args: Any, **kwargs: Any) -> Begun | None:
        """`SyncPregelLoop.put_writes`; called back by a worker thread it has no context."""
        if current_scope() is not None:
            return None
        way = getattr(loop, _CARRIED, None)
        return Begun(way.attached(), (loop, *args), kwargs) if isinstance(way, Carried) else None


def _running() -> GraphScope | None:
    """The scope of the run whose loop calls: the current one, as a loop runs in its run's own frame."""
    scope: Scope | None = current_scope()
    return scope if isinstance(scope, GraphScope) and scope.run is not None else None


def _thread(loop: Any) -> tuple[str, str]:
    configurable = loop.checkpoint_config["configurable"]
    return str(configurable.get("thread_id")), str(configurable.get("checkpoint_ns", ""))
