"""Langfuse's graph view of PocketFlow programs: the edges that it draws are those that the program went along."""

import asyncio
from itertools import count, pairwise
from random import Random

import pytest

pytest.importorskip("pocketflow")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchFlow, BatchFlow, Flow, Node

from spanloom.config import Config
from spanloom_pocketflow import PocketFlowInstrumentor


@pytest.fixture
def recorded():
    """`with recorded:` keeps the spans that end, in that order."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config())
    yield kept
    instrumentor.uninstrument()


@pytest.fixture
def drawn(recorded, exporter, langfuse, graph):
    """`drawn(batch=3)`: the edges of the one trace, sent in batches of so many spans."""

    def edges(batch=1000):
        spans = recorded.get_finished_spans()
        assert len({span.context.trace_id for span in spans}) == 1
        for first in range(0, len(spans), batch):
            exporter.export(spans[first : first + batch])
        assert len(langfuse.observations) == len(spans)
        return graph(langfuse.observations)

    return edges


class Decide(Node):
    def prep(self, shared):
        shared["asked"] = shared.get("asked", 0) + 1

    def exec(self, prep_res):
        return None

    def post(self, shared, prep_res, exec_res):
        return "search" if shared["asked"] < 3 else "answer"


class Search(Node):
    def exec(self, prep_res):
        return None


class Answer(Node):
    def post(self, shared, prep_res, exec_res):
        return None


def desk(search=None):
    decide, search = Decide(), search or Search()
    decide - "search" >> search >> decide
    decide - "answer" >> Answer()
    return Flow(start=decide)


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_a_loop_with_phases_and_several_batches(path, drawn, batch):
    desk().run({})

    assert drawn(batch) == sorted({*path("Decide Search Decide Answer")})


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_a_flow_as_a_node_in_a_loop(path, drawn, batch):
    class First(Node):
        pass

    class Last(Node):
        pass

    class Look(Flow):
        pass

    first = First()
    first >> Last()
    desk(Look(start=first)).run({})

    assert drawn(batch) == sorted({*path("Decide Look Look:First Look:Last Decide Answer")})


def test_flows_three_deep_each_the_first_node(path, drawn):
    class Outer(Flow):
        pass

    class Middle(Flow):
        pass

    class Inner(Flow):
        pass

    inner = Inner(start=Search())
    middle = Middle(start=inner)
    middle >> Answer()
    Outer(start=middle).run({})

    assert drawn(1) == path("Middle Middle:Inner Middle:Inner:Search Answer")


class Items(BatchFlow):
    def prep(self, shared):
        return [{"item": item} for item in range(3)]


def test_parameter_sets_one_after_the_other_are_a_loop(path, drawn):
    search = Search()
    search >> Answer()
    Items(start=search).run({})

    assert drawn() == sorted({*path("Search Answer"), "Answer -> Search"})


def test_parameter_sets_beside_each_other_begin_together(path, drawn):
    """The first node of one is over before another one starts."""

    class Wait(AsyncNode):
        async def exec_async(self, prep_res):
            for _ in range(self.params["item"] * 3 + 1):
                await asyncio.sleep(0)

    class Search(AsyncNode):
        pass

    class Sort(Wait):
        pass

    class Answer(Wait):
        pass

    class Together(AsyncParallelBatchFlow):
        async def prep_async(self, shared):
            return [{"item": item} for item in range(4)]

    search = Search()
    search >> Sort() >> Answer()
    asyncio.run(Together(start=search).run_async({}))

    assert drawn(4) == path("Search Sort Answer")


def test_two_nodes_of_one_class_have_two_boxes(drawn):
    first, second = Search(), Search()
    first >> second >> Answer()
    Flow(start=first).run({})

    assert drawn() == [
        "Answer -> __end__",
        "Search -> Search#1",
        "Search#1 -> Answer",
        "__start__ -> Search",
    ]


class Plan(Node):
    pass


class Write(Node):
    pass


def two_steps():
    first = Plan()
    first >> Write()
    return first


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_two_flows_with_nodes_of_one_class_have_their_own_boxes(path, drawn, batch):
    class One(Flow):
        pass

    class Two(Flow):
        pass

    first = Plan()
    first >> One(start=two_steps()) >> Two(start=two_steps()) >> Write()
    Flow(start=first).run({})

    assert drawn(batch) == path("Plan One One:Plan One:Write Two Two:Plan Two:Write Write")


@pytest.mark.parametrize("outermost", [True, False])
def test_so_have_two_flows_without_names(path, drawn, outermost):
    class Outer(Flow):
        pass

    first = Plan()
    first >> Flow(start=two_steps()) >> Flow(start=two_steps()) >> Write()
    flow = Outer(start=first)
    flow.run({}) if outermost else Flow(start=flow).run({})

    way = ["Plan", "Flow#1", "Flow#1:Plan", "Flow#1:Write", "Flow#2", "Flow#2:Plan", "Flow#2:Write", "Write"]
    assert drawn(2) == path(" ".join(way if outermost else ["Outer", *(f"Outer:{each}" for each in way)]))


def test_flows_of_parallel_parameter_sets_that_part(drawn, langfuse):
    """Each set goes another way; the flow of one is over before that of the other begins."""

    class Choose(AsyncNode):
        async def post_async(self, shared, prep_res, exec_res):
            return self.params["way"]

    class Step(AsyncNode):
        async def exec_async(self, prep_res):
            await asyncio.sleep(0)

    class Late(AsyncNode):
        async def exec_async(self, prep_res):
            for _ in range(50):
                await asyncio.sleep(0)

    class Near(AsyncFlow):
        pass

    class Far(AsyncFlow):
        pass

    class Together(AsyncParallelBatchFlow):
        async def prep_async(self, shared):
            return [{"way": "near"}, {"way": "far"}]

    choose, late = Choose(), Late()
    choose - "near" >> Near(start=Step())
    choose - "far" >> late >> Far(start=Step())
    asyncio.run(Together(start=choose).run_async({}))
    drawn(1)

    steps = {
        one.metadata["langgraph_node"]: one.metadata["langgraph_step"]
        for one in langfuse.observations
        if "langgraph_node" in one.metadata
    }
    assert steps["Far"] == steps["Late"] + 1
    assert steps["Choose"] < steps["Near"] < steps["Near:Step"]
    assert steps["Choose"] < steps["Late"] < steps["Far"] < steps["Far:Step"]
    assert steps["Near"] == steps["Late"]


def test_observations_are_called_as_their_nodes_are(drawn, langfuse):
    class One(Flow):
        pass

    Flow(start=One(start=Search())).run({})
    drawn()

    assert langfuse.called("Search").metadata["langgraph_node"] == "One:Search"
    assert langfuse.called("One").metadata["langgraph_node"] == "One"


def test_a_node_alone(path, drawn):
    Search().run({})

    assert drawn() == path("Search")


def test_a_batch_that_is_sent_again_keeps_its_places(recorded, exporter, langfuse):
    desk().run({})
    spans = recorded.get_finished_spans()
    exporter.deliver(spans[:7])
    exporter.deliver(spans)
    exporter.deliver(spans)

    places = {}
    for one in langfuse.observations:
        places.setdefault(one.id, set()).add(one.metadata.get("langgraph_step"))
    assert len(places) == len(spans)
    assert all(len(found) == 1 for found in places.values())


def test_an_async_flow_in_a_flow(path, drawn):
    class Step(AsyncNode):
        pass

    class Inner(AsyncFlow):
        pass

    inner = Inner(start=Step())

    class Begin(AsyncNode):
        pass

    begin = Begin()
    begin >> inner
    asyncio.run(AsyncFlow(start=begin).run_async({}))

    assert drawn(1) == path("Begin Inner Inner:Step")


NUMBERS = count()


def flow_of(random, depth):
    """A flow of a few nodes, some of them flows and some of one class, with ways back."""
    first, *names = f"First{next(NUMBERS)}", *(f"N{random.randrange(9)}" for _ in range(random.randrange(4)))
    made = [type(first, (Back,), {})()]
    for name in names:
        nested = depth and random.random() < 0.5
        made.append(flow_of(random, depth - 1) if nested else type(name, (Back,), {})())
    if depth and random.random() < 0.4:
        made.insert(0, flow_of(random, depth - 1))
    for before, after in pairwise(made):
        before >> after
    for place, node in enumerate(made):
        node - "back" >> random.choice(made[: place + 1])
    return type(f"Sub{random.randrange(9)}", (Flow,), {})(start=made[0])


class Back(Node):
    """Goes back a few times, and then on."""

    def post(self, shared, prep_res, exec_res):
        shared["left"] -= 1
        return "back" if shared["left"] > 0 and shared["random"].random() < 0.3 else None


@pytest.mark.filterwarnings("ignore:Flow ends")
@pytest.mark.parametrize("seed", range(25))
def test_where_nothing_runs_beside_anything_the_edges_are_the_way_that_was_gone(drawn, langfuse, path, seed):
    random = Random(seed)
    flow_of(random, 3).run({"left": 12, "random": random})
    edges = drawn(random.randint(1, 8))
    nodes = sorted(
        (one for one in langfuse.observations if "langgraph_node" in one.metadata), key=lambda one: one.start
    )
    way = ["__start__", *(one.metadata["langgraph_node"] for one in nodes), "__end__"]

    assert edges == sorted({f"{a} -> {b}" for a, b in pairwise(way)})
