"""Answers of clients as data, and calls to put them onto."""

import json
import os
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spanloom import genai, names
from spanloom.config import Config
from spanloom.inference import Inference
from spanloom.instrument import Telemetry

FOLDER = Path(__file__).parent / "fixtures"
OPERATION = genai.inference(names.OP_CHAT, "acme", "m-1")


@dataclass
class Case:
    """An answer, or the pieces of one, and what is to be read from it."""

    name: str
    type: str | None
    told: list[Any]
    streamed: bool
    attributes: dict
    output: list
    status: str | None

    def real(self):
        """`told` as objects of the client; skips where it is not installed."""
        pydantic = pytest.importorskip("pydantic")
        module, _, name = self.type.partition(":")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what clients warn of when they are imported is not ours
            pytest.importorskip(module.partition(".")[0])
            try:
                kind = getattr(import_module(module), name)
            except (ImportError, AttributeError):
                pytest.skip(f"this version of the client has no {self.type}")
            if self.name.startswith("litellm"):  # its constructors make the parts
                return [kind(**told) for told in self.told]
            adapter = pydantic.TypeAdapter(kind)
            return [adapter.validate_python(told) for told in self.told]


def load(path):
    data = json.loads(path.read_text(encoding="utf-8"))
    told = data["chunks"] if "chunks" in data else [data["response"]]
    name = f"{path.parent.name}/{path.stem}"
    return Case(name, data["type"], told, "chunks" in data, data["attributes"], data["output"], data.get("status"))


os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network when it is imported
CASES = [load(path) for path in sorted(FOLDER.rglob("*.json"))]


def pytest_generate_tests(metafunc):
    for fixture, chosen in (
        ("case", CASES),
        ("typed_case", [case for case in CASES if case.type]),
        ("streamed_case", [case for case in CASES if case.streamed]),
    ):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, chosen, ids=[case.name for case in chosen])


class Desk:
    """Makes calls and tells what their spans have."""

    def __init__(self, recorder):
        self.recorder = recorder

    def call(self, *, content=True, **config):
        telemetry = Telemetry.create("test", self.recorder.provider, Config(content=content, **config))
        return Inference(telemetry).start(OPERATION)

    def told(self, call):
        """Ends the call; its attributes but those it began with, and its output messages."""
        call.finish()
        span = self.recorder.spans[-1]
        found = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in span.attributes.items()
            if key not in OPERATION.attributes
        }
        self.status = span.status.description
        return found, json.loads(found.pop(names.GEN_AI_OUTPUT_MESSAGES, "[]"))


@pytest.fixture
def desk(recorder):
    """Calls over a recorder that checks that nothing stays open."""
    return Desk(recorder)


def spaced(value):
    """Objects with attributes instead of dicts; dicts that are data (arguments, content blocks' inputs) too."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: spaced(item) for key, item in value.items()})
    return [spaced(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="session", name="spaced")
def _spaced():
    return spaced


@pytest.fixture(scope="session")
def cases():
    """All of them, for tests that draw one."""
    return CASES


@pytest.fixture(scope="session")
def make_desk():
    """Makes desks inside property tests, where a fixture would be shared by all examples."""
    return Desk
