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
    """Notes the orders at the broker and the account after every bar."""

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
    """Places at an exchange the orders that rested at a broker."""

    def __init__(self, exchange):
        self.exchange = exchange
        exchange.hedge_mode = True
        self.orders = {}  # by what they are for
        self.stops = {}

    def follow(self, wanted):
        exchange = self.exchange
        [symbol] = exchange.books
        for side, _, _, _, closes in wanted:
            for close in closes:
                trade = "SELL" if side > 0 else "BUY"
                exchange.place(symbol, trade, side.name, "MARKET", round(close.qty, 8), 0.0, "GTC", False, "")
        resting = {}
        for side, entries, exits, stop, closes in wanted:
            resting |= self._limits(side, entries, exits, closes)
            self._stop(symbol, side, stop)
        for key, (order, terms) in list(self.orders.items()):
            if not order.is_open or resting.get(key) != terms:
                if order.is_open:
                    exchange.cancel(order)
                del self.orders[key]
        for key, terms in resting.items():
            if key not in self.orders:
                trade, qty, price = terms
                order = exchange.place(symbol, trade, key[0].name, "LIMIT", round(qty, 8), price, "GTX", False, "")
                self.orders[key] = order, terms

    def _limits(self, side, entries, exits, closes):
        """Trade, quantity and price of the limit orders of a leg, by what they are for."""
        opening, closing = ("BUY", "SELL") if side > 0 else ("SELL", "BUY")
        at_market = Counter()
        for close in closes:
            at_market[close.fill_id] += close.qty
        limits = {(side, "entry", level): (opening, entry.qty, entry.price) for level, entry in entries.items()}
        for fill_id, (price, qty) in exits.items():
            if qty - at_market[fill_id] > 1e-9:
                limits[side, "exit", fill_id] = (closing, qty - at_market[fill_id], price)
        return limits

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
    forward = exchange.replay.forward

    def note_and_forward():
        equity = exchange.account.wallet + sum(book.unrealized(book.bar.close) for book in exchange.books.values())
        seen[exchange.replay.time] = (exchange.account.wallet, equity, exchange.account.funding, exchange.account.fees)
        forward()

    exchange.replay.forward = note_and_forward
    for time in times[:-1]:
        assert exchange.now == time
        mirror.follow(strategy.wanted[time])
        exchange.advance_bars(1)
    assert len(exchange.ledger.trades) > 50
    for time, found in seen.items():
        assert found[1:] == pytest.approx(strategy.accounts[time][1:], rel=1e-9, abs=1e-7), pd.Timestamp(
            time, unit="ms"
        )
