"""The grid strategy's own orders, taken from a backtest bar by bar, give the same result at the exchange."""

from collections import Counter

import pandas as pd
import pytest
from busy import busy

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.compat import FastCerebro
from gridv4_bt.config import backtrader_params
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.exchange.exchange import Exchange
from strategies.grid_v4 import GridStrategyV4

QUARTER = 900_000
CASH = 100_000.0


class Watched(GridStrategyV4):
    """Notes after every bar what stands at the broker, and the account."""

    def start(self):
        super().start()
        self.wanted, self.accounts = {}, {}

    def next(self):
        super().next()
        opened = _open_time(self.data)
        account = self.broker.account
        self.accounts[opened] = (account.wallet, self.broker.getvalue(), account.funding, account.fees)
        legs = (self.long.book, self.short.book)
        self.wanted[opened + QUARTER] = [
            (
                leg.side,
                dict(leg.entries),
                {
                    fill_id: (price, leg.tracker.qtys[leg.tracker.ids.index(fill_id)])
                    for fill_id, price in leg.exits.items()
                },
                leg.stop,
                list(leg.closes),
            )
            for leg in legs
        ]


def _open_time(data):
    return round((data.datetime[0] - 719_163) * 86_400_000)


class Mirror:
    """Makes the orders stand at an exchange that stood at a broker."""

    def __init__(self, exchange):
        self.exchange = exchange
        exchange.hedge_mode = True
        self.orders = {}  # by what they are for
        self.stops = {}

    def follow(self, wanted):
        exchange = self.exchange
        [symbol] = exchange.books
        for side, _, exits, _, closes in wanted:
            for close in closes:
                trade = "SELL" if side > 0 else "BUY"
                exchange.place(symbol, trade, side.name, "MARKET", round(close.qty, 8), 0.0, "GTC", False, "")
        standing = {}
        for side, entries, exits, stop, closes in wanted:
            closing = Counter()
            for close in closes:
                closing[close.fill_id] += close.qty
            for level, entry in entries.items():
                standing[side, "entry", level] = ("BUY" if side > 0 else "SELL", entry.qty, entry.price)
            for fill_id, (price, qty) in exits.items():
                if qty - closing[fill_id] > 1e-9:
                    standing[side, "exit", fill_id] = ("SELL" if side > 0 else "BUY", qty - closing[fill_id], price)
            self._stop(symbol, side, stop)
        for key, (order, terms) in list(self.orders.items()):
            if not order.is_open or standing.get(key) != terms:
                if order.is_open:
                    exchange.cancel(order)
                del self.orders[key]
        for key, terms in standing.items():
            if key not in self.orders:
                trade, qty, price = terms
                order = exchange.place(symbol, trade, key[0].name, "LIMIT", round(qty, 8), price, "GTX", False, "")
                self.orders[key] = order, terms

    def _stop(self, symbol, side, price):
        algo = self.stops.get(side)
        if algo is not None and algo.is_open and algo.trigger == price:
            return
        if algo is not None and algo.is_open:
            self.exchange.cancel_algo(algo)
        if price is not None and self.exchange.books[symbol].leg(side).tracker.ids:
            self.stops[side] = self.exchange.place_algo(
                symbol, "SELL" if side > 0 else "BUY", side.name, "STOP_MARKET", 0.0, 0.0, price, "GTC",
                "CONTRACT_PRICE", False, True, "",
            )  # fmt: skip


def without_gaps(candles):
    """The same candles, each opening at the close before.

    The backtest looks at the close when it refuses a post-only order, the exchange at the open that follows.
    """
    candles = candles.copy()
    candles.loc[1:, "open"] = candles["close"].to_numpy()[:-1]
    candles["high"] = candles[["open", "high"]].max(axis=1)
    candles["low"] = candles[["open", "low"]].min(axis=1)
    return candles


@pytest.mark.parametrize(("symbol", "first", "days"), [("BTCUSDT", "2022-11-04", 9), ("SOLUSDT", "2022-11-04", 9)])
def test_grid_through_the_fall_of_ftx(shared_data, symbol, first, days):
    pytest.importorskip("pyarrow")
    candles = pd.read_parquet(shared_data / "candles" / f"{symbol}-15m.parquet")
    funding = pd.read_parquet(shared_data / "funding" / f"{symbol}-funding.parquet")
    begin = pd.Timestamp(first, tz="UTC")
    span = (candles["time"] >= begin) & (candles["time"] < begin + pd.Timedelta(days=days))
    candles = without_gaps(candles[span].reset_index(drop=True))
    rules = {symbol: load_market_history(symbol)}
    config = busy(regime="none", k=0.8, floor_pct=0.003, order_pct=0.05)

    def feed():
        return CandleFeed(dataname=candles, name=symbol, funding=funding)

    cerebro = FastCerebro(stdstats=False)
    values = config.model_dump()
    exchange_values = {name: values[name] for name, _ in backtrader_params("exchange")}
    cerebro.setbroker(HedgeBroker(cash=CASH, markets=rules, **exchange_values))
    cerebro.adddata(feed())
    cerebro.addstrategy(Watched, symbol=symbol, **values)
    [strategy] = cerebro.run()
    times = sorted(strategy.wanted)
    exchange = Exchange([feed()], rules, config, CASH, times[0])
    mirror = Mirror(exchange)
    seen = {}
    forward = exchange.tape.forward

    def note_and_forward():
        equity = exchange.account.wallet + sum(book.unrealized(book.bar.close) for book in exchange.books.values())
        seen[exchange.tape.time] = (exchange.account.wallet, equity, exchange.account.funding, exchange.account.fees)
        forward()

    exchange.tape.forward = note_and_forward
    for time in times[:-1]:
        assert exchange.now == time
        mirror.follow(strategy.wanted[time])
        exchange.advance_bars(1)
    assert len(exchange.ledger.trades) > 50
    for time, told in seen.items():
        assert told[1:] == pytest.approx(strategy.accounts[time][1:], rel=1e-9, abs=1e-7), pd.Timestamp(time, unit="ms")
