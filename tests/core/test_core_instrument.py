"""The extension API: patches and the way back, patching at import, the version gate."""

import logging
import subprocess
import sys
import types

import pytest
import wrapt
from opentelemetry.instrumentation.dependencies import DependencyConflictError

from spanloom import config
from spanloom.config import Config
from spanloom.instrument import Begun, GatedInstrumentor, Patches, Telemetry, on_import
from spanloom.version import VERSION


@pytest.fixture
def framework():
    """A class to patch; another one below it."""

    class Base:
        def run(self, x):
            return "run", x

        @staticmethod
        def build(x):
            return "build", x

        @classmethod
        def make(cls, x):
            return cls, x

    class Sub(Base):
        def run(self, x):
            return "sub", super().run(x)

    return types.SimpleNamespace(Base=Base, Sub=Sub)


def beginner(bench, name):
    return lambda *args, **kwargs: Begun(bench.scope(name), args)


# -- patches ----------------------------------------------------------------------------------------------------


def test_patched_and_restored(bench, framework):
    before = dict(vars(framework.Base))
    early = framework.Sub()
    patches = Patches()
    wrapper = patches.wrap(framework.Base, "run", beginner(bench, "run"), "a span")

    assert framework.Base.run is wrapper
    assert early.run(1) == ("sub", ("run", 1))
    assert (patches.holds(framework.Base), patches.holds(framework.Sub)) == (True, False)
    late = framework.Sub()
    patches.restore()
    assert dict(vars(framework.Base)) == before
    assert (early.run(2), late.run(2)) == (("sub", ("run", 2)),) * 2
    assert [span.name for span in bench.recorder.spans] == ["run"]
    assert not patches.holds(framework.Base)


def test_static_and_class_methods_stay_what_they_are(bench, framework):
    before = dict(vars(framework.Base))
    patches = Patches()
    for name in ("build", "make"):
        patches.wrap(framework.Base, name, beginner(bench, name), "a span")

    for owner in (framework.Base, framework.Base(), framework.Sub()):
        assert owner.build(1) == ("build", 1)
    assert framework.Sub().make(2) == framework.Sub.make(2) == (framework.Sub, 2)
    patches.restore()
    assert dict(vars(framework.Base)) == before
    assert framework.Sub.make(3) == (framework.Sub, 3)
    assert [span.name for span in bench.recorder.spans] == ["build"] * 3 + ["make"] * 2


def test_functions_of_modules(bench):
    module = types.ModuleType("fake")
    module.work = lambda: "done"
    original = module.work
    patches = Patches()
    patches.wrap(module, "work", beginner(bench, "work"), "a span")
    assert module.work() == "done"
    patches.restore()
    assert module.work is original
    assert len(bench.recorder.spans) == 1


def test_twice_patched_is_unwound_newest_first(bench, framework):
    original = framework.Base.run
    patches = Patches()
    patches.wrap(framework.Base, "run", beginner(bench, "inner"), "a span")
    patches.wrap(framework.Base, "run", beginner(bench, "outer"), "a span")
    framework.Base().run(1)
    assert bench.recorder.tree() == "\nouter\n  inner\n"
    patches.restore()
    assert framework.Base.run is original


def test_a_foreign_wrapper_on_top_stays_and_ours_below_falls_silent(bench, framework):
    patches = Patches()
    ours = patches.wrap(framework.Base, "run", beginner(bench, "run"), "a span")

    def foreign(self, x):
        return "foreign", ours(self, x)

    framework.Base.run = foreign
    patches.restore()
    assert framework.Base.run is foreign
    assert framework.Base().run(1) == ("foreign", ("run", 1))
    assert bench.recorder.spans == []

    again = Patches()
    again.wrap(framework.Base, "run", beginner(bench, "again"), "a span")
    assert framework.Base().run(2) == ("foreign", ("run", 2))
    assert [span.name for span in bench.recorder.spans] == ["again"]
    again.restore()
    assert framework.Base.run is foreign


def test_a_foreign_wrapper_below_is_put_back(bench, framework):
    def foreign(self, x):
        return "foreign", x

    framework.Base.run = foreign
    patches = Patches()
    patches.wrap(framework.Base, "run", beginner(bench, "run"), "a span")
    patches.restore()
    assert framework.Base.run is foreign


def test_a_foreign_wrapper_below_is_bound_as_python_does_it(bench, framework):
    instances = []

    @wrapt.decorator
    def foreign(wrapped, instance, args, kwargs):
        instances.append(instance)
        return wrapped(*args, **kwargs)

    framework.Base.run = foreign(framework.Base.run)
    patches = Patches()
    patches.wrap(framework.Base, "run", beginner(bench, "run"), "a span")
    base = framework.Base()
    assert base.run(1) == ("run", 1)
    patches.restore()
    assert instances == [base]
    assert [span.name for span in bench.recorder.spans] == ["run"]


def test_a_reference_kept_by_the_program_falls_silent_too(bench, framework):
    patches = Patches()
    patches.wrap(framework.Base, "run", beginner(bench, "run"), "a span")
    bound = framework.Base().run
    patches.restore()
    assert bound(1) == ("run", 1)
    assert bench.recorder.spans == []


def test_only_what_the_owner_itself_defines(bench, framework):
    class Heir(framework.Base):
        pass

    with pytest.raises(KeyError):
        Patches().wrap(Heir, "run", beginner(bench, "run"), "a span")
    assert "run" not in vars(Heir)


def test_what_somebody_deleted_is_not_brought_back(bench, framework):
    patches = Patches()
    patches.wrap(framework.Sub, "run", beginner(bench, "run"), "a span")
    del framework.Sub.run
    patches.restore()
    assert "run" not in vars(framework.Sub)


def test_what_an_instrumentor_undoes_by_itself(bench, framework, lenient):
    undone = []
    patches = Patches()

    def fails():
        raise RuntimeError("gone")

    patches.wrap(framework.Base, "run", beginner(bench, "run"), "a span")
    patches.on_restore(lambda: undone.append("first"))
    patches.on_restore(fails)
    patches.on_restore(lambda: undone.append("last"))
    patches.restore()
    patches.restore()
    assert undone == ["last", "first"]
    assert not hasattr(framework.Base.run, "__wrapped__")
    assert len(lenient.lines) == 1


# -- at import --------------------------------------------------------------------------------------------------


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Makes modules that can be imported, and forgets them."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name, source="value = 1\n"):
        (tmp_path / f"{name}.py").write_text(source)
        made.append(name)
        return name

    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_patched_when_the_program_imports_it(importable):
    name = importable("spanloom_test_later")
    seen = []
    on_import(name, lambda module: seen.append(module.value))
    assert (name in sys.modules, seen) == (False, [])
    __import__(name)
    __import__(name)
    assert seen == [1]


def test_patched_at_once_where_it_is_imported_already(importable):
    name = importable("spanloom_test_earlier")
    module = __import__(name)
    seen = []
    on_import(name, seen.append)
    assert seen == [module]


def test_a_patch_that_fails_harms_neither_the_import_nor_the_other_patches(importable, lenient):
    name = importable("spanloom_test_failing")
    seen = []

    def broken(module):
        raise RuntimeError("ours")

    on_import(name, broken)
    on_import(name, seen.append)
    module = __import__(name)
    assert module.value == 1
    assert seen == [module]
    assert lenient.lines == [
        f"spanloom lost all spans of {name} (patch {name}: RuntimeError('ours')). "
        "The program is not affected; this is logged once."
    ]


def test_a_module_that_does_not_import_raises_as_without_us(importable):
    name = importable("spanloom_test_broken", "import not_there_at_all\n")
    seen = []
    on_import(name, seen.append)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        __import__(name)
    assert seen == []


# -- the version gate -------------------------------------------------------------------------------------------


@pytest.fixture
def make_instrumentor():
    """Makes instrumentor classes with a given dependency; each is a singleton of its own."""
    made = []

    def make(dependency, copies=False):
        class Some(GatedInstrumentor):
            calls = []

            def instrumentation_dependencies(self):
                return (dependency,)

            def copies(self, config):
                return copies or config.pocketflow_modules != ("pocketflow",)

            def _instrument(self, **kwargs):
                self.calls.append(("on", kwargs))

            def _uninstrument(self, **kwargs):
                self.calls.append(("off", kwargs))

        made.append(Some())
        return made[-1]

    yield make
    for instrumentor in made:
        instrumentor.uninstrument()


HERE = "pytest >= 1"
OLD = "pytest >= 999"
MISSING = "there-is-no-such-framework >= 1"


def names(instrumentor):
    return [name for name, _ in instrumentor.calls]


def test_on_once_and_off_once(make_instrumentor, caplog):
    some = make_instrumentor(HERE)
    some.uninstrument()
    assert names(some) == []
    some.instrument(tracer_provider="given")
    some.instrument()
    assert names(some) == ["on"]
    assert some.calls[0][1]["tracer_provider"] == "given"
    some.uninstrument()
    some.uninstrument()
    some.instrument()
    assert names(some) == ["on", "off", "on"]
    assert caplog.records == []


@pytest.mark.parametrize("dependency", [OLD, MISSING])
def test_by_hand_a_conflict_is_one_clear_line(make_instrumentor, log, dependency):
    some = make_instrumentor(dependency)
    some.instrument()
    assert names(some) == []
    (line,) = log.lines
    assert line.startswith("Some: ")
    assert line.endswith(f"Install or upgrade it: pip install '{dependency}'")


@pytest.mark.parametrize("dependency", [OLD, MISSING])
@pytest.mark.parametrize("by", ["skip_dep_check", "raise_exception_on_conflict"])
def test_under_the_loader_a_conflict_is_raised_for_it(make_instrumentor, log, dependency, by):
    some = make_instrumentor(dependency)
    with pytest.raises(DependencyConflictError):
        some.instrument(**{by: True})
    assert names(some) == []
    assert len(log.lines) == (dependency == MISSING)  # the loader itself tells of the other


def test_under_the_loader_without_a_conflict(make_instrumentor):
    some = make_instrumentor(HERE)
    some.instrument(skip_dep_check=True, raise_exception_on_conflict=True)
    assert names(some) == ["on"]


@pytest.fixture
def activate():
    """Makes settings the process's, until the test ends."""
    yield config.activate
    config.activate(None)


def test_a_copy_inside_the_program_needs_no_distribution(make_instrumentor, activate):
    make_instrumentor(MISSING, copies=True).instrument()
    some = make_instrumentor(MISSING)
    some.instrument(config=Config(pocketflow_modules=("myapp.flow",)))
    assert names(some) == ["on"]
    other = make_instrumentor(MISSING)
    activate(Config(pocketflow_modules=("myapp.flow",)))
    other.instrument()
    assert names(other) == ["on"]


# -- telemetry --------------------------------------------------------------------------------------------------


def test_telemetry_takes_what_it_is_given(recorder):
    settings = Config(content=True, max_value_bytes=300)
    telemetry = Telemetry.create("my.instrumentor", recorder.provider, settings)
    telemetry.tracer.start_span("x").end()

    scope = recorder.only("x").instrumentation_scope
    assert (scope.name, scope.version) == ("my.instrumentor", VERSION)
    assert telemetry.config is settings
    assert (telemetry.capture.limit, telemetry.capture.io) == (300, True)


def test_telemetry_defaults_to_the_process(activate):
    settings = Config(max_value_bytes=400)
    activate(settings)
    telemetry = Telemetry.create("my.instrumentor")
    assert (telemetry.config, telemetry.capture.limit) == (settings, 400)


@pytest.mark.slow
def test_instrumentors_need_no_sdk():
    """What an instrumentor may import imports neither the SDK nor a framework."""
    program = (
        "import sys, spanloom.instrument, spanloom.genai\n"
        "heavy = [m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'pocketflow', 'orjson', 'grpc'))]\n"
        "assert heavy == [], heavy\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_logger_is_spanloom_s():
    from spanloom.instrument import LOG

    assert LOG is logging.getLogger("spanloom")
