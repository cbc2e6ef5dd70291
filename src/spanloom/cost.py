"""What a model call has cost, in US dollars: from the user's own prices, and from the `genai-prices` package.

Off unless `SPANLOOM_COST=true`. Prices of one's own (`SPANLOOM_PRICES`, a JSON file) come before those of the package,
per 1,000,000 tokens, for `provider/model` or for a model of any provider:

    {"acme/m-1": {"input": 0.5, "output": 2.0, "cache_read": 0.05, "cache_write": 0.6}}

`cache_read` and `cache_write` default to `input`. What has no price is said to be unknown, never priced 0. Nothing
here uses the network: the package's prices are as old as the package.
"""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from spanloom import genai, names
from spanloom.guard import LOG, guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.util.types import AttributeValue

    from spanloom.config import Config

_MILLION: Final = 1_000_000
_FORM: Final = '{"provider/model": {"input": 0.5, "output": 2.0}}, US dollars per 1,000,000 tokens'
# The kinds of tokens that have prices.
_USED: Final = {
    "input": names.GEN_AI_USAGE_INPUT_TOKENS,
    "output": names.GEN_AI_USAGE_OUTPUT_TOKENS,
    "cache_read": names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    "cache_write": names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
}
# The convention's providers and the package's; all others have the same name there, or none.
_PROVIDERS: Final = {
    **dict.fromkeys(("gcp.gen_ai", "gcp.gemini", "gcp.vertex_ai"), "google"),
    **dict.fromkeys(("azure.ai.openai", "azure.ai.inference"), "azure"),
    "aws.bedrock": "aws",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}


class Price(NamedTuple):
    """Of one model, in US dollars per 1,000,000 tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def of(self, used: Mapping[str, int]) -> float:
        """What tokens cost, by kind: cached ones are among the input, and have prices of their own."""
        read, written = used.get("cache_read", 0), used.get("cache_write", 0)
        asked = max(used.get("input", 0) - read - written, 0)
        spent = asked * self.input + read * self.cache_read + written * self.cache_write
        return (spent + used.get("output", 0) * self.output) / _MILLION


class Prices:
    """The prices in force for some settings.

    Args:
        path: the user's own prices, where there are any.
    """

    def __init__(self, path: str | None) -> None:
        self._own = _load(path) if path else {}
        self._usage: Any = None
        self._calculate: Any = None
        try:
            package: Any = import_module("genai_prices")
            self._usage, self._calculate = package.Usage, package.calc_price
        except ImportError:
            if not self._own:
                LOG.warning(
                    "Costs are not recorded: there are no prices. Install some: pip install 'spanloom[cost]', "
                    "or name a file with your own in SPANLOOM_PRICES."
                )

    @property
    def known(self) -> bool:
        """Whether there are any."""
        return bool(self._own) or self._calculate is not None

    def cost(self, provider: str, models: Sequence[str], used: Mapping[str, int]) -> float | None:
        """US dollars for the first of `models` (names of the same one) that has a price; None if none has."""
        if not any(used.values()):
            return 0.0  # an answer from a cache
        for model in models:
            own = self._own.get(f"{provider}/{model}") or self._own.get(model)
            if own is not None:
                return own.of(used)
        if self._calculate is None:
            return None
        told = self._usage(**{f"{kind}_tokens": count for kind, count in used.items() if count})
        for model in models:
            try:
                found = self._calculate(told, model, provider_id=_PROVIDERS.get(provider, provider))
            except (LookupError, ValueError):  # no such provider or model; more cached tokens than there are
                continue
            if found.total_price:  # the package says 0 of free models, and of models without a price
                return float(found.total_price)
        return None


def cost_of(call: Mapping[str, AttributeValue], config: Config) -> dict[str, AttributeValue]:
    """`spanloom.cost.usd` of a model call, or that it is unknown.

    Args:
        call: the attributes of its span: provider, models, usage. Where nothing is known of the usage, nothing is said
            of the cost.
        config: the settings.
    """
    used = {field: count for field, key in _USED.items() if isinstance(count := call.get(key), int)}
    if "input" not in used and "output" not in used:
        return {}
    with guarded("cost", "what a model call has cost"):
        prices = prices_of(config)
        if not prices.known:
            return {}
        models = [call.get(key) for key in (names.GEN_AI_RESPONSE_MODEL, names.GEN_AI_REQUEST_MODEL)]
        cost = prices.cost(
            str(call.get(names.GEN_AI_PROVIDER_NAME, "")),
            list(dict.fromkeys(model for model in models if isinstance(model, str) and model)),
            used,
        )
        return {names.COST_UNKNOWN: True} if cost is None else {names.COST_USD: cost}
    return {}


def cost_of_call(span: Mapping[str, Any], config: Config) -> dict[str, AttributeValue]:
    """As `cost_of`, of any span: nothing where it is no model call, or has its cost."""
    if span.get(names.GEN_AI_OPERATION_NAME) not in genai.INFERENCES or names.COST_USD in span:
        return {}
    return cost_of(span, config)


class _Loaded:
    """The prices last used; settings change with `spanloom.init` only.

    Attributes:
        prices: with the path they were made for.
    """

    prices: tuple[str | None, Prices] | None = None


def prices_of(config: Config) -> Prices:
    """The prices in force. The package takes half a second to import, which no call is to wait for."""
    loaded = _Loaded.prices
    if loaded is None or loaded[0] != config.prices:
        loaded = _Loaded.prices = config.prices, Prices(config.prices)
    return loaded[1]


def _load(path: str) -> dict[str, Price]:
    """The user's own prices; what is wrong is told once, and left out."""
    try:
        told: object = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        LOG.warning("SPANLOOM_PRICES=%s cannot be read (%s); give a JSON file: %s.", path, exc, _FORM)
        return {}
    if not isinstance(told, dict):
        LOG.warning("SPANLOOM_PRICES=%s is no table; give a JSON file: %s.", path, _FORM)
        return {}
    found: dict[str, Price] = {}
    for model, entry in cast("dict[str, object]", told).items():
        price = _price(entry)
        if price is None:
            LOG.warning("SPANLOOM_PRICES=%s: the price of %s is not understood; give it as in %s.", path, model, _FORM)
        else:
            found[model] = price
    return found


def _price(entry: object) -> Price | None:
    if not isinstance(entry, dict):
        return None
    told = cast("dict[str, Any]", entry)
    numbers = all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
        for value in told.values()
    )
    if not numbers or not told.keys() <= _USED.keys() or "input" not in told or "output" not in told:
        return None
    asked = told["input"]
    return Price(asked, told["output"], told.get("cache_read", asked), told.get("cache_write", asked))
