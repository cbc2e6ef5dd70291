"""What lies around a run is as without us: pickles, copies, frames, context variables, functions held on to."""

import asyncio
import contextlib
import contextvars
import copy
import gc
import inspect
import pickle
import sys
import types
import weakref

import pocketflow as pf
import pytest

variable = contextvars.ContextVar("variable", default="unset")


# -- pickle and deepcopy (classes must be importable) -------------------------------------------------------------


class Adds(pf.Node):
    def __init__(self, n=1, **kwargs):
        super().__init__(**kwargs)
        self.n = n

    def prep(self, shared):
        self.seen = [*getattr(self, "seen", []), shared["n"]]

    def post(self, shared, prep_res, exec_res):
        shared["n"] += self.n
        return "more" if shared["n"] < 6 else "end"


class Asyncs(pf.AsyncNode):
    async def post_async(self, shared, prep_res, exec_res):
        shared["n"] *= 10
        return "more"


class Sets(pf.AsyncBatchFlow):
    async def prep_async(self, shared):
        return [{"i": 1}, {"i": 2}]


def graph():
    one, other = Adds(2, max_retries=2), Adds(1)
    _ = one - "more" >> other
    _ = other - "more" >> one
    _ = one - "end" >> pf.Flow(start=pf.Node())
    _ = other - "end" >> pf.Node()
    return pf.Flow(start=one)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow)), copy.copy])
def test_flows_copied_before_and_after_a_run(same, twin):
    def program(log):
        flow = graph()
        before = twin(flow)
        log.append((flow.run({"n": 0}), before.run({"n": 1})))
        after = twin(before)
        log.append((after.run(shared := {"n": 0}), shared, sorted(vars(after))))
        alone = Adds(3)
        alone.run({"n": 1})
        log.append((vars(alone), vars(twin(alone))))
        sets = twin(Sets(start=Asyncs()))
        return asyncio.run(sets.run_async(shared)), shared

    same(program)


def test_a_node_copied_and_pickled_inside_itself(same):
    def program(log):
        class Looks(Adds):
            def exec(self, prep_res):
                self.__class__ = Adds
                twins = copy.copy(self), copy.deepcopy(self), pickle.loads(pickle.dumps(self))
                log.append([(type(t).__name__, sorted(vars(t))) for t in twins])
                log.append(len(pickle.dumps((self.run, self.prep, pf.Flow._orch))))

        return pf.Flow(start=Looks()).run(shared := {"n": 5}), shared

    same(program)


# -- frames and functions -----------------------------------------------------------------------------------------


def nodes_on_the_stack():
    """PocketFlow's guide shows this way to print the call stack of nodes."""
    seen, found = set(), []
    for frame in inspect.stack()[1:]:
        caller = frame.frame.f_locals.get("self")
        if isinstance(caller, pf.BaseNode) and id(caller) not in seen:
            seen.add(id(caller))
            found.append(type(caller).__name__)
    return found


class Evaluates(pf.Node):
    def prep(self, shared):
        shared.append(nodes_on_the_stack())

    exec = post = lambda self, *args: None

    def exec_fallback(self, prep_res, exc):
        raise exc


class EvaluatesAsync(pf.AsyncNode):
    async def prep_async(self, shared):
        await asyncio.sleep(0)
        shared.append(nodes_on_the_stack())
        return shared

    async def exec_async(self, shared):
        shared.append(nodes_on_the_stack())
        raise ValueError

    async def exec_fallback_async(self, shared, exc):
        shared.append(nodes_on_the_stack())
        return shared

    async def post_async(self, shared, prep_res, exec_res):
        shared.append(nodes_on_the_stack())


def test_the_guides_call_stack_of_nodes(same):
    def program(log):
        class ModelFlow(pf.Flow):
            pass

        class Batches(pf.BatchFlow):
            def prep(self, shared):
                shared.append(nodes_on_the_stack())
                return [{}]

            def get_next_node(self, curr, action):
                log.append(nodes_on_the_stack())
                return super().get_next_node(curr, action)

        class Whole(pf.AsyncFlow):
            pass

        inner = ModelFlow(start=Evaluates())
        _ = inner >> Batches(start=Evaluates()) >> EvaluatesAsync()
        pf.Flow(start=ModelFlow(start=Evaluates())).run(log)
        asyncio.run(Whole(start=inner).run_async(log))
        Evaluates().run(log)

    same(program)


def test_functions_look_as_before(same):
    def program(log):
        pf.Flow(start=pf.Node()).run({})
        for cls in (pf.BaseNode, pf.Node, pf.BatchNode, pf.Flow, pf.BatchFlow, pf.AsyncNode, pf.AsyncFlow):
            for name, function in vars(cls).items():
                if inspect.isfunction(function):
                    log.append((cls.__name__, name, function.__name__, function.__qualname__, function.__module__))
                    log.append((str(inspect.signature(function)), inspect.iscoroutinefunction(function)))
                    log.append((inspect.getsource(function), function.__doc__, function.__defaults__ or ()))
            log.append(list(vars(cls)))

    def without_defaults(log):
        program(log)
        log[:] = [entry[:-1] if isinstance(entry[-1], tuple) else entry for entry in log]

    same(without_defaults)


def test_deep_but_allowed_recursion(same):
    """Our frames come on top of PocketFlow's: a program may nest runs fifty deep below the usual limit of 1000."""

    def program(log):
        class Dives(pf.Node):
            def exec(self, prep_res):
                log.append(1)
                if len(log) < 50:
                    pf.Flow(start=Dives()).run({})

        pf.Flow(start=Dives()).run({})
        return len(log)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 1000)
    try:
        same(program)
    finally:
        sys.setrecursionlimit(limit)


def test_endless_recursion_ends_as_without_us(same):
    def program(log):
        class Dives(pf.Node):
            def exec(self, prep_res):
                pf.Flow(start=Dives()).run({})

        try:
            pf.Flow(start=Dives()).run({})
        except RecursionError:
            return "RecursionError"

    same(program)


# -- context variables --------------------------------------------------------------------------------------------


def test_context_variables_of_the_users(same):
    def program(log):
        class Sets(pf.Node):
            def prep(self, shared):
                log.append(variable.get())
                variable.set("prep")

            def exec(self, prep_res):
                log.append(variable.get())
                variable.set("exec")

            def post(self, shared, prep_res, exec_res):
                log.append(variable.get())
                variable.set("post")

        variable.set("before")
        try:
            pf.Flow(start=pf.Flow(start=Sets())).run({})
            return variable.get()
        finally:
            variable.set("unset")

    same(program)


def test_context_variables_in_tasks(same):
    def program(log):
        class Sets(pf.AsyncParallelBatchNode):
            async def prep_async(self, shared):
                variable.set("prep")
                return [1, 2]

            async def exec_async(self, item):
                log.append((item, variable.get()))
                variable.set(item)
                await asyncio.sleep(0)
                log.append((item, variable.get()))

            async def post_async(self, shared, prep_res, exec_res):
                log.append(variable.get())
                self.token = variable.set("post")
                return "go"

        class Resets(pf.AsyncNode):
            async def post_async(self, shared, prep_res, exec_res):
                variable.reset(shared["token"]) if "token" in shared else None
                return variable.get()

        first = Sets()
        _ = first - "go" >> Resets()

        async def main():
            variable.set("main")
            result = await pf.AsyncFlow(start=first).run_async({})
            return result, variable.get()

        return asyncio.run(main()), variable.get()

    same(program)


def test_a_run_leaves_the_context_as_it_was(same):
    def program(log):
        class Runs(pf.Node):
            def exec(self, prep_res):
                return None

            def post(self, shared, prep_res, exec_res):
                raise ValueError

        def inside():
            before = dict(contextvars.copy_context())
            for node in (pf.Flow(start=pf.Node()), Runs()):
                with contextlib.suppress(ValueError):
                    node.run({})
            after = dict(contextvars.copy_context())
            return {v.name for v in after if after[v] is not before.get(v) and after[v] is not None}

        return contextvars.Context().run(inside)

    same(program)


# -- lifetimes ----------------------------------------------------------------------------------------------------


def test_objects_die_as_early(same):
    """Nothing of a run is held on to: with the garbage collector off, references alone free it."""

    class Thing:
        pass

    def program(log):
        class Makes(pf.Node):
            def prep(self, shared):
                thing = shared["thing"] = Thing()
                log.append(weakref.ref(thing))
                return thing

            def exec(self, thing):
                if self.cur_retry == 0:
                    raise ValueError(thing)
                return thing

            def post(self, shared, prep_res, exec_res):
                log.append(weakref.ref(self))

        flow, shared = pf.Flow(start=Makes(max_retries=2)), {}
        flow.run(shared)
        shared.clear()
        log[:] = [reference() is None for reference in log]

        class Fails(pf.Node):
            def prep(self, shared):
                thing = Thing()
                log.append(weakref.ref(thing))
                raise LookupError(thing)

        try:
            Fails().run({})
        except LookupError as exc:
            log.append(type(exc.args[0]).__name__)
        log[2] = log[2]() is None
        return log.copy()

    gc.collect()
    gc.disable()
    try:
        same(program)
    finally:
        gc.enable()


def test_functions_taken_before_and_used_while_on(same):
    run, _run, orch, exec_ = pf.BaseNode.run, pf.BaseNode._run, pf.Flow._orch, pf.Node._exec

    def program(log):
        class Bound(pf.Node):
            def exec(self, prep_res):
                log.append(self.cur_retry)
                if self.cur_retry == 0:
                    raise ValueError
                return 1

            def post(self, shared, prep_res, exec_res):
                shared["out"] = exec_res

        class Held(pf.Flow):
            _run = lambda self, shared: orch(self, shared)

        node = Bound(max_retries=2)
        run(pf.Flow(start=node), shared := {})
        return _run(node, {}), exec_(node, None), Held(start=node).run(shared), shared

    same(program)


def test_bound_methods_and_partials_held(same):
    def program(log):
        flow = graph()
        held = types.MethodType(pf.BaseNode.run, flow), flow.run, flow._run, flow.__class__.run.__get__(flow)
        return [call({"n": 0}) for call in held]

    same(program)
