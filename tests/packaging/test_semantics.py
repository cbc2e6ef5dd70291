"""docs/semantics.md is what its script writes, and the script knows every name."""

import importlib.util
import re
from pathlib import Path

import pytest

from spanloom import names

ROOT = Path(__file__).parents[2]
SOURCES = [path for tree in ("src", "instrumentors", "exporters") for path in (ROOT / tree).rglob("*.py")]
# An exporter may not import `spanloom.names`, and so has the name itself.
ELSEWHERE = {"TRUNCATED_BYTES"}


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("semantics_script", ROOT / "scripts" / "semantics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script):
    assert (ROOT / "docs" / "semantics.md").read_text("utf-8") == script.page(), "run: python scripts/semantics.py"


def test_every_name_stands_in_one_row(script):
    rows = re.findall(r"^\| `([^`]+)` \|", script.page(), re.MULTILINE)
    values = [value for key, value in vars(names).items() if key.isupper() and key != "SEMCONV_COMMIT"]

    assert len(values) > 100
    assert sorted(rows) == sorted(values)


def test_a_name_without_an_entry_is_told(script, monkeypatch):
    monkeypatch.setattr(names, "NEW_NAME", "spanloom.new", raising=False)

    with pytest.raises(ValueError, match="ENTRIES lacks \\['NEW_NAME'\\]"):
        script.page()


def test_every_name_is_used(script):
    used = {name for path in SOURCES for name in re.findall(r"\bnames\.([A-Z_]+)", path.read_text("utf-8"))}

    assert set(script.constants()) - used == ELSEWHERE
