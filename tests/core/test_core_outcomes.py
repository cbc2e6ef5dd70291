"""How a span ends: returned, failed, closed, cancelled, exited; and where an exception is told, once."""

import asyncio
import builtins
import sys
import weakref

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from spanloom.span import Scope, current_scope, error_type

ExceptionGroup = getattr(builtins, "ExceptionGroup", None)  # since 3.11


class Trouble(Exception):
    """An error with a qualified name."""


class Halt(BaseException):
    """No `Exception`, and no known way to end early."""


class Bubble(Exception):
    """Control flow of a framework."""


class MyCancelledError(asyncio.CancelledError):
    """A cancellation by another name."""


class Cancelled(BaseException):
    """As trio names its cancellation."""


def fail(bench, exc, **scope):
    with pytest.raises(type(exc)) as info, bench.scope("call", **scope):
        raise exc
    assert info.value is exc
    return bench.recorder.only("call")


def events(span):
    return [event.name for event in span.events]


def test_an_error(bench):
    span = fail(bench, Trouble("it broke"))

    kind = f"{__name__}.Trouble"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "Trouble: it broke"
    assert span.attributes == {"error.type": kind}
    (event,) = span.events
    assert event.name == "exception"
    stack = event.attributes["exception.stacktrace"]
    assert event.attributes == {
        "exception.type": kind,
        "exception.message": "it broke",
        "exception.stacktrace": stack,
    }
    assert stack.startswith("Traceback (most recent call last):\n")
    assert stack.endswith(f"{kind}: it broke\n")
    assert "raise exc" in stack


def test_error_types():
    assert error_type(ValueError("x")) == "ValueError"
    assert error_type(Trouble()) == f"{__name__}.Trouble"

    class Local(Exception):
        pass

    assert error_type(Local()).endswith("test_error_types.<locals>.Local")


def test_messages_can_be_switched_off(make_bench):
    bench = make_bench(exception_messages=False)
    span = fail(bench, Trouble("a secret"))

    assert span.status.description == "Trouble"
    (event,) = span.events
    assert event.attributes == {"exception.type": f"{__name__}.Trouble"}


def test_an_error_without_a_message(bench):
    span = fail(bench, Trouble())
    assert span.status.description == "Trouble"
    assert span.events[0].attributes["exception.message"] == ""


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (GeneratorExit(), "closed"),
        (SystemExit(3), "exited"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (MyCancelledError(), "cancelled"),
        (Cancelled(), "cancelled"),
    ],
)
def test_early_ends_are_no_errors(bench, exc, status):
    span = fail(bench, exc)
    assert span.attributes == {"spanloom.status": status}
    assert span.status.status_code is StatusCode.UNSET
    assert events(span) == []


def test_another_base_exception_is_an_error(bench):
    span = fail(bench, Halt("stop"))
    assert span.status.description == "Halt: stop"
    assert events(span) == ["exception"]


def test_control_flow_is_a_return(bench):
    class Flow(Scope):
        __slots__ = ()
        control_flow = (Bubble,)

    span = fail(bench, Bubble("up"), scope_class=Flow)
    assert (span.status.status_code, span.attributes, events(span)) == (StatusCode.UNSET, {}, [])


# -- one event, where it was raised --------------------------------------------------------------------------


def raising(exc):
    raise exc


def tree(bench):
    return bench.recorder.tree("status", "error.type", "events")


def test_parents_that_an_error_passes_get_no_second_event(bench):
    inner = bench.wrap(raising)

    def middle(exc):
        inner(exc)

    def outer(exc):
        try:
            bench.wrap(middle)(exc)
        except ValueError as caught:
            assert caught is exc
            raise

    with pytest.raises(ValueError, match="x"):
        bench.wrap(outer)(ValueError("x"))
    assert tree(bench) == (
        "\nouter [ERROR, type=ValueError]\n"
        "  middle [ERROR, type=ValueError]\n"
        "    raising [ERROR, type=ValueError, exception]\n"
    )


def test_a_new_error_from_an_old_one_is_told_where_it_is_raised(bench):
    def outer():
        try:
            bench.wrap(raising)(ValueError("cause"))
        except ValueError as exc:
            raise Trouble("effect") from exc

    def top():
        bench.wrap(outer)()

    with pytest.raises(Trouble):
        bench.wrap(top)()
    assert [(span.name, events(span)) for span in bench.recorder.spans] == [
        ("raising", ["exception"]),
        ("outer", ["exception"]),
        ("top", []),
    ]


def test_the_same_error_raised_again_later_by_a_sibling_is_not_told_twice(bench):
    error = ValueError("shared")

    def outer():
        for _ in range(2):
            try:
                bench.wrap(raising)(error)
            except ValueError:
                continue

    bench.wrap(outer)()
    assert [events(span) for span in bench.recorder.spans] == [["exception"], [], []]


def test_an_error_below_that_is_handled_leaves_the_parent_well(bench):
    def outer():
        try:
            bench.wrap(raising)(ValueError("handled"))
        except ValueError:
            return "fine"

    assert bench.wrap(outer)() == "fine"
    assert tree(bench) == "\nouter\n  raising [ERROR, type=ValueError, exception]\n"


def test_an_error_that_the_program_has_handled_is_freed_before_its_parent_ends(bench):
    seen = []

    def inner():
        raise Trouble("handled")

    def outer():
        try:
            bench.wrap(inner)()
        except Trouble as exc:
            seen.append(weakref.ref(exc))
        return seen[0]() is None

    assert bench.wrap(outer)()


def test_a_scope_without_a_span_passes_the_error_on(bench):
    def outer():
        with Scope(bench.telemetry):  # never opened
            bench.wrap(raising)(ValueError("x"))

    with pytest.raises(ValueError, match="x"):
        bench.wrap(outer)()
    assert [events(span) for span in bench.recorder.spans] == [["exception"], []]


def test_an_error_out_of_a_stream(bench):
    def stream():
        yield 1
        bench.wrap(raising)(ValueError("late"))

    def outer():
        yield from bench.wrap(stream)()

    items = bench.wrap(outer)()
    next(items)
    with pytest.raises(ValueError, match="late"):
        next(items)
    assert [(span.name, events(span)) for span in bench.recorder.spans] == [
        ("raising", ["exception"]),
        ("stream", []),
        ("outer", []),
    ]


@pytest.mark.parametrize("count", [2, 40])
def test_the_errors_of_parallel_children(bench, count):
    async def child(number):
        await asyncio.sleep(0)
        raise ValueError(str(number))

    async def parent():
        children = [bench.wrap(child)(number) for number in range(count)]
        results = await asyncio.gather(*children, return_exceptions=True)
        raise results[0]

    with pytest.raises(ValueError, match="0"):
        asyncio.run(bench.wrap(parent)())
    assert [len(span.events) for span in bench.recorder.named("child")] == [1] * count
    assert events(bench.recorder.only("parent")) == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with 3.11")
def test_a_group_is_an_error_of_its_own(bench):
    def outer():
        errors = []
        for number in range(2):
            try:
                bench.wrap(raising)(ValueError(str(number)))
            except ValueError as exc:
                errors.append(exc)
        raise ExceptionGroup("both", errors)

    with pytest.raises(ExceptionGroup):
        bench.wrap(outer)()
    assert tree(bench).startswith("\nouter [ERROR, type=ExceptionGroup, exception]\n")
    assert "ValueError: 1" in bench.recorder.only("outer").events[0].attributes["exception.stacktrace"]


# -- streams --------------------------------------------------------------------------------------------------


def three():
    for item in range(3):
        yield item


def polite():
    try:
        yield 1
    except GeneratorExit:
        return


def stubborn():
    while True:
        try:
            yield 1
        except GeneratorExit:
            continue
        except KeyError:
            return


def test_how_streams_end(bench):
    def status(function, consume):
        bench.recorder.clear()
        consume(bench.wrap(function)())
        (span,) = bench.recorder.spans
        return span.attributes.get("spanloom.status"), span.status.status_code

    def first_and_close(items):
        next(items)
        items.close()

    assert status(three, list) == (None, StatusCode.UNSET)
    assert status(three, first_and_close) == ("closed", StatusCode.UNSET)
    assert status(three, next) == ("closed", StatusCode.UNSET)  # dropped
    assert status(polite, first_and_close) == ("closed", StatusCode.UNSET)
    assert status(polite, list) == (None, StatusCode.UNSET)

    def ignored_and_then_used_up(items):
        next(items)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            items.close()
        next(items)
        with pytest.raises(StopIteration):
            items.throw(KeyError())

    assert status(stubborn, ignored_and_then_used_up) == (None, StatusCode.UNSET)


# -- order and moments ------------------------------------------------------------------------------------------


def test_the_span_ends_before_its_context_does(bench):
    seen = []

    class Watching(Scope):
        __slots__ = ()

        def describe(self):
            seen.append((current_scope() is self, trace.get_current_span() is self.span, self.span.is_recording()))
            return {"described": True}

    def stream():
        yield 1

    with bench.scope("with", scope_class=Watching):
        pass
    list(bench.wrap(stream, scope_class=Watching)())
    assert seen == [(True, True, True)] * 2
    assert [span.attributes["described"] for span in bench.recorder.spans] == [True, True]


def test_a_span_kept_open_ends_when_it_was_closed(make_bench):
    from spanloom.testing import Recorder

    bench = make_bench(Recorder(fixed=False))
    first, second = bench.scope("first"), bench.scope("second")
    with pytest.raises(ValueError, match="x"):
        try:
            first.enter()
            raise ValueError("x")
        except ValueError as exc:
            first.close(exc, end=False)
            raise
        finally:
            first.leave()
    second.close()
    assert [span.name for span in bench.recorder.spans] == ["second"]
    first.finish()
    first.finish()
    late = bench.recorder.only("first")
    assert late.end_time <= bench.recorder.only("second").end_time
    assert late.status.description == "ValueError: x"
    assert len(bench.recorder.spans) == 2


def test_the_outcome_stands_beside_the_description(bench):
    class Described(Scope):
        __slots__ = ()

        def describe(self):
            return {"mine": 1, "error.type": "overridden"}

    span = fail(bench, Trouble("x"), scope_class=Described)
    assert span.attributes == {"mine": 1, "error.type": f"{__name__}.Trouble"}
