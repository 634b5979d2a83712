"""Hand-made bars, and a strategy that does at a bar what a script says."""

from dataclasses import dataclass

import backtrader as bt
import pandas as pd
import pytest

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.ladder import CANCEL, KEEP, PLACE, REPLACE
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.types import PositionSide

START = pd.Timestamp("2024-01-01", tz="UTC")
START_MS = 1_704_067_200_000
QUARTER = 900_000
#: Least quantity 0.001, least notional 5, maintenance 1 % of any notional.
TEST = Market("TEST", 0.01, 0.001, 0.001, 5.0, (Bracket(0.0, 1e12, 0.01, 0.0),), (50.0,), "made for tests")
OTHER = Market("OTHER", 0.01, 0.001, 0.001, 5.0, (Bracket(0.0, 1e12, 0.01, 0.0),), (50.0,), "made for tests")
FREE = {"maker_fee": 0.0, "taker_fee": 0.0, "slippage": 0.0, "funding_hours": 24.0}


def candle_frame(bars, start=START):
    """Candles of 15 minutes from (open, high, low, close) or (open, high, low, close, volume)."""
    rows = [(*bar, 1.0)[:5] for bar in bars]
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close", "volume"], dtype=float)
    frame.insert(0, "time", pd.date_range(start, periods=len(rows), freq="15min", unit="ms"))
    return frame


def detail_frame(parts, start=START):
    """Finer candles by the number of their bar, counted from 1: a list that shares the 15 minutes out equally.

    None in a list is a candle that is missing.
    """
    rows = []
    for number, candles in sorted(parts.items()):
        first = pd.Timestamp(start) + pd.Timedelta(minutes=15 * (number - 1))
        step = pd.Timedelta(minutes=15) / len(candles)
        rows += [(first + i * step, *(*candle, 1.0)[:5]) for i, candle in enumerate(candles) if candle is not None]
    return pd.DataFrame(rows, columns=["time", "open", "high", "low", "close", "volume"])


def candle_feed(bars, name="TEST", funding=None, mark=None, start=START, detail=None):
    """A feed of hand-made bars.

    `funding` is a list of (bar number counted from 1, rate); `detail` is what `detail_frame` takes.
    """
    if funding is not None:
        times = [pd.Timestamp(start) + pd.Timedelta(minutes=15 * (number - 1)) for number, _ in funding]
        funding = pd.DataFrame({"time": times, "rate": [rate for _, rate in funding]})
    if detail is not None:
        detail = detail_frame(detail, start)
    return CandleFeed(dataname=candle_frame(bars, start), name=name, funding=funding, mark=mark, detail=detail)


def flat(count, price=100.0):
    """Bars that stand still, with a range of one to each side."""
    return [(price, price + 1.0, price - 1.0, price)] * count


def rest_entries(broker, data, side, entries, cancel=()):
    """Let the wanted entries replace what rests at their levels and cancel others; return the refused levels."""
    leg = broker.leg(data, side)
    leg.reserve(max(map(abs, [*entries, *cancel]), default=0))
    before = leg.entries
    assert set(cancel) <= set(before), "only what rests can be cancelled"
    for each in (leg, broker.leg(data, PositionSide(-side))):
        each.actions[:] = [KEEP] * each.levels
    for level in cancel:
        leg.cancel(level)
        leg.actions[abs(level) - 1] = CANCEL
    for level, entry in entries.items():
        leg.place(level, entry)
        leg.actions[abs(level) - 1] = REPLACE if level in before else PLACE
    return broker.rest_entries(data)


class Scripted(bt.Strategy):
    """Does at bar number n what `script[n]` says and keeps all it is told."""

    params = (("script", None),)

    def __init__(self):
        self.orders = []  # (bar, status, size and price of the execution, reason)
        self.trades = []  # closed ones
        self.values = []  # (cash, value) at each bar

    def next(self):
        self.values.append((self.broker.getcash(), self.broker.getvalue()))
        action = (self.p.script or {}).get(len(self.data))
        if action is not None:
            action(self)

    def notify_order(self, order):
        bits = [(bit.size, bit.price) for bit in order.executed.iterpending() if bit is not None]
        executed = bits[0] if bits else None
        reason = order.info.get("reason", "") if order.status == bt.Order.Rejected else ""
        self.orders.append((len(order.data), order.getstatusname(), executed, reason))

    def notify_trade(self, trade):
        if trade.isclosed:
            self.trades.append(trade)

    def executions(self):
        return [(bar, *executed) for bar, _, executed, _ in self.orders if executed is not None]

    def statuses(self):
        return [status for _, status, _, _ in self.orders]

    def reasons(self):
        return [reason for _, status, _, reason in self.orders if status == "Rejected"]


@dataclass
class Run:
    cerebro: bt.Cerebro
    strategy: bt.Strategy
    strategies: list

    @property
    def broker(self):
        return self.strategy.broker

    @property
    def account(self):
        return self.strategy.broker.account


def new_cerebro(feeds, broker=None, **cerebro_options):
    cerebro = bt.Cerebro(**{"stdstats": False} | cerebro_options)
    cerebro.broker = HedgeBroker(**{"markets": {"TEST": TEST, "OTHER": OTHER}} | (broker or {}))
    for feed in feeds:
        cerebro.adddata(feed)
    return cerebro


def assert_conserved(account, unrealized, value):
    """Equity is start + gross + unrealised - fees - funding."""
    identity = account.start + account.gross - account.fees - account.funding
    assert account.wallet == pytest.approx(identity, rel=1e-9)
    assert value == pytest.approx(identity + unrealized, rel=1e-9)
