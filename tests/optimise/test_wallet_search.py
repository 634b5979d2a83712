"""`gridv4 optimize` over symbols that share one wallet, with another one held out, on weeks of the busy market."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from busy import BUSY, busy
from busy_market import busy_market
from test_search import gridv4

from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import load_config

pytest.importorskip("optuna")
pytest.importorskip("scipy")

FIXED = "\n".join(f"{name} = {value!r}" for name, value in BUSY.items() if name not in ("k", "levels", "floor_pct"))
NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT")

SPACE = f"""
wallet = "shared"
cash = 20000

[search]
sampler = "random"
engine = "backtrader"
trials = 4
batch = 2
finalists = 1

[[symbols]]
name = "BTCUSDT"
candles = "BTCUSDT.csv"

[[symbols]]
name = "ETHUSDT"
candles = "ETHUSDT.csv"

[[symbols]]
name = "SOLUSDT"
candles = "SOLUSDT.csv"
use = "test"

[[windows]]
name = "first"
to = 2024-01-12

[[windows]]
name = "second"
from = 2024-01-13
use = "test"

[[objectives]]
figure = "sharpe"

[parameters]
k = {{ low = 1.0, high = 3.0 }}
levels = {{ choices = [4, 8] }}

[fixed]
floor_pct = 0.004
{FIXED}

[folds]
count = 2
trials = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("wallet")
    for number, name in enumerate(NAMES):
        busy_market(seed=number, days=18).candles.to_csv(path / f"{name}.csv", index=False)
    (path / "space.toml").write_text(SPACE)
    return path


@pytest.fixture(scope="module")
def found(folder) -> Path:
    out = folder / "out"
    assert gridv4("optimize", "--space", folder / "space.toml", "--out", out, "--jobs", 1, "--quiet") == 0
    return out


@pytest.fixture(scope="module")
def result(found) -> dict:
    return json.loads((found / "optimize.json").read_text())


def traded(folder: Path, names, params: dict, **span) -> dict:
    data = [SymbolData(name, folder / f"{name}.csv") for name in names]
    config = busy(floor_pct=0.004, **params)
    return run(make_cerebro(make_feeds(data, **span), config, 20_000.0)).summary


def test_the_objective_is_that_of_the_wallet_and_the_held_out_symbol_has_another(result, folder):
    [winner] = result["finalists"]
    first = {"end": date(2024, 1, 12)}
    together = traded(folder, NAMES[:2], winner["params"], **first)
    alone = traded(folder, NAMES[2:], winner["params"], **first)
    assert together["trades"] > 10 and alone["trades"] > 10
    assert winner["objectives"] == [together["sharpe"]]
    assert winner["backtrader"]["BTCUSDT+ETHUSDT in first"]["net_return"] == together["net_return"]
    assert winner["backtrader"]["SOLUSDT in first"]["net_return"] == alone["net_return"]
    assert winner["held_out_symbols"]["first"] == pytest.approx(alone["net_return"], abs=1e-12)
    assert set(winner["held_out_symbols"]) == {"first", "second"}


def test_what_was_searched_is_told_from_what_was_not(found):
    text = (found / "finalist-1.toml").read_text()
    for cell, seen in (
        ("BTCUSDT+ETHUSDT in first", "searched"),
        ("BTCUSDT+ETHUSDT in second", "not searched"),
        ("SOLUSDT in first", "not searched"),
        ("SOLUSDT in second", "not searched"),
    ):
        assert f"# {cell} ({seen}): return" in text


def test_the_verdict_asks_for_symbols_not_searched_and_independent_bets(result):
    questions = [check["question"] for check in result["verdict"]["checks"]]
    assert "Did it pay on symbols that no search has seen?" in questions
    assert 5 <= result["guards"]["independent_bets"] <= 12  # it trades on every day or nearly
    years = 12 / 365  # in blocks of the days traded
    assert result["guards"]["sharpe_error"] == pytest.approx(np.sqrt(1 / years), rel=0.1)


def test_calm_and_wild_symbols_with_parameters_of_their_own(folder):
    text = SPACE.replace("high = 3.0 }", "high = 3.0, by_class = true }")
    (folder / "classes.toml").write_text(f"classes = 2\n{text}")
    out = folder / "classes"
    assert gridv4("optimize", "--space", folder / "classes.toml", "--out", out, "--jobs", 1, "--quiet") == 0
    [finalist] = json.loads((out / "optimize.json").read_text())["finalists"]
    params = finalist["params"]
    assert list(params) == ["calm.k", "wild.k", "levels"]
    config = load_config(out / "finalist-1.toml")
    assert {config.of(name).k for name in NAMES[:2]} == {params["calm.k"], params["wild.k"]}
    assert config.of("SOLUSDT").k in params.values()
    data = [SymbolData(name, folder / f"{name}.csv") for name in NAMES[:2]]
    again = run(make_cerebro(make_feeds(data, end=date(2024, 1, 12)), config, 20_000.0))
    cell = finalist["backtrader"]["BTCUSDT+ETHUSDT in first"]
    assert again.summary["net_return"] == pytest.approx(cell["net_return"], rel=1e-12)
