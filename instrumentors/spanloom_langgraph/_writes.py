"""What a task decided, read from the writes that LangGraph keeps of it.

After a task has run, `task.writes` holds its state update and its routing as pairs of channel and value: the channel
`branch:to:<node>` names a chosen successor, `join:<a>+<b>:<node>` a waiting edge, `__pregel_tasks` a `Send`
(`langgraph.graph.state.CompiledStateGraph.attach_node`, `attach_edge`, `attach_branch`; the same since 0.5).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SENDS: Final = "__pregel_tasks"
RETURN: Final = "__return__"
_BRANCH: Final = "branch:to:"
_JOIN: Final = "join:"
_INTERNAL: Final = "__"
_ROOT: Final = "__root__"  # the whole of a state that has no keys


class Decision(NamedTuple):
    """What one task wrote.

    Attributes:
        next: nodes that were chosen or waited for, without repetitions, in order.
        sends: the node of each `Send`, in order.
        keys: the keys of the state that it wrote, without repetitions, in order.
        edges: the channels that trigger successors, without repetitions.
    """

    next: tuple[str, ...]
    sends: list[str]
    keys: tuple[str, ...]
    edges: tuple[str, ...]


class _Routes(NamedTuple):
    next: tuple[str, ...]
    keys: tuple[str, ...]
    edges: tuple[str, ...]
    sends: bool


def read(writes: Sequence[tuple[str, Any]]) -> Decision:
    """Sort the writes of a task (`PregelExecutableTask.writes`)."""
    routes = _routes(tuple([channel for channel, _ in writes]))
    sends = [getattr(value, "node", "") for channel, value in writes if channel == SENDS] if routes.sends else []
    return Decision(routes.next, sends, routes.keys, routes.edges)


@lru_cache(maxsize=1024)  # a program has few, and each node writes the same again and again
def _routes(channels: tuple[str, ...]) -> _Routes:
    chosen: dict[str, None] = {}
    keys: dict[str, None] = {}
    edges: dict[str, None] = {}
    for channel in channels:
        if channel.startswith(_BRANCH):
            edges[channel] = chosen[channel[len(_BRANCH) :]] = None
        elif channel.startswith(_JOIN):
            edges[channel] = chosen[channel.rpartition(":")[2]] = None
        elif not channel.startswith(_INTERNAL) or channel == _ROOT:
            keys[channel] = None
    return _Routes(tuple(chosen), tuple(keys), tuple(edges), SENDS in channels)


def update(writes: Iterable[tuple[str, Any]], decision: Decision) -> list[tuple[str, Any]]:
    """Key and value of each write to the state, in order."""
    return [(channel, value) for channel, value in writes if channel in decision.keys]


def returned(writes: Iterable[tuple[str, Any]]) -> Any:
    """What a task of the functional API returned; None where it did not."""
    return next((value for channel, value in writes if channel == RETURN), None)
