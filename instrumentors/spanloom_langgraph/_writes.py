"""What a task decided, read from the writes that LangGraph keeps of it.

After a task has run, `task.writes` holds its state update and its routing as pairs of channel and value: the channel
`branch:to:<node>` names a chosen successor, `join:<a>+<b>:<node>` a waiting edge, `__pregel_tasks` a `Send`
(`langgraph.graph.state.CompiledStateGraph.attach_node`, `attach_edge`, `attach_branch`; the same since 0.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        update: channel and value of each write to the state, in order.
        edges: the channels that trigger successors, without repetitions.
    """

    next: list[str]
    sends: list[str]
    update: list[tuple[str, Any]]
    edges: list[str]


def read(writes: Iterable[tuple[str, Any]]) -> Decision:
    """Sort the writes of a task (`PregelExecutableTask.writes`)."""
    decision = Decision([], [], [], [])
    chosen, sends, update, edges = decision
    for channel, value in writes:
        if channel.startswith(_BRANCH):
            target = channel[len(_BRANCH) :]
        elif channel.startswith(_JOIN):
            target = channel.rpartition(":")[2]
        elif channel == SENDS:
            sends.append(getattr(value, "node", ""))
            continue
        else:
            if not channel.startswith(_INTERNAL) or channel == _ROOT:
                update.append((channel, value))
            continue
        if channel not in edges:  # a router may name a target twice
            edges.append(channel)
            if target not in chosen:
                chosen.append(target)
    return decision


def returned(writes: Iterable[tuple[str, Any]]) -> Any:
    """What a task of the functional API returned; None where it did not."""
    return next((value for channel, value in writes if channel == RETURN), None)
