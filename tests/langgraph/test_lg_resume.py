"""A resumed run links to the one that it goes on with, and tells the checkpoint that it starts from."""

import pickle
import textwrap

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command, interrupt

from spanloom.config import Config

SHOWN = ("status", "spanloom.status", "events")
THREAD = {"configurable": {"thread_id": "1"}}


def ask(state):
    return {"x": [interrupt("name?")]}


@pytest.fixture
def form(build, asking):
    """A graph whose second node asks."""
    return build(
        {"a": asking.step("a"), "ask": asking.node(ask), "b": asking.step("b")},
        "START > a > ask > b",
        checkpointer=InMemorySaver(),
    )


def runs(spans, name="invoke_workflow"):
    return [span for span in spans.spans if span.name == name]


def linked(spans, name="invoke_workflow"):
    """Of each run, in order: the places of the runs that it links to."""
    found = runs(spans, name)
    place = {span.context.span_id: number for number, span in enumerate(found)}
    return [[place[link.context.span_id] for link in span.links] for span in found]


def checkpoint(graph):
    return graph.get_state(THREAD).config["configurable"]["checkpoint_id"]


def test_an_interrupted_run(spans, form, asking, events):
    asking.invoke(form, {"x": []}, THREAD)
    stopped = checkpoint(form)
    assert asking.invoke(form, Command(resume="Ann"), THREAD) == {"x": ["a", "Ann", "b"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [status=interrupted]
  run_step a
    in a
  run_step ask [status=interrupted, langgraph.interrupt]
invoke_workflow [langgraph.resume]
  run_step ask
  run_step b
    in b
"""
    )
    first, second = runs(spans)
    assert first.context.trace_id != second.context.trace_id
    assert linked(spans) == [[], [0]]
    assert second.attributes["langgraph.checkpoint.resumed_from"] == stopped
    assert events(second) == [("langgraph.resume", {"langgraph.checkpoint.id": stopped})]
    assert second.attributes["langgraph.checkpoint.id"] == checkpoint(form) != stopped
    assert "langgraph.checkpoint.resumed_from" not in first.attributes


@pytest.mark.parametrize("when", [{"interrupt_before": ["b"]}, {"interrupt_after": ["a"]}], ids=str)
def test_a_run_that_stops_before_or_after_a_node(spans, build, way, when):
    graph = build(way.steps("abc"), "START > a > b > c", checkpointer=InMemorySaver(), **when)
    way.invoke(graph, {"x": []}, THREAD)
    assert way.invoke(graph, None, THREAD) == {"x": ["a", "b", "c"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [status=interrupted, langgraph.interrupt]
  run_step a
    in a
invoke_workflow [langgraph.resume]
  run_step b
    in b
  run_step c
    in c
"""
    )
    assert linked(spans) == [[], [0]]


def test_a_run_that_stops_again_and_again(spans, build, asking):
    graph = build({"one": asking.node(ask), "two": asking.node(ask)}, "START > one > two", checkpointer=InMemorySaver())
    asking.invoke(graph, {"x": []}, THREAD)
    asking.invoke(graph, Command(resume=1), THREAD)
    assert asking.invoke(graph, Command(resume=2), THREAD) == {"x": [1, 2]}
    assert linked(spans) == [[], [0], [1]]


def test_two_interrupts_of_one_node(spans, build, asking):
    """The node runs anew each time; the second interrupt belongs to the run that answered the first."""

    def twice(state):
        return {"x": [interrupt("first?"), interrupt("second?")]}

    graph = build({"twice": asking.node(twice)}, "START > twice", checkpointer=InMemorySaver())
    asking.invoke(graph, {"x": []}, THREAD)
    asking.invoke(graph, Command(resume=1), THREAD)
    assert asking.invoke(graph, Command(resume=2), THREAD) == {"x": [1, 2]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [status=interrupted]
  run_step twice [status=interrupted, langgraph.interrupt]
invoke_workflow [status=interrupted, langgraph.resume]
  run_step twice [status=interrupted, langgraph.interrupt]
invoke_workflow [langgraph.resume]
  run_step twice
"""
    )
    assert linked(spans) == [[], [0], [1]]


def test_several_interrupts_answered_at_once_or_one_by_one(spans, build, asking):
    graph = build(
        {"one": asking.node(ask), "two": asking.node(ask)},
        "START > one",
        "START > two",
        checkpointer=InMemorySaver(),
    )
    first, second = asking.invoke(graph, {"x": []}, THREAD)["__interrupt__"]
    asking.invoke(graph, Command(resume={first.id: 1}), THREAD)
    assert sorted(asking.invoke(graph, Command(resume={second.id: 2}), THREAD)["x"]) == [1, 2]
    assert linked(spans) == [[], [0], [1]]
    assert len(runs(spans, "run_step one") + runs(spans, "run_step two")) == 5


def test_graphs_below(spans, build, asking):
    """Each resumed graph links to its own interrupted run."""
    inner = build({"a": asking.step("a"), "ask": asking.node(ask)}, "START > a > ask", name="Inner")
    outer = build({"sub": inner, "b": asking.step("b")}, "START > sub > b", name="Outer", checkpointer=InMemorySaver())
    asking.invoke(outer, {"x": []}, THREAD)
    asking.invoke(outer, Command(resume="Ann"), THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=interrupted]
  invoke_workflow Inner [status=interrupted]
    run_step a
      in a
    run_step ask [status=interrupted, langgraph.interrupt]
invoke_workflow Outer [langgraph.resume]
  invoke_workflow Inner [langgraph.resume]
    run_step ask
  run_step b
    in b
"""
    )
    assert linked(spans, "invoke_workflow Outer") == linked(spans, "invoke_workflow Inner") == [[], [0]]


def test_a_called_graph(spans, build, sync_way):
    inner = build({"ask": ask}, "START > ask", name="Inner")
    outer = build(
        {"call": lambda state: inner.invoke(state)}, "START > call", name="Outer", checkpointer=InMemorySaver()
    )
    outer.invoke({"x": []}, THREAD)
    outer.invoke(Command(resume="Ann"), THREAD)
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow Outer [status=interrupted]
  run_step call [status=interrupted]
    invoke_workflow Inner [status=interrupted]
      run_step ask [status=interrupted, langgraph.interrupt]
invoke_workflow Outer [langgraph.resume]
  run_step call
    invoke_workflow Inner [langgraph.resume]
      run_step ask
"""
    )
    assert linked(spans, "invoke_workflow Outer") == linked(spans, "invoke_workflow Inner") == [[], [0]]


@pytest.mark.parametrize("updates", [1, 3])
def test_a_state_that_was_changed_in_between(spans, build, way, updates):
    graph = build(way.steps("abc"), "START > a > b > c", checkpointer=InMemorySaver(), interrupt_before=["b"])
    way.invoke(graph, {"x": []}, THREAD)
    for number in range(updates):
        graph.update_state(THREAD, {"x": [number]})
    assert way.invoke(graph, None, THREAD) == {"x": ["a", *range(updates), "b", "c"]}
    assert linked(spans) == [[], [0]]


def test_a_new_input_is_no_resume(spans, build, way):
    graph = build(way.steps("ab"), "START > a > b", checkpointer=InMemorySaver(), interrupt_before=["b"])
    way.invoke(graph, {"x": []}, THREAD)
    way.invoke(graph, {"x": ["new"]}, THREAD)
    assert linked(spans) == [[], []]
    assert [[event.name for event in span.events] for span in runs(spans)] == [["langgraph.interrupt"]] * 2


def test_what_an_ended_run_left_is_not_resumed(spans, build, way):
    """The interrupted run of long ago has nothing to do with a run that starts from a later checkpoint."""
    graph = build(way.steps("ab"), "START > a > b", checkpointer=InMemorySaver())
    way.invoke(graph, {"x": []}, THREAD, interrupt_before=["b"])
    way.invoke(graph, None, THREAD)
    way.invoke(graph, {"x": ["new"]}, THREAD)
    graph.update_state(THREAD, {"x": ["more"]}, as_node="a")
    way.invoke(graph, None, THREAD)
    assert linked(spans) == [[], [0], [], []]


def test_the_same_thread_of_another_graph_is_another_one(spans, build, way):
    graphs = [
        build(way.steps("ab"), "START > a > b", checkpointer=InMemorySaver(), interrupt_before=["b"]) for _ in range(2)
    ]
    way.invoke(graphs[0], {"x": []}, THREAD)
    graphs[1].update_state(THREAD, {"x": ["made"]}, as_node="a")
    way.invoke(graphs[1], None, THREAD, interrupt_before=[])
    assert linked(spans) == [[], []]


def test_a_failed_run_that_is_taken_up_again(spans, build, way, events):
    tries = []

    def flaky(state):
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")
        return {"x": ["done"]}

    graph = build({"a": way.step("a"), "flaky": way.node(flaky)}, "START > a > flaky", checkpointer=InMemorySaver())
    with pytest.raises(ValueError, match="once"):
        way.invoke(graph, {"x": []}, THREAD)
    assert way.invoke(graph, None, THREAD) == {"x": ["a", "done"]}
    assert (
        spans.tree(*SHOWN)
        == """
invoke_workflow [ERROR]
  run_step a
    in a
  run_step flaky [ERROR, exception]
invoke_workflow [langgraph.resume]
  run_step flaky
"""
    )
    assert linked(spans) == [[], [0]]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_whenever_it_is_saved(spans, build, way, durability):
    graph = build(way.steps("ab"), "START > a > b", checkpointer=InMemorySaver(), interrupt_before=["b"])
    way.invoke(graph, {"x": []}, THREAD, durability=durability)
    stopped = checkpoint(graph)
    way.invoke(graph, None, THREAD, durability=durability)
    assert linked(spans) == [[], [0]]
    assert [span.attributes["langgraph.checkpoint.id"] for span in runs(spans)] == [stopped, checkpoint(graph)]


def test_a_stream_that_was_left(spans, build, sync_way):
    graph = build(sync_way.steps("abc"), "START > a > b > c", checkpointer=InMemorySaver())
    for _ in graph.stream({"x": []}, THREAD, durability="sync"):
        break
    graph.invoke(None, THREAD)
    assert linked(spans) == [[], [0]]


def test_a_run_that_had_too_few_steps(spans, build, way):
    graph = build(way.steps("abc"), "START > a > b > c", checkpointer=InMemorySaver())
    with pytest.raises(GraphRecursionError):
        way.invoke(graph, {"x": []}, {**THREAD, "recursion_limit": 2})
    assert way.invoke(graph, None, THREAD) == {"x": ["a", "b", "c"]}
    assert linked(spans) == [[], [0]]


def test_back_in_time(spans, build, way):
    """A run from an older checkpoint links to a run only if that one stopped there."""
    graph = build(way.steps("abc"), "START > a > b > c", checkpointer=InMemorySaver(), interrupt_before=["c"])
    way.invoke(graph, {"x": []}, THREAD)
    stopped = checkpoint(graph)
    before_b = next(state for state in graph.get_state_history(THREAD) if state.next == ("b",))
    way.invoke(graph, None, THREAD)
    way.invoke(graph, None, before_b.config, interrupt_before=[])
    way.invoke(graph, None, {"configurable": {**THREAD["configurable"], "checkpoint_id": stopped}})
    assert linked(spans) == [[], [0], [], [0]]
    assert [span.attributes.get("langgraph.checkpoint.resumed_from") for span in runs(spans)] == [
        None,
        stopped,
        before_b.config["configurable"]["checkpoint_id"],
        stopped,
    ]


def test_a_run_of_which_nobody_wanted_a_span(recorder, on, form, asking):
    """The interrupted run was not traced: the resumed one says so by its event, and links to nothing."""
    asking.invoke(form, {"x": []}, THREAD)
    with on():
        asking.invoke(form, Command(resume="Ann"), THREAD)
    assert linked(recorder) == [[]]
    assert [event.name for event in recorder.only("invoke_workflow").events] == ["langgraph.resume"]


def test_content_of_a_resume(content, form, asking):
    asking.invoke(form, {"x": []}, THREAD)
    asking.invoke(form, Command(resume="Ann", update={"x": ["more"]}), THREAD)
    second = runs(content)[1]
    assert second.attributes["spanloom.input"] == '{"resume":"Ann","update":{"x":["more"]}}'


# -- in another process -------------------------------------------------------------------------------------------


def metadata(saver):
    return [saved.metadata for saved in saver.list(THREAD)]


def test_what_is_saved_does_not_change(recorder, on, build, way):
    graph = build(way.steps("ab"), "START > a > b", checkpointer=(saver := InMemorySaver()), interrupt_before=["b"])
    way.invoke(graph, {"x": []}, THREAD)
    plain = metadata(saver)
    saver.delete_thread("1")
    with on():
        way.invoke(graph, {"x": []}, THREAD)
    assert metadata(saver) == plain


def test_the_span_is_saved_where_the_user_allows_it(recorder, on, build, way):
    saver = InMemorySaver()
    graph = build(way.steps("ab"), "START > a > b", checkpointer=saver, interrupt_before=["b"])
    config = {**THREAD, "metadata": {"mine": 1}}
    with on(Config(langgraph_checkpoint_context=True)):
        way.invoke(graph, {"x": []}, config)
    span = recorder.only("invoke_workflow")
    expected = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert [(each["traceparent"], each["mine"]) for each in metadata(saver)] == [(expected, 1)] * len(metadata(saver))
    assert config == {**THREAD, "metadata": {"mine": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [True, False])
def test_a_resume_in_another_process(workshop, recorder, on, build, sync_way, allowed):
    """The interrupted run was another process's: another instrumentation, which remembers nothing."""
    program = """
        import operator, pickle, sys
        from typing import Annotated, TypedDict
        from langgraph.checkpoint.memory import InMemorySaver
        from langgraph.graph import START, StateGraph
        from spanloom.config import Config
        from spanloom.testing import Recorder
        from spanloom_langgraph import LangGraphInstrumentor

        class State(TypedDict):
            x: Annotated[list, operator.add]

        saver = InMemorySaver()
        builder = StateGraph(State)
        builder.add_node("a", lambda state: {"x": ["a"]})
        builder.add_node("b", lambda state: {"x": ["b"]})
        builder.add_edge(START, "a")
        builder.add_edge("a", "b")
        recorder = Recorder(fixed=False)
        config = Config(langgraph_checkpoint_context=ALLOWED)
        LangGraphInstrumentor().instrument(tracer_provider=recorder.provider, config=config)
        graph = builder.compile(checkpointer=saver, interrupt_before=["b"])
        graph.invoke({"x": []}, {"configurable": {"thread_id": "1"}})
        span = recorder.only("invoke_workflow").context
        storage = {thread: {ns: dict(saved) for ns, saved in of.items()} for thread, of in saver.storage.items()}
        writes = {key: dict(of) for key, of in saver.writes.items()}
        kept = {"storage": storage, "writes": writes, "blobs": dict(saver.blobs)}
        pickle.dump(((span.trace_id, span.span_id), kept), open("saved.pickle", "wb"))
    """
    written = workshop.write("first.py", textwrap.dedent(program).replace("ALLOWED", str(allowed)))
    ran = workshop.plain(written)
    assert (ran.code, ran.out) == (0, ""), ran.err
    stopped, kept = pickle.loads((workshop.folder / "saved.pickle").read_bytes())
    saver = InMemorySaver()
    for thread, of in kept["storage"].items():
        for namespace, saved in of.items():
            saver.storage[thread][namespace].update(saved)
    for key, writes in kept["writes"].items():
        saver.writes[key].update(writes)
    saver.blobs.update(kept["blobs"])
    graph = build(sync_way.steps("ab"), "START > a > b", checkpointer=saver)
    with on():  # what was saved is read in any case
        assert graph.invoke(None, THREAD) == {"x": ["a", "b"]}
    second = recorder.only("invoke_workflow")
    assert [(link.context.trace_id, link.context.span_id) for link in second.links] == ([stopped] if allowed else [])
    assert all(link.context.is_remote for link in second.links)
    assert [event.name for event in second.events] == ["langgraph.resume"]
