"""The one life of a span: opened, made current, described, failed or closed.

Everything in spanloom that opens a span does it with a `Scope`, from sync and async functions, generators, async
generators and `with` blocks alike. A scope ends its span first and then restores the context, each guarded, so
nothing stays open or current whatever happens in between.
"""

from __future__ import annotations

import time
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from spanloom import names
from spanloom.carried import OPEN_EMBEDDING, OPEN_INFERENCE, STAMPS
from spanloom.contexts import adds_context, attach, detach, get_context, put, with_span
from spanloom.guard import swallow
from spanloom.outcomes import CANCELLED, early_end, error_type, holds, way_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.util.types import Attributes, AttributeValue
    from typing_extensions import Self

    from spanloom.capture import Capture
    from spanloom.instrument import Telemetry
    from spanloom.metrics import Measure, Metrics

# Ours besides OpenTelemetry's context: which scope runs. It travels with the same tasks and copied contexts.
_current: ContextVar[Scope | None] = ContextVar("spanloom_scope", default=None)

_LONGEST_PATH: Final = 256
_RAISED: Final = 64  # children that fail in parallel: as many errors can still arrive at their parent


def current_scope() -> Scope | None:
    """The innermost scope that is current here, or None."""
    return _current.get()


def path_of(scope: Scope | None) -> str | None:
    """The names of the nodes that `scope` is or lies in (`Scope.path`)."""
    while scope is not None and scope.path is None:
        scope = scope.parent
    return None if scope is None else scope.path


def path_below(outer: str | None, node: str) -> str:
    """The path of a node inside those of `outer`; recursion without end makes none without end."""
    return node if outer is None else outer if len(outer) > _LONGEST_PATH else f"{outer}:{node}"


def below_dropped() -> bool:
    """Whether the current span is one of ours that the sampler did not want, or lies in its trace.

    A sampled context that the program attached in the meantime (a message's, say) is asked about anew.
    """
    scope = _current.get()
    return scope is not None and scope.dropped and _is_below(scope)


def _is_below(scope: Scope) -> bool:
    current = trace.get_current_span(get_context()).get_span_context()
    return current.trace_id == scope.span.get_span_context().trace_id and not current.trace_flags.sampled


class Scope:
    """One span from open to close; a context manager that never swallows and never raises of its own.

    Subclasses describe their span at its end in `describe`. Attributes:
        span: the OpenTelemetry span (a non-recording one where it is not sampled).
        recording: `span.is_recording()`, asked once, until the span has ended, or `unsampled`. While False no payload
            is built.
        dropped: the sampler did not want the span; what is ours below it is not asked about again.
        unsampled: the sampler did not want the span, but metrics count it: it is described as if it recorded, less
            all content.
        measure: what the metrics are told at the end; None where there are none.
        parent: the scope that was current when this one was entered.
        raised: ways to exceptions of scopes below that already carry the `exception` event; the last ones.
        result: what the call returned, for `describe`.
        failure: `error.type` of what this scope failed with; the cause told by scopes below that it cancelled.
        per_chunk: seconds between two parts of a streamed answer, on the average; None where there were no two.
        stamps: attributes that every span below starts with (`spanloom.carried`); this one gets them by `open`.
        item: is told every item of a stream that runs in this scope; None where the scope does not look at them.
        announced: what provider instrumentors below find as the open model call; None tells them there is none.
        announced_embedding: the same for a call of an embedding model.
        path: names of the nodes around what runs inside, the outermost first: `outer:inner`; None where there is none.
    """

    # Exceptions that are a framework's control flow: the span closes as if the call had returned.
    control_flow: tuple[type[BaseException], ...] = ()

    # Defaults stand on the class: a scope is made for every span, and most of these are never written.
    span: Span = trace.INVALID_SPAN
    recording = False
    dropped = False
    unsampled = False
    measure: Measure | None = None
    parent: Scope | None = None
    raised: deque[Callable[[], BaseException | None]] | None = None
    result: Any = None
    failure: str | None = None
    per_chunk: float | None = None
    stamps: Mapping[str, AttributeValue] | None = None
    announced: object = None
    announced_embedding: object = None
    path: str | None = None
    item: Callable[[Any], None] | None = None
    _entered_from: Context | None = None
    _made: Context | None = None
    _token: Token[Context] | None = None
    _scope_token: Token[Scope | None] | None = None
    _end_time: int | None = None
    _outcome: dict[str, AttributeValue] | None = None

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    # -- the three moments ------------------------------------------------------------------------------------

    def open(
        self,
        name: str,
        attributes: Attributes = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[trace.Link] = (),
    ) -> Self:
        """Start the span under the current one. Not yet current: that is `enter`."""
        try:
            stamps: Any = self.stamps or get_context().get(STAMPS)
            if stamps:
                attributes = {**stamps, **attributes} if attributes else stamps
            metrics = self._telemetry.metrics_on
            above = None if metrics is None else _current.get()
            if above is not None and above.unsampled and _is_below(above):  # as below a dropped one: not asked about
                self.span = trace.NonRecordingSpan(above.span.get_span_context())
            else:
                self.span = self._telemetry.tracer.start_span(name, None, kind, attributes, links)
            self.recording = self.span.is_recording()
            self.dropped = not self.recording
            if metrics is not None:
                self._measured_by(metrics, attributes)
        except Exception as exc:
            swallow("span.open", f"the span {name!r}", exc)
        return self

    def _measured_by(self, metrics: Metrics, attributes: Attributes) -> None:
        self.measure = metrics.begin(self.span, attributes)
        if self.dropped:  # also without a metric of its own: what lies below it may have one
            self.recording = self.unsampled = True
            self.dropped = False
            self._telemetry = self._telemetry.contentless

    @property
    def capture(self) -> Capture:
        """What its span may hold, as the settings say; no content where the span is only measured."""
        return self._telemetry.capture

    def enter(self) -> Self:
        """Make the span current here; undone by `leave` in the same context."""
        try:
            self.parent = _current.get()
            context = get_context()
            if context is self._entered_from:  # a stream's next step
                if self._made is not None:
                    self._token = attach(self._made)
            else:
                made = self._made = self._context_below(context)
                self._entered_from = context
                if made is not None:
                    self._token = attach(made)
            self._scope_token = _current.set(self)
        except Exception as exc:
            swallow("span.enter", "the parent of the spans below", exc)
        return self

    def _context_below(self, context: Context) -> Context | None:
        """The context that is current inside; None where it would be no other one."""
        # An unsampled span below an unsampled span of the same trace adds nothing to the context.
        own = (self.recording and not self.unsampled) or adds_context(self.span, context)
        if not own and not self.unsampled:
            return None
        made = with_span(context, self.span) if own else Context(context)
        if self.stamps is not None:
            put(made, STAMPS, self.stamps)
        if self.announced is not context.get(OPEN_INFERENCE):
            put(made, OPEN_INFERENCE, self.announced)
        if self.announced_embedding is not context.get(OPEN_EMBEDDING):
            put(made, OPEN_EMBEDDING, self.announced_embedding)
        return made if own or made != context else None

    def leave(self) -> None:
        """Restore what was current before `enter`. In another context (a finalised generator) there is nothing to."""
        scope_token, self._scope_token = self._scope_token, None
        token, self._token = self._token, None
        # ValueError: made in another context (a generator finalised elsewhere), where nothing of ours is current.
        # RuntimeError: used up.
        if scope_token is not None:
            try:
                _current.reset(scope_token)
            except (ValueError, RuntimeError):
                pass
        if token is not None:
            try:
                detach(token)
            except (ValueError, RuntimeError):
                pass

    def close(self, exc: BaseException | None = None, *, end: bool = True) -> None:
        """Describe and end the span.

        Args:
            exc: what the call ended with, None if it returned.
            end: False keeps the span open for later facts; the end time is taken now, and `finish` must follow.
        """
        if self.recording:
            try:
                if exc is not None:
                    self._fail(exc)
                if not end:
                    self._end_time = time.time_ns()
                    return
            except Exception as error:
                swallow("span.close", "the outcome of a span", error)
        self.finish()

    def finish(self) -> None:
        """Write the last attributes in one call and end the span, at the time `close` took."""
        if not self.recording:
            return
        self.recording = False
        attributes = self._outcome
        try:
            try:
                if not self.unsampled or (self.measure is not None and self.measure.reads):
                    described = self.describe()
                    attributes = described if attributes is None else {**described, **attributes}
            finally:  # the outcome is told, whatever becomes of the description
                self.tell(attributes or {})
        except Exception as error:
            swallow("span.describe", "the attributes of a span", error)
        try:
            self.span.end(self._end_time)
        except Exception as error:
            swallow("span.end", "the end of a span", error)
        if self.measure is not None:
            try:
                self.measure.ended(self, attributes or {}, self._end_time)
            except Exception as error:
                swallow("span.metrics", "the metrics of a call", error)
        self.raised = self.result = self._entered_from = self._made = None

    def returned(self, result: object) -> None:
        """The call has returned `result`."""
        if self.recording:
            self.result = result

    def describe(self) -> dict[str, AttributeValue]:
        """What is known only at the end; called once, for recording spans only, and where metrics need it."""
        return {}

    def tell(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Give the span its last attributes; it ends right after."""
        if attributes:
            self.span.set_attributes(attributes)

    # -- as a context manager ---------------------------------------------------------------------------------

    __enter__ = enter

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if exc is None:
                self.finish()
            else:
                self.close(exc)
        finally:  # also where a signal interrupts us
            self.leave()

    # -- outcomes ---------------------------------------------------------------------------------------------

    def _fail(self, exc: BaseException) -> None:
        if self.control_flow and isinstance(exc, self.control_flow):
            return
        status = early_end(exc)
        if status is not None:
            self._outcome = {names.STATUS: status}
            cause = self._cause() if status is CANCELLED else None
            if cause is not None:
                self._outcome[names.CANCELLED_CAUSE] = cause
            return
        kind = self.failure = error_type(exc)
        if self.unsampled:  # a span above that records has yet to tell the exception
            self._outcome = {names.ERROR_TYPE: kind}
            return
        capture = self.capture
        message = capture.message(exc)
        self._outcome = {names.ERROR_TYPE: kind}
        name = type(exc).__name__
        self.span.set_status(Status(StatusCode.ERROR, f"{name}: {message}" if message else name))
        parent = self.parent
        while parent is not None and (parent.unsampled or not parent.recording):  # without a span it passes it on
            parent = parent.parent
        if not holds(self.raised, exc) and not (parent is not None and holds(parent.raised, exc)):
            event: dict[str, AttributeValue] = {names.EXCEPTION_TYPE: kind}
            if message is not None:
                event[names.EXCEPTION_MESSAGE] = message
            stack = capture.stacktrace(exc)
            if stack is not None:
                event[names.EXCEPTION_STACKTRACE] = stack
            self.span.add_event(names.EXCEPTION_EVENT, event)
        if parent is not None:
            if parent.raised is None:
                parent.raised = deque(maxlen=_RAISED)
            parent.raised.append(way_to(exc))

    def _cause(self) -> str | None:
        """Of a cancellation: what a scope above has failed with (a timeout, say), where it is known by now."""
        scope = self.parent
        while scope is not None and scope.failure is None:
            scope = scope.parent
        return scope.failure if scope is not None else None


class Carried:
    """The span and scope that are current here, to be made current again elsewhere (another thread's callback).

    A context manager per use: `with carried.attached(): ...`. Unlike `Scope.enter` it may be used by several threads
    at once, and after the scope has ended.

    Args:
        scope: one that has been entered, as it is current inside; None: what is current here.
    """

    __slots__ = ("context", "scope")

    def __init__(self, scope: Scope | None = None) -> None:
        made = None if scope is None else scope._made  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  its own
        self.context = get_context() if made is None else made
        self.scope = _current.get() if scope is None else scope

    def attached(self) -> Attached:
        """Current within the block."""
        return Attached(self)


class Attached:
    """One use of a `Carried`."""

    __slots__ = ("_carried", "_scope_token", "_token")

    def __init__(self, carried: Carried) -> None:
        self._carried = carried

    def __enter__(self) -> object:
        self._token = attach(self._carried.context)
        self._scope_token = _current.set(self._carried.scope)
        return None

    def __exit__(self, kind: object = None, exc: BaseException | None = None, trace: object = None) -> None:
        try:
            _current.reset(self._scope_token)
            detach(self._token)
        except ValueError:  # a coroutine finalised elsewhere, where nothing of ours is current
            pass
