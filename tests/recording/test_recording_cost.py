"""What a model call has cost: the package's prices, one's own, unknown ones, and nothing unless it is asked for."""

import json
import logging
import socket
import sys
from types import SimpleNamespace

import pytest

from spanloom import cost, genai
from spanloom.config import Config
from spanloom.inference import Inference, Usage
from spanloom.instrument import Telemetry


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(cost._Loaded, "prices", None)

    def refuse(*args, **kwargs):
        raise AssertionError("somebody asks the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def package(monkeypatch):
    """A package of prices that knows `m-1` of `mistral` only: a dollar a token; and what it was asked."""
    asked = []

    class PackageUsage(SimpleNamespace):
        pass

    def calc_price(usage, model, *, provider_id):
        asked.append((vars(usage), model, provider_id))
        if (model, provider_id) != ("m-1", "mistral"):
            raise LookupError(model)
        return SimpleNamespace(total_price=sum(vars(usage).values()))

    monkeypatch.setitem(sys.modules, "genai_prices", SimpleNamespace(Usage=PackageUsage, calc_price=calc_price))
    return asked


@pytest.fixture
def spent(recorder):
    """`spent(usage, ...)`: the attributes about cost of a call that has used so much."""

    def spend(usage, provider="mistral_ai", asked="m-1", answered=None, **config):
        settings = Config(**{"cost": True, **config})
        call = Inference(Telemetry.create("test", recorder.provider, settings))
        call.start(genai.inference("chat", provider, asked))
        call.usage, call.response_model = usage, answered
        call.finish()
        found = recorder.spans[-1].attributes
        return {key.rpartition(".")[2]: value for key, value in found.items() if key.startswith("spanloom.cost.")}

    return spend


def prices(tmp_path, table):
    path = tmp_path / "prices.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return str(path)


def test_the_packages_price(spent, package):
    assert spent(Usage(10, 5, 4, 0, 3)) == {"usd": 15 + 4}
    assert package == [({"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 4}, "m-1", "mistral")]


def test_the_model_that_answered_comes_first(spent, package):
    assert spent(Usage(10, 5), answered="m-1-2026") == {"usd": 15}
    assert [model for _, model, _ in package] == ["m-1-2026", "m-1"]


def test_a_model_without_a_price_is_said_to_be_unknown(spent, package):
    assert spent(Usage(10, 5), asked="m-2") == {"unknown": True}
    assert spent(Usage(10, 5), asked=None) == {"unknown": True}
    assert spent(Usage(10, 5), provider="acme") == {"unknown": True}


def test_a_price_of_zero_in_the_package_may_be_a_missing_one_and_is_unknown(spent, package, monkeypatch, tmp_path):
    free = SimpleNamespace(total_price=0)
    monkeypatch.setattr(sys.modules["genai_prices"], "calc_price", lambda usage, model, *, provider_id: free)

    assert spent(Usage(10, 5)) == {"unknown": True}
    assert spent(Usage(10, 5), prices=prices(tmp_path, {"m-1": {"input": 0, "output": 0}})) == {"usd": 0.0}


def test_where_nothing_is_known_to_be_used_nothing_is_said(spent, package):
    assert spent(Usage()) == {}


def test_what_used_nothing_cost_nothing(spent, package):
    assert spent(Usage(0, 0), asked="m-2") == {"usd": 0.0}


def test_off_unless_asked_for(spent, package):
    assert spent(Usage(10, 5), cost=False) == {}
    assert package == []


def test_ones_own_prices_come_first(spent, package, tmp_path):
    path = prices(
        tmp_path,
        {
            "m-1": {"input": 1, "output": 10, "cache_read": 0.5, "cache_write": 2},
            "acme/m-1": {"input": 100, "output": 1000},
        },
    )

    assert spent(Usage(1_000_000, 100_000, 400_000, 200_000), prices=path) == {"usd": 0.4 + 0.2 + 0.4 + 1.0}
    assert spent(Usage(1_000, 10, 400), provider="acme", prices=path) == {"usd": pytest.approx(0.11)}
    assert spent(Usage(10, 5), asked="m-3", answered="m-1", prices=path) == {"usd": pytest.approx(0.00006)}
    assert package == []


def test_the_packages_price_where_ones_own_table_has_none(spent, package, tmp_path):
    assert spent(Usage(10, 5), prices=prices(tmp_path, {"m-2": {"input": 1, "output": 1}})) == {"usd": 15}


def test_ones_own_prices_do_without_the_package(spent, monkeypatch, tmp_path, caplog):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    path = prices(tmp_path, {"m-1": {"input": 1, "output": 1}})

    assert spent(Usage(1_000_000, 0), prices=path) == {"usd": 1.0}
    assert spent(Usage(1, 1), asked="m-2", prices=path) == {"unknown": True}
    assert caplog.records == []


def test_without_any_prices_that_is_said_once(spent, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "genai_prices", None)

    assert spent(Usage(10, 5)) == spent(Usage(10, 5)) == {}
    (record,) = caplog.records
    assert "pip install 'spanloom[cost]'" in record.getMessage()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("{", "cannot be read"),
        ("[]", "is no table"),
        ({"m-1": 1}, "the price of m-1"),
        ({"m-1": {"input": "1", "output": 1}}, "the price of m-1"),
        ({"m-1": {"input": -1, "output": 1}}, "the price of m-1"),
        ({"m-1": {"input": 1}}, "the price of m-1"),
        ({"m-1": {"input": 1, "output": 1, "cached": 1}}, "the price of m-1"),
        ('{"m-1": {"input": NaN, "output": 1}}', "the price of m-1"),
        ({"m-1": {"input": True, "output": 1}}, "the price of m-1"),
    ],
    ids=str,
)
def test_a_wrong_table_is_told_and_prices_nothing(spent, package, tmp_path, caplog, table, complaint):
    with caplog.at_level(logging.WARNING, "spanloom"):
        assert spent(Usage(10, 5), asked="m-1", provider="acme", prices=prices(tmp_path, table)) == {"unknown": True}

    (record,) = caplog.records
    assert complaint in record.getMessage()
    assert '{"provider/model": {"input": 0.5, "output": 2.0}}' in record.getMessage()


def test_a_missing_table_is_told(spent, package, tmp_path, caplog):
    assert spent(Usage(10, 5), prices=str(tmp_path / "none.json")) == {"usd": 15}
    assert "cannot be read" in caplog.text


def test_the_variables():
    config = Config.from_environment({"SPANLOOM_COST": "true", "SPANLOOM_PRICES": "/etc/prices.json"})

    assert (config.cost, config.prices) == (True, "/etc/prices.json")
    assert (Config().cost, Config.from_environment({}).prices) == (False, None)


def test_the_real_package(spent):
    pytest.importorskip("genai_prices")

    cheap = spent(Usage(1000, 100, 400), provider="openai", asked="gpt-4o-mini", answered="gpt-4o-mini-2024-07-18")
    cached = spent(Usage(1320, 55, 1000, 300), provider="anthropic", asked="claude-sonnet-4-5")
    for provider, model in (
        ("gcp.gemini", "gemini-2.5-flash"),
        ("x_ai", "grok-4"),
        ("mistral_ai", "mistral-large-latest"),
    ):
        assert spent(Usage(1000, 0), provider=provider, asked=model)["usd"] > 0
    assert 0 < cheap["usd"] < cached["usd"] < 0.1
    assert spent(Usage(10, 5), provider="openai", asked="nobody-knows-it") == {"unknown": True}
    assert spent(Usage(10, 5, 400), provider="openai", asked="gpt-4o-mini") == {"unknown": True}
    assert spent(Usage(10, 5), provider="ollama", asked="gpt-4o-mini") == {"unknown": True}


def test_the_package_is_imported_before_the_first_call_not_within_it(recorder, package):
    telemetry = Telemetry.create("test", recorder.provider, Config(cost=True))
    loaded = cost._Loaded.prices
    call = Inference(telemetry).start(genai.inference("chat", "mistral_ai", "m-1"))
    call.usage = Usage(1, 1)
    call.finish()

    assert loaded is not None
    assert cost._Loaded.prices is loaded
