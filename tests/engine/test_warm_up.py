"""How many bars come before the first decision."""

import pytest

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import load_config
from gridv4_bt.engine.warm_up import (
    REPLAY_BARS,
    history_bars,
    longest_memory_bars,
    span_warm_up,
    warm_up_bars,
    with_live_history,
)


@pytest.mark.parametrize(
    ("settings", "backtest", "all_indicators", "live"),
    [
        (["sigma_bars=20"], 29, 29, 1_000),  # ADX(14) needs 28 bars and the strategy one more
        (["sigma_bars=20", "adx_bars=21"], 43, 43, 1_500),
        (["sigma_bars=20", "er_bars=40"], 43, 43, 2_000),  # the slope needs one bar more than KAMA's 41
        (["sigma_bars=20", "atr_bars=42"], 44, 44, 3_000),
        (["sigma_bars=20", "z_bars=50"], 50, 50, 1_000),
        (["sigma_bars=20", "kama_slow=61"], 29, 29, 4_000),  # its smoothing in noise is a quarter
        (["sigma_bars=20", "adx_bars=5", "atr_bars=5", "er_bars=5"], 21, 21, 1_000),
        (["regime=gmm", "er_bars=200"], 203, 2_880 + 16 + 201, 4_473),  # 1,000 times the root of 20
        ([], 97, 97, 1_000),  # the volatility needs 96 returns
        (["warm_up=2000"], 2_001, 2_001, 2_000),
        (["regime=gmm", "gmm_window=2880", "gmm_span=16"], 97, 2_880 + 16 + 97, 4_000),
    ],
)
def test_history_is_as_long_as_the_longest_need(settings, backtest, all_indicators, live):
    config = load_config(None, settings)
    assert (warm_up_bars(config), history_bars(config)) == (backtest, all_indicators)
    assert with_live_history(config).warm_up == live


@pytest.mark.parametrize(
    "settings",
    [
        ["sigma_bars=20"], ["sigma_bars=20", "adx_bars=21"], ["sigma_bars=20", "er_bars=40"], ["sigma_bars=200"],
        ["sigma_bars=20", "atr_bars=42"], ["sigma_bars=20", "z_bars=50"], ["sigma_bars=2", "adx_bars=2", "er_bars=2"],
    ],
)  # fmt: skip
def test_trading_begins_by_then(settings):
    config = load_config(None, settings)
    market = sample_market(days=4)
    bars = warm_up_bars(config)
    result = run(make_cerebro(make_feeds([SymbolData("BTCUSDT", market.candles[: bars + 5])]), config, 1e4))
    assert len(result.records[0].log) >= 6


def test_averages_of_longer_periods_remember_longer():
    memories = [longest_memory_bars(load_config(None, [setting])) for setting in ("k=1", "atr_bars=28", "er_bars=40")]
    assert memories == [10_000, 20_000, 20_000]


@pytest.mark.parametrize(
    ("settings", "varied", "bars"),
    [
        ([], {}, 10_000),  # after which no average knows any more where it began
        (["warm_up=12000"], {}, 12_001),
        (["gmm_window=20000"], {}, 10_000),  # of no meaning with KAMA
        (["gmm_window=20000", "regime=gmm"], {}, 20_000 + 16 + 97),
        (["gmm_window=20000"], {"regime": ["kama", "gmm"]}, 20_000 + 16 + 97),
        ([], {"warm_up": [0, 15_000, 300], "k": [1.0, 2.0]}, 15_001),
        (["atr_bars=28"], {}, 20_000),
        ([], {"adx_bars": [14, 42], "er_bars": [5, 10]}, 30_000),
        (["regime=gmm"], {"gmm_window": (480.0, 30_000.0), "sigma_bars": (24.0, 192.0)}, 30_000 + 16 + 193),
    ],
)
def test_a_span_is_warmed_up_alike_for_all_trials(settings, varied, bars):
    assert span_warm_up(load_config(None, settings), varied) == bars


def test_one_request_brings_all_bars_before_a_replay():
    assert REPLAY_BARS == 1_500  # the most candles that Binance gives for a request
