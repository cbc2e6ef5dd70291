"""The GenAI metrics, and the duration of nodes, told by the spans' one lifecycle (`spanloom.span`).

Names, units, attributes and bucket boundaries follow the GenAI conventions (`docs/gen-ai/gen-ai-metrics.md`), under
the names that the official Python packages emit today (`opentelemetry-util-genai` 1.3b0), or under the newer ones of
the conventions' pull requests 374 and 521. A duration is the span's own. Who emits the span of a call emits its
metrics: what gives way to another instrumentation's span gives way here too.

Metrics are on while the process's meter provider has a reader. Then they count what the sampler does not want as well.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from opentelemetry import metrics, trace

from spanloom import genai, names
from spanloom.config import MAIN
from spanloom.guard import swallow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span
    from opentelemetry.util.types import Attributes, AttributeValue

    from spanloom.span import Scope

SECONDS: Final = tuple(0.01 * 2**step for step in range(14))
TOKENS: Final = tuple(4**step for step in range(14))
AGENT_SECONDS: Final = tuple(0.1 * 2**step for step in range(13))
WORKFLOW_SECONDS: Final = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)

_CALL: Final = (
    names.GEN_AI_OPERATION_NAME,
    names.GEN_AI_PROVIDER_NAME,
    names.GEN_AI_REQUEST_MODEL,
    names.GEN_AI_RESPONSE_MODEL,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
)
_RUNS: Final = {names.OP_INVOKE_WORKFLOW: names.GEN_AI_WORKFLOW_NAME, names.OP_INVOKE_AGENT: names.GEN_AI_AGENT_NAME}
_NAMED: Final = (*_RUNS, names.OP_RUN_STEP)
# Of each operation, the attributes of its span that its metrics have: few values each, and never content.
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys((*genai.INFERENCES, names.OP_EMBEDDINGS, names.OP_RETRIEVAL, names.OP_RERANK), _CALL),
    names.OP_INVOKE_WORKFLOW: (names.GEN_AI_WORKFLOW_NAME,),
    names.OP_INVOKE_AGENT: (names.GEN_AI_AGENT_NAME, names.GEN_AI_REQUEST_MODEL),
    names.OP_EXECUTE_TOOL: (names.GEN_AI_TOOL_NAME, names.GEN_AI_TOOL_TYPE, names.GEN_AI_AGENT_NAME),
    names.OP_RUN_STEP: (names.NODE_NAME,),
}
_INPUT: Final = names.GEN_AI_USAGE_INPUT_TOKENS
_OUTPUT: Final = names.GEN_AI_USAGE_OUTPUT_TOKENS


class _Told(NamedTuple):
    """What a span that has ended tells the instruments.

    Attributes:
        seconds: how long it took.
        attributes: of the metrics.
        described: of the span, as far as it got them at its end.
        per_chunk: seconds between two parts of a streamed answer, on the average; None where there were no two.
        context: with the span, for exemplars.
    """

    seconds: float
    attributes: dict[str, AttributeValue]
    described: Mapping[str, AttributeValue]
    per_chunk: float | None
    context: Context

    def tokens(self, key: str) -> int | None:
        """Tokens."""
        count = self.described.get(key)
        return count if isinstance(count, int) else None


class _Instruments:
    """The instruments of one meter, and which operation is told to which."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.operation = self._seconds(
            names.METRIC_OPERATION_DURATION, "Duration of a call of a model or of a store.", SECONDS
        )
        tool = self._seconds(names.METRIC_TOOL_DURATION, "Duration of an execution of a tool.", SECONDS)
        workflow = self._seconds(names.METRIC_WORKFLOW_DURATION, "Duration of a workflow's run.", WORKFLOW_SECONDS)
        agent = self._seconds(names.METRIC_AGENT_DURATION, "Duration of an agent's run.", AGENT_SECONDS)
        node = self._seconds(names.METRIC_NODE_DURATION, "Duration of a node of a workflow.", SECONDS)
        # UCUM has no currencies. The general metric conventions have what it lacks as an annotation, in braces.
        self._cost = meter.create_counter(names.METRIC_COST, unit="{USD}", description="What model calls have cost.")
        self.tell: dict[str, Callable[[_Told], None]] = {
            **dict.fromkeys((names.OP_RETRIEVAL, names.OP_RERANK), _teller(self.operation)),
            names.OP_INVOKE_WORKFLOW: _teller(workflow),
            names.OP_INVOKE_AGENT: _teller(agent),
            names.OP_EXECUTE_TOOL: _teller(tool),
            names.OP_RUN_STEP: _teller(node),
        }

    def _seconds(self, name: str, description: str, boundaries: tuple[float, ...]) -> Histogram:
        return self._meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=boundaries
        )

    def _chunks(self, to_first: str, per_chunk: str) -> tuple[Histogram, Histogram]:
        first = "Time from a model call's start to the first part of its streamed answer."
        later = "Time between two parts of a streamed answer, on the average of a call."
        return self._seconds(to_first, first, SECONDS), self._seconds(per_chunk, later, SECONDS)

    def _tell_rest(self, told: _Told, chunks: tuple[Histogram, Histogram]) -> None:
        """What only some model calls have: a stream's times, a known price."""
        seconds = (told.described.get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK), told.per_chunk)
        for histogram, time in zip(chunks, seconds, strict=True):
            if isinstance(time, (int, float)):
                histogram.record(time, _without_error(told.attributes), told.context)
        cost = told.described.get(names.COST_USD)
        if isinstance(cost, (int, float)):
            self._cost.add(cost, _without_error(told.attributes), told.context)

    def _tokens(self, name: str, description: str) -> Histogram:
        return self._meter.create_histogram(
            name, unit="{token}", description=description, explicit_bucket_boundaries_advisory=TOKENS
        )


class _Legacy(_Instruments):
    """Under the names of the official Python packages."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter)
        self._usage = self._tokens(names.METRIC_TOKEN_USAGE, "Tokens used by a model call.")
        self._streams = self._chunks(names.METRIC_TIME_TO_FIRST_CHUNK, names.METRIC_TIME_PER_OUTPUT_CHUNK)
        self.tell.update(dict.fromkeys((*genai.INFERENCES, names.OP_EMBEDDINGS), self._call))

    def _call(self, told: _Told) -> None:
        self.operation.record(told.seconds, told.attributes, told.context)
        for kind, key in (("input", _INPUT), ("output", _OUTPUT)):
            count = told.tokens(key)
            if count is not None:
                self._usage.record(count, {**told.attributes, names.GEN_AI_TOKEN_TYPE: kind}, told.context)
        self._tell_rest(told, self._streams)


class _Main(_Instruments):
    """Under the newer names."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter)
        self._duration = self._seconds(names.METRIC_INFERENCE_DURATION, "Duration of a model call.", SECONDS)
        self._streams = self._chunks(
            names.METRIC_INFERENCE_TIME_TO_FIRST_CHUNK, names.METRIC_INFERENCE_TIME_PER_OUTPUT_CHUNK
        )
        self._per_call = (
            (_INPUT, self._tokens(names.METRIC_INFERENCE_INPUT_TOKENS, "Input tokens of a model call.")),
            (_OUTPUT, self._tokens(names.METRIC_INFERENCE_OUTPUT_TOKENS, "Output tokens of a model call.")),
        )
        self._usage: tuple[tuple[str, Counter], ...] = tuple(
            (key, meter.create_counter(name, unit="{token}", description=description))
            for key, name, description in (
                (_INPUT, names.METRIC_USAGE_INPUT_TOKENS, "Input tokens, the cached ones among them."),
                (_OUTPUT, names.METRIC_USAGE_OUTPUT_TOKENS, "Output tokens, those of the reasoning among them."),
                (
                    names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
                    names.METRIC_USAGE_CACHE_READ_INPUT_TOKENS,
                    "Input tokens that were read from the provider's cache.",
                ),
                (
                    names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
                    names.METRIC_USAGE_CACHE_WRITE_INPUT_TOKENS,
                    "Input tokens that were written to the provider's cache.",
                ),
                (
                    names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
                    names.METRIC_USAGE_REASONING_OUTPUT_TOKENS,
                    "Output tokens of the reasoning.",
                ),
            )
        )
        self.tell[names.OP_EMBEDDINGS] = _teller(self.operation)
        self.tell.update(dict.fromkeys(genai.INFERENCES, self._call))

    def _call(self, told: _Told) -> None:
        self._duration.record(told.seconds, told.attributes, told.context)
        # The conventions: failed calls count too, and what was not told is 0 of what every call uses.
        for key, per_call in self._per_call:
            per_call.record(told.tokens(key) or 0, told.attributes, told.context)
        counted = {**_without_error(told.attributes), names.GEN_AI_TOKEN_MODALITY: "unknown"}
        for key, counter in self._usage:
            count = told.tokens(key)
            if count is not None or key in (_INPUT, _OUTPUT):
                counter.add(count or 0, counted, told.context)
        self._tell_rest(told, self._streams)


def _teller(histogram: Histogram) -> Callable[[_Told], None]:
    def tell(told: _Told) -> None:
        histogram.record(told.seconds, told.attributes, told.context)

    return tell


def _without_error(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {key: value for key, value in attributes.items() if key != names.ERROR_TYPE}


class _Reads:
    """Stands for the part of the SDK's meter that knows its readers, where a meter has none."""

    def __init__(self, *, on: bool) -> None:
        self._reader_storages = on


class Metrics:
    """The metrics of one instrumentation.

    Args:
        meter: makes the instruments; the API's proxy is none until a provider is set.
        newer: under the newer names.
    """

    def __init__(self, meter: Meter, *, newer: bool) -> None:
        self._meter = meter
        self._newer = newer
        self._consumer: Any = None
        self._instruments: _Instruments | None = None

    @classmethod
    def create(cls, name: str, version: str, provider: MeterProvider | None, metric_names: str) -> Metrics | None:
        """For the instrumentation scope `name`; None where nobody can ever want them (the SDK is disabled, say).

        Args:
            name: of the instrumentor's package.
            version: of spanloom.
            provider: None is the process's, now or once it has one.
            metric_names: `Config.metric_names`.
        """
        meter = metrics.get_meter(name, version, provider)
        return None if isinstance(meter, metrics.NoOpMeter) else cls(meter, newer=metric_names == MAIN)

    @property
    def on(self) -> bool:
        """Whether somebody reads them; asked for every span."""
        consumer = self._consumer
        # An SDK's provider that no reader was given (`opentelemetry-instrument` always sets one) may get one yet.
        return bool(consumer._reader_storages) if consumer is not None else self._look()  # noqa: SLF001

    def _look(self) -> bool:
        real: Any = getattr(self._meter, "_real_meter", self._meter)  # of the API's proxy: None until there is one
        if real is None:
            return False
        if isinstance(real, metrics.NoOpMeter):
            self._consumer = _Reads(on=False)
            return False
        try:
            self._instruments = (_Main if self._newer else _Legacy)(cast("Meter", real))
        except Exception as exc:  # a meter that is not the SDK's; the spans go on
            self._consumer = _Reads(on=False)
            swallow("metrics.instruments", "the metrics", exc)
            return False
        consumer = getattr(real, "_measurement_consumer", None)
        # A meter that is not the SDK's, or of another SDK than those known, is taken to be read.
        self._consumer = consumer if hasattr(consumer, "_reader_storages") else _Reads(on=True)
        return self.on

    def begin(self, span: Span, attributes: Attributes) -> Measure | None:
        """The measure of a span that has just started; None where no metric is about it.

        Args:
            span: which the sampler may not want.
            attributes: which it has started with.
        """
        operation = None if attributes is None else attributes.get(names.GEN_AI_OPERATION_NAME)
        instruments = self._instruments
        if attributes is None or not isinstance(operation, str) or instruments is None or operation not in _KEYS:
            return None
        return Measure(instruments.tell[operation], operation, span, attributes)


class Measure:
    """One span, from its start until it is told to the instruments. Holds no content.

    Attributes:
        attributes: of the metrics, as they are known from the start.
        reads: some of what is told is known only at the span's end (who answered, tokens, a tool's failure).
        run: the attribute that names what runs, where this is a workflow or an agent.
    """

    __slots__ = ("_keys", "_start", "_tell", "attributes", "reads", "run")

    def __init__(self, tell: Callable[[_Told], None], operation: str, span: Span, attributes: Attributes) -> None:
        self._tell = tell
        self._keys = _KEYS[operation]
        self._start: int = getattr(span, "start_time", None) or time_ns()
        self.reads = operation not in _NAMED
        self.run = _RUNS.get(operation)
        self.attributes = self._of(attributes or {})

    def _of(self, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
        return {key: attributes[key] for key in self._keys if key in attributes}

    def ended(self, scope: Scope, described: Mapping[str, AttributeValue], end: int | None) -> None:
        """Tell the instruments.

        Args:
            scope: the span's, which has ended.
            described: the attributes that the span got at its end.
            end: when it has ended, where the span does not know.
        """
        span = scope.span
        at: int = getattr(span, "end_time", None) or end or time_ns()
        attributes = {**self.attributes, **self._of(described)}
        error = described.get(names.ERROR_TYPE)
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        if names.NODE_NAME in attributes:
            attributes.update(_run_around(scope))
        seconds = max(at - self._start, 0) / 1e9
        self._tell(_Told(seconds, attributes, described, scope.per_chunk, trace.set_span_in_context(span)))


def _run_around(scope: Scope) -> dict[str, AttributeValue]:
    """The name of the workflow or agent that a node belongs to."""
    above = scope.parent
    while above is not None:
        measure = above.measure
        if measure is not None and measure.run is not None:
            return {key: value for key, value in measure.attributes.items() if key == measure.run}
        above = above.parent
    return {}
