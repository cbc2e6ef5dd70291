"""docs/manual.md speaks of what there is."""

import ast
import re
from pathlib import Path

import spanloom
from spanloom import names
from spanloom.call import Call

GUIDE = (Path(__file__).parents[2] / "docs" / "manual.md").read_text("utf-8")
CODE = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_code_is_python():
    assert len(CODE) > 6
    for block in CODE:
        ast.parse(block)


def test_every_name_in_it_exists():
    public = set(re.findall(r"spanloom\.([a-z_A-Z]+)\(", GUIDE))
    methods = set(re.findall(r"call\.([a-z]+)\(", GUIDE))

    assert {"chat", "tool", "session", "current"} <= public <= set(spanloom.__all__)
    assert {"stream", "record", "usage"} <= methods
    assert all(hasattr(Call, name) for name in methods)


def test_every_attribute_in_it_exists():
    told = set(re.findall(r"`((?:gen_ai|spanloom|session|user)\.[a-z_.]+)`", GUIDE)) - {"spanloom.testing"}
    known = {value for key, value in vars(names).items() if key.isupper()}
    functions = {f"spanloom.{name}" for name in spanloom.__all__}

    assert {"user.id", "spanloom.tags"} <= told
    assert told <= known | functions


def test_every_public_operation_is_in_it():
    operations = {"workflow", "agent", "node", "chat", "embeddings", "retrieval", "rerank", "tool"}

    assert operations < set(spanloom.__all__)
    assert all(f"`spanloom.{name}(" in GUIDE for name in operations)
    told = {name for name in vars(Call) if not name.startswith("_")} - {"recording", "span"}
    assert all(f"call.{name}" in GUIDE for name in told)
