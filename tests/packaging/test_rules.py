"""The rules of the house (which part may import, read or name what), checked on the sources."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = ("src", "instrumentors", "exporters")
INSTRUMENTORS = sorted(path.name for path in (ROOT / "instrumentors").iterdir() if (path / "__init__.py").exists())
EXPORTERS = sorted(path.name for path in (ROOT / "exporters").iterdir() if (path / "__init__.py").exists())
FRAMEWORKS = {"pocketflow", "langgraph", "langchain", "langchain_core", "pocoflow", "openai", "anthropic"}
SOURCES = sorted(path.relative_to(ROOT).as_posix() for tree in TREES for path in (ROOT / tree).rglob("*.py"))

# Who reads the environment besides `config.py` and `environment.py`, and why.
READERS = {
    "src/spanloom/config.py": "spanloom's settings",
    "src/spanloom/environment.py": "OpenTelemetry's variables",
    "src/spanloom/cli/run_command.py": "PATH",
    "src/spanloom/cli/demo_command.py": "the model service's variables, which it hands on",
    "src/spanloom/cli/view_command.py": "NO_COLOR and its kin",
    "src/spanloom/demo/support/model.py": "a program of a user's, as far as spanloom is concerned",
    "src/spanloom/demo/research/model.py": "another one",
    "exporters/spanloom_jsonl/_settings.py": "exporters work without the rest",
    "exporters/spanloom_otlp/_settings.py": "likewise",
    "exporters/spanloom_langfuse/_settings.py": "Langfuse's own variables",
}
# What exporters import besides OpenTelemetry: what OTLP's own exporters bring, and what of ours is shared.
SHARED = {
    "spanloom_otlp": ("requests", "grpc", "google", "spanloom_jsonl"),
    "spanloom_langfuse": ("spanloom_otlp",),
}
# Attribute names outside `names.py`: an exporter may not import it.
MARKS = {("exporters/spanloom_jsonl/_shrink.py", "spanloom.truncated_bytes")} | {
    ("exporters/spanloom_otlp/_metrics.py", f"spanloom.spool.{name}")
    for name in ("destination", "reason", "waiting", "size", "delivered", "refused", "lost")
}
# Newer than the registry that is compared with, or still a draft there.
DRAFTS = {
    "gen_ai.step.name",
    "gen_ai.request.reasoning.level",
    "gen_ai.retrieval.top_k",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.token.modality",
}
OWN_OPERATIONS = {"run_step", "rerank"}  # a draft, and one that the conventions have no word for
INTERNAL_VARIABLES = {"SPANLOOM_RUN"}  # between `spanloom run` and its children


@cache
def tree_of(name):
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def imports(name):
    """The absolute module names that a source file imports, wherever in the file it does."""
    package = Path(name).parent.as_posix().partition("/")[2].replace("/", ".")
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            module = f"{base}{node.module or ''}".rstrip(".")
            # `from spanloom import config` imports spanloom.config
            yield from (f"{module}.{alias.name}" if module == "spanloom" else module for alias in node.names)


def imports_at_start(name):
    """The top-level packages that a source file imports when it is imported itself."""
    for node in tree_of(name).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def among(module, *allowed):
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def is_standard(module):
    # typing_extensions: for the type checker, and OpenTelemetry's API requires it.
    return module.partition(".")[0] in {*sys.stdlib_module_names, "typing_extensions"}


def offences(files, allowed):
    """`file imports module` for every import that is not allowed."""
    return [f"{name} imports {module}" for name in files for module in imports(name) if not allowed(module)]


def within(folder):
    found = [name for name in SOURCES if name.startswith(f"{folder}/")]
    assert found
    return found


@pytest.mark.parametrize("package", EXPORTERS)
def test_exporters_import_opentelemetry_and_nothing_of_ours(package):
    assert (
        offences(
            within(f"exporters/{package}"),
            lambda module: (
                is_standard(module) or among(module, "opentelemetry", "orjson", package, *SHARED.get(package, ()))
            ),
        )
        == []
    )


@pytest.mark.parametrize("package", INSTRUMENTORS)
def test_instrumentors_import_the_extension_api_only(package):
    def allowed(module):
        if among(module, "opentelemetry.sdk", "opentelemetry.exporter"):
            return False
        return is_standard(module) or among(
            module, "opentelemetry", "spanloom.instrument", "spanloom.genai", package, package.removeprefix("spanloom_")
        )

    assert offences(within(f"instrumentors/{package}"), allowed) == []


def test_the_core_knows_no_framework_no_instrumentor_and_no_exporter():
    core = [name for name in within("src/spanloom") if not name.startswith("src/spanloom/demo/")]

    # Spools and delivery are shared between exporters and our set-ups; imported only where they are needed.
    shared = {"spanloom_otlp"}
    unknown = {*FRAMEWORKS, *INSTRUMENTORS, *EXPORTERS} - shared

    assert offences(core, lambda module: not among(module, *unknown)) == []
    assert [name for name in core if shared & set(imports_at_start(name))] == []


def test_what_instrumentors_import_does_not_bring_the_sdk():
    assert offences(["src/spanloom/sdk.py"], lambda module: not among(module, "opentelemetry.sdk")) != []
    for name in ("instrument", "genai", "span", "wrapping", "capture", "state", "guard", "config", "names"):
        assert offences([f"src/spanloom/{name}.py"], lambda module: not among(module, "opentelemetry.sdk")) == []


def test_the_viewer_reads_files_and_nothing_of_opentelemetry():
    assert (
        offences(
            within("src/spanloom/view"),
            lambda module: is_standard(module) or among(module, "orjson", "spanloom.view", "spanloom.names"),
        )
        == []
    )


def test_names_import_nothing():
    assert set(imports("src/spanloom/names.py")) == {"typing"}


def reads_environment(name):
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in {"environ", "environb", "getenv", "getenvb"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree_of(name))
    ) or any(module in {"os.environ", "os.getenv"} for module in imports(name))


def test_the_environment_is_read_where_it_should_be():
    assert {name for name in SOURCES if reads_environment(name)} == set(READERS)


def is_module(text):
    path = Path(*text.split("."))
    return any((ROOT / tree / path).with_suffix(".py").exists() or (ROOT / tree / path).is_dir() for tree in TREES)


def attribute_names(name):
    """String literals that look like attribute names; names of modules and of the guard's sites are not."""
    nodes = list(ast.walk(tree_of(name)))
    sites = {
        node.args[0].value
        for node in nodes
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if getattr(node.func, "id", "") in {"guarded", "swallow"}
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if (
                re.fullmatch(r"(gen_ai|spanloom|pocketflow)\.[a-z_.]+", text)
                and text not in sites
                and not is_module(text)
            ):
                yield text


def test_attribute_names_stand_in_one_place():
    places = {"src/spanloom/names.py", *(f"exporters/{package}/_names.py" for package in EXPORTERS)}
    elsewhere = {(name, text) for name in SOURCES if name not in places for text in attribute_names(name)}

    assert elsewhere == MARKS
    assert set(attribute_names("src/spanloom/names.py")) > {"spanloom.node.name", "gen_ai.operation.name"}


def test_exporters_know_our_attributes_by_the_names_they_have():
    ours = set(attribute_names("src/spanloom/names.py"))
    for name in SOURCES:
        if name.startswith("exporters/") and name.endswith("/_names.py"):
            assert {text for text in attribute_names(name) if not text.startswith("gen_ai.")} <= ours


@pytest.mark.parametrize("tree", TREES)
def test_one_concept_per_file(tree):
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in within(tree)}

    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_every_package_is_typed_and_in_the_wheel():
    wanted = [f"instrumentors/{name}" for name in INSTRUMENTORS] + [f"exporters/{name}" for name in EXPORTERS]
    configured = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    for folder in ["src/spanloom", *wanted]:
        assert (ROOT / folder / "py.typed").exists()
        assert f'"{folder}",' in configured


def test_the_readmes_table_lists_exactly_the_variables_that_are_read():
    sources = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in SOURCES)
    read = set(re.findall(r"SPANLOOM_[A-Z_]*[A-Z]", sources)) - INTERNAL_VARIABLES
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    documented = {name for row in rows for name in re.findall(r"`(SPANLOOM_[A-Z_]+)`", row.split("|")[1])}

    assert documented == read


@pytest.fixture(scope="module")
def registry():
    """The conventions' registry as text."""
    path = ROOT.parent / "shared" / "semconv-genai" / "registry.yaml"
    if not path.exists():
        pytest.skip("the GenAI conventions' registry does not lie beside the repository")
    return path.read_text(encoding="utf-8") + path.with_name("events.yaml").read_text(encoding="utf-8")


def test_genai_attributes_are_the_conventions(registry):
    known = set(re.findall(r"^\s+(?:- id|name): (gen_ai\.[a-z_.]+)$", registry, re.MULTILINE))
    from spanloom import names

    metrics = {value for key, value in vars(names).items() if key.startswith("METRIC_")}
    written = set(attribute_names("src/spanloom/names.py")) - metrics
    ours = {text for text in written if text.startswith("gen_ai.")}

    assert len(known) > 40
    assert ours - known == DRAFTS


def test_operations_are_the_conventions(registry):
    from spanloom import names

    section = registry.partition("- id: gen_ai.operation.name")[2].partition("- id: gen_ai.")[0]
    known = set(re.findall(r'^\s+value: "([a-z_]+)"$', section, re.MULTILINE))
    ours = {value for key, value in vars(names).items() if key.startswith("OP_")}

    assert "chat" in known
    assert ours - known == OWN_OPERATIONS
