"""One model call is one span, with `opentelemetry-util-genai` (which the official packages share) around or below."""

import importlib.machinery
import sys
import types

import pytest
from opentelemetry import context as otel_context

from spanloom import genai, interop, names
from spanloom.carried import OPEN_INFERENCE
from spanloom.inference import Inference, Usage

OPERATION = genai.inference(names.OP_CHAT, "acme", "m-1")


@pytest.fixture
def theirs(recorder):
    """`with theirs() as call:` a model call that an official package records, as far as it is not told otherwise."""
    handler = pytest.importorskip("opentelemetry.util.genai.handler", reason="opentelemetry-util-genai is missing")
    if not hasattr(handler, "InferenceData"):
        pytest.skip("this opentelemetry-util-genai does not know of calls around its own")
    telemetry = handler.TelemetryHandler(tracer_provider=recorder.provider)
    return lambda **about: telemetry.inference("theirs", **about)


@pytest.fixture
def ours(bench):
    """A call of ours, begun; None where it is theirs to record."""
    return lambda: Inference(bench.telemetry).begin(lambda: OPERATION)


def answer(call):
    call.response_model_name, call.response_id = "m-1-0001", "r1"
    call.finish_reasons = ["tool_calls"]
    call.input_tokens, call.output_tokens, call.cache_read_input_tokens, call.thinking_tokens = 10, 5, 4, 3


def test_a_call_of_theirs_inside_ours_has_no_span_and_its_facts_are_kept(recorder, theirs, ours):
    with ours(), theirs(request_model="m-1", server_address="api.acme.example", server_port=443) as call:
        answer(call)

    (span,) = recorder.spans
    assert span.attributes == OPERATION.attributes | {
        "server.address": "api.acme.example",
        "server.port": 443,
        "gen_ai.response.model": "m-1-0001",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }


def test_what_we_know_ourselves_counts(recorder, theirs, ours):
    with ours() as mine, theirs() as call:
        answer(call)
        mine.response_id, mine.usage = "mine", Usage(20, 0)

    span = recorder.only("chat m-1")
    assert span.attributes["gen_ai.response.id"] == "mine"
    assert span.attributes["gen_ai.usage.input_tokens"] == 20
    assert span.attributes["gen_ai.usage.output_tokens"] == 0
    assert span.attributes["gen_ai.usage.cache_read.input_tokens"] == 4


def test_a_stream_of_theirs_inside_ours_tells_its_first_chunk(recorder, theirs, ours):
    with ours(), theirs() as call:
        call.record_stream_chunk()

    span = recorder.only("chat m-1")
    assert span.attributes["gen_ai.response.time_to_first_chunk"] >= 0
    assert span.attributes["gen_ai.request.stream"] is True


def test_a_call_of_ours_inside_theirs_is_theirs(recorder, theirs, ours):
    with theirs(request_model="m-2"):
        assert ours() is None

    assert [span.name for span in recorder.spans] == ["chat m-2"]
    with ours():
        pass
    assert recorder.spans[-1].name == "chat m-1"


def test_below_another_span_of_ours_a_call_is_a_call_again(recorder, bench, theirs, ours):
    with ours(), bench.scope("tool"), theirs(request_model="m-2"):
        pass
    with theirs(request_model="m-3"), bench.scope("tool"), ours():
        pass

    assert recorder.tree() == (
        "\nchat m-1\n  tool\n    chat m-2"  # a model calls a tool that calls a model
        "\nchat m-3\n  tool\n    chat m-1\n"
    )


def test_nothing_is_announced_where_the_call_is_not_recorded(make_bench, theirs, recorder):
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from spanloom.testing import Recorder

    bench = make_bench(Recorder(sampler=ALWAYS_OFF))
    with Inference(bench.telemetry).start(OPERATION):
        assert otel_context.get_value(OPEN_INFERENCE) is None  # their metrics count it
    assert recorder.spans == []


@pytest.fixture
def package(monkeypatch):
    """`package(InferenceData=...)`: a version of the package that nobody has seen yet, with these names."""

    def put(**content):
        module = types.ModuleType("opentelemetry.util.genai.invocation")
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return module

    monkeypatch.setattr(interop.INFERENCE, "_found", None)
    return put


def test_the_package_is_not_imported_for_us(package, monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.util.genai.invocation", raising=False)

    assert interop.announcement() is None
    assert "opentelemetry.util.genai.invocation" not in sys.modules
    data = type("InferenceData", (), {})
    package(InferenceData=data)  # imported later
    assert type(interop.announcement()) is data


def test_a_package_without_the_announcement_is_told_of_once(package, log):
    module = package()
    module.__spec__._initializing = True

    assert interop.announcement() is None
    assert log.lines == []  # it is only just being imported
    module.__spec__._initializing = False
    assert interop.announcement() is interop.announcement() is None
    (line,) = log.lines
    assert "pip install 'opentelemetry-util-genai>=1.3b0'" in line


def test_a_package_that_has_changed_costs_a_line(package, lenient, ours):
    class InferenceData:
        def __init__(self, required):
            self.required = required

    package(InferenceData=InferenceData)

    for _ in range(2):
        with ours():
            assert otel_context.get_value(OPEN_INFERENCE) is None
    (line,) = lenient.lines
    assert "recorded only once" in line


def test_data_of_any_kind_is_read_with_care():
    class Odd:
        def __init__(self):
            self.server_address, self.server_port, self.usage_input_tokens = b"bytes", None, 3
            self.response_finish_reasons = "stop"

    assert interop.told(None) == interop.told(object()) == {}
    assert interop.told(Odd()) == {"gen_ai.usage.input_tokens": 3}
