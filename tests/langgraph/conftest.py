"""LangGraph under instrumentation: a recorder to look at, content on or off, and words to write small programs with."""

import asyncio
import functools
import importlib.util
import itertools
import operator
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Annotated

import pytest
from typing_extensions import TypedDict

from spanloom.config import Config

if importlib.util.find_spec("langgraph") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from langgraph.graph import END, START, StateGraph

    from spanloom_langgraph import LangGraphInstrumentor


@contextmanager
def instrumented(provider, config=None):
    """LangGraph is traced inside, and not any more behind."""
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=config or Config())
    try:
        yield instrumentor
    finally:
        instrumentor.uninstrument()


@pytest.fixture
def on(recorder):
    """`with on(Config(...)):` traces into `recorder`, or into another one: `with on(provider=...)`."""

    def switch(config=None, provider=None):
        return instrumented(provider or recorder.provider, config)

    return switch


@pytest.fixture
def spans(recorder):
    """The recorder, with LangGraph traced into it and no content captured."""
    with instrumented(recorder.provider):
        yield recorder


@pytest.fixture
def content(recorder):
    """The same with content captured."""
    with instrumented(recorder.provider, Config(content=True)):
        yield recorder


class State(TypedDict):
    """What the programs' nodes read and write."""

    x: Annotated[list, operator.add]


def build(nodes, *edges, conditions=(), state=None, **options):
    """A compiled graph.

    Args:
        nodes: by name, what `add_node` takes; with options as a pair of it and a dict.
        edges: "START > a > b" for edges, "a + b > c" for one that waits for both.
        conditions: pairs of a source and the other arguments of `add_conditional_edges`.
        state: its state's type, default: a list `x` that grows.
        options: as `compile` takes them.
    """
    builder = StateGraph(state or State)
    for name, node in nodes.items():
        function, settings = node if isinstance(node, tuple) else (node, {})
        builder.add_node(name, function, **settings)
    words = {"START": START, "END": END}
    for path in edges:
        stops = [[words.get(name.strip(), name.strip()) for name in stop.split("+")] for stop in path.split(">")]
        for sources, (target,) in itertools.pairwise(stops):
            builder.add_edge(sources[0] if len(sources) == 1 else sources, target)
    for source, *rest in conditions:
        builder.add_conditional_edges(source, *rest)
    return builder.compile(**options)


@pytest.fixture(name="build")
def _build():
    """`build({"a": node, "b": (node, {"defer": True})}, "START > a > b", ...)`: a compiled graph."""
    return build


@pytest.fixture
def own(recorder):
    """`with own("name"):` a span that the program opens itself."""
    return recorder.provider.get_tracer("program").start_as_current_span


class Way:
    """A way to run a program: synchronously, asynchronously, or with sync nodes in an async run."""

    def __init__(self, kind, own):
        self.kind = kind
        self.is_async = kind != "sync"
        self._own = own

    def node(self, function):
        """A function as a node of this way."""
        if self.kind != "async":
            return function

        @functools.wraps(function)
        async def node(*args, **kwargs):
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        return node

    def step(self, name, then=None):
        """A node that opens a span `in NAME` and adds its name to the state; returns `then(state)`, if there is one."""

        def step(state):
            with self._own(f"in {name}"):
                return {"x": [name]} if then is None else then(state)

        return self.node(step)

    def steps(self, names):
        """Such nodes by name: `steps("abc")`."""
        return {name: self.step(name) for name in names}

    def invoke(self, runnable, *args, **kwargs):
        """`invoke`, or `ainvoke` to its end."""
        if self.is_async:
            return asyncio.run(runnable.ainvoke(*args, **kwargs))
        return runnable.invoke(*args, **kwargs)

    def stream(self, runnable, *args, **kwargs):
        """All that `stream` or `astream` yields."""

        async def items():
            return [item async for item in runnable.astream(*args, **kwargs)]

        return asyncio.run(items()) if self.is_async else list(runnable.stream(*args, **kwargs))


@pytest.fixture(params=["sync", "async", "mixed"])
def way(request, own):
    """The test runs once each way."""
    return Way(request.param, own)


@pytest.fixture
def asking(way):
    """A way for nodes that call `interrupt`, which they cannot in async runs before Python 3.11."""
    if way.is_async and sys.version_info < (3, 11):
        pytest.skip("nodes of async runs cannot interrupt before Python 3.11")
    return way


@pytest.fixture
def sync_way(own):
    """For programs that are written synchronously only."""
    return Way("sync", own)


@pytest.fixture
def async_way(own):
    """For programs that are written asynchronously only."""
    return Way("async", own)


def sort(text):
    """A tree's text with siblings in alphabetical order, for what runs in parallel."""

    def parsed(lines, depth):
        groups = []
        for line in lines:
            if line.startswith("  " * depth) and not line.startswith("  " * (depth + 1)):
                groups.append([line, []])
            else:
                groups[-1][1].append(line)
        return sorted([head, *parsed(below, depth + 1)] for head, below in groups)

    def flat(groups):
        for group in groups:
            yield group if isinstance(group, str) else "\n".join(flat(group))

    return "\n" + "\n".join(flat(parsed(text.strip("\n").splitlines(), 0))) + "\n"


@pytest.fixture(scope="session")
def unordered():
    """`unordered(recorder.tree())`: siblings in alphabetical order."""
    return sort


@pytest.fixture
def links(recorder):
    """`links("run_step c")`: names of the spans that the only span of that name links to, sorted; or of a span."""

    def linked(span):
        if isinstance(span, str):
            span = recorder.only(span)
        by_id = {each.context.span_id: each.name for each in recorder.spans}
        return sorted(by_id[link.context.span_id] for link in span.links)

    return linked


@pytest.fixture(scope="session")
def events():
    """`events(span)`: the span's events as pairs of name and attributes."""
    return lambda span: [(event.name, dict(event.attributes or {})) for event in span.events]


@pytest.fixture(scope="session")
def without():
    """`without(mapping, *keys)`: the rest of it."""

    def rest(mapping: Mapping, *keys):
        return {key: value for key, value in mapping.items() if key not in keys}

    return rest
