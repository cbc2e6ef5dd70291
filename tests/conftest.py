"""Fixtures of every test: a recorder with fixed ids and clock, and spanloom's own errors raised, not swallowed."""

import pytest

from spanloom import guard
from spanloom.testing import Recorder


@pytest.fixture(autouse=True)
def _strict():
    guard.set_strict(True)
    yield
    guard.set_strict(False)


@pytest.fixture
def recorder():
    """Records spans; asserts at the end that none was left open or current."""
    kept = Recorder()
    yield kept
    kept.assert_closed()
