"""PocketFlow imported later, under another name, or changed: copies are traced too."""

import importlib
import inspect
import logging
import sys
import textwrap

import pocketflow as pf
import pytest
from opentelemetry.instrumentation import dependencies

from spanloom import config as config_module
from spanloom import names
from spanloom.config import Config
from spanloom_pocketflow import PocketFlowInstrumentor


@pytest.fixture(autouse=True)
def _off():
    yield
    PocketFlowInstrumentor().uninstrument()


@pytest.fixture
def copy_of_pocketflow(tmp_path, monkeypatch):
    """`copy_of_pocketflow("name", edit)`: PocketFlow's source as a module of another name, perhaps edited."""
    written = []

    def write(name, edit=lambda source: source, more=""):
        (tmp_path / f"{name}.py").write_text(edit(inspect.getsource(pf)) + "\n" + textwrap.dedent(more))
        importlib.invalidate_caches()
        written.append(name)

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in written:
        sys.modules.pop(name, None)


COPIED = "\ninvoke_workflow\n  run_step Mine\n    exec Mine\n"


def run_copy(module):
    class Mine(module.Node):
        def exec(self, prep_res):
            return "mine"

    return module.Flow(start=Mine()).run({})


def test_a_copy_under_another_name_imported_later(recorder, on, copy_of_pocketflow):
    copy_of_pocketflow("flow_copy_later")
    with on(Config(pocketflow_modules=("flow_copy_later",))):
        run_copy(pf)
        assert recorder.spans == []  # only what is named
        copied = importlib.import_module("flow_copy_later")
        run_copy(copied)
        assert recorder.tree() == COPIED
        assert recorder.only("run_step Mine").attributes[names.NODE_NAME] == "Mine"
        recorder.clear()
    run_copy(copied)
    assert recorder.spans == []


def test_a_copy_beside_pocketflow_itself(recorder, on, copy_of_pocketflow):
    copy_of_pocketflow("flow_copy_beside")
    copied = importlib.import_module("flow_copy_beside")
    before = dict(vars(copied.Node))
    with on(Config(pocketflow_modules=("pocketflow", "flow_copy_beside"))):
        run_copy(copied)
        run_copy(pf)
    assert recorder.tree() == COPIED + COPIED.removeprefix("\n")
    assert dict(vars(copied.Node)) == before


def test_a_copy_named_in_the_environment(recorder, copy_of_pocketflow, monkeypatch):
    copy_of_pocketflow("flow_copy_env")
    monkeypatch.setenv("SPANLOOM_POCKETFLOW_MODULES", "flow_copy_env, pocketflow")
    monkeypatch.setattr(config_module._Active, "config", None)
    PocketFlowInstrumentor().instrument(tracer_provider=recorder.provider)
    run_copy(importlib.import_module("flow_copy_env"))
    assert recorder.tree() == COPIED


def test_uninstrumented_before_the_import(recorder, on, copy_of_pocketflow):
    copy_of_pocketflow("flow_copy_never")
    with on(Config(pocketflow_modules=("flow_copy_never",))):
        pass
    run_copy(importlib.import_module("flow_copy_never"))
    assert recorder.spans == []


def test_a_module_that_only_imports_the_names(recorder, on, copy_of_pocketflow, tmp_path):
    (tmp_path / "flow_alias.py").write_text("from pocketflow import *\nfrom pocketflow import BaseNode, Node, Flow\n")
    alias = importlib.import_module("flow_alias")
    try:
        for modules in (("flow_alias",), ("pocketflow", "flow_alias"), ("flow_alias", "pocketflow")):
            with on(Config(pocketflow_modules=modules)):
                run_copy(alias)
            assert recorder.tree() == COPIED
            assert recorder.only("invoke_workflow")
            recorder.clear()
    finally:
        del sys.modules["flow_alias"]


def test_nodes_of_the_users_in_the_copys_own_module(recorder, on, copy_of_pocketflow):
    copy_of_pocketflow(
        "flow_copy_app",
        more="""
        class Ask(Node):
            def prep(self, shared): return 1
            def exec(self, prep_res): return prep_res
            def post(self, shared, prep_res, exec_res): shared["out"] = exec_res

        class App(Flow): pass
        """,
    )
    app = importlib.import_module("flow_copy_app")
    with on(Config(pocketflow_modules=("flow_copy_app",))):
        app.App(start=app.Ask()).run({})
    expected = """
invoke_workflow App
  run_step Ask
    prep Ask
    exec Ask
    post Ask
"""
    assert recorder.tree() == expected


def with_keywords(source):
    """As some versions of PocketFlow call their hooks."""
    for plain, keyword in {
        "self.exec(prep_res)": "self.exec(prep_res=prep_res)",
        "self.exec_fallback(prep_res,e)": "self.exec_fallback(prep_res=prep_res,exc=e)",
        "self.exec_async(prep_res)": "self.exec_async(prep_res=prep_res)",
        "super(BatchNode,self)._exec(i)": "super(BatchNode,self)._exec(prep_res=i)",
        "curr._run(shared)": "curr._run(shared=shared)",
        "curr._run_async(shared)": "curr._run_async(shared=shared)",
        "self._run(shared)": "self._run(shared=shared)",
        "self.prep(shared)": "self.prep(shared=shared)",
        "self._exec(p)": "self._exec(p)",
        "self.post(shared,p,e)": "self.post(shared=shared,prep_res=p,exec_res=e)",
        "self.get_next_node(curr,last_action)": "self.get_next_node(curr=curr,action=last_action)",
        "self.get_next_node(curr,c)": "self.get_next_node(curr=curr,action=c)",
        "self._orch(shared,{**self.params,**bp})": "self._orch(shared=shared,params={**self.params,**bp})",
    }.items():
        source = source.replace(plain, keyword)
    return source


def with_names_and_super(source):
    """As forks look at `self`: its class, a helper's `isinstance`, `super()`."""
    source = source.replace(
        "    def _run(self,shared): p=self.prep(shared)",
        "    def _run(self,shared):\n        note(self); SEEN.append(self.__class__)\n        p=self.prep(shared)",
    )
    source = source.replace(
        "        for self.cur_retry in range(self.max_retries):",
        "        note(self)\n        for self.cur_retry in range(self.max_retries):",
    )
    helper = """
        SEEN = []

        def note(node):
            SEEN.append((node.__class__, isinstance(node, BaseNode), isinstance(node, Node)))

        class Deep(Flow):
            def _run(self, shared):
                return super()._run(shared)
    """
    return source + textwrap.dedent(helper)


def with_shared_in_exec(source):
    """As a fork gives `exec` the state too."""
    for plain, more in {
        "def exec(self,prep_res)": "def exec(self,prep_res,shared)",
        "def exec_fallback(self,prep_res,exc)": "def exec_fallback(self,prep_res,exc,shared)",
        "def _exec(self,prep_res)": "def _exec(self,prep_res,shared=None)",
        "def _exec(self,items)": "def _exec(self,items,shared=None)",
        "self.exec(prep_res)": "self.exec(prep_res,shared)",
        "self.exec_fallback(prep_res,e)": "self.exec_fallback(prep_res,e,shared)",
        "super(BatchNode,self)._exec(i)": "super(BatchNode,self)._exec(i,shared)",
        "self._exec(p)": "self._exec(p,shared)",
    }.items():
        source = source.replace(plain, more)
    return source


@pytest.mark.parametrize("edit", [with_keywords, with_names_and_super, with_shared_in_exec])
def test_copies_that_were_changed_behave_as_without_us(on, recorder, copy_of_pocketflow, edit):
    name = f"flow_copy_{edit.__name__}"
    copy_of_pocketflow(name, edit)
    copied = importlib.import_module(name)
    assert inspect.getsource(copied) != inspect.getsource(pf)
    seen = getattr(copied, "SEEN", [])

    def run():
        seen.clear()

        class Mine(copied.Node):
            def prep(self, shared):
                return 1

            def exec(self, prep_res, *more):
                seen.append(more)
                if self.cur_retry == 0:
                    raise ValueError
                return prep_res

            def exec_fallback(self, prep_res, exc, *more):
                raise AssertionError

            def post(self, shared, prep_res, exec_res):
                shared.append((prep_res, exec_res, self.params))
                return "next"

        class Batch(copied.BatchNode):
            def prep(self, shared):
                return [1, 2]

            def exec(self, prep_res, *more):
                return prep_res

            def post(self, shared, prep_res, exec_res):
                shared.append(exec_res)

        class Each(copied.BatchFlow):
            def prep(self, shared):
                return [{"i": 0}, {"i": 1}]

        mine = Mine(max_retries=2)
        _ = mine - "next" >> Batch()
        flow = Each(start=getattr(copied, "Deep", copied.Flow)(start=mine))
        result = flow.run(shared := [])
        return result, shared, str(seen)

    without = run()
    assert len(seen) >= 4
    with on(Config(pocketflow_modules=(name,))):
        assert run() == without
    nested = "invoke_workflow Deep" if hasattr(copied, "Deep") else "invoke_workflow"
    item = f"""  invoke_workflow Each
    {nested}
      run_step Mine
        prep Mine
        exec Mine
        exec Mine
        post Mine
      run_step Batch
        prep Batch
        exec Batch
        exec Batch
        post Batch
"""
    assert recorder.tree() == f"\ninvoke_workflow Each\n  prep Each\n{item}{item}"


def test_a_module_that_is_no_pocketflow(on, caplog):
    with on(Config(pocketflow_modules=("json",))), caplog.at_level(logging.WARNING):
        pass
    (line,) = [record.getMessage() for record in caplog.records if record.name == "spanloom"]
    assert "json has no class BaseNode" in line
    assert "SPANLOOM_POCKETFLOW_MODULES" in line


def test_no_installed_version_is_asked_for_a_copy(recorder, copy_of_pocketflow, on, monkeypatch):
    def version(name):
        raise dependencies.PackageNotFoundError(name)

    monkeypatch.setattr(dependencies, "version", version)
    copy_of_pocketflow("flow_copy_gate")
    with on(Config(pocketflow_modules=("flow_copy_gate",))):
        run_copy(importlib.import_module("flow_copy_gate"))
    assert recorder.tree() == COPIED
