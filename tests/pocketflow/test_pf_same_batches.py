"""Batches of any kind run as without us; generators are consumed by PocketFlow alone."""

import types

import pocketflow as pf
import pytest


def items(kind):
    return {
        "list": [1, 2, 3],
        "tuple": (1, None, 3),
        "dict": {"a": 1, "b": 2},
        "range": range(3),
        "text": "abc",
        "none": None,
        "empty": [],
        "nones": [None, None],
    }[kind]


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "range", "text", "none", "empty", "nones"])
def test_batch_items_of_any_kind(same, kind):
    def program(log):
        class Batch(pf.BatchNode):
            def prep(self, shared):
                return items(kind)

            def exec(self, item):
                log.append(item)
                return item

            def post(self, shared, prep_res, exec_res):
                shared["out"] = prep_res, exec_res

        pf.Flow(start=Batch()).run(shared := {})
        return shared

    same(program)


def test_generators_are_consumed_by_pocketflow_alone(same):
    def program(log):
        def produce(shared):
            for i in range(3):
                log.append(f"made {i}")
                yield i
            log.append("end")

        class Batch(pf.BatchNode):
            def prep(self, shared):
                return produce(shared)

            def exec(self, item):
                log.append(f"exec {item}")
                return (x for x in [item])

            def post(self, shared, prep_res, exec_res):
                shared["gen"] = produce(shared)
                shared["results"] = [list(result) for result in exec_res]
                return prep_res

        class Keeps(pf.Node):
            def prep(self, shared):
                return shared["gen"]

            def exec(self, stream):
                log.append(type(stream) is types.GeneratorType)
                return stream

            def post(self, shared, prep_res, exec_res):
                shared["rest"] = list(exec_res)
                del shared["gen"]

        class Flow(pf.BatchFlow):
            def prep(self, shared):
                return ({"i": i} for i in produce(shared))

            def post(self, shared, prep_res, exec_res):
                return list(prep_res)

        batch = Batch()
        shared = {}
        log.append(next(batch.run(shared), "consumed"))
        Keeps().run(shared)
        return Flow(start=pf.Node()).run(shared), shared

    same(program)


@pytest.mark.parametrize("failing", [0, 2])
def test_one_item_of_a_batch_fails(same, failing):
    def program(log):
        class Batch(pf.BatchNode):
            def prep(self, shared):
                return list(range(4))

            def exec(self, item):
                log.append((item, self.cur_retry))
                if item == failing:
                    raise ValueError(item)
                return item

        pf.Flow(start=Batch(max_retries=2)).run({})

    same(program)


def test_fallback_per_item(same):
    def program(log):
        class Batch(pf.BatchNode):
            def prep(self, shared):
                return list(range(4))

            def exec(self, item):
                log.append((item, self.cur_retry))
                if item % 2 and self.cur_retry < item:
                    raise ValueError(item)
                return item

            def exec_fallback(self, item, exc):
                return -item

            def post(self, shared, prep_res, exec_res):
                shared["out"] = exec_res

        pf.Flow(start=Batch(max_retries=2)).run(shared := {})
        return shared

    same(program)


def test_a_batch_flow_that_fails_in_the_middle(same):
    def program(log):
        class Fails(pf.Node):
            def exec(self, prep_res):
                log.append(self.params)
                if self.params["i"] == 1:
                    raise ValueError

        class Batch(pf.BatchFlow):
            def prep(self, shared):
                return [{"i": i} for i in range(3)]

        Batch(start=Fails()).run({})

    same(program)


@pytest.mark.parametrize("bad", [None, 5, [1], "ab"])
def test_a_batch_flow_with_a_parameter_set_that_is_none(same, bad):
    def program(log):
        class Batch(pf.BatchFlow):
            def prep(self, shared):
                return [{"i": 1}, bad]

        Batch(start=pf.Node()).run({})

    same(program)
