"""Streams: items by identity, the protocol forwarded, the span ended with the stream and with what had arrived."""

import asyncio
import contextvars
import copy
import gc
import inspect
import threading
import weakref
from collections.abc import AsyncIterable, Iterable

import pytest
from opentelemetry.trace import StatusCode

import spanloom
from spanloom.span import current_scope

WHOLE = {
    "gen_ai.request.stream": True,
    "gen_ai.response.id": "c-1",
    "gen_ai.response.model": "m-1-0001",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 7,
    "gen_ai.usage.output_tokens": 2,
}
SAID = '[{"role":"assistant","finish_reason":"%s","parts":[{"type":"text","content":"%s"}]}]'
PART = {
    "gen_ai.request.stream": True,
    "gen_ai.response.id": "c-1",
    "gen_ai.response.model": "m-1-0001",
    "gen_ai.output.messages": SAID % ("unknown", "Hel"),
}


def start(stream):
    """The stream of a block that has been left."""
    with spanloom.chat("m-1") as call:
        return call.stream(stream)


class Way:
    """A stream that is consumed synchronously or asynchronously."""

    def __init__(self, kind):
        self.is_async = kind == "async"

    def source(self, chunks):
        return chunks.asynchronous() if self.is_async else chunks.sync()

    def run(self, consume):
        """`consume(list of all items, next item, close)` of a stream; each to be awaited in the async way only."""
        return asyncio.run(consume()) if self.is_async else self._exhaust(consume())

    @staticmethod
    def _exhaust(coroutine):
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("it has waited")

    async def next(self, stream):
        return await anext(stream) if self.is_async else next(stream)

    async def all(self, stream):
        return [item async for item in stream] if self.is_async else list(stream)

    async def close(self, stream):
        return await stream.aclose() if self.is_async else stream.close()


@pytest.fixture(params=["sync", "async"])
def way(request):
    return Way(request.param)


def test_a_stream_in_its_block(content, way, chunks, facts):
    async def consume():
        with spanloom.chat("m-1") as call:
            return await way.all(call.stream(way.source(chunks)))

    items = way.run(consume)

    assert all(item is given for item, given in zip(items, chunks.given, strict=True))
    assert facts(content.only("chat m-1")) == {**WHOLE, "gen_ai.output.messages": SAID % ("stop", "Hello")}


def test_without_content_the_usage_is_there_all_the_same(spans, way, chunks, facts):
    async def consume():
        with spanloom.chat("m-1") as call:
            await way.all(call.stream(way.source(chunks)))

    way.run(consume)

    assert facts(spans.only("chat m-1")) == WHOLE


def test_a_stream_that_outlives_its_block_ends_the_span(content, way, chunks, facts):
    async def consume():
        stream = start(way.source(chunks))
        assert current_scope() is None
        assert not content.spans
        first = await way.next(stream)
        assert current_scope() is None
        assert not content.spans
        return [first, *await way.all(stream)]

    assert way.run(consume) == chunks.given
    assert facts(content.only("chat m-1")) == {**WHOLE, "gen_ai.output.messages": SAID % ("stop", "Hello")}


def test_the_span_lasts_as_long_as_the_stream(way, chunks, monkeypatch):
    times = iter(range(1, 100))
    monkeypatch.setattr("opentelemetry.sdk.trace.time_ns", lambda: next(times) * 1_000_000_000)
    from spanloom import telemetry
    from spanloom.config import Config
    from spanloom.testing import Recorder

    recorder = Recorder(fixed=False)
    telemetry.use(recorder.provider, Config())

    async def consume():
        stream = start(way.source(chunks))
        for _ in range(10):
            next(times)
        await way.all(stream)

    try:
        way.run(consume)
    finally:
        telemetry.use()
    span = recorder.only("chat m-1")
    assert span.end_time - span.start_time == 11 * 1_000_000_000


def test_a_closed_stream_ends_the_span_with_what_had_arrived(content, way, chunks, facts):
    async def consume():
        stream = start(way.source(chunks))
        await way.next(stream)
        await way.close(stream)
        await way.close(stream)

    way.run(consume)

    assert facts(content.only("chat m-1")) == {**PART, "spanloom.status": "closed"}


def test_a_dropped_stream_ends_the_span_with_what_had_arrived(content, way, chunks, facts):
    async def consume():
        stream = start(way.source(chunks))
        await way.next(stream)
        del stream
        gc.collect()
        return facts(content.only("chat m-1"))

    assert way.run(consume) == {**PART, "spanloom.status": "closed"}


def test_a_stream_that_nobody_reads_ends_the_span(content, way, chunks, facts):
    stream = start(way.source(chunks))
    assert not content.spans

    del stream
    gc.collect()

    assert facts(content.only("chat m-1")) == {"spanloom.status": "closed"}


def test_a_broken_loop_in_the_block(content, way, chunks, facts):
    async def consume():
        with spanloom.chat("m-1") as call:
            if way.is_async:
                async for _ in call.stream(way.source(chunks)):
                    break
            else:
                for _ in call.stream(way.source(chunks)):
                    break
            call.set("a.b", 1)

    way.run(consume)

    assert facts(content.only("chat m-1")) == {**PART, "spanloom.status": "closed", "a.b": 1}


def failing(chunks, way, error):
    def sync():
        yield chunks.given[0]
        raise error

    async def asynchronous():
        yield chunks.given[0]
        raise error

    return asynchronous() if way.is_async else sync()


@pytest.mark.parametrize("outside", [False, True])
def test_a_stream_that_fails(content, way, chunks, facts, outside):
    error = ConnectionError("cut")

    async def consume():
        if outside:
            await way.all(start(failing(chunks, way, error)))
        else:
            with spanloom.chat("m-1") as call:
                await way.all(call.stream(failing(chunks, way, error)))

    with pytest.raises(ConnectionError) as caught:
        way.run(consume)

    assert caught.value is error
    span = content.only("chat m-1")
    assert facts(span) == {**PART, "error.type": "ConnectionError"} | {
        "gen_ai.output.messages": span.attributes["gen_ai.output.messages"]
    }
    assert "Hel" in span.attributes["gen_ai.output.messages"]
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


def test_a_failed_stream_that_the_block_has_handled_is_an_error_unless_another_one_succeeds(spans, way, chunks):
    async def consume(*, again):
        with spanloom.chat("m-1") as call:
            try:
                await way.all(call.stream(failing(chunks, way, ConnectionError("cut"))))
            except ConnectionError:
                pass
            if again:
                await way.all(call.stream(way.source(chunks)))

    way.run(lambda: consume(again=False))
    way.run(lambda: consume(again=True))

    assert [span.status.status_code for span in spans.spans] == [StatusCode.ERROR, StatusCode.UNSET]


def test_an_exception_that_leaves_the_block_ends_the_span_whatever_the_stream_does(content, way, chunks, facts):
    kept = []

    async def consume():
        with pytest.raises(ValueError, match="mine"), spanloom.chat("m-1") as call:
            kept.append(call.stream(way.source(chunks)))
            await way.next(kept[0])
            raise ValueError("mine")
        assert content.only("chat m-1").status.status_code is StatusCode.ERROR
        return await way.all(kept.pop())

    assert way.run(consume) == chunks.given[1:]
    span = content.only("chat m-1")
    assert "Hel" in span.attributes["gen_ai.output.messages"]


def test_a_cancelled_stream(content, chunks, facts):
    async def endless():
        yield chunks.given[0]
        await asyncio.Event().wait()

    async def main():
        stream = start(endless())
        await anext(stream)
        task = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert facts(content.only("chat m-1")) == {
        **PART,
        "spanloom.status": "cancelled",
    }


def test_send_and_throw_reach_a_generator(spans, way):
    class Signal(Exception):
        pass

    def sync():
        got = []
        while True:
            try:
                got.append((yield got))
            except Signal as signal:
                got.append(signal)

    async def asynchronous():
        inner = sync()
        action, argument = inner.send, None
        while True:
            try:
                action, argument = inner.send, (yield action(argument))
            except Signal as exc:
                action, argument = inner.throw, exc

    async def consume():
        stream = start(asynchronous() if way.is_async else sync())
        signal = Signal()
        if way.is_async:
            got = await stream.asend(None)
            await stream.asend(1)
            await stream.athrow(signal)
            await stream.aclose()
        else:
            got = stream.send(None)
            stream.send(1)
            stream.throw(signal)
            stream.close()
        return got == [1, signal]

    assert way.run(consume)
    assert spans.only("chat m-1").attributes["spanloom.status"] == "closed"


def test_a_generator_s_end_by_throw_is_the_span_s(spans):
    def stream():
        yield 1

    watched = start(stream())
    next(watched)
    with pytest.raises(KeyError):
        watched.throw(KeyError("x"))

    assert spans.only("chat m-1").attributes["error.type"] == "KeyError"


def test_what_the_stream_opens_is_below_its_span_wherever_it_is_consumed(spans, way):
    def sync():
        with spanloom.node("inside"):
            pass
        yield current_scope()

    async def asynchronous():
        for item in sync():
            yield item

    async def consume():
        stream = start(asynchronous() if way.is_async else sync())
        with spanloom.workflow("consumer"):
            scopes = await way.all(stream)
            assert spanloom.current().span.name == "invoke_workflow consumer"
        return scopes

    (scope,) = way.run(consume)
    assert scope is not None
    assert spans.tree() == "\nchat m-1\n  run_step inside\ninvoke_workflow consumer\n"


def test_another_task_consumes_it(content, chunks, facts):
    async def main():
        async with spanloom.chat("m-1") as call:
            stream = call.stream(chunks.asynchronous())

        async def consume():
            return [item async for item in stream]

        return (
            await asyncio.create_task(consume(), context=contextvars.Context())
            if _TASKS_TAKE_CONTEXTS
            else (await asyncio.create_task(consume()))
        )

    assert asyncio.run(main()) == chunks.given
    assert facts(content.only("chat m-1")) == {**WHOLE, "gen_ai.output.messages": SAID % ("stop", "Hello")}


_TASKS_TAKE_CONTEXTS = "context" in inspect.signature(asyncio.create_task).parameters


def test_another_thread_consumes_it_while_the_block_is_open(content, chunks, facts):
    items = []
    with spanloom.chat("m-1") as call:
        stream = call.stream(chunks.sync())
        thread = threading.Thread(target=lambda: items.extend(stream))
        thread.start()
        thread.join()
        assert current_scope() is not None

    assert items == chunks.given
    assert facts(content.only("chat m-1"))["gen_ai.usage.input_tokens"] == 7


def test_many_threads_that_end_streams_while_the_block_ends_end_the_span_once(spans):
    for _ in range(50):
        ready = threading.Barrier(4)

        def consume(stream, ready=ready):
            ready.wait()
            list(stream)

        with spanloom.chat("m-1") as call:
            threads = [threading.Thread(target=consume, args=(call.stream(iter([1])),)) for _ in range(3)]
            for thread in threads:
                thread.start()
            ready.wait()
        for thread in threads:
            thread.join()

    assert len(spans.spans) == 50
    spans.assert_closed()


class ClientStream:
    """As OpenAI's `Stream`: an iterator with a response, a context manager that closes it."""

    def __init__(self, items):
        self._items = iter(items)
        self.response = object()
        self.closed = False

    def __iter__(self):
        yield from self._items

    def __next__(self):
        return next(self._items)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True


class AsyncClientStream:
    """As OpenAI's `AsyncStream`."""

    def __init__(self, items):
        self._items = iter(items)
        self.response = object()
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        for item in self._items:
            return item
        raise StopAsyncIteration

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        self.closed = True


def test_a_client_s_stream_object_is_all_there(spans, chunks, facts):
    inner = ClientStream(chunks.given)
    stream = start(inner)

    assert isinstance(stream, ClientStream)
    assert isinstance(stream, Iterable)
    assert not isinstance(stream, AsyncIterable)
    assert stream.response is inner.response
    assert not hasattr(stream, "send")
    assert repr(stream) == repr(inner)
    stream.mark = 1
    assert inner.mark == 1
    del stream.mark
    assert not hasattr(inner, "mark")
    with stream as entered:
        assert entered is stream
        assert next(entered) is chunks.given[0]
    assert inner.closed
    assert spans.only("chat m-1").attributes["spanloom.status"] == "closed"


def test_a_client_s_async_stream_object_is_all_there(spans, chunks):
    inner = AsyncClientStream(chunks.given)

    async def main():
        stream = start(inner)
        assert isinstance(stream, AsyncClientStream)
        assert isinstance(stream, AsyncIterable)
        assert not isinstance(stream, Iterable)
        assert stream.response is inner.response
        async with stream as entered:
            assert entered is stream
            assert await anext(entered) is chunks.given[0]
        await stream.close()

    asyncio.run(main())
    assert inner.closed
    assert spans.only("chat m-1").attributes["spanloom.status"] == "closed"


def test_an_async_stream_is_closed_by_its_own_close(spans, chunks):
    inner = AsyncClientStream(chunks.given)

    async def main():
        stream = start(inner)
        closing = stream.close()
        assert not spans.spans
        await closing
        return inner.closed and len(spans.spans)

    assert asyncio.run(main()) == 1


def test_a_stream_that_is_sync_and_async(spans, chunks):
    class Both(ClientStream):
        def __aiter__(self):
            return self

        async def __anext__(self):
            for item in self._items:
                return item
            raise StopAsyncIteration

    stream = start(Both(chunks.given))
    assert next(stream) is chunks.given[0]

    async def rest():
        return [item async for item in stream]

    assert asyncio.run(rest()) == chunks.given[1:]
    assert spans.only("chat m-1").attributes["gen_ai.usage.input_tokens"] == 7


def test_lists_and_texts_are_streams_too(content, facts):
    assert list(start(["Hel", "lo"])) == ["Hel", "lo"]

    assert facts(content.only("chat m-1")) == {
        "gen_ai.request.stream": True,
        "gen_ai.output.messages": SAID % ("unknown", "Hello"),
    }


def test_what_is_no_stream_comes_back_as_it_is(spans, log):
    with spanloom.chat("m-1") as call:
        assert call.stream(5) == 5

    assert log.lines == ["call.stream() takes an iterator or an iterable, sync or async, not int."]
    assert spans.only("chat m-1")


def test_a_stream_of_a_workflow_keeps_it_open(spans):
    with spanloom.workflow("w") as call:
        stream = call.stream(iter([1, 2]))
    assert not spans.spans

    assert list(stream) == [1, 2]
    assert spans.only("invoke_workflow w").attributes.keys() == {"gen_ai.operation.name", "gen_ai.workflow.name"}


def test_two_streams_of_one_call(spans):
    with spanloom.workflow("w") as call:
        first, second = call.stream(iter([1])), call.stream(iter([2]))
    list(second)
    assert not spans.spans
    list(first)
    assert len(spans.spans) == 1


# -- decorated functions ----------------------------------------------------------------------------------------------


def test_a_decorated_generator_s_span_ends_with_it(content, way, chunks, facts):
    @spanloom.chat("m-1")
    def sync():
        yield from chunks.given

    @spanloom.chat("m-1")
    async def asynchronous():
        for chunk in chunks.given:
            yield chunk

    work = asynchronous if way.is_async else sync
    assert inspect.isasyncgenfunction(work) is way.is_async
    assert inspect.isgeneratorfunction(work) is not way.is_async

    async def consume():
        stream = work()
        assert not content.spans
        first = await way.next(stream)
        assert current_scope() is None
        return [first, *await way.all(stream)]

    assert way.run(consume) == chunks.given
    assert facts(content.only("chat m-1")) == {**WHOLE, "gen_ai.output.messages": SAID % ("stop", "Hello")}


def test_a_decorated_generator_that_streams_yields_what_it_likes(content, way, chunks, facts):
    @spanloom.chat("m-1")
    def sync():
        for chunk in spanloom.current().stream(chunks.sync()):
            yield from (choice["delta"].get("content") or "" for choice in chunk["choices"])

    @spanloom.chat("m-1")
    async def asynchronous():
        async for chunk in spanloom.current().stream(chunks.asynchronous()):
            for choice in chunk["choices"]:
                yield choice["delta"].get("content") or ""

    async def consume():
        return "".join(await way.all((asynchronous if way.is_async else sync)()))

    assert way.run(consume) == "Hello"
    assert facts(content.only("chat m-1")) == {**WHOLE, "gen_ai.output.messages": SAID % ("stop", "Hello")}


def test_a_decorated_generator_that_is_closed(spans, way, chunks):
    @spanloom.chat("m-1")
    def sync():
        yield from spanloom.current().stream(chunks.sync())

    @spanloom.chat("m-1")
    async def asynchronous():
        async for chunk in spanloom.current().stream(chunks.asynchronous()):
            yield chunk

    async def consume():
        stream = (asynchronous if way.is_async else sync)()
        await way.next(stream)
        await way.close(stream)

    way.run(consume)
    assert spans.only("chat m-1").attributes["spanloom.status"] == "closed"


def test_a_plain_function_that_returns_a_stream(content, way, chunks, facts):
    @spanloom.chat("m-1")
    def ask():
        return way.source(chunks)

    async def consume():
        stream = ask()
        assert not content.spans
        assert inspect.isasyncgen(stream) is way.is_async
        return await way.all(stream)

    assert way.run(consume) == chunks.given
    assert facts(content.only("chat m-1")) == {**WHOLE, "gen_ai.output.messages": SAID % ("stop", "Hello")}


def test_a_coroutine_that_returns_a_client_s_stream(spans, chunks, facts):
    @spanloom.chat("m-1")
    async def ask():
        return AsyncClientStream(chunks.given)

    async def main():
        stream = await ask()
        assert not spans.spans
        return [chunk async for chunk in stream]

    assert asyncio.run(main()) == chunks.given
    assert facts(spans.only("chat m-1")) == WHOLE


def test_a_function_may_return_its_own_stream(spans, chunks, facts):
    @spanloom.chat("m-1")
    def ask():
        return spanloom.current().stream(chunks.sync())

    assert list(ask()) == chunks.given
    assert facts(spans.only("chat m-1")) == WHOLE


def test_a_plain_function_that_returns_a_coroutine(spans):
    async def work():
        await asyncio.sleep(0)
        assert spanloom.current().recording
        return 5

    @spanloom.tool("t")
    def call():
        return work()

    async def main():
        coroutine = call()
        assert not spans.spans
        assert current_scope() is None
        return await coroutine

    assert asyncio.run(main()) == 5
    assert len(spans.spans) == 1


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_coroutine_that_never_runs_ends_the_span(spans):
    async def work():
        pass

    @spanloom.tool("t")
    def call():
        return work()

    call()
    gc.collect()

    assert spans.only("execute_tool t").attributes["spanloom.status"] == "closed"


def test_an_iterator_that_is_no_model_s_answer_is_a_value(spans, tmp_path):
    path = tmp_path / "x"
    path.write_text("line\n")

    @spanloom.tool
    def opened():
        return path.open()

    with opened() as file:
        assert len(spans.spans) == 1
        assert file.readlines() == ["line\n"]


def test_a_stream_keeps_every_span_that_hands_it_on(spans, way, chunks, facts):
    @spanloom.workflow
    def support():
        with spanloom.node("ask") as step:
            return step.stream(start(way.source(chunks)))

    async def consume():
        stream = support()
        assert not spans.spans
        assert inspect.isasyncgen(stream) is way.is_async
        return await way.all(stream)

    assert way.run(consume) == chunks.given
    assert (
        spans.tree("gen_ai.usage.input_tokens")
        == """
invoke_workflow support
  run_step ask
    chat m-1 [input_tokens=7]
"""
    )
    assert [span.name for span in spans.spans] == ["chat m-1", "run_step ask", "invoke_workflow support"]


def test_a_copy_of_a_stream_is_the_stream_s_own(spans):
    stream = start(iter([1]))
    assert list(copy.copy(stream)) == [1]
    assert not spans.spans
    assert list(stream) == [1]

    generator = start(item for item in [1])
    with pytest.raises(TypeError, match="generator"):
        copy.copy(generator)
    list(generator)


def test_a_stream_that_is_false_is_a_stream(spans, chunks):
    class Empty(ClientStream):
        def __bool__(self):
            return False

    assert list(start(Empty(chunks.given))) == chunks.given
    assert spans.only("chat m-1").attributes["gen_ai.usage.input_tokens"] == 7


def test_a_stream_that_was_begun_in_a_span_below_works_in_its_own(spans):
    def work():
        with spanloom.node("inside"):
            yield 1

    with spanloom.chat("m-1") as call, spanloom.node("below"):
        stream = call.stream(work())
    list(stream)

    assert spans.tree() == "\nchat m-1\n  run_step below\n  run_step inside\n"


def test_a_told_error_stays_whatever_streams_do(spans, chunks):
    with spanloom.chat("m-1") as call:
        call.error(TimeoutError("slow"))
        list(call.stream(chunks.sync()))

    assert spans.only("chat m-1").attributes["error.type"] == "TimeoutError"


def test_nothing_is_kept_of_a_stream_that_has_ended(content, chunks):
    stream = start(chunks.sync())
    scope = weakref.ref(stream._keeper._scope)
    assert scope() is not None

    list(stream)

    assert scope() is None  # without a collection: there is no cycle
    assert next(stream, None) is None


def test_what_fails_in_us_is_not_the_stream_s(spans, chunks, lenient, monkeypatch):
    def broken(self, chunk):
        raise RuntimeError("ours")

    monkeypatch.setattr("spanloom.recording.Assembler.add", broken)
    with spanloom.chat("m-1") as call:
        assert list(call.stream(chunks.sync())) == chunks.given

    assert spans.only("chat m-1").status.status_code is StatusCode.UNSET
    assert len(lenient.lines) == 1
