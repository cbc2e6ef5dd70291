"""Spans of the program's own, kept by a recorder; and one way to run every kind of call."""

import asyncio

import pytest

from spanloom import telemetry
from spanloom.config import Config


@pytest.fixture
def on(recorder):
    """`on(Config(...))`, `on(provider=...)`: from here on, spans of the program's own go there."""

    def switch(config=None, provider=None):
        telemetry.use(provider or recorder.provider, config or Config())

    yield switch
    telemetry.use()


@pytest.fixture
def spans(recorder, on):
    """The recorder; no content is captured."""
    on()
    return recorder


@pytest.fixture
def content(recorder, on):
    """The same with content captured."""
    on(Config(content=True))
    return recorder


class Shape:
    """A way to use what `spanloom.chat(...)` and the like return: in a block, or around a function of some kind.

    `run(traced, inside)` calls `inside(call)` within the span and returns the call's result.
    """

    def __init__(self, name):
        self.name = name

    def run(self, traced, inside):
        return getattr(self, self.name)(traced, inside)

    @staticmethod
    def block(traced, inside):
        with traced as call:
            return inside(call)

    @staticmethod
    def async_block(traced, inside):
        async def main():
            async with traced as call:
                await asyncio.sleep(0)
                return inside(call)

        return asyncio.run(main())

    @staticmethod
    def function(traced, inside):
        import spanloom

        @traced
        def work():
            return inside(spanloom.current())

        return work()

    @staticmethod
    def coroutine(traced, inside):
        import spanloom

        @traced
        async def work():
            await asyncio.sleep(0)
            return inside(spanloom.current())

        return asyncio.run(work())

    @staticmethod
    def generator(traced, inside):
        import spanloom

        @traced
        def work():
            yield inside(spanloom.current())

        (result,) = work()
        return result

    @staticmethod
    def async_generator(traced, inside):
        import spanloom

        @traced
        async def work():
            await asyncio.sleep(0)
            yield inside(spanloom.current())

        async def main():
            return [item async for item in work()]

        (result,) = asyncio.run(main())
        return result

    @staticmethod
    def method(traced, inside):
        import spanloom

        class Worker:
            @traced
            def work(self):
                assert isinstance(self, Worker)
                return inside(spanloom.current())

        return Worker().work()

    @staticmethod
    def static_method(traced, inside):
        import spanloom

        class Worker:
            @traced
            @staticmethod
            def work():
                return inside(spanloom.current())

        return Worker.work()

    @staticmethod
    def class_method(traced, inside):
        import spanloom

        class Worker:
            @classmethod
            @traced
            def work(cls):
                return inside(spanloom.current())

        return Worker().work()


SHAPES = [name for name in vars(Shape) if not name.startswith("_") and name != "run"]


@pytest.fixture(params=SHAPES)
def shape(request):
    """The test runs once with each."""
    return Shape(request.param)


class Chunks:
    """Chunks of a streamed chat completion, as plain dicts: two texts, a finish reason, the usage."""

    head = {"id": "c-1", "model": "m-1-0001", "object": "chat.completion.chunk"}

    def __init__(self):
        self.given = [
            {**self.head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]},
            {**self.head, "choices": [{"index": 0, "delta": {"content": "lo"}}]},
            {**self.head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**self.head, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
        ]

    def sync(self):
        yield from self.given

    async def asynchronous(self):
        for chunk in self.given:
            await asyncio.sleep(0)
            yield chunk


@pytest.fixture
def chunks():
    """A streamed answer: `chunks.given`, and generators of these."""
    return Chunks()


@pytest.fixture(scope="session")
def facts():
    """`facts(span)`: its attributes without those that its operation starts with."""
    started = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")

    def rest(span):
        found = {key: value for key, value in span.attributes.items() if key not in started}
        if "gen_ai.response.time_to_first_chunk" in found:
            assert found.pop("gen_ai.response.time_to_first_chunk") > 0
        return found

    return rest
