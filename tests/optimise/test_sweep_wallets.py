"""Several symbols in one wallet: a sweep and a run in Backtrader must end in the same bits."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import random_sets
from busy import busy
from random_sets import random_set
from same_runs import assert_same
from wallets import shifted_symbols, with_holes

import gridv4_bt.optimise.sweeps as module
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import OF_ACCOUNT, GridConfig, make_config
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import MarketHistory, load_market
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.sweep import SweepMarket, SweepResult, SweepWallet, sweep

pytest.importorskip("numba")

#: Debts so large that margin calls and liquidations occur, and nothing that cuts early.
RECKLESS = dict(
    regime="none", k=0.3, floor_pct=0.002, gamma=0.5, kappa=1e6, order_pct=1.0, max_inventory=15, kelly_floor=1.0,
    stop1_atr=40, stop2_atr=60, var_pct=10, delever_share=50, z_halt=-50, leverage=20, deviance_atr=0, max_age_hours=0,
    gap_spacings=0, margin_target=0.1,
)  # fmt: skip


def wallet_of(data: list[SymbolData]) -> SweepWallet:
    return SweepWallet.of([SweepMarket.of(feed) for feed in make_feeds(data)])


def both(data: list[SymbolData], config: GridConfig, cash: float = 10_000.0) -> SweepResult:
    """Run both, compare them and return the sweep's result."""
    [result] = sweep(wallet_of(data), [config], cash, log=True, closed=True)
    assert_same(result, run(make_cerebro(make_feeds(data), config, cash)))
    return result


@pytest.fixture(scope="module")
def three() -> list[SymbolData]:
    return shifted_symbols(3, 1_200, random.Random(3))


def test_random_parameters_of_symbols_whose_data_begin_and_end_at_different_bars():
    found = Counter()
    for number in range(8):
        draw = random.Random(number)
        data = shifted_symbols(draw.randint(2, 5), 1_400, draw)
        config = random_set(draw, regime=("kama", "none")[number % 2], leverage=draw.choice((1, 3, 5, 10)))
        found.update(both(data, config, draw.choice((1e4, 1e5, 1e6))).label_trades)
    assert found.total() > 300 and len(found) > 6


def test_twenty_symbols():
    data = shifted_symbols(20, 900, random.Random(1))
    assert len({len(one.candles) for one in data}) > 10
    result = both(data, busy(k=1.0, floor_pct=0.004, var_pct=1.0))
    assert result.fills > 100
    assert sum(one.trades > 0 for one in result.symbols) > 10


def test_the_strategies_share_equity_margin_and_value_at_risk(three):
    config = busy(k=1.0, floor_pct=0.004, var_pct=0.05, order_pct=0.2)
    together = both(three, config)
    alone = [sweep(wallet_of([one]), [config], closed=True) for one in three]
    assert {"margin", "var"} & set(together.blocked)
    assert together.fills != sum(result.fills for [result] in alone)


def with_own_parameters(names, draw: random.Random) -> GridConfig:
    """Return random parameters, others for each symbol but the first, of what is no matter of the account."""
    common = random_set(draw, regime="kama", leverage=5).model_dump()
    own = {name: random_set(draw, regime=draw.choice(("kama", "none"))).model_dump() for name in names[1:]}
    own = {name: {key: value for key, value in one.items() if key not in OF_ACCOUNT} for name, one in own.items()}
    return make_config(common | {"symbols": own})


def test_symbols_with_parameters_of_their_own():
    found = Counter()
    for number in range(6):
        draw = random.Random(number)
        data = shifted_symbols(3, 1_400, draw)
        config = with_own_parameters([one.symbol for one in data], draw)
        assert len({one.levels for one in config.variants}) > 1
        found.update(both(data, config, draw.choice((1e4, 1e5))).label_trades)
    assert found.total() > 100 and len(found) > 4


def test_a_symbol_with_parameters_of_its_own_leaves_those_of_the_others_alone(three):
    base = busy(k=1.0, floor_pct=0.004, var_pct=10.0)
    quiet = make_config(base.model_dump() | {f"{three[0].symbol}.kappa": 1e-3})  # quotes so far away never fill
    result, others = both(three, quiet), both(three[1:], base)
    assert result.symbols[0].trades == 0 and others.trades > 20
    # The symbol that never trades has bars after the others' last ones, so that they are settled as delisted.
    assert result.closed[: len(others.closed)] == others.closed


def test_holes_in_the_data_of_a_symbol():
    draw = random.Random(5)
    data = [with_holes(one, draw, 6, 120) for one in shifted_symbols(4, 1_400, draw)]
    result = both(data, busy(k=1.0, floor_pct=0.003, var_pct=1.0, order_pct=0.1))
    assert result.trades > 30


def test_margin_calls_liquidations_and_a_symbol_liquidated_while_it_has_no_bar(monkeypatch):
    monkeypatch.setattr(random_sets, "IS_REAL", False)  # in the busy market these draws come to it
    calls = liquidations = without_bar = 0
    for number in (36, 73, 81, 97):
        draw = random.Random(number)
        data = [with_holes(one, draw, 25, 60) for one in shifted_symbols(3, 1_500, draw)]
        data = [replace(one, symbol=name) for one, name in zip(data, ("BTCUSDT", "ETHUSDT", "SOLUSDT"), strict=True)]
        result = both(data, busy(**RECKLESS, margin_call=(0.2, 0.95)[number % 2 == 0]))
        calls += result.margin_calls
        liquidations += result.liquidations
        liquidated = {trade.close_time for trade in result.closed if trade.label is TradeLabel.LIQUIDATION}
        without_bar += len(liquidated) > result.liquidations  # one is closed at the time of its last bar
    assert calls > 1 and liquidations > 1 and without_bar > 0


def test_a_wallet_of_one_symbol_is_its_market(three):
    [alone] = sweep(SweepMarket.of(make_feeds(three[:1])[0]), [busy()], closed=True)
    [result] = sweep(wallet_of(three[:1]), [busy()], closed=True)
    np.testing.assert_array_equal(alone.equity, result.equity)
    assert alone.closed == result.closed


def test_the_order_in_which_the_symbols_are_given_changes_nothing(three):
    markets = [SweepMarket.of(feed) for feed in make_feeds(three)]
    config = busy(k=1.0, floor_pct=0.004, order_pct=0.3)
    [one], [other] = (sweep(given, [config], closed=True) for given in (markets, markets[::-1]))
    assert one.closed == other.closed != []


def test_signals_of_all_symbols_follow_the_periods_of_each_set(three):
    wallet, configs = wallet_of(three), [busy(sigma_bars=48, atr_bars=7), busy(), busy(sigma_bars=48)]
    together = list(sweep(wallet, configs, closed=True))
    for config, result in zip(configs, together, strict=True):
        [fresh] = sweep(wallet_of(three), [config], closed=True)
        assert result.closed == fresh.closed


def test_a_run_that_needs_more_room_gets_it(three, monkeypatch):
    config = busy(k=0.5, floor_pct=0.002, kappa=1e6, var_pct=10, deviance_atr=0, order_pct=0.02)
    [ample] = sweep(wallet_of(three), [config], closed=True)
    monkeypatch.setattr(module, "ROOM", 1)
    [tight] = sweep(wallet_of(three), [config], closed=True)
    assert len(ample.closed) > 20
    assert ample.closed == tight.closed and ample.blocked == tight.blocked


def test_a_symbol_too_short_to_trade_holds_the_others_up_no_more_than_in_backtrader(three):
    short = replace(three[0], candles=three[0].candles.iloc[:60])
    result = both([short, *three[1:]], busy(k=1.0, floor_pct=0.004))
    assert [one.bars == 0 for one in result.symbols].count(True) == 1
    assert result.fills > 0


def test_all_symbols_too_short(three):
    short = [replace(one, candles=one.candles.iloc[:60]) for one in three]
    with pytest.raises(DataError, match="60 bars are too few: warm-up needs 97"):
        sweep(wallet_of(short), [busy()])


def test_a_symbol_given_twice(three):
    [feed] = make_feeds(three[:1])
    with pytest.raises(DataError, match="BTCSHIFT0USDT is given twice"):
        sweep([SweepMarket.of(feed), SweepMarket.of(feed)], [busy()])


def test_a_leverage_that_one_of_the_symbols_does_not_allow(three):
    feeds = make_feeds(three)
    rules = load_market(feeds[1].p.name)
    low = replace(rules, max_leverages=(3.0,) * len(rules.brackets))
    markets = [SweepMarket.of(feed) for feed in feeds]
    markets[1] = SweepMarket.of(make_feeds(three)[1], MarketHistory(((0, low),)))
    with pytest.raises(ConfigError, match=f"leverage: -4028 5 is not valid for {feeds[1].p.name}, which allows 3"):
        sweep(markets, [busy()])
