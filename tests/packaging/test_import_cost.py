"""What imports bring along; asserted on modules, not on time."""

import json

import pytest

pytestmark = pytest.mark.slow

HEAVY = ("opentelemetry.sdk", "opentelemetry.exporter", "asyncio", "json", "logging", "dataclasses", "grpc")


@pytest.fixture
def loaded(workshop):
    """`loaded(source)`: the modules that a program has loaded after `source`, less those of plain Python."""

    def run(source):
        listing = "import sys\nfound = sorted(sys.modules)\nimport json\nprint(json.dumps(found))\n"
        workshop.write("plain.py", listing)
        workshop.write("app.py", f"{source}\n{listing}")
        plain, ran = workshop.plain("plain.py"), workshop.plain("app.py")
        assert ran.code == 0, ran.err
        return set(json.loads(ran.out.splitlines()[-1])) - set(json.loads(plain.out))

    return run


def under(modules, *packages):
    """Those modules that belong to one of the packages."""
    return sorted(name for name in modules for package in packages if name == package or name.startswith(f"{package}."))


def test_import_spanloom_costs_next_to_nothing(loaded):
    modules = loaded("import spanloom")

    assert under(modules, "spanloom") == ["spanloom"]
    assert under(modules, "opentelemetry", *HEAVY) == []


def test_its_names_arrive_with_their_first_use(loaded):
    modules = loaded("import spanloom\nassert callable(spanloom.init)\nassert 'init' in spanloom.__all__")

    assert "opentelemetry.sdk.trace" in modules
    assert under(modules, "opentelemetry.exporter", "grpc", "pocketflow", "openai", "spanloom_pocketflow") == []


def test_every_public_name_can_be_had_and_others_are_refused(loaded):
    loaded("import spanloom\nfor name in spanloom.__all__: getattr(spanloom, name)")
    loaded("import spanloom\ntry: spanloom.no\nexcept AttributeError as exc: assert 'no' in str(exc)\nelse: 1 / 0")


def test_the_viewer_works_without_opentelemetry(loaded):
    modules = loaded(
        "import pkgutil, importlib, spanloom.view as view\n"
        "for found in pkgutil.walk_packages(view.__path__, 'spanloom.view.'): importlib.import_module(found.name)\n"
        "import spanloom.cli.view_command"
    )

    assert under(modules, "opentelemetry", "asyncio", "spanloom_jsonl", "spanloom_pocketflow") == []
    assert "spanloom.view" in modules


def test_the_command_line_loads_only_the_command_that_runs(loaded):
    modules = loaded("from spanloom.cli import main\nassert main(['run']) == 2")

    assert under(modules, "opentelemetry", "spanloom.view", "spanloom.demo", "asyncio") == []
    assert under(modules, "spanloom.cli") == ["spanloom.cli", "spanloom.cli.run_command"]


def test_an_instrumentor_brings_neither_the_sdk_nor_its_framework(loaded):
    modules = loaded("import spanloom_pocketflow\nspanloom_pocketflow.PocketFlowInstrumentor()")

    assert under(modules, "opentelemetry.sdk", "opentelemetry.exporter", "pocketflow", "grpc") == []


def test_the_jsonl_exporter_stands_alone(loaded):
    modules = loaded("import spanloom_jsonl\nspanloom_jsonl.JsonlSpanExporter('x')")

    assert under(modules, "spanloom", "opentelemetry.exporter", "google", "grpc", "asyncio") == []
