"""Programs with errors, retries, fallbacks and warnings behave as without us."""

import sys
import warnings

import pocketflow as pf
import pytest


class Refused(Exception):
    def __init__(self, code, *, hint):
        super().__init__(code)
        self.hint = hint


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Stop(BaseException):
    pass


ERRORS = [
    ValueError("x"),
    Refused(7, hint="h"),
    Unprintable(),
    KeyError(("a", 1)),
    StopIteration("value"),
    RecursionError("deep"),
    OSError(2, "gone", "file"),
    Stop("base"),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
]


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["prep", "exec", "post", "exec_fallback", "_exec", "_run", "__copy__", "set_params"])
def test_an_error_in_every_phase(same, phase):
    def program(log):
        class Fails(pf.Node):
            def exec(self, prep_res):
                if phase == "exec_fallback":
                    raise LookupError("before")

        def fail(*args):
            log.append("fails")
            raise log.raised

        log.raised = ValueError("the error")
        setattr(Fails, phase, fail)
        pf.Flow(start=pf.Flow(start=Fails(max_retries=2))).run({})

    same(program)


@pytest.mark.parametrize("phase", ["prep", "post", "_run", "_orch", "get_next_node"])
@pytest.mark.parametrize("kind", [pf.Flow, pf.BatchFlow])
def test_an_error_in_a_flow(same, phase, kind):
    def program(log):
        class Fails(kind):
            def prep(self, shared):
                return [{"a": 1}]

        def fail(*args):
            raise log.raised

        log.raised = ValueError("the error")
        setattr(Fails, phase, fail)
        Fails(start=pf.Node()).run({})

    same(program)


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_of_any_kind(same, error):
    def program(log):
        class Fails(pf.Node):
            def exec(self, prep_res):
                log.append(self.cur_retry)
                raise error.with_traceback(None)

        log.raised = error
        error.__context__ = None
        pf.Flow(start=Fails(max_retries=2)).run({})

    same(program)


def test_causes_and_contexts(same):
    def program(log):
        class Fails(pf.Node):
            def exec(self, prep_res):
                try:
                    raise KeyError("inner")
                except KeyError as exc:
                    raise ValueError("outer") from exc

            def exec_fallback(self, prep_res, exc):
                log.append((type(exc.__cause__).__name__, sys.exc_info()[1] is exc, exc.__suppress_context__))
                raise LookupError("fallback")

        try:
            pf.Flow(start=Fails()).run({})
        except LookupError as exc:
            log.append([type(e).__name__ for e in (exc, exc.__context__, exc.__context__.__context__)])
            raise RuntimeError("final") from None

    same(program)


def test_an_error_leaves_nothing_handled_behind(same):
    def program(log):
        class Fails(pf.Node):
            def exec(self, prep_res):
                log.append(sys.exc_info()[0])
                raise ValueError

            def exec_fallback(self, prep_res, exc):
                log.append(sys.exc_info()[0])
                return 1

            def post(self, shared, prep_res, exec_res):
                log.append(sys.exc_info()[0])

        Fails(max_retries=2).run({})
        return sys.exc_info()

    same(program)


def test_async_node_in_a_flow_that_is_not(same):
    def program(log):
        pf.Flow(start=pf.AsyncNode()).run({})

    same(program)


# -- retries and fallbacks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["answers", "same", "other", "none"])
@pytest.mark.parametrize("retries", [1, 3])
def test_fallbacks(same, answer, retries):
    def program(log):
        class Falls(pf.Node):
            def prep(self, shared):
                return "given"

            def exec(self, prep_res):
                log.append(self.cur_retry)
                raise ValueError(self.cur_retry)

            def exec_fallback(self, prep_res, exc):
                log.append((prep_res, repr(exc)))
                if answer == "answers":
                    return "fallback"
                if answer == "same":
                    log.raised = exc
                    raise exc
                if answer == "other":
                    raise LookupError("other")
                return None

            def post(self, shared, prep_res, exec_res):
                shared["out"] = exec_res

        pf.Flow(start=Falls(max_retries=retries, wait=0.0001)).run(shared := {})
        return shared

    same(program)


def test_waits_are_slept_as_long(same, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)

    def program(log):
        class Flaky(pf.Node):
            def exec(self, prep_res):
                self.wait = 10 * (self.cur_retry + 1)
                raise ValueError

            def exec_fallback(self, prep_res, exc):
                log.extend(slept)
                slept.clear()

        Flaky(max_retries=4, wait=5).run({})

    same(program)


def test_an_attempt_that_raises_the_same_object_each_time(same):
    def program(log):
        log.raised = ValueError("one for all")

        class Fails(pf.Node):
            def exec(self, prep_res):
                log.append(1)
                raise log.raised

        Fails(max_retries=3).run({})

    same(program)


# -- warnings -----------------------------------------------------------------------------------------------------


def test_missing_and_overwritten_successors(same):
    def program(log):
        class Lost(pf.Node):
            def post(self, shared, prep_res, exec_res):
                return "nowhere"

        node = Lost()
        _ = node >> pf.Node()
        _ = node >> pf.Node()
        _ = node - "other" >> pf.Node()
        node.run({})
        return pf.Flow(start=pf.Flow(start=node)).run({})

    recorder = same(program)
    assert all(span.status.is_unset for span in recorder.spans)


def test_warnings_as_errors(same):
    def program(log):
        class Lost(pf.Node):
            def post(self, shared, prep_res, exec_res):
                return "nowhere"

        node = Lost()
        _ = node >> pf.Node()
        warnings.simplefilter("error")
        pf.Flow(start=node).run({})

    same(program)


def test_warnings_as_errors_alone(same):
    def program(log):
        node = pf.Node()
        _ = node >> pf.Node()
        warnings.simplefilter("error")
        pf.Flow(start=node).run({})
        node.run({})

    same(program)


def test_warnings_of_the_users(same):
    def program(log):
        class Warns(pf.Node):
            def prep(self, shared):
                warnings.warn("mine", DeprecationWarning, stacklevel=1)

            def exec(self, prep_res):
                warnings.warn_explicit("there", UserWarning, "file.py", 7)

        pf.Flow(start=Warns()).run({})

    same(program)


@pytest.mark.parametrize("action", ["default", None, 5, object], ids=str)
def test_a_warning_shows_the_action_as_it_is(same, action):
    def program(log):
        class Gives(pf.Node):
            def post(self, shared, prep_res, exec_res):
                return action

        node = Gives()
        _ = node - "only" >> pf.Node()
        return pf.Flow(start=node).run({})

    same(program)
