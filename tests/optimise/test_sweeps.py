"""A sweep and a run in Backtrader are two orchestrations of the same rules: they must end in the same bits."""

import pickle
import random
from collections import Counter
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from busy import busy
from busy_market import busy_market
from same_runs import assert_same

import gridv4_bt.optimise.sweeps as module
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig, is_defined
from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import PLACED, Blocked
from gridv4_bt.engine.market import MarketHistory, load_market
from gridv4_bt.errors import ConfigError, DataError, MarketError
from gridv4_bt.optimise import sweep_market
from gridv4_bt.sweep import SweepMarket, SweepResult, check_sweepable, sweep

pytest.importorskip("numba")

#: Leverage and orders so large that refusals, margin calls and liquidations occur; each with its cash.
RECKLESS = dict(
    regime="none", k=0.25, floor_pct=0.002, gamma=0.5, kappa=1e6, horizon=12, sigma_bars=24, order_pct=1.0,
    max_inventory=15, kelly_window=20, kelly_min_trades=5, kelly_floor=1.0, stop1_atr=20, stop2_atr=150,
    margin_call=0.2, margin_target=0.1, var_pct=10, offset_spacings=0.5, leverage=20, reopen_bars=50,
    fill_rule="through",
)  # fmt: skip
EXTREMES = [
    (busy(**RECKLESS), 10_000.0),
    (
        busy(
            k=2.7, floor_pct=0.004, gamma=0.0, max_inventory=15, kelly_min_trades=1, kelly_window=20, stop1_atr=1.5,
            stop2_atr=4.5, offset_spacings=0.5, maker_fee=-0.0001, taker_fee=0.002, breakout_slope=0.56,
            trend_slope=0.016,
        ),
        3e7,
    ),
    (
        busy(
            k=3.3, floor_pct=0.002, levels=20, gamma=0.5, horizon=400, order_pct=0.2, max_inventory=15, stop1_atr=50,
            stop2_atr=60, var_pct=0.02, leverage=20, sigma_bars=200, offset_spacings=0, fill_rule="through",
            breakout_slope=0.28, trend_slope=0.033, hysteresis=0.78,
        ),
        300.0,
    ),
    (
        busy(
            k=0.5, floor_pct=0.003, kappa=1e5, stop1_atr=1.5, stop2_atr=2.0, deviance_atr=0.0, gap_spacings=0.0,
        ),
        10_000.0,
    ),
    (busy(), 90.0),
    (busy(cap_leg=0.5, cap_symbol=0.6, cap_side=0.5, cap_gross=0.6, cap_net=0.3), 10_000.0),
    (busy(gamma=0.0, var_pct=0.02, kelly_floor=1.0, kelly_cap=1.0), 10_000.0),  # long held: oldest, funding
]  # fmt: skip


def random_config(draw: random.Random, **fixed) -> GridConfig:
    """A config anywhere in the space, valid but not sensible."""
    stop1 = draw.choice((1.5, 4.0, 20.0))
    values = dict(
        regime=draw.choice(("kama", "none")), k=draw.uniform(0.3, 4.0), floor_pct=draw.choice((0.001, 0.004, 0.01)),
        levels=draw.choice((1, 3, 10, 25)), gamma=draw.choice((0.0, 0.5, 5.0, 50.0)), kappa=draw.choice((1e3, 1e6)),
        horizon=draw.choice((12, 96)), reopen_bars=draw.choice((0, 4, 50)), keep_price=draw.uniform(0.0, 0.49),
        keep_qty=draw.uniform(0.0, 0.5), order_pct=draw.choice((0.001, 0.05, 0.3, 1.0)),
        max_inventory=draw.choice((0.3, 1.0, 15.0)), leverage=draw.choice((1.0, 5.0, 20.0)),
        var_pct=draw.choice((0.02, 0.05, 2.0)), stop1_atr=stop1, stop2_atr=stop1 * draw.choice((1.2, 3.0)),
        offset_spacings=draw.choice((0.0, 1.0)), fill_rule=draw.choice(("touch", "through")),
        sigma_bars=draw.choice((24, 96)), warm_up=draw.choice((0, 300)), breakout_slope=draw.uniform(0.15, 0.6),
        trend_slope=draw.uniform(0.01, 0.14), hysteresis=draw.uniform(0.2, 1.0), kelly_min_trades=draw.choice((1, 20)),
        funding_hours=draw.choice((1.0, 8.0)), slippage=draw.choice((0.0, 0.002)), **random_definition(draw),
    )  # fmt: skip
    return busy(**{**values, **fixed})


def random_definition(draw: random.Random) -> dict[str, float]:
    """Another value for every number of the definition, each rule switched off now and then."""
    halt = draw.uniform(-4.0, -1.5)
    return dict(
        er_bars=draw.choice((4, 10, 25)), kama_fast=draw.randint(1, 5), kama_slow=draw.randint(6, 60),
        atr_bars=draw.choice((1, 5, 14, 40)), adx_bars=draw.choice((2, 7, 14, 70)), adx_min=draw.uniform(0.0, 60.0),
        z_bars=draw.choice((5, 20, 120)), z_halt=halt, z_resume=halt + draw.uniform(0.1, 3.0),
        trail_share=draw.uniform(0.0, 1.0), kelly_fraction=draw.choice((0.01, 0.25, 1.0)),
        cooldown_stops=draw.choice((0, 2, 7, 20)), cooldown_bars=draw.choice((10, 48, 1_000)),
        cooldown_factor=draw.uniform(0.1, 1.0), stop1_share=draw.choice((0.1, 0.5, 1.0)), var_z=draw.uniform(0.5, 4.0),
        delever_share=draw.uniform(0.1, 1.5), deviance_atr=draw.choice((0.0, 1.0, 3.0, 6.0)),
        max_age_hours=draw.choice((0.0, 3.3, 24.0)), gap_spacings=draw.choice((0.0, 1.5, 3.0)),
        funding_share=draw.choice((0.0, 0.02, 0.5)), nudge_pct=draw.choice((0.0, 0.0015, 0.0049)),
        funding_tilt=draw.uniform(0.0, 0.9),
    )  # fmt: skip


def both(data: SymbolData, config: GridConfig, cash: float, market: SweepMarket, rules=None) -> SweepResult:
    """Run both, compare them and return the sweep's result."""
    [result] = sweep(market, [config], cash, log=True, closed=True)
    assert_same(result, run(make_cerebro(make_feeds([data]), config, cash, rules)))
    return result


@pytest.mark.parametrize("config", [busy(), busy(regime="none", sigma_bars=24, warm_up=700)])
def test_a_span_is_traded_from_its_first_bar_by_both(sample, config):
    # 10 days are 960 bars: they warm up either config.
    days = {"start": date(2024, 1, 11), "end": date(2024, 1, 20)}
    [feed] = make_feeds([sample], **days)
    [result] = sweep(SweepMarket.of(feed), [config], log=True, closed=True)
    assert (feed.lead, result.bars, len(result.days)) == (960, 960, 10)
    assert result.trades > 10
    reference = run(make_cerebro(make_feeds([sample], **days), config, 10_000.0))
    assert_same(result, reference)
    assert (reference.summary["bars"], reference.summary["from"]) == (960, "2024-01-11T00:00:00Z")


def test_a_span_with_too_little_before_it_is_traded_once_warm_by_both(sample):
    days = {"start": date(2024, 1, 2), "end": date(2024, 1, 9)}
    config = busy(warm_up=200)  # 96 bars lie before the span, so 104 of the span warm up too
    [feed] = make_feeds([sample], **days)
    [result] = sweep(SweepMarket.of(feed), [config], log=True, closed=True)
    assert (feed.lead, result.bars) == (96, 8 * 96 - 104)
    reference = run(make_cerebro(make_feeds([sample], **days), config, 10_000.0))
    assert_same(result, reference)
    assert (reference.summary["bars"], reference.summary["from"]) == (8 * 96, "2024-01-03T02:00:00Z")


@pytest.fixture(scope="module")
def sample() -> SymbolData:
    market = sample_market(days=25)
    return SymbolData(SYMBOL, market.candles, market.funding)


@pytest.fixture(scope="module")
def market(sample) -> SweepMarket:
    return SweepMarket.of(make_feeds([sample])[0])


@pytest.fixture(scope="module")
def rough() -> SymbolData:
    """Days in which every mechanism is at work."""
    market = busy_market(days=25)
    return SymbolData(SYMBOL, market.candles, market.funding)


@pytest.fixture(scope="module")
def rough_market(rough) -> SweepMarket:
    return SweepMarket.of(make_feeds([rough])[0])


@pytest.fixture(scope="module")
def real(shared_data):
    """real(symbol, first day, bars) -> data with funding, the hourly mark where there is one, and dated brackets."""
    pytest.importorskip("pyarrow")
    rules = shared_data / "brackets" / "leverage_brackets_history.json"

    def read(symbol, first, bars):
        candles = pd.read_parquet(shared_data / "candles" / f"{symbol}-15m.parquet")
        row = int(candles["time"].searchsorted(pd.Timestamp(first, tz="UTC")))
        mark = shared_data / "mark" / f"{symbol}-mark-1h.parquet"
        data = SymbolData(
            symbol,
            candles.iloc[row : row + bars].reset_index(drop=True),
            shared_data / "funding" / f"{symbol}-funding.parquet",
            mark if mark.exists() else None,
        )
        return data, SweepMarket.of(make_feeds([data])[0], rules), rules

    return read


# --- equal to Backtrader


def test_the_busy_preset_on_the_sample_market(sample, market):
    result = both(sample, busy(), 10_000.0, market)
    assert result.trades > 20 and len(result.days) == 24


def test_random_parameters_on_the_sample_market(sample, market):
    draw = random.Random(7)
    results = [both(sample, random_config(draw), draw.choice((300.0, 1e4, 1e6)), market) for _ in range(12)]
    assert sum(result.trades for result in results) > 200


def test_synthetic_funding(sample):
    data = replace(sample, funding=None)
    market = SweepMarket.of(make_feeds([data])[0])
    funding = {both(data, busy(funding_hours=hours), 1e4, market).funding for hours in (1.0, 8.0)}
    assert len(funding) == 2 and 0.0 not in funding


def test_mixture_of_gaussians(sample, market):
    pytest.importorskip("sklearn")
    config = busy(regime="gmm", gmm_window=480, floor_pct=0.004, k=1.0)
    result = both(sample, config, 10_000.0, market)
    assert len(np.unique(result.log[:, 6])) > 1  # regimes
    assert result.trades > 20


def test_every_label_and_every_reason_on_real_crashes(real):
    labels, reasons = Counter(), Counter()
    data, market, rules = real("SOLUSDT", "2022-11-07", 1_100)  # FTX; funding every two hours
    for config, cash in EXTREMES:
        result = both(data, config, cash, market, rules)
        labels.update(result.label_trades)
        reasons.update(result.blocked)
    assert set(labels) == {str(label) for label in TradeLabel} - {"manual", "delisted"}
    # Only a live bot is paused by a person, or differs from its exchange.
    others = (PLACED, Blocked.PAUSED, Blocked.MISMATCH)
    assert set(reasons) == {reason.name.lower() for reason in Blocked if reason not in others}


@pytest.mark.parametrize("span", [("ETHUSDT", "2022-05-08", 900), ("BTCUSDT", "2022-11-05", 900)], ids=lambda s: s[0])
def test_random_parameters_on_real_crashes(real, span):
    data, market, rules = real(*span)
    draw = random.Random(span[0])
    results = [both(data, random_config(draw), draw.choice((300.0, 1e4, 3e7)), market, rules) for _ in range(8)]
    assert sum(result.trades for result in results) > 20


def test_an_account_that_loses_all_is_exactly_empty_and_its_figures_are_numbers(real):
    data, market, rules = real("SOLUSDT", "2022-11-07", 1_100)
    result = both(data, busy(**RECKLESS), 10_000.0, market, rules)
    assert result.liquidations == 1
    assert (result.end_equity, result.net_return, result.max_drawdown) == (0.0, -1.0, 1.0)
    assert 0.0 < result.max_margin_ratio < 1.0


def test_rules_that_change_while_something_is_held(sample, market):
    times = market.bars["time"]
    old = load_market(SYMBOL)
    strict = replace(
        old,
        tick=old.tick * 10,
        min_notional=old.min_notional * 4,
        brackets=(Bracket(0.0, 1e12, 0.05, 0.0),),
        max_leverages=(20.0,),
    )
    changes = range(300, 2_300, 40)  # bars; many, so that some come while fills are open
    history = MarketHistory(
        ((0, old), *((int(times[bar]), (strict, old)[number % 2]) for number, bar in enumerate(changes)))
    )
    config = busy(regime="none", k=0.5, floor_pct=0.002, order_pct=0.2)
    dated = SweepMarket.of(make_feeds([sample])[0], history)
    [result] = sweep(dated, [config], log=True, closed=True)
    cerebro = make_cerebro(make_feeds([sample]), config, 10_000.0)
    cerebro.broker.p.markets = {SYMBOL: history}
    assert_same(result, run(cerebro))
    [without] = sweep(market, [config], closed=True)
    assert result.closed != without.closed


PATIENT = dict(deviance_atr=0.0, stop1_atr=40.0, stop2_atr=60.0)
STOPPED = dict(stop1_atr=1.0, stop2_atr=2.0)
#: Each number of the definition: another value of it, and what the busy preset needs for its rule to be at work.
MOVED = {
    "er_bars": (20, {}), "kama_fast": (4, {}), "kama_slow": (60, {}), "atr_bars": (28, {}), "adx_bars": (7, {}),
    "adx_min": (35.0, {}), "z_bars": (60, {}), "z_halt": (-2.0, {}), "z_resume": (-2.0, dict(z_halt=-2.5)),
    "nudge_pct": (0.004, {}), "funding_tilt": (0.6, {}),
    "trail_share": (0.9, dict(levels=2, k=0.3, floor_pct=0.002)),
    "kelly_fraction": (0.05, dict(kelly_min_trades=1, k=0.5, floor_pct=0.003)),
    "cooldown_stops": (0, STOPPED), "cooldown_bars": (400, STOPPED | dict(cooldown_stops=0)),
    "cooldown_factor": (0.9, STOPPED | dict(cooldown_stops=0)), "stop1_share": (0.9, STOPPED), "var_z": (4.0, {}),
    "delever_share": (0.05, PATIENT | dict(order_pct=0.2)), "deviance_atr": (0.0, {}), "max_age_hours": (3.0, {}),
    "gap_spacings": (1.2, PATIENT),
    "funding_share": (0.01, PATIENT),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_each_number_of_the_definition_moves_its_rule_in_both(name, rough, rough_market):
    value, needed = MOVED[name]
    base = dict(regime="kama", k=1.0, floor_pct=0.004) | needed
    defined, moved = (both(rough, busy(**base | change), 1e4, rough_market) for change in ({}, {name: value}))
    assert defined.closed != moved.closed or not np.array_equal(defined.log, moved.log, equal_nan=True)


def test_every_number_of_the_definition_is_moved():
    assert {name for name in GridConfig.model_fields if is_defined(name)} == set(MOVED)


@pytest.mark.parametrize("name", ["deviance_atr", "max_age_hours", "gap_spacings", "funding_share", "offset_spacings"])
def test_0_switches_a_method_off_in_both(name, rough, rough_market):
    label = {
        "deviance_atr": "deviance", "max_age_hours": "oldest", "gap_spacings": "gap", "funding_share": "funding",
        "offset_spacings": "offset",
    }[name]  # fmt: skip
    quick = dict(
        k=1.0, floor_pct=0.003, deviance_atr=2.5, max_age_hours=4.0, gap_spacings=2.0, funding_share=0.02,
        offset_spacings=0.4, stop1_atr=40.0, stop2_atr=60.0,
    )  # fmt: skip
    on, off = (both(rough, busy(**quick | change), 1e4, rough_market).label_trades for change in ({}, {name: 0.0}))
    assert label in on and label not in off
    assert len(off) > 1


def test_signals_are_computed_once_for_each_distinct_period(sample, monkeypatch):
    made = []
    original = sweep_market.run_indicators

    def run_indicators(feed, make):
        def noted(data):
            indicators = make(data)
            made.extend(type(one).__name__ for one in indicators)
            return indicators

        return original(feed, noted)

    monkeypatch.setattr(sweep_market, "run_indicators", run_indicators)
    market = SweepMarket.of(make_feeds([sample])[0])
    configs = [busy(atr_bars=atr, adx_bars=adx, k=k) for atr in (7, 14) for adx in (5, 9, 14) for k in (1.0, 2.0)]
    list(sweep(market, configs))
    # z is in ATRs, so it is another with each ATR
    assert Counter(made) == {"KAMA": 1, "WilderATR": 2, "WilderADX": 3, "ZScore": 2, "RollingVolatility": 1}


# --- the results themselves


def test_results_come_in_order_and_threads_change_nothing(market):
    draw = random.Random(3)
    configs = [random_config(draw) for _ in range(6)]
    alone, together = list(sweep(market, configs)), list(sweep(market, configs, threads=2))
    assert [result.config for result in alone] == configs
    assert sum(result.trades for result in alone) > 100
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.equity, other.equity)
        assert replace(one, days=None, equity=None) == replace(other, days=None, equity=None)


def test_log_and_trades_are_kept_on_request_only(market):
    [result] = sweep(market, [busy()])
    assert result.log is None and result.closed is None


def test_a_run_that_needs_more_room_gets_it(market, monkeypatch):
    config = busy(**RECKLESS)
    [ample] = sweep(market, [config], closed=True)
    monkeypatch.setattr(module, "ROOM", 1)
    [tight] = sweep(market, [config], closed=True)
    assert len(ample.closed) > 20
    assert ample.closed == tight.closed and ample.blocked == tight.blocked


def test_a_market_survives_pickling_with_its_signals(market):
    market.prepare([busy(sigma_bars=50)])
    copy = pickle.loads(pickle.dumps(market))
    assert copy.signals(busy(sigma_bars=50)).sigma is copy.signals(busy(sigma_bars=50)).sigma
    [one], [other] = sweep(market, [busy(sigma_bars=50)]), sweep(copy, [busy(sigma_bars=50)])
    assert one.end_equity == other.end_equity != 10_000.0


def test_money_adds_up(market):
    draw = random.Random(5)
    results = list(sweep(market, [random_config(draw) for _ in range(8)], closed=True))
    assert sum(result.trades for result in results) > 100
    for result in results:
        booked = result.start_equity + result.gross - result.fees - result.funding
        assert result.wallet == pytest.approx(booked, rel=1e-9)
        ended = {trade.trade_id for trade in result.closed if trade.bullet_qty > 0.0}
        begun = sum(trade.net for trade in result.closed if trade.trade_id not in ended)  # of fills still open in part
        assert result.profit + result.loss + begun == pytest.approx(sum(result.label_net.values()), rel=1e-9)
        assert result.trades == len(ended) <= sum(result.label_trades.values()) == len(result.closed)
    assert sum(result.trades for result in results) < sum(len(result.closed) for result in results)


# --- what it refuses


@pytest.mark.parametrize("mode", ["path", "detail"])
def test_the_inside_of_bars_is_refused(market, mode):
    with pytest.raises(ConfigError, match=f"intrabar: .*'{mode}'.*Backtrader"):
        sweep(market, [busy(), busy(intrabar=mode)])


def test_without_numba_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("gridv4_bt.optimise.kernel.kernel.available", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'gridstrategy-v4\[fast\]'"):
        check_sweepable(busy())


def test_a_leverage_the_rules_do_not_allow(sample):
    low = replace(load_market(SYMBOL), max_leverages=(3.0,) * len(load_market(SYMBOL).brackets))
    market = SweepMarket.of(make_feeds([sample])[0], MarketHistory(((0, low),)))
    with pytest.raises(ConfigError, match="leverage: -4028 5 is not valid for .*, which allows 3 at most"):
        sweep(market, [busy()])


def test_too_few_bars(sample):
    short = replace(sample, candles=sample.candles.iloc[:60])
    with pytest.raises(DataError, match="60 bars are too few: warm-up needs 97"):
        sweep(SweepMarket.of(make_feeds([short])[0]), [busy()])


def test_a_symbol_the_rules_do_not_know(sample, tmp_path):
    path = tmp_path / "rules.json"
    path.write_text('{"symbols": {"OTHERUSDT": []}}')
    with pytest.raises(MarketError):
        SweepMarket.of(make_feeds([sample])[0], path)
