"""What is installed and fits together; which instrumentors a program gets, and why not the others."""

from importlib.metadata import EntryPoint, PackageNotFoundError
from types import SimpleNamespace

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from spanloom.doctor import installation, instrumentors
from spanloom.doctor.finding import FAIL, NOTE, OK, WARN


def kind(*wanted, **methods):
    """A class of instrumentors for what is `wanted`. (Each of its own: the base keeps one instance for subclasses.)"""

    def switched(*_, **__):
        raise AssertionError("the doctor switches nothing on or off")

    own = {"instrumentation_dependencies": lambda self: wanted, "_instrument": switched, "_uninstrument": switched}
    return type("Instrumentor", (BaseInstrumentor,), {**own, **methods})


def broken(*_, **__):
    """In place of a class: what it says when it is called."""
    raise AttributeError("module 'x' has no attribute 'y'")


def point(name, kind, owner="theirs", requires=()):
    """An entry point that loads `kind`, of a distribution with these requirements."""
    found = SimpleNamespace(metadata={"Name": owner}, requires=list(requires))
    return SimpleNamespace(name=name, value=f"{owner}:{name}", dist=found, load=lambda: kind)


@pytest.fixture
def there(env):
    """`there(points)`: these instrumentors are installed, and spanloom's with them unless there is one of that name."""

    def install(*points):
        own = point("ours", kind(), "spanloom")
        listed = list(points) if any(one.dist.metadata["Name"] == "spanloom" for one in points) else [own, *points]
        env.setattr(instrumentors, "entry_points", lambda group: listed)
        return [said for said in instrumentors.findings() if not said.text.startswith("ours (spanloom)")]

    return install


def test_one_that_is_on_says_for_what(there):
    ours = point("ours", kind("pytest >= 1"), "spanloom")
    (said, twice) = there(ours, point("tests", kind("pytest >= 1")))

    assert said.level == OK
    assert said.text == f"tests (theirs): on, for pytest {pytest.__version__}"
    assert twice.level == WARN
    assert twice.text.startswith("pytest is traced by ours (spanloom) and by tests (theirs): most calls get a span of ")
    assert twice.text.endswith("Keep ours: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=tests")


def test_rivals_of_one_name_cannot_be_told_apart_by_it(there):
    found = there(point("tests", kind("pytest"), "a"), point("tests", kind("pytest"), "b"))

    assert found[-1].text.startswith("pytest is traced by tests (a) and by tests (b): ")
    assert found[-1].text.endswith(" Keep one, and uninstall the others")


def test_a_framework_and_its_core_are_one(there, env):
    env.setattr(instrumentors, "_version", lambda name: "1" if "pytest" in name else "")
    ours = point("ours", kind("pytest-core"), "spanloom")
    env.setattr(BaseInstrumentor, "_check_dependency_conflicts", lambda self: None)

    assert there(ours, point("tests", kind("pytest")))[-1].text.startswith(
        "pytest is traced by ours (spanloom) and by "
    )


def test_one_that_is_switched_off_is_no_rival(env, there):
    env.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "other, tests")

    assert there(point("tests", kind("pytest >= 1"))) == [
        (NOTE, "tests (theirs): off, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names it")
    ]


def test_all_switched_off(env):
    env.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*")
    levels = {said.level for said in instrumentors.findings()}

    assert levels == {NOTE}


def test_no_framework_is_nothing_to_worry_about(there):
    assert there(point("tests", kind("no-such-framework >= 1"))) == [
        (NOTE, "tests (theirs): off, there is no no-such-framework >= 1 here")
    ]


@pytest.mark.parametrize(("owner", "level"), [("theirs", WARN), ("spanloom", FAIL)])
def test_a_version_that_does_not_fit_is(there, owner, level):
    (said,) = there(point("tests", kind("pytest >= 1000"), owner))

    assert said.level == level
    assert f"it is for pytest >= 1000 and finds pytest {pytest.__version__}: install a version that fits" in said.text


def test_what_a_whole_distribution_is_for(there):
    """Instrumentations name their framework in an extra `instruments`."""
    missing = ['no-such-framework>=1; extra == "instruments"']
    newer = ['pytest>=1000; extra == "instruments"']

    assert there(point("a", broken, "a", missing), point("b", broken, "b", newer)) == [
        (NOTE, "a (a): off, there is no no-such-framework>=1 here"),
        (
            WARN,
            f"b (b): off, it is for pytest>=1000 and finds pytest {pytest.__version__}: install a version that fits, "
            "or leave it out with OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=b",
        ),
    ]


def test_one_that_cannot_be_loaded_does_not_hide_the_next(there):
    first, second = there(point("a", broken), point("b", kind("no-such-framework >= 1")))

    assert first == (
        WARN,
        "a (theirs): cannot be loaded (AttributeError: module 'x' has no attribute 'y'); update or uninstall theirs, "
        "or leave it out with OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=a",
    )
    assert second.level == NOTE


def test_a_copy_inside_the_program(there):
    assert there(point("tests", kind("no-such-framework >= 1", copies=lambda self, config: True), "spanloom")) == [
        (
            NOTE,
            "tests (spanloom): on, for a copy of it inside the program; there is no no-such-framework >= 1 here",
        )
    ]


def test_without_our_own_something_is_wrong(env):
    env.setattr(instrumentors, "entry_points", lambda group: [])

    assert next(instrumentors.findings()) == (
        FAIL,
        "spanloom's own instrumentors are not registered: install spanloom again with pip",
    )


def test_other_tracers_that_need_no_instrumentor(env, there):
    env.setattr(instrumentors, "_version", lambda name: {"langfuse": "4.2", "pytest": "9"}.get(name, ""))
    (said,) = there(point("tests", kind("no-such-framework >= 1")))[1:]

    assert said.level == NOTE
    assert said.text.startswith("langfuse 4.2 is installed: a program that hands Langfuse's callback handler to a call")


@pytest.mark.slow
def test_real_ones():
    """Those of this environment, ours first."""
    names = [said.text.partition(" ")[0] for said in instrumentors.findings()]

    assert names[:2] == ["langgraph", "pocketflow"]


def test_what_is_installed_here():
    said = list(installation.findings())

    assert [one.level for one in said[:3]] == [OK] * 3
    assert said[0].text.startswith("Python 3.")
    assert said[1].text.startswith("spanloom ")
    assert "opentelemetry-sdk 1." in said[2].text


def test_requirements_that_are_not_met(env):
    requires = {
        "spanloom": [
            "opentelemetry-api>=99",
            "no-such-package>=2; python_version >= '3'",
            "other>=1; python_version < '3'",
            "rich; extra == 'tui'",
            "packaging",
        ]
    }
    env.setattr(installation, "requires", lambda name: requires.get(name))
    failed = [said.text for said in installation.findings() if said.level == FAIL]

    assert failed == [
        f"spanloom needs opentelemetry-api>=99; {installation._version('opentelemetry-api')} is installed: "
        "pip install 'opentelemetry-api>=99'",
        "spanloom needs no-such-package>=2; is not installed: pip install 'no-such-package>=2'",
    ]


def test_extras_that_are_not_there(env):
    real = installation._version
    env.setattr(installation, "_version", lambda name: "" if name == "orjson" else real(name))

    assert (NOTE, "orjson is not installed; pip install 'spanloom[fast]' brings it") in installation.findings()


def test_a_bare_source_tree(env):
    def missing(name):
        raise PackageNotFoundError(name)

    env.setattr(installation, "distribution", missing)
    *_, last = installation.findings()

    assert last.level == FAIL
    assert "is not installed, so nothing finds its instrumentors" in last.text


def test_entry_points_have_what_is_read_of_them():
    """The stand-ins above are like the real thing."""
    real = EntryPoint("a", "b:c", "d")

    assert (real.name, real.value, real.dist, callable(real.load)) == ("a", "b:c", None, True)
