"""The boundary: swallows `Exception` only, logs once per site, raises in spanloom's own tests."""

import logging
import threading

import pytest

from spanloom.guard import LOG, guarded, set_strict, swallow


def test_once_per_site(lenient):
    for number in range(3):
        swallow("one", "the first thing", ValueError(number))
        with guarded("two", "the second thing"):
            raise KeyError(number)
    assert lenient.lines == [
        "spanloom lost the first thing (one: ValueError(0)). The program is not affected; this is logged once.",
        "spanloom lost the second thing (two: KeyError(0)). The program is not affected; this is logged once.",
    ]


def test_a_block_that_works_is_left_alone(lenient):
    with guarded("site", "nothing"):
        done = True
    assert done
    assert lenient.lines == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_never_what_is_no_exception(lenient, error):
    with pytest.raises(error), guarded("site", "nothing"):
        raise error
    assert lenient.lines == []


def test_strict_raises_the_error_itself(log):
    error = ValueError("ours")
    with pytest.raises(ValueError, match="ours") as info, guarded("strict site", "something"):
        raise error
    assert info.value is error
    with pytest.raises(ValueError, match="ours") as info:
        swallow("strict site", "something", error)
    assert info.value is error
    assert log.lines == []


def test_a_strict_failure_does_not_use_up_the_line_of_its_site(lenient):
    set_strict(True)
    with pytest.raises(ValueError, match="first"):
        swallow("site", "something", ValueError("first"))
    set_strict(False)
    swallow("site", "something", ValueError("second"))
    assert len(lenient.lines) == 1


def test_the_traceback_comes_at_debug_only(lenient, caplog):
    with guarded("quiet", "something"):
        raise ValueError
    caplog.set_level(logging.DEBUG, logger="spanloom")
    with guarded("loud", "something"):
        raise ValueError
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


class BrokenHandler(logging.Handler):
    """Raises from everything, as a handler of a user's may."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def handle(self, record):
        raise self.error


def test_a_broken_log_handler_is_survived(lenient):
    handler = BrokenHandler(OSError("disk full"))
    LOG.addHandler(handler)
    try:
        with guarded("site", "something"):
            raise ValueError
    finally:
        LOG.removeHandler(handler)


def test_an_interrupt_inside_a_log_handler_is_the_user_s(lenient):
    handler = BrokenHandler(KeyboardInterrupt())
    LOG.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt), guarded("site", "something"):
            raise ValueError
    finally:
        LOG.removeHandler(handler)


def test_an_error_that_cannot_be_printed(lenient, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)

    class Unprintable(Exception):
        def __repr__(self):
            raise RuntimeError("no")

    handler = logging.StreamHandler(open("/dev/null", "w"))
    LOG.addHandler(handler)
    LOG.propagate = False  # pytest's own handler raises what it meets
    try:
        with guarded("site", "something"):
            raise Unprintable
    finally:
        LOG.propagate = True
        LOG.removeHandler(handler)
        handler.stream.close()


def test_one_line_from_many_threads(lenient):
    ready = threading.Barrier(8)

    def work():
        ready.wait()
        for _ in range(50):
            swallow("shared", "something", ValueError())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lenient.lines) == 1
