"""What the tests of the core share: telemetry over a recorder, scopes as `begin`, and the log of a lenient guard."""

import pytest

from spanloom.config import Config
from spanloom.instrument import Begun, Scope, Telemetry
from spanloom.testing import Recorder
from spanloom.wrapping import Switch, wrap


class Bench:
    """Wraps functions into spans that a recorder keeps."""

    def __init__(self, recorder=None, **config):
        self.recorder = recorder or Recorder()
        self.switch = Switch()
        self.begun = 0
        self.telemetry = Telemetry.create("test", self.recorder.provider, Config(**config))

    def scope(self, name="call", attributes=None, scope_class=Scope):
        """An open scope."""
        return scope_class(self.telemetry).open(name, attributes)

    def wrap(self, function, scope_class=Scope):
        """`function`, each call a span of its name."""

        def begin(*args, **kwargs):
            self.begun += 1
            return Begun(self.scope(function.__name__, scope_class=scope_class), args)

        return wrap(function, begin, "a span", self.switch)


@pytest.fixture
def bench(recorder):
    """A bench over the recorder that checks that nothing stays open."""
    return Bench(recorder)


@pytest.fixture(scope="session")
def make_bench():
    """Makes benches, also inside property tests, where a fixture would be shared by all examples."""
    return Bench
