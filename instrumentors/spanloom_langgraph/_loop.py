"""What a run's loop tells: checkpoints, resumes, interrupts, cached nodes; and the way back for its background work.

Three methods of `langgraph.pregel._loop.PregelLoop` are watched, none is changed: `_first` (input and checkpoint are
known), `_suppress_interrupt` (the run ends), `output_writes` (a cached node's writes are reused). In sync runs
`put_writes` is called by worker threads outside of any context, so what it saves would lie under no run.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from spanloom.instrument import Begun, Carried, Scope, current_scope, error_type, hide_frame, names
from spanloom_langgraph._flow import bubble_up, status_of
from spanloom_langgraph._resume import Place
from spanloom_langgraph._runs import GraphScope, RunScope, run_of
from spanloom_langgraph._writes import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanloom_langgraph._runs import Runs

_CARRIED: Final = "_spanloom_carried"  # on the loop, which LangGraph makes and drops with the run
_HELD: Final = "_spanloom_held"  # likewise
_RESUMING: Final = "__pregel_resuming"
_BEFORE: Final = "interrupt_before"
_AFTER: Final = "interrupt_after"
_NOTHING: Final = nullcontext()


class Loop:
    """Watches the loops of runs."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def begin_first(self, loop: Any, **_: Any) -> None:
        """`PregelLoop._first(self, *, input_keys, updated_channels)`: the checkpoint to start from is loaded."""
        # LangGraph holds this method by a `WeakMethod`, which must live on when the class has lost it to `uninstrument`
        setattr(loop, _HELD, getattr(cast("type[Any]", type(loop)), "put_writes", None))
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
        before = self._runs.stopped.before(Place.of(loop))
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
        if isinstance(exc, Exception) and not isinstance(exc, bubble_up()):
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
        if loop.checkpointer is not None:
            if exc is None and loop.status == "done":
                self._runs.stopped.forget(Place.of(loop))
            else:
                self._runs.stopped.remember(Place.of(loop), scope.span.get_span_context())
        if exc is None or not isinstance(exc, bubble_up()):
            return
        found[names.STATUS] = status_of(exc)
        if loop.status in (_BEFORE, _AFTER):  # else inside of a node, whose span has the event
            scope.span.add_event(
                names.LANGGRAPH_INTERRUPT_EVENT,
                {names.LANGGRAPH_STATUS: loop.status, names.LANGGRAPH_INTERRUPT_NODES: run.stops},
            )

    def begin_should_interrupt(self, *args: Any, **kwargs: Any) -> Begun | None:
        """`should_interrupt(checkpoint, interrupt_nodes, tasks)` returns those that the run is to stop at."""
        scope = _running()
        if scope is None:
            return None

        def told(tasks: Any) -> None:
            if scope.run is not None:
                scope.run.stops = [task.name for task in tasks]

        return Begun(_NOTHING, args, kwargs, told)

    @staticmethod
    def see_output(loop: Any, task_id: str, _writes: object, *, cached: bool = False) -> None:
        """`PregelLoop.output_writes(self, task_id, writes, *, cached=False)`: cached, the task does not run."""
        if not cached:
            return
        scope = run_of(current_scope())
        task = loop.tasks.get(task_id)
        if scope is None or scope.run is None or task is None:
            return
        if task.cache_key is not None:  # else restored with the checkpoint
            scope.run.cached.append(task.name)
        step: int = task.config["metadata"]["langgraph_step"]
        scope.run.edges.wrote(step, task.path, None, read(task.writes))


def _running() -> GraphScope | None:
    """The scope of the run whose loop calls: the current one, as a loop runs in its run's own frame."""
    scope: Scope | None = current_scope()
    return scope if isinstance(scope, GraphScope) and scope.run is not None else None


def at_home(put_writes: Callable[..., Any]) -> Callable[..., Any]:
    """`SyncPregelLoop.put_writes`, which has no context when a worker thread calls it back: it gets its run's."""

    def shell(loop: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            way = None if current_scope() is not None else getattr(loop, _CARRIED, None)
            if not isinstance(way, Carried):
                return put_writes(loop, *args, **kwargs)
            with way.attached():
                return put_writes(loop, *args, **kwargs)
        except BaseException as exc:
            hide_frame(exc)
            raise

    return shell
