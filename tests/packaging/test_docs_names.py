"""The guides speak of attributes that exist, and leave out none that an instrumentor writes."""

import re
from pathlib import Path

import pytest

from spanloom import names

ROOT = Path(__file__).parents[2]
CONSTANTS = {key: value for key, value in vars(names).items() if key.isupper()}
GUIDES = ("langgraph", "pocketflow")
PREFIXES = "gen_ai|spanloom|pocketflow|langgraph|langchain"


def written_by(guide):
    """Names that the instrumentor of the guide's framework takes from `spanloom.names`, of the framework's own."""
    sources = [path.read_text("utf-8") for path in (ROOT / "instrumentors" / f"spanloom_{guide}").glob("*.py")]
    constants = {name for source in sources for name in re.findall(r"\bnames\.([A-Z_]+)", source)}
    return {CONSTANTS[name] for name in constants if re.match(r"(POCKETFLOW|LANGGRAPH|LANGCHAIN)_", name)}


@pytest.mark.parametrize("guide", GUIDES)
def test_every_attribute_in_a_guide_exists(guide):
    text = (ROOT / "docs" / f"{guide}.md").read_text("utf-8")
    modules = {"langgraph.prebuilt.create_react_agent", "langchain.agents.create_agent"}
    told = set(re.findall(rf"`((?:{PREFIXES})\.[a-z_.]+[a-z])", text)) - modules

    assert len(told) > 10
    assert told <= set(CONSTANTS.values())


@pytest.mark.parametrize("guide", GUIDES)
def test_every_attribute_of_a_framework_is_in_its_guide(guide):
    text = (ROOT / "docs" / f"{guide}.md").read_text("utf-8")
    written = written_by(guide)

    assert len(written) > 10
    # A family is written `pocketflow.batch.index` and `.size`.
    assert {name for name in written if name not in text and f"`.{name.rpartition('.')[2]}`" not in text} == set()
