"""Laws that hold on every market: money is conserved, nothing looks ahead, the same input gives the same bytes."""

import math
from functools import partial
from types import SimpleNamespace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from busy import BUSY

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.ladder import TRACE_ACTIONS, Blocked
from strategies.grid_v4 import GridStrategyV4

COLUMNS = len(LOG_COLUMNS)


class Summary(bt.Analyzer):
    """What a trial of a parameter sweep leaves behind; at module level, so that it pickles."""

    def stop(self):
        account = self.strategy.broker.account
        self.rets.update(
            order_pct=self.strategy.p.order_pct,
            log=self.strategy.log.tobytes(),
            trades=[tuple(map(str, _fields(trade))) for trade in account.closed],
            wallet=account.wallet,
        )


def _fields(trade):
    return list(trade)


def unrealized(moment):
    return math.fsum(
        sign * fill.qty * (moment.close - fill.price) for sign in (1, -1) for fill in moment.before[sign].fills
    )


def check_money(run):
    """Equity and wallet at every bar against the account's totals and the fills' own arithmetic."""
    for moment in run.moments:
        equity = moment.log["equity"]
        assert math.isclose(moment.booked, moment.wallet, rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(equity, moment.booked + unrealized(moment), rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(moment.log["unrealized"], unrealized(moment), rel_tol=1e-9, abs_tol=1e-9 * equity + 1e-9)
        assert moment.log["wallet"] == moment.wallet


@pytest.fixture(scope="module")
def on_sample(trade, sample):
    return trade(sample.candles, funding=sample.funding)


@pytest.fixture(scope="module")
def on_real(trade, real):
    candles, funding = real("BTCUSDT", "2022-05-01", 3_000)  # holds the LUNA crash
    return trade(candles, funding=funding)


@pytest.fixture(params=["on_sample", "on_real"])
def any_run(request):
    return request.getfixturevalue(request.param)


# --- money


def test_equity_is_start_plus_gross_less_costs_at_every_bar(any_run):
    assert len(any_run.trades) > 50
    check_money(any_run)


def test_the_wallet_moved_by_the_net_of_all_closed_trades_whenever_flat(any_run):
    flat = [now for now in any_run.moments if not now.before[1].fills and not now.before[-1].fills]
    assert len(flat) > 10 and flat[-1].trades > 20
    for now in flat:
        net = math.fsum(trade.gross - trade.fees - trade.funding for trade in any_run.trades[: now.trades])
        assert math.isclose(now.wallet, 10_000 + net, rel_tol=1e-9)


def test_a_closed_trade_adds_up_by_hand(any_run):
    for trade in any_run.trades:
        assert math.isclose(trade.gross, int(trade.side) * (trade.exit - trade.entry) * trade.qty, abs_tol=1e-9)
        rate = 0.0002 if trade.label == "grid" else 0.0005
        fees = trade.qty * (trade.entry * 0.0002 + trade.exit * rate)
        assert math.isclose(trade.fees, fees, rel_tol=1e-9)


def test_what_was_opened_is_closed_or_still_held(any_run):
    opened: dict[int, float] = {}
    for moment in any_run.moments:
        for sign in (1, -1):
            for fill in moment.before[sign].fills:
                opened.setdefault(fill.id, fill.qty)
    closed: dict[int, float] = {}
    for trade in any_run.trades:
        closed[trade.trade_id] = closed.get(trade.trade_id, 0.0) + trade.qty
    last = any_run.moments[-1]
    held = {fill.id: fill.qty for sign in (1, -1) for fill in last.before[sign].fills}
    for number, qty in opened.items():
        assert math.isclose(closed.get(number, 0.0) + held.get(number, 0.0), qty, rel_tol=1e-9)


def test_a_grid_trade_never_loses_before_funding(any_run):
    grid = [trade for trade in any_run.trades if trade.label == "grid"]
    assert grid and all(trade.gross - trade.fees >= -1e-9 for trade in grid)


# --- no look-ahead


CUTS = (98, 131, 200, 333, 512, 700, 901, 1_024, 1_200, 1_333, 1_450, 1_500, 1_555)


@pytest.mark.parametrize("market", ["sample", "real"])
def test_cut_data_gives_the_same_history(trade, sample, request, market):
    if market == "sample":
        candles, funding = sample.candles.iloc[:1_600], sample.funding
    else:
        candles, funding = request.getfixturevalue("real")("BTCUSDT", "2022-06-10", 1_600)
    whole = trade(candles, funding=funding)
    assert len(whole.trades) > 20
    for cut in CUTS:
        part = trade(candles.iloc[:cut], funding=funding)
        np.testing.assert_array_equal(part.strategy.log, whole.strategy.log[: len(part.strategy.log)])
        last = part.moments[-1]
        twin = whole.moments[len(part.moments) - 1]
        assert part.trades == whole.trades[: twin.trades]
        assert last.time == twin.time and last.after == twin.after


# --- the same input, the same bytes


def test_two_runs_give_identical_bytes(trade, sample, on_sample):
    again = trade(sample.candles, funding=sample.funding)
    assert again.strategy.log.tobytes() == on_sample.strategy.log.tobytes()
    assert again.trades == on_sample.trades
    assert again.strategy.blocked_reasons() == on_sample.strategy.blocked_reasons()


@pytest.mark.parametrize(
    ("name", "other"),
    [("compiled", lambda rule, made_of: SimpleNamespace(bind=partial(partial, rule))), ("available", lambda: False)],
    ids=["sheet in Python", "no numba"],
)
def test_rules_that_are_not_compiled_give_identical_bytes(trade, sample, monkeypatch, name, other):
    candles = sample.candles.iloc[:2_000]
    fast = trade(candles, funding=sample.funding)
    monkeypatch.setattr(f"strategies.ladder_plan.{name}", other)
    plain = trade(candles, funding=sample.funding)
    assert plain.strategy.log.tobytes() == fast.strategy.log.tobytes() and plain.trades == fast.trades
    assert [now.after for now in plain.moments] == [now.after for now in fast.moments]


def test_bar_by_bar_mode_gives_identical_bytes(trade, sample):
    candles = sample.candles.iloc[:1_500]
    once = trade(candles, funding=sample.funding)
    stepped = trade(candles, funding=sample.funding, runonce=False)
    assert stepped.strategy.log.tobytes() == once.strategy.log.tobytes()
    assert stepped.trades == once.trades


def test_watching_changes_nothing(sample, on_sample, plain_market):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(markets={"BTCUSDT": plain_market()}))
    cerebro.adddata(CandleFeed(dataname=sample.candles, funding=sample.funding, name="BTCUSDT"))
    cerebro.addstrategy(GridStrategyV4, **BUSY)
    assert cerebro.run()[0].log.tobytes() == on_sample.strategy.log.tobytes()


def test_optstrategy_with_one_and_two_processes_agree(sample):
    def sweep(maxcpus):
        cerebro = bt.Cerebro(stdstats=False, maxcpus=maxcpus)
        cerebro.setbroker(HedgeBroker())
        cerebro.adddata(CandleFeed(dataname=sample.candles.iloc[:1_200], funding=sample.funding, name="SAMPLEUSDT"))
        cerebro.addanalyzer(Summary, _name="summary")
        cerebro.optstrategy(GridStrategyV4, **BUSY | {"order_pct": [0.02, 0.05]})
        return [trial[0].analyzers.summary.get_analysis() for trial in cerebro.run()]

    alone, together = sweep(1), sweep(2)
    assert alone == together
    assert [trial["order_pct"] for trial in alone] == [0.02, 0.05]
    assert alone[0]["wallet"] != alone[1]["wallet"]


# --- several symbols in one wallet


def share_wallet(*feeds):
    """Run one strategy a feed (name, candles, funding) in one wallet; equity is checked at every bar."""
    checked = []

    class Auditor(bt.Strategy):
        def next(self):
            account = self.broker.account
            booked = account.start + account.gross - account.fees - account.funding
            loose = math.fsum(self.broker.getvalue([data]) for data in self.datas)
            assert math.isclose(self.broker.getvalue(), booked + loose, rel_tol=1e-9)
            assert math.isclose(self.broker.getcash(), booked, rel_tol=1e-9)
            checked.append(self.broker.getvalue())

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(cash=10_000.0))
    for name, candles, funding in feeds:
        cerebro.adddata(CandleFeed(dataname=candles, funding=funding, name=name))
        cerebro.addstrategy(GridStrategyV4, symbol=name, **BUSY)
    cerebro.addstrategy(Auditor)
    strategies = cerebro.run()
    assert checked
    return strategies


def test_two_symbols_share_a_wallet(real):
    btc, btc_rates = real("BTCUSDT", "2024-03-01", 2_000)
    eth, eth_rates = real("ETHUSDT", "2024-03-01", 2_000)
    one, other, _ = share_wallet(("BTCUSDT", btc, btc_rates), ("ETHUSDT", eth, eth_rates))
    account = one.broker.account
    assert {trade.symbol for trade in account.closed} == {"BTCUSDT", "ETHUSDT"}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert sum(trade.symbol == symbol for trade in account.closed) > 10
    mine, theirs = (s.log[:] for s in (one, other))
    assert len(mine) == len(theirs) == 2_000 - 96
    assert np.array_equal(mine[:, :4], theirs[:, :4])  # time, equity, wallet, unrealized are the account's
    ratio = LOG_COLUMNS.index("margin_ratio")
    assert np.array_equal(mine[:, ratio], theirs[:, ratio])


def test_the_order_of_the_symbols_does_not_matter_while_margin_is_ample(sample, random_bars):
    other = random_bars(seed=8, bars=800, price=3_000.0)
    feeds = [("BTCUSDT", sample.candles.iloc[:800], sample.funding), ("ETHUSDT", other, None)]
    first, second = share_wallet(*feeds), share_wallet(*feeds[::-1])
    # The shared wallet is summed in another order, so the last bits differ.
    for one, other in ((first[0], second[1]), (first[1], second[0])):
        assert one.log[:] == pytest.approx(other.log[:], rel=1e-9, nan_ok=True)


def test_a_symbol_that_starts_later_trades_from_its_own_start(sample, random_bars):
    late = random_bars(seed=9, bars=800, price=3_000.0)
    late["time"] = sample.candles["time"].iloc[400:1_200].to_numpy()
    late["time"] = pd.to_datetime(late["time"], utc=True)
    early, later, _ = share_wallet(("BTCUSDT", sample.candles.iloc[:1_200], sample.funding), ("ETHUSDT", late, None))
    log = later.log[:]
    assert log[0, 0] == late["time"].iloc[96].timestamp() * 1000
    # The first symbol does not wait for it: until then it trades as if alone.
    alone, _ = share_wallet(("BTCUSDT", sample.candles.iloc[:400], sample.funding))
    assert alone.log and early.log[: len(alone.log)].tobytes() == alone.log[:].tobytes()
    assert {trade.symbol for trade in early.broker.account.closed} == {"BTCUSDT", "ETHUSDT"}


def test_a_symbol_that_ends_earlier_leaves_the_other_trading(sample, random_bars):
    short = random_bars(seed=9, bars=500, price=3_000.0)
    one, other, _ = share_wallet(("BTCUSDT", sample.candles.iloc[:1_000], sample.funding), ("ETHUSDT", short, None))
    rows = [len(strategy.log) for strategy in (one, other)]
    assert rows == [1_000 - 96, 500 - 96]


# --- odd markets


@pytest.mark.parametrize("bars", [1, 20, 96])
def test_data_shorter_than_the_warm_up_makes_no_decision(trade, random_bars, bars):
    run = trade(random_bars(bars=bars))
    assert not run.moments and not run.strategy.log and run.account.wallet == 10_000


def test_the_first_decision_comes_when_sigma_is_known(trade, random_bars):
    assert len(trade(random_bars(bars=97)).moments) == 1


def test_a_market_that_never_moves_makes_no_trade(trade, still):
    candles = still(300, half=0.0)
    run = trade(candles)
    assert not run.trades and run.log()["equity"].eq(10_000).all()
    assert np.isfinite(run.log().drop(columns=["liquidation_down", "liquidation_up"]).to_numpy()).all()


@pytest.mark.parametrize(
    ("price", "tick", "step"), [(0.0005, 1e-7, 1.0), (0.0005, 0.0001, 1.0), (0.5, 1e-4, 0.1), (500_000.0, 0.1, 0.001)]
)
def test_cheap_and_dear_coins(trade, random_bars, plain_market, price, tick, step):
    market = plain_market(tick=tick, step=step, min_qty=step)
    run = trade(random_bars(seed=2, bars=900, price=price, tick=price * 1e-5), market=market, regime="none")
    check_money(run)
    for moment in run.moments:
        for sign in (1, -1):
            for entry_price, qty in moment.after[sign].entries.values():
                assert entry_price > 0 and math.isclose(entry_price / tick, round(entry_price / tick), rel_tol=1e-9)
                assert math.isclose(qty / step, round(qty / step), rel_tol=1e-9)
    assert run.trades or tick > 1e-5 > price / 100


def test_an_account_of_ten_dollars_only_counts_reasons(trade, random_bars):
    run = trade(random_bars(bars=400), cash=10.0)
    assert not run.trades and run.log()["equity"].eq(10).all()
    assert run.strategy.blocked_reasons()["min_qty"] > 0


def test_a_huge_account_obeys_the_same_rules(trade, random_bars):
    # The same decisions as a small one, up to the rounding of lots: with a fine step equity scales with the cash.
    candles = random_bars(seed=4, bars=1_000)
    run = trade(candles, cash=1e9)
    check_money(run)
    assert run.trades and max(sum(fill.qty * fill.price for fill in now.before[1].fills) for now in run.moments) < 1.3e9


def test_profit_scales_with_the_wallet(trade, random_bars, plain_market):
    market = plain_market(step=1e-6, min_qty=1e-6, min_notional=0.0)
    candles = random_bars(seed=4, bars=1_000)
    small, large = (trade(candles, cash=cash, market=market) for cash in (1e5, 1e7))
    assert len(small.trades) == len(large.trades) > 10
    gain = small.log()["equity"].iloc[-1] / 1e5, large.log()["equity"].iloc[-1] / 1e7
    assert gain[0] == pytest.approx(gain[1], rel=1e-6)


def test_prices_times_ten_thousand_and_a_tick_to_match_trade_alike(trade, random_bars, plain_market):
    # Round numbers are relative below 1,000: 0.03 and 0.3 stand alike in their decades.
    candles = random_bars(seed=6, bars=800, price=0.03, tick=1e-6)
    dear = candles.copy()
    dear[["open", "high", "low", "close"]] *= 10.0
    one = trade(candles, market=plain_market(tick=1e-8, step=1.0, min_qty=1.0), regime="none")
    ten = trade(dear, market=plain_market(tick=1e-7, step=0.1, min_qty=0.1), regime="none")
    assert len(one.trades) == len(ten.trades) > 10
    assert one.log()["equity"].to_numpy() == pytest.approx(ten.log()["equity"].to_numpy(), rel=1e-6)


def test_the_trace_tells_why_each_level_is_empty_at_each_bar(trade, sample):
    # 2x with half the equity a level: the exchange refuses what the margin does not bear
    run = trade(sample.candles, funding=sample.funding, levels=4, order_pct=0.5, max_inventory=5.0, leverage=2.0)
    codes = np.asarray(run.strategy.plan.trace) // TRACE_ACTIONS
    counted = {Blocked(code).name.lower(): int(count) for code, count in zip(*np.unique(codes, return_counts=True))}
    placed = counted.pop("placed")
    assert counted == dict(run.strategy.blocked_reasons())
    assert counted["margin"] > 0
    resting = sum(len(now.after[sign].entries) for now in run.moments for sign in (1, -1))
    assert placed == resting
