"""Our frames between two of the program's: not in its warnings, and from Python 3.11 on not in its tracebacks."""

import asyncio
import sys
import traceback
import warnings

import pytest

from spanloom.frames import UNSEEN
from spanloom.instrument import Patches
from spanloom.span import Scope
from spanloom.wrapping import Begun


class Library:
    """Blames its caller, as libraries do."""

    def plain(self, fail=False):
        warnings.warn("plain is old", DeprecationWarning, stacklevel=2)
        if fail:
            raise ValueError("plain")

    async def coroutine(self, fail=False):
        warnings.warn("coroutine is old", DeprecationWarning, stacklevel=2)
        if fail:
            raise ValueError("coroutine")

    def generator(self, fail=False):
        warnings.warn("generator is old", DeprecationWarning, stacklevel=2)
        yield 1
        if fail:
            raise ValueError("generator")

    async def async_generator(self, fail=False):
        warnings.warn("async_generator is old", DeprecationWarning, stacklevel=2)
        yield 1
        if fail:
            raise ValueError("async_generator")


async def collect(stream):
    return [item async for item in stream]


CALLS = {
    "plain": lambda fail: Library().plain(fail),
    "coroutine": lambda fail: asyncio.run(awaiting(fail)),
    "generator": lambda fail: list(Library().generator(fail)),
    "async_generator": lambda fail: asyncio.run(collect(Library().async_generator(fail))),
}


async def awaiting(fail):
    await Library().coroutine(fail)


def blamed(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name](False)
    return [(str(one.message), one.filename, one.lineno) for one in caught]


def passed(name):
    """The functions that the traceback of a failing call shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            CALLS[name](True)
        except ValueError as exc:
            return [frame.name for frame in traceback.extract_tb(exc.__traceback__)]
    return None


@pytest.fixture(params=["observed", "unobserved", "before"])
def patched(request, bench):
    patches = Patches()

    def begin(*args, **kwargs):
        return Begun(Scope(bench.telemetry).open("call"), args) if request.param == "observed" else None

    def patch():
        for name in CALLS:
            if request.param == "before":
                patches.before(Library, name, lambda *_args, **_kwargs: None, "nothing")
            else:
                patches.wrap(Library, name, begin, "nothing")

    yield patch
    patches.restore()


@pytest.mark.parametrize("name", CALLS)
def test_a_warning_blames_whom_it_blames_without_us(patched, name):
    without = blamed(name)
    assert len(without) == 1
    patched()
    assert blamed(name) == without


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python raises again with the traceback it had saved")
def test_a_traceback_is_as_without_us(patched, name):
    without = passed(name)
    patched()
    assert passed(name) == without


@pytest.mark.parametrize("name", CALLS)
def test_the_recorded_stack_begins_in_the_program(bench, patched, name, request):
    patched()
    passed(name)
    if "observed" in request.node.callspec.id.split("-") and bench.recorder.spans:
        (event,) = bench.recorder.only("call").events
        assert UNSEEN not in event.attributes["exception.stacktrace"]
        assert f"in {name}" in event.attributes["exception.stacktrace"]
