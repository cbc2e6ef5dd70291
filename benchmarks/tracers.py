"""The tracers of LangGraph that are compared, and how each is switched on and off.

A tracer is a context manager of a provider and whether content is recorded; it yields the keywords that each run
gets. None of them is imported before it is used: what one patches at its import must not be in the way of another.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple

from measure import ATTRIBUTES
from opentelemetry import context, trace
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from opentelemetry.trace import TracerProvider

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Tracer(NamedTuple):
    """One that may be installed.

    Attributes:
        distribution: what to install.
        on: switches it on.
        remark: what to know about its figures.
    """

    distribution: str
    on: Callable[[TracerProvider, bool], AbstractContextManager[dict[str, Any]]]
    remark: str = ""

    @property
    def version(self) -> str | None:
        """The installed one; None if there is none."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


@contextmanager
def none(_provider: TracerProvider, _content: bool) -> Iterator[dict[str, Any]]:
    yield {}


@contextmanager
def spanloom(provider: TracerProvider, content: bool) -> Iterator[dict[str, Any]]:
    from spanloom.config import Config
    from spanloom_langgraph import LangGraphInstrumentor

    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config(content=content))
    try:
        yield {}
    finally:
        instrumentor.uninstrument()


@contextmanager
def openinference(provider: TracerProvider, content: bool) -> Iterator[dict[str, Any]]:
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.langchain import LangChainInstrumentor

    hidden = TraceConfig(hide_inputs=not content, hide_outputs=not content)
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=hidden)
    try:
        yield {}
    finally:
        instrumentor.uninstrument()


@contextmanager
def restoring(*places: tuple[Any, str]) -> Iterator[None]:
    """At the end these functions are what they were, whatever has been put in their places."""
    before = [(owner, name, owner.__dict__[name]) for owner, name in places]
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


@contextmanager
def openllmetry(provider: TracerProvider, content: bool) -> Iterator[dict[str, Any]]:
    from langchain_core.callbacks import BaseCallbackManager
    from langgraph.pregel import Pregel
    from langgraph.types import Command
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    os.environ["TRACELOOP_TRACE_CONTENT"] = str(content).lower()
    instrumentor = LangchainInstrumentor()
    with restoring((BaseCallbackManager, "__init__"), (Pregel, "stream"), (Pregel, "astream"), (Command, "__init__")):
        instrumentor.instrument(tracer_provider=provider)
        try:
            yield {}
        finally:
            instrumentor.uninstrument()


@contextmanager
def official(provider: TracerProvider, content: bool) -> Iterator[dict[str, Any]]:
    os.environ[CONTENT] = "SPAN_ONLY" if content else "NO_CONTENT"
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield {}
    finally:
        instrumentor.uninstrument()


class Nowhere(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS


@contextmanager
def langfuse(provider: TracerProvider, content: bool) -> Iterator[dict[str, Any]]:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    key = f"pk-lf-{id(provider):x}"  # a client a provider: they are kept by their key
    enabled = hasattr(provider, "add_span_processor")
    Langfuse(
        public_key=key,
        secret_key="sk-lf-benchmark",
        tracing_enabled=enabled,
        tracer_provider=provider if enabled else None,
        span_exporter=Nowhere(),
    )
    yield {"callbacks": [CallbackHandler(public_key=key)]}


@contextmanager
def by_hand(provider: TracerProvider, _content: bool) -> Iterator[dict[str, Any]]:
    """A bare span around each run, node, model call and tool: what spans cost there, whoever writes them."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool
    from langgraph.pregel import Pregel, _runner

    tracer = provider.get_tracer("by hand")

    @contextmanager
    def span() -> Iterator[None]:
        made = tracer.start_span("run_step Work", attributes=ATTRIBUTES)
        token = context.attach(trace.set_span_in_context(made))
        try:
            yield
        finally:
            context.detach(token)
            made.end()

    def around(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with span():
                return function(*args, **kwargs)

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with span():
                return await function(*args, **kwargs)

        return call_async if iscoroutinefunction(function) else call

    places: list[tuple[Any, str]] = [
        (_runner, "run_with_retry"),
        (_runner, "arun_with_retry"),
        (Pregel, "invoke"),
        (Pregel, "ainvoke"),
        (BaseChatModel, "_generate_with_cache"),
        (BaseTool, "run"),
    ]
    with restoring(*places):
        for owner, name in places:
            setattr(owner, name, around(getattr(owner, name)))
        yield {}


TRACERS = {
    "spanloom": Tracer("spanloom", spanloom),
    "openinference": Tracer("openinference-instrumentation-langchain", openinference),
    "openllmetry": Tracer("opentelemetry-instrumentation-langchain", openllmetry),
    "langfuse": Tracer("langfuse", langfuse, "always with content, and its own batch processor is in its figures"),
    "official": Tracer("opentelemetry-instrumentation-genai-langchain", official, "has no spans for nodes"),
    "by hand": Tracer("langgraph", by_hand, "bare spans in the same places"),
    "none": Tracer("langgraph", none),
}
