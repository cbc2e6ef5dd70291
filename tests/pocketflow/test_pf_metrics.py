"""The metrics of PocketFlow's flows and nodes, sampled or not."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from pocketflow import Flow, Node

from spanloom.config import Config
from spanloom.testing import Recorder
from spanloom_pocketflow import PocketFlowInstrumentor


class Ask(Node):
    def exec(self, prep_res):
        return prep_res


class Fail(Node):
    def exec(self, prep_res):
        raise ValueError("words")


class Support(Flow):
    pass


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF], ids=["sampled", "unsampled"])
def test_a_flow(sampler):
    recorder, reader = Recorder(sampler=sampler), InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=recorder.provider, meter_provider=provider, config=Config(content=True))
    try:
        ask = Ask()
        ask >> Ask() >> Fail()
        with pytest.raises(ValueError, match="words"):
            Support(start=ask).run({})
    finally:
        instrumentor.uninstrument()

    recorder.assert_closed()
    assert bool(recorder.spans) == (sampler is None)
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    assert scope.scope.name == "spanloom_pocketflow"
    counts = {
        (metric.name, *sorted(point.attributes.items())): point.count
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    error, workflow = ("error.type", "ValueError"), ("gen_ai.workflow.name", "Support")
    assert counts == {
        ("gen_ai.invoke_workflow.duration", error, workflow): 1,
        ("spanloom.node.duration", workflow, ("spanloom.node.name", "Ask")): 2,
        ("spanloom.node.duration", error, workflow, ("spanloom.node.name", "Fail")): 1,
    }
