"""What is known of a graph before it runs: its name, whether it is an agent, its nodes and edges.

Pure functions over a compiled graph's public attributes (`nodes`, `builder.edges`, `builder.waiting_edges`,
`builder.branches`, `config`), read once per graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom import genai
from spanloom.instrument import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

START: Final = "__start__"
END: Final = "__end__"
_TYPE_NAMES: Final = frozenset({"LangGraph", "StateGraph", "CompiledStateGraph", "Pregel", "CompiledGraph"})
_CREATE_AGENT: Final = "langchain_create_agent"  # langchain.agents.create_agent writes it into the graph's config
# Where the model nodes of `create_agent` (langchain < 1.1 marks its graphs with nothing else) and of
# `create_react_agent` are written.
_AGENT_MODULES: Final = frozenset({"langchain.agents.factory", "langgraph.prebuilt.chat_agent_executor"})
_HANDLER: Final = "__error_handler__"  # StateGraph.add_node(error_handler=...)
_NODES: Final = 256  # told of a graph's shape
_EDGES: Final = 512
_DEPTH: Final = 4  # of graphs in graphs
_REPLACED: Final = frozenset({"LastValue", "LastValueAfterFinish", "EphemeralValue", "UntrackedValue", "AnyValue"})
_TASKS: Final = 1024  # names of a graph's nodes and tasks remembered

Attributes = dict[str, "AttributeValue"]


class Start(NamedTuple):
    """How a span starts: its name and attributes."""

    span_name: str
    attributes: Attributes


class NodeFacts(NamedTuple):
    """What is known of a node.

    Attributes:
        start: its span's name and attributes. A sub-graph used as a node is its own run with the node's facts.
        graph: that sub-graph; None for any other node.
    """

    start: Start
    graph: Any


class GraphFacts:
    """What is known of one compiled graph.

    Attributes:
        start: how a run's span starts.
        is_state_graph: its edges are known, so a node that chooses no successor goes to the end.
        chooses_start: the first node is chosen by a function.
        with_handler: names of the nodes whose errors another node handles.
        replaced: the keys of the state that a write replaces; what is written to others a reducer gathers.
    """

    __slots__ = (
        "_agent",
        "_draft",
        "_graph_name",
        "_nodes",
        "_shape",
        "chooses_start",
        "is_state_graph",
        "replaced",
        "start",
        "with_handler",
    )

    def __init__(self, graph: Any, *, draft: bool) -> None:
        self._agent = is_agent(graph)
        self._graph_name = own_name(graph)
        self._draft = draft
        self._nodes: dict[str, NodeFacts] = {}
        self._shape: Attributes | None = None
        builder = getattr(graph, "builder", None)
        self.is_state_graph = builder is not None
        self.chooses_start = START in getattr(builder, "branches", ())
        self.with_handler = frozenset[str](getattr(graph, "node_error_handler_map", None) or ())  # since LangGraph 1.2
        channels = cast("Mapping[str, Any]", getattr(graph, "channels", None) or {})
        self.replaced = frozenset(key for key, channel in channels.items() if type(channel).__name__ in _REPLACED)
        self.start = self.as_node(None)

    def as_node(self, node: str | None) -> Start:
        """How its span starts where it is the node of that name in another graph; None: where it is not."""
        operation = (genai.agent if self._agent else genai.workflow)(self._graph_name or node)
        if node is not None:
            operation.attributes[names.NODE_NAME] = node
        return Start(operation.span_name, operation.attributes)

    def node(self, task: Any, pregel: type) -> NodeFacts:
        """Facts of a node or task.

        Args:
            task: one execution of it.
            pregel: the class of compiled graphs.
        """
        name: str = task.name
        facts = self._nodes.get(name)
        if facts is None or (facts.graph is not None and facts.graph is not _graph_of(task, pregel)):
            facts = self._describe_node(name, _graph_of(task, pregel))
            if len(self._nodes) < _TASKS:
                self._nodes[name] = facts
        return facts

    def _describe_node(self, name: str, graph: Any) -> NodeFacts:
        if graph is not None:
            return NodeFacts(GraphFacts(graph, draft=self._draft).as_node(name), graph)
        step = genai.step(name, draft=self._draft)
        start = Start(step.span_name, step.attributes)
        if name.startswith(_HANDLER):
            start.attributes[names.LANGGRAPH_ERROR_HANDLER_FOR] = name[len(_HANDLER) :]
        return NodeFacts(start, None)

    def shape(self, graph: Any, pregel: type) -> Attributes:
        """The graph's nodes and edges, sub-graphs included, as attributes for the outermost run."""
        if self._shape is None:
            self._shape = shape(graph, pregel)
        return self._shape


def _graph_of(task: Any, pregel: type) -> Any:
    """The sub-graph that a task runs, where it runs nothing else but what writes the result; else None."""
    steps = getattr(task.proc, "steps", None) or [task.proc]
    alone = len(steps) <= 1 + len(task.writers)
    return steps[0] if alone and isinstance(steps[0], pregel) else None


def own_name(graph: Any) -> str | None:
    """The name that the user gave to a graph: None where it is only a type's.

    A functional API entrypoint has a type's name, and one node: the user's function.
    """
    name = getattr(graph, "name", None)
    if isinstance(name, str) and name and name not in _TYPE_NAMES:
        return name
    nodes = _nodes(graph)
    return next(iter(nodes)) if len(nodes) == 1 and getattr(graph, "builder", None) is None else None


def is_agent(graph: Any) -> bool:
    """Whether a model drives the graph: made by `create_agent` or the prebuilt ReAct agent."""
    config = cast("Mapping[str, Any]", getattr(graph, "config", None) or {})
    metadata = cast("Mapping[str, Any]", config.get("metadata") or {})
    if metadata.get("ls_integration") == _CREATE_AGENT:
        return True
    return any(
        getattr(getattr(getattr(node, "bound", None), "func", None), "__module__", None) in _AGENT_MODULES
        for node in _nodes(graph).values()
    )


def shape(graph: Any, pregel: type) -> Attributes:
    """`langgraph.graph.nodes`: names, a sub-graph's as `outer:inner`; `langgraph.graph.edges`: `source -> target`.

    A conditional edge has its condition's name behind it: `source -> target [condition]`; `?` where the targets are
    not declared.
    """
    found: tuple[list[str], list[str]] = ([], [])
    _collect(graph, pregel, "", found, _DEPTH)
    nodes, edges = found
    attributes: Attributes = {}
    if nodes:
        attributes[names.LANGGRAPH_GRAPH_NODES] = nodes[:_NODES]
    if edges:
        attributes[names.LANGGRAPH_GRAPH_EDGES] = edges[:_EDGES]
    return attributes


def _collect(graph: Any, pregel: type, prefix: str, found: tuple[list[str], list[str]], depth: int) -> None:
    nodes, edges = found
    for name, node in _nodes(graph).items():
        if name == START:
            continue
        nodes.append(prefix + name)
        inner = getattr(node, "bound", None)
        if isinstance(inner, pregel) and depth > 0 and len(nodes) < _NODES:
            _collect(inner, pregel, f"{prefix}{name}:", found, depth - 1)
    builder: Any = getattr(graph, "builder", None)
    if builder is None:
        return
    for source, target in sorted(builder.edges):
        edges.append(f"{prefix}{source} -> {prefix}{target}")
    for sources, target in sorted(builder.waiting_edges):
        edges.extend(f"{prefix}{source} -> {prefix}{target}" for source in sources)
    for source, branches in builder.branches.items():
        for condition, branch in branches.items():
            ends = getattr(branch, "ends", None) or {"?": "?"}
            for target in dict.fromkeys(ends.values()):
                edges.append(f"{prefix}{source} -> {prefix}{target} [{condition}]")


def _nodes(graph: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", getattr(graph, "nodes", None) or {})
