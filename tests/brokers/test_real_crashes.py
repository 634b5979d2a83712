"""Leveraged legs through the crashes of 2022 on real candles: liquidation, brackets of the day and funding by hand."""

import backtrader as bt
import pandas as pd
import pytest

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.core.grid import round_down
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.types import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
CASH = 100_000.0
FEE, LIQUIDATION_FEE = 0.0005, 0.0125


class Holder(bt.Strategy):
    """Opens its legs at the first bar, each for a share of all that the leverage buys, and never acts again."""

    params = (("shares", {}),)

    def start(self):
        self.ranges = []  # of liquidation, after each bar

    def next(self):
        broker, data = self.broker, self.data
        if len(self) == 1:
            for name, share in self.p.shares.items():
                qty = round_down(CASH * broker.p.leverage * share / data.close[0], broker.state(data).market.step)
                (self.buy if name == "LONG" else self.sell)(size=qty, positionSide=name)
        self.ranges.append(broker.liquidation_range(data))


@pytest.fixture(scope="module")
def hold(shared_data):
    """hold(symbol, first day, days, leverage, shares) -> broker, strategy, candles, funding."""
    pytest.importorskip("pyarrow")

    def run(symbol, first, days, leverage, shares):
        candles = pd.read_parquet(shared_data / "candles" / f"{symbol}-15m.parquet")
        funding = pd.read_parquet(shared_data / "funding" / f"{symbol}-funding.parquet")
        begin = pd.Timestamp(first, tz="UTC")
        candles = candles[(candles["time"] >= begin) & (candles["time"] < begin + pd.Timedelta(days=days))]
        candles = candles.reset_index(drop=True)
        rules = load_market_history(symbol, shared_data / "brackets" / "leverage_brackets_history.json")
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(
            HedgeBroker(cash=CASH, leverage=leverage, slippage=0.0, taker_fee=FEE, markets={symbol: rules})
        )
        cerebro.adddata(CandleFeed(dataname=candles, funding=funding, name=symbol))
        cerebro.addstrategy(Holder, shares=shares)
        [strategy] = cerebro.run()
        return cerebro.broker, strategy, candles, funding, rules

    return run


def settled(candles, funding, first_row, last_row):
    """Rates settled after the open of a row up to the open of another, with the opens they are charged at."""
    moments = funding.assign(time=pd.to_datetime(funding["time"], utc=True).dt.round("min"))
    after, until = candles["time"].iloc[first_row], candles["time"].iloc[last_row]
    due = moments[(moments["time"] > after) & (moments["time"] <= until)]
    opens = candles.set_index("time")["open"]
    # a settlement between two opens is charged at the second
    pairs = zip(due["time"], due["rate"], strict=True)
    return [(float(opens[opens.index >= time].iloc[0]), rate) for time, rate in pairs]


def margin(notional, brackets):
    """Maintenance margin summed bracket by bracket, without the exchange's maintenance amounts."""
    return sum(row.rate * (min(notional, row.cap) - row.floor) for row in brackets if notional > row.floor)


def where_equity_meets_margin(wallet, legs, brackets, low, high):
    """Bisect for the price between `low` (dead) and `high` (alive), either way round."""

    def alive(price):
        equity = wallet + sum(sign * qty * (price - entry) for sign, qty, entry in legs)
        return equity > sum(margin(qty * price, brackets) for _, qty, _ in legs)

    assert alive(high) and not alive(low)
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if alive(middle) else (middle, high)
    return high


CRASHES = [
    ("ETHUSDT", "2022-05-01", 200, 5.0, {"LONG": 0.9}),
    ("ETHUSDT", "2022-05-01", 200, 10.0, {"LONG": 0.9}),
    ("ETHUSDT", "2022-06-01", 170, 10.0, {"LONG": 0.6, "SHORT": 0.25}),
    ("ETHUSDT", "2022-06-18", 60, 5.0, {"SHORT": 0.9}),
    ("SOLUSDT", "2022-11-01", 29, 5.0, {"LONG": 0.9}),
    ("SOLUSDT", "2022-11-01", 29, 10.0, {"LONG": 0.9}),
    ("SOLUSDT", "2022-11-09", 20, 10.0, {"LONG": 0.3, "SHORT": 0.6}),
    ("SOLUSDT", "2022-11-10", 19, 5.0, {"SHORT": 0.9}),
]


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: f"{crash[0]}-{crash[1]}-{crash[3]:g}x")
def test_account_dies_where_an_independent_solver_says_and_funding_adds_up(hold, crash):
    broker, strategy, candles, funding, rules = hold(*crash)
    account = broker.account
    sides = {trade.side: trade for trade in account.closed if trade.label is TradeLabel.LIQUIDATION}
    times = candles["time"].dt.tz_localize(None).astype("datetime64[ms]").astype("int64").tolist()
    row = times.index(next(iter(sides.values())).close_time) if sides else len(candles) - 1
    # the legs were opened at the open of the second bar
    entry = candles["open"].iloc[1]
    legs = []
    for name in crash[4]:
        side = PositionSide[name]
        if sides:
            legs.append((int(side), sides[side].qty, sides[side].entry))
        else:
            tracker = broker.leg(strategy.data, side).tracker
            legs.append((int(side), tracker.qty, tracker.average))
    assert all(price == entry for _, _, price in legs)

    rates = settled(candles, funding, 1, row)
    paid = sum(sign * qty * mark * rate for mark, rate in rates for sign, qty, _ in legs)
    assert account.funding == pytest.approx(paid, rel=1e-9, abs=1e-7)

    wallet = CASH - sum(qty * entry * FEE for _, qty, _ in legs) - paid
    brackets = rules.at(times[row]).brackets
    if not sides:
        assert account.liquidations == 0
        return
    assert account.liquidations == 1
    net = sum(sign * qty for sign, qty, _ in legs)
    bound = candles["close"].iloc[row - 1]
    price = where_equity_meets_margin(wallet, legs, brackets, entry * (0.01 if net > 0 else 9.0), bound)
    bar = candles.iloc[row]
    met = min(price, bar["open"]) if net > 0 else max(price, bar["open"])
    assert bar["low"] <= met <= bar["high"]
    assert [trade.exit for trade in sides.values()] == [pytest.approx(met, rel=1e-9)] * len(sides)
    # no bar before it went as far as the prices the strategy was told, and the last of them was right
    held = candles.iloc[1:row]
    for low, high, (down, up) in zip(held["low"], held["high"], strategy.ranges[1:row], strict=True):
        assert down < low and high < up
    if not any(rate for _, rate in settled(candles, funding, row - 1, row)):
        down, up = strategy.ranges[row - 1]
        assert (down if net > 0 else up) == pytest.approx(price, rel=1e-9)
    # what is left is the margin less the fee
    equity = wallet + sum(sign * qty * (met - entry) for sign, qty, _ in legs)
    fee = sum(qty for _, qty, _ in legs) * met * LIQUIDATION_FEE
    assert account.wallet == pytest.approx(max(equity - fee, 0.0), abs=1e-6)


def test_some_of_these_accounts_die_and_some_live(hold):
    assert {hold(*crash)[0].liquidations() for crash in CRASHES} == {0, 1}
