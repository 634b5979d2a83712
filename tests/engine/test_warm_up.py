"""How many bars come before the first decision."""

import pytest

from gridv4_bt.config import load_config
from gridv4_bt.engine.warm_up import REPLAY_BARS, history_bars, span_warm_up, warm_up_bars, with_live_history


@pytest.mark.parametrize(
    ("settings", "backtest", "all_indicators", "live"),
    [
        (["sigma_bars=20"], 29, 29, 1_000),  # ADX(14) needs 28 bars and the strategy one more
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
    ("settings", "varied", "bars"),
    [
        ([], {}, 10_000),  # after which no average knows any more where it began
        (["warm_up=12000"], {}, 12_001),
        (["gmm_window=20000"], {}, 10_000),  # of no meaning with KAMA
        (["gmm_window=20000", "regime=gmm"], {}, 20_000 + 16 + 97),
        (["gmm_window=20000"], {"regime": ["kama", "gmm"]}, 20_000 + 16 + 97),
        ([], {"warm_up": [0, 15_000, 300], "k": [1.0, 2.0]}, 15_001),
        (["regime=gmm"], {"gmm_window": (480.0, 30_000.0), "sigma_bars": (24.0, 192.0)}, 30_000 + 16 + 193),
    ],
)
def test_a_span_is_warmed_up_alike_for_all_trials(settings, varied, bars):
    assert span_warm_up(load_config(None, settings), varied) == bars


def test_one_request_brings_all_bars_before_a_replay():
    assert REPLAY_BARS == 1_500  # the most candles that Binance gives for a request
