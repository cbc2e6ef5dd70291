"""What is in the wheel and in the sdist, and what is not."""

import email
import tarfile
from pathlib import PurePosixPath

import pytest

pytestmark = pytest.mark.slow

PACKAGES = {
    "spanloom": "src/spanloom",
    "spanloom_pocketflow": "instrumentors/spanloom_pocketflow",
    "spanloom_langgraph": "instrumentors/spanloom_langgraph",
    "spanloom_jsonl": "exporters/spanloom_jsonl",
    "spanloom_otlp": "exporters/spanloom_otlp",
    "spanloom_langfuse": "exporters/spanloom_langfuse",
}


@pytest.fixture(scope="module")
def about(wheel_files):
    """The wheel's dist-info: file name to text."""
    return {
        name.partition(".dist-info/")[2]: content.decode()
        for name, content in wheel_files.items()
        if ".dist-info/" in name
    }


def test_every_file_of_the_packages_and_no_other(wheel_files, root):
    expected = {
        f"{package}/{path.relative_to(root / folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in wheel_files if ".dist-info/" not in name} == expected


def test_only_kinds_of_files_that_belong_there(wheel_files):
    kinds = {PurePosixPath(name).suffix for name in wheel_files if ".dist-info/" not in name}

    assert kinds <= {".py", ".jsonl", ".typed"}


@pytest.mark.parametrize(
    "name",
    [
        "spanloom/py.typed",
        "spanloom_pocketflow/py.typed",
        "spanloom_jsonl/py.typed",
        "spanloom_otlp/py.typed",
        "spanloom/bootstrap/sitecustomize.py",
        "spanloom/demo/support/tickets.jsonl",
        "spanloom/demo/support/__main__.py",
        "spanloom/demo/research/archive.jsonl",
        "spanloom/demo/research/__main__.py",
    ],
)
def test_what_no_import_would_miss(wheel_files, name):
    assert name in wheel_files


def test_our_sitecustomize_is_not_where_every_python_would_find_it(wheel_files):
    assert "sitecustomize.py" not in wheel_files
    assert "spanloom/bootstrap/__init__.py" not in wheel_files


def test_the_license(about, root):
    assert about["licenses/LICENSE"] == (root / "LICENSE").read_text(encoding="utf-8")
    assert email.message_from_string(about["METADATA"])["License-Expression"] == "Apache-2.0"


def test_the_base_install_is_opentelemetry_only(about):
    metadata = email.message_from_string(about["METADATA"])
    required = {line.partition(">=")[0].strip() for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}

    assert required == {
        "opentelemetry-api",
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp",
        "opentelemetry-instrumentation",
        "wrapt",  # which opentelemetry-instrumentation requires itself
    }
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"pocketflow", "langgraph", "openai", "fast", "all", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_the_entry_points(about):
    assert about["entry_points.txt"].split("\n\n")[0] == "[console_scripts]\nspanloom = spanloom.cli:main"
    for group, line in {
        "opentelemetry_instrumentor": "langgraph = spanloom_langgraph:LangGraphInstrumentor\n"
        "pocketflow = spanloom_pocketflow:PocketFlowInstrumentor",
        "opentelemetry_traces_exporter": "jsonl = spanloom_jsonl:JsonlSpanExporter",
        "opentelemetry_logs_exporter": "jsonl = spanloom_jsonl.logs:JsonlLogExporter",
        "opentelemetry_metrics_exporter": "jsonl = spanloom_jsonl.metrics:JsonlMetricExporter",
        "opentelemetry_distro": "spanloom = spanloom.distro:SpanloomDistro",
        "opentelemetry_configurator": "spanloom = spanloom.distro:SpanloomConfigurator",
    }.items():
        assert f"[{group}]\n{line}\n" in about["entry_points.txt"] + "\n"


def test_the_sdist_has_what_a_packager_needs_and_nothing_of_the_work_place(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    tops = {name.partition("/")[0] for name in names}
    assert {"src", "instrumentors", "exporters", "tests", "README.md", "LICENSE", "pyproject.toml"} <= tops
    assert tops <= {
        "src", "instrumentors", "exporters", "tests", "docs", "examples", "benchmarks", "scripts", "compose",
        "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore",
        "docker-compose.yml",
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name or "/.spanloom/" in name]
