"""The global TracerProvider of `spanloom run`: there from the first line, and gone when the program sets its own.

OpenTelemetry lets a process set its provider once. A program that sets one must find the place free, its tracers
must end up with its own provider (as the API's proxies do), and its exporters must get what they would get without
us; its spans are ours to record all the same.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.util._once import Once

from spanloom import environment
from spanloom.apart import Apart, OurTracer, Tap
from spanloom.guard import guarded, swallow
from spanloom.lean import lean

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor


class YieldingProvider(TracerProvider):
    """An SDK provider whose tracers follow the program's own provider, once it has set one.

    Tracers made while `fixed` is True (those of the instrumentors that are switched on with it) stay: what they
    record is ours alone. Each thread has a `fixed` of its own; it is True from the start in the one that makes the
    provider.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.apart = Apart(whole=not environment.sampler_configured())
        self._local = threading.local()
        self.fixed = True

    @property
    def fixed(self) -> bool:
        """Whether tracers that this thread asks for stay with this provider."""
        return getattr(self._local, "fixed", False)

    @fixed.setter
    def fixed(self, value: bool) -> None:
        self._local.fixed = value

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """As the SDK's, for instrumentors; a tracer that follows, for the program."""
        mine = super().get_tracer(*args, **kwargs)
        return OurTracer(self.apart, lean(mine)) if self.fixed else _FollowingTracer(self, mine, args, kwargs)


class _FollowingTracer(trace.Tracer):
    """Our tracer until the program sets a provider; that provider's from then on."""

    def __init__(
        self, ours: TracerProvider, tracer: trace.Tracer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._ours = ours
        self._tracer = tracer
        self._get = (args, kwargs)
        self._followed = False

    def _now(self) -> trace.Tracer:
        if not self._followed and (provider := trace.get_tracer_provider()) is not self._ours:
            args, kwargs = self._get
            self._tracer = provider.get_tracer(*args, **kwargs)
            self._followed = True
        return self._tracer

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        """See `opentelemetry.trace.Tracer.start_span`."""
        return self._now().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """See `opentelemetry.trace.Tracer.start_as_current_span`."""
        return self._now().start_as_current_span(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)


_tapped: Final[WeakSet[TracerProvider]] = WeakSet()


def tap(theirs: object, ours: YieldingProvider, processor: SpanProcessor) -> None:
    """Give the spans of a provider of the program's to `processor` too, and hide ours from it."""
    with guarded("provider.tap", "the spans of the program's own TracerProvider"):
        if not isinstance(theirs, TracerProvider) or isinstance(theirs, YieldingProvider) or theirs in _tapped:
            return
        _tapped.add(theirs)
        ours.apart.on = True
        theirs.add_span_processor(Tap(ours.apart, processor))


def give_way(instrumentor: BaseInstrumentor, ours: YieldingProvider, processor: SpanProcessor) -> None:
    """Let the program switch an instrumentor on itself, with its own provider, as if we had not done so already.

    Args:
        instrumentor: one that we have switched on; a singleton, as all are.
        ours: our provider.
        processor: gets the spans of the provider that the program hands to it.
    """

    def instrument(**kwargs: Any) -> Any:
        del instrumentor.instrument  # back to the class's, which then refuses a second call as ever
        with guarded("provider.give_way", f"the spans of {type(instrumentor).__name__}"):
            instrumentor.uninstrument()
            tap(kwargs.get("tracer_provider"), ours, processor)
        return instrumentor.instrument(**kwargs)

    instrumentor.instrument = instrument


def install(provider: YieldingProvider, processor: SpanProcessor) -> None:
    """Make `provider` the global one and keep the place free for the program's own.

    Args:
        provider: ours.
        processor: gets the spans of a provider that the program sets later.
    """
    original = trace.set_tracer_provider

    @functools.wraps(original)
    def set_tracer_provider(tracer_provider: trace.TracerProvider) -> None:
        original(tracer_provider)
        if trace.get_tracer_provider() is tracer_provider:
            tap(tracer_provider, provider, processor)

    try:
        # The API's own latch stays open: the program's first set_tracer_provider succeeds, without a warning.
        trace._TRACER_PROVIDER = provider  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        trace._TRACER_PROVIDER_SET_ONCE = Once()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        trace.set_tracer_provider = set_tracer_provider
        provider.apart.hide()
    except Exception as exc:
        swallow("provider.install", "room for a TracerProvider of the program's own", exc)
        original(provider)


def replacing_sdk_provider() -> AbstractContextManager[None]:
    """While open, the SDK's configurator builds a `YieldingProvider` where it would build its own."""
    return _SdkProviderClass()


class _SdkProviderClass:
    """Swaps the class name in the SDK's configuration module, and back."""

    def __enter__(self) -> None:
        from opentelemetry.sdk import _configuration

        self._module: Any = _configuration
        self._original = self._module.TracerProvider
        self._module.TracerProvider = YieldingProvider

    def __exit__(self, *exc: object) -> None:
        self._module.TracerProvider = self._original
