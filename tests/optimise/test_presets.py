"""The presets load, and their records are what a backtest says."""

import re
from pathlib import Path

import pytest

from gridv4_bt.backtest import SymbolData
from gridv4_bt.config import GridConfig, departures, load_config
from gridv4_bt.optimise.markets import make_market
from gridv4_bt.optimise.space import load_space

PRESETS = Path(__file__).resolve().parents[2] / "presets"
RECORD = re.compile(r"# ([\w+]+) in ([-\d]+) \(not searched\): return ([-+.\d]+)%, drawdown ([.\d]+)%")


TOGETHER = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
#: The symbols that a preset was searched on.
SEARCHED = {
    "btc": ("BTCUSDT",),
    "eth": ("ETHUSDT",),
    "sol": ("SOLUSDT",),
    "ada": ("ADAUSDT",),
    "trx": ("TRXUSDT",),
    "portfolio": TOGETHER,
    "active-low": TOGETHER,
    "active-medium": TOGETHER,
    "active-high": TOGETHER,
}


@pytest.mark.parametrize("name", SEARCHED)
def test_the_record_of_a_preset_is_what_a_backtest_says(name, shared_data):
    pytest.importorskip("numba")
    path = PRESETS / f"{name}.toml"
    symbols = SEARCHED[name]
    records = [found for found in RECORD.findall(path.read_text()) if found[0] == "+".join(symbols)]
    _, latest, gain, drawdown = records[-1]
    [window] = [one for one in load_space(PRESETS / "spaces" / path.name).windows if one.name == latest]
    data = []
    for symbol in symbols:
        files = {"candles": f"candles/{symbol}-15m.parquet", "funding": f"funding/{symbol}-funding.parquet"}
        data.append(SymbolData(symbol, *(shared_data / file for file in files.values())))
    # The sweep ends in the same bits as Backtrader, in a fraction of the time.
    market = make_market(data, window.first, window.last, 10_000.0, "sweep")
    figures = market.evaluate(load_config(path)).figures
    assert f"{figures['net_return']:+.2%}" == f"{gain}%"
    assert f"{figures['max_drawdown']:.2%}" == f"{drawdown}%"


@pytest.mark.parametrize("name", SEARCHED)
def test_a_preset_says_first_whether_it_would_survive(name):
    lines = (PRESETS / f"{name}.toml").read_text().splitlines()
    assert lines[0].startswith(f"# {', '.join(SEARCHED[name])}: found by ")
    assert lines[1].startswith("# Would this survive? ")
    load_config(PRESETS / f"{name}.toml")


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_preset_names_every_parameter_so_that_new_defaults_do_not_change_it(path):
    config = load_config(path)
    assert config.model_fields_set == set(GridConfig.model_fields)
    assert departures(config) == {}


@pytest.mark.parametrize("name", SEARCHED)
def test_a_preset_lies_in_its_space(name):
    values = load_config(PRESETS / f"{name}.toml").model_dump()
    for parameter, one in load_space(PRESETS / "spaces" / f"{name}.toml").parameters.items():
        value = values[parameter]
        assert value in one.choices if one.choices else one.low <= value <= one.high, parameter
