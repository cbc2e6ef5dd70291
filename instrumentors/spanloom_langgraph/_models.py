"""One `chat` span per call of a LangChain chat model, around functions of `BaseChatModel` that no model overrides.

- `_generate_with_cache`: every call that is not streamed to its caller (`invoke`, `batch`, `generate`, fallbacks, ...),
  once per prompt. It may stream inside, where somebody listens (`stream_mode="messages"`).
- `stream`, for models that can; for others it calls `invoke`.
- `_iter_v2_events`: `stream_events(version="v3")`; inside the first where somebody listens to such events.

And their asynchronous siblings.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from spanloom.instrument import LOG, Begun, Inference, below_dropped, current_scope, names
from spanloom_langgraph._calls import ChatCall, EventsCall, StreamedCall
from spanloom_langgraph._requests import operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from spanloom.instrument import Inner, Patches, Telemetry

_SINCE_1_4: Final = frozenset(("_iter_v2_events", "_aiter_v2_events"))  # of langchain-core
_OFFICIAL: Final = "opentelemetry.instrumentation.genai."
_TOLD_OF: Final = "on_llm_new_token"


class ChatModels:
    """Opens the spans of chat models' calls.

    Args:
        telemetry: where spans go.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def begin_generate(self, model: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`_generate_with_cache(self, messages, stop, run_manager, **kwargs)`."""
        if below_dropped():
            return None
        own, asked = split(("messages", "stop", "run_manager"), args, kwargs)
        run_manager = own.get("run_manager")
        if is_theirs(run_manager):
            return None
        call = ChatCall(self._telemetry, own["messages"], asked)
        scope = call.begin(lambda: operation(names.OP_CHAT, model, told_by(model, run_manager, own, asked), asked))
        if scope is None:
            return None
        if scope.recording and run_manager is not None:
            tell_first_chunk(scope, run_manager)
        return Begun(scope, (model, *args), None, scope.returned)

    def begin_stream(self, is_async: bool, model: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`stream(self, input, config, *, stop, **kwargs)`; LangChain asks the same before it streams."""
        if below_dropped():
            return None
        own, asked = split(("input", "config", "stop"), args, kwargs)
        if not model._should_stream(async_api=is_async, **{**asked, "stream": True}):  # noqa: SLF001
            return None
        call = StreamedCall(self._telemetry, (), asked)
        scope = call.begin(
            lambda: operation(names.OP_CHAT, model, told_by(model, None, own, asked), asked, streaming=True)
        )
        if scope is None:
            return None
        if call.recording and call.wants_messages:
            with suppress(Exception):  # what LangChain refuses it will refuse again, and the call fails with that
                call.given = model._convert_input(own["input"]).to_messages()  # noqa: SLF001
        return Begun(scope, (model, *args))

    def begin_events(self, model: Any, /, *args: Any, **kwargs: Any) -> Begun | None:
        """`_iter_v2_events(self, messages, *, run_manager, stream, stop, **kwargs)`."""
        if below_dropped():
            return None
        own, asked = split(("messages", "run_manager", "stream", "stop"), args, kwargs)
        if is_theirs(own["run_manager"]):
            return None
        call = EventsCall(self._telemetry, own["messages"], asked, own["stream"])
        scope = call.begin(
            lambda: operation(
                names.OP_CHAT, model, told_by(model, own["run_manager"], own, asked), asked, streaming=True
            )
        )
        return None if scope is None else Begun(scope, (model, *args))


def split(own: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A call's arguments as LangChain's own, by name, and those that are for the provider.

    Args:
        own: the names of LangChain's, in their order.
        args: given by position.
        kwargs: given by name; the provider's may have any, `model` too.
    """
    mine = dict(zip(own, args, strict=False))
    theirs: dict[str, Any] = {}
    for name, value in kwargs.items():
        (mine if name in own else theirs)[name] = value
    return mine, theirs


def told_by(model: Any, run_manager: Any, own: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """What LangChain has found out about a call for tracers (`LangSmithParams`); of a run with its metadata.

    Args:
        model: the model.
        run_manager: of the call; None where it has none or has none yet.
        own: the call's arguments for LangChain, `stop` among them.
        asked: those for the provider.
    """
    found = getattr(run_manager, "metadata", None)
    return found or model._get_ls_params(stop=own.get("stop"), **asked)  # noqa: SLF001  for tracers


def is_theirs(run_manager: Any) -> bool:
    """Whether OpenTelemetry's own instrumentation of LangChain has begun a span for the call.

    It does so in a callback, before the call can tell us in its context. Inside a call of ours it does not.
    """
    handlers = getattr(run_manager, "handlers", ())
    return any(type(handler).__module__.startswith(_OFFICIAL) for handler in handlers) and not isinstance(
        current_scope(), Inference
    )


def tell_first_chunk(scope: Inference | Inner, run_manager: Any) -> None:
    """Have the call told when its run gets the first token, which models stream inside where somebody listens.

    What stands in the place of the run's function takes itself away when it is called: later tokens pay nothing. It
    holds nothing, so that a run and its call go when they are let go.
    """
    own: dict[str, Any] | None = getattr(run_manager, "__dict__", None)
    if own is None or _TOLD_OF in own:
        return
    call, run = ref(scope), ref(run_manager)
    kind = cast("Any", type(run_manager))

    def on_llm_new_token(*args: Any, **kwargs: Any) -> Any:
        if (waiting := call()) is not None:
            waiting.first_chunk()
        manager = run()
        if manager is None:  # told by somebody who kept this function only: the run is over, and nobody listens
            return _nothing() if iscoroutinefunction(kind.on_llm_new_token) else None
        manager.__dict__.pop(_TOLD_OF, None)
        return manager.on_llm_new_token(*args, **kwargs)

    own[_TOLD_OF] = on_llm_new_token


async def _nothing() -> None:
    """For who awaits."""


def patch_chat_models(module: ModuleType, telemetry: Telemetry, patches: Patches) -> None:
    """Wrap `BaseChatModel` of `langchain_core.language_models.chat_models`."""
    models = ChatModels(telemetry)
    whole, streamed, events = "model calls", "streamed model calls", "model calls that are streamed as events"
    wrap_all(
        module,
        "BaseChatModel",
        {
            "_generate_with_cache": (models.begin_generate, whole),
            "_agenerate_with_cache": (models.begin_generate, whole),
            "stream": (partial(models.begin_stream, False), streamed),
            "astream": (partial(models.begin_stream, True), streamed),
            "_iter_v2_events": (models.begin_events, events),
            "_aiter_v2_events": (models.begin_events, events),
        },
        patches,
    )


def wrap_all(
    module: ModuleType, owner: str, begins: Mapping[str, tuple[Callable[..., Begun | None], str]], patches: Patches
) -> None:
    """Wrap what there is of a class's functions; a line in the log tells what is lost with one that is missing.

    Args:
        module: LangChain's.
        owner: name of the class.
        begins: by the function's name what begins its calls, and what is lost without.
        patches: where to.
    """
    found: type | None = getattr(module, owner, None)
    for name, (begin, lost) in begins.items():
        if found is not None and name in vars(found):
            patches.wrap(found, name, begin, f"the spans of {lost}")
        elif name not in _SINCE_1_4:
            LOG.warning(
                "This version of langchain-core has no %s.%s; %s are not traced. Upgrade spanloom or langchain-core.",
                owner,
                name,
                lost,
            )
