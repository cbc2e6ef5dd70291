"""`init` and the installed instrumentors: all, some, none, broken ones."""

import logging

import pytest
from opentelemetry.instrumentation.dependencies import DependencyConflict, DependencyConflictError
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

import spanloom


class Instrumentor(BaseInstrumentor):
    """Counts how often it is switched on and off."""

    calls = []
    failure = None

    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **kwargs):
        if self.failure is not None:
            raise self.failure
        self.calls.append(f"{type(self).__name__} on")

    def _uninstrument(self, **kwargs):
        self.calls.append(f"{type(self).__name__} off")


@pytest.fixture(autouse=True)
def _no_calls(monkeypatch):
    monkeypatch.setattr(Instrumentor, "calls", [])


def instrumentor(name, failure=None, **members):
    """A new instrumentor class: they are singletons by class."""
    return type(name, (Instrumentor,), {"failure": failure, "_instance": None, **members})


def test_every_installed_instrumentor_is_switched_on_and_off(install):
    install("instrumentor", one=instrumentor("One"), two=instrumentor("Two"))
    spanloom.init()
    spanloom.shutdown()

    assert Instrumentor.calls == ["One on", "Two on", "One off", "Two off"]


def test_only_those_asked_for(install, caplog):
    install("instrumentor", one=instrumentor("One"), two=instrumentor("Two"))
    spanloom.init(instrumentors=["two", "three"])

    assert Instrumentor.calls == ["Two on"]
    assert caplog.messages == ["There is no instrumentor 'three'; installed: one, two."]


def test_a_single_instrumentor_by_name(install):
    install("instrumentor", one=instrumentor("One"), two=instrumentor("Two"))
    spanloom.init(instrumentors="one")

    assert Instrumentor.calls == ["One on"]


@pytest.mark.parametrize(
    ("disabled", "calls"), [("one", ["Two on"]), (" one , two ", []), ("*", []), ("", ["One on", "Two on"])]
)
def test_those_that_the_environment_leaves_out(install, monkeypatch, disabled, calls):
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", disabled)
    install("instrumentor", one=instrumentor("One"), two=instrumentor("Two"))
    spanloom.init()

    assert Instrumentor.calls == calls


def test_one_that_was_on_before_stays_on_after(install):
    one = instrumentor("One")
    one().instrument()
    install("instrumentor", one=one)
    spanloom.init()
    spanloom.shutdown()

    assert Instrumentor.calls == ["One on"]
    one().uninstrument()


@pytest.mark.parametrize(
    ("failure", "level", "text"),
    [
        (RuntimeError("boom"), logging.WARNING, "RuntimeError: boom"),
        (ImportError("cannot import name 'gone'"), logging.WARNING, "cannot import name 'gone'"),
        (ModuleNotFoundError("No module named 'framework'"), logging.DEBUG, "No module named 'framework'"),
        (DependencyConflictError(DependencyConflict("framework >= 2")), logging.DEBUG, "framework >= 2"),
        (DependencyConflictError(DependencyConflict("framework >= 2", "framework 1")), logging.WARNING, "framework 1"),
    ],
)
@pytest.mark.parametrize("when", ["load", "instrument"])
def test_a_broken_instrumentor_is_one_line_and_takes_no_other_down(install, caplog, failure, level, text, when):
    broken = failure if when == "load" else instrumentor("Bad", failure)
    install("instrumentor", one=instrumentor("One"), bad=broken, two=instrumentor("Two"))
    caplog.set_level(logging.DEBUG, "spanloom")
    spanloom.init()

    assert Instrumentor.calls == ["One on", "Two on"]
    (record,) = [record for record in caplog.records if record.name == "spanloom"]
    assert record.levelno == level
    assert "'bad'" in record.getMessage()
    assert text in record.getMessage()
    assert record.exc_info is None


def test_a_missing_framework_is_told_where_it_was_asked_for(install, caplog):
    install("instrumentor", bad=ModuleNotFoundError("No module named 'framework'"))
    spanloom.init(instrumentors=["bad"])

    assert caplog.messages == ["The instrumentor 'bad' is skipped: No module named 'framework'"]


@pytest.mark.parametrize(("framework", "module"), [("toyframe", "toyframe"), ("toy-frame", "toy.frame")])
def test_each_is_switched_on_when_the_program_imports_what_it_is_for(workshop, framework, module):
    """No program waits for a framework that it does not use; after `shutdown` nothing is switched on any more."""
    workshop.write(f"{module.replace('.', '/')}/__init__.py", "print('imported')\n")
    place = f"{framework.replace('-', '_')}-1.5.dist-info"
    workshop.write(f"{place}/METADATA", f"Metadata-Version: 2.1\nName: {framework}\nVersion: 1.5\n")
    workshop.write(
        "toy_tracing-1.dist-info/METADATA",
        f"""\
        Metadata-Version: 2.1
        Name: toy-tracing
        Version: 1.0
        Provides-Extra: instruments
        Requires-Dist: {framework}>=1; extra == 'instruments'
        """,
    )
    workshop.write("toy_tracing-1.dist-info/entry_points.txt", "[opentelemetry_instrumentor]\ntoy = toy_tracing:Toys\n")
    workshop.write(
        "toy_tracing.py",
        f"""
        import {module}
        from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

        class Toys(BaseInstrumentor):
            def instrumentation_dependencies(self):
                return ()

            def _instrument(self, **kwargs):
                print("on")

            def _uninstrument(self, **kwargs):
                print("off")
        """,
    )
    workshop.write(
        "app.py",
        f"""
        import importlib, sys
        import spanloom

        for _ in range(2):
            spanloom.init(exporters=[], instrumentors=["toy"])
            print("set up")
            importlib.import_module("{module}")
            spanloom.shutdown()
            print("shut down")
        sys.modules.pop("{module}")
        spanloom.init(exporters=[], instrumentors=["toy"])
        spanloom.shutdown()
        importlib.import_module("{module}")
        """,
    )
    ran = workshop.plain("app.py")

    first = ["set up", "imported", "on", "off", "shut down"]
    again = ["on", "set up", "off", "shut down"]  # now it is there from the start
    assert (ran.out.split("\n")[:-1], ran.err, ran.code) == ([*first, *again, "imported"], "", 0)
