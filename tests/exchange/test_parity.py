"""The same orders on the same candles give the same result in a backtest and at the exchange."""

import random
from itertools import count

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from busy import busy
from paper_exchange import QUARTER

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import sample_market
from gridv4_bt.core.grid import round_down
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.exchange import Exchange

LIMIT, MARKET, STOP, STOP_LIMIT = bt.Order.Limit, bt.Order.Market, bt.Order.Stop, bt.Order.StopLimit
KINDS = {"LIMIT": LIMIT, "MARKET": MARKET, "STOP_MARKET": STOP, "STOP": STOP_LIMIT}


class Recorded(Exchange):
    """An exchange that notes the wallet when a bar is over, before anything of the next one."""

    def __init__(self, *given):
        self.wallets = {}
        super().__init__(*given)
        forward = self.replay.forward

        def note_and_forward():
            self.wallets[self.replay.time] = (self.account.wallet, self.account.funding, self.account.liquidations)
            forward()

        self.replay.forward = note_and_forward


class Replaying(bt.Strategy):
    """Places and cancels at each bar what was done at the exchange at the next open."""

    params = (("actions", None),)

    def __init__(self):
        self.placed, self.fills, self.wallets, self.ends = {}, [], {}, {}

    def start(self):
        for data in self.datas:
            self.broker.getposition(data)  # the books have their turn in the order in which they were opened

    def next(self):
        time = _ms(self.data)
        self.wallets[time] = (self.broker.account.wallet, self.broker.account.funding, self.broker.liquidations())
        for action, symbol, number, terms in self.p.actions.get(time + QUARTER, ()):
            data = self.getdatabyname(symbol)
            if action == "cancel":
                assert self.broker.cancel(self.placed[number])
                continue
            trade = self.buy if terms["is_buy"] else self.sell
            self.placed[number] = trade(
                data=data,
                size=terms["qty"],
                exectype=KINDS[terms["type"]],
                positionSide=terms["side"],
                price=terms["trigger"] or terms["price"] or None,
                plimit=terms["price"] or None,
            )
            self.placed[number].addinfo(number=number)

    def notify_order(self, order):
        for bit in order.executed.iterpending():
            if bit is not None:
                number = order.info.get("number", order.info.get("label"))
                self.fills.append((_ms(order.data), number, bit.size, bit.price))
        if order.status == bt.Order.Rejected:
            self.ends[order.info["number"]] = order.info["reason"]


def _ms(data):
    return round(bt.num2date(data.datetime[0]).replace(tzinfo=pd.Timestamp("now", tz="UTC").tzinfo).timestamp() * 1000)


def trade_at_random(exchange, seed, bars, size, market_share=0.3, hold=0.0):
    """Let an exchange trade and return what was done, by the time of the open it was done at."""
    rng = random.Random(seed)
    actions, orders, numbers = {}, {}, count()
    exchange.hedge_mode = True
    for _ in range(bars):
        done = actions.setdefault(exchange.now, [])
        for number, (kind, record) in list(orders.items()):
            if record.is_open and rng.random() < 0.15:
                (exchange.cancel if kind == "order" else exchange.cancel_algo)(record)
                done.append(("cancel", record.symbol, number, {}))
        held = {(book.symbol, leg.side.name): leg.tracker.qty for book in exchange.books.values() for leg in book.legs}
        free = 0.98 * exchange.margins.free
        # one symbol after another, as a backtest lets market orders have their turn
        for symbol in sorted(rng.choices(list(exchange.books), k=rng.randrange(4))):
            book = exchange.books[symbol]
            if book not in exchange.replay.trading:
                continue  # a market order waits: see the test of its own
            terms = _random_order(rng, book, held, size, market_share, hold)
            # A backtest asks for margin at the close, before market orders have freed any: nothing may hang on that.
            if terms["opens"]:
                free -= 1.2 * terms["qty"] * (terms["price"] or book.price) / book.leverage
                if free < 0.0:
                    continue
            number = next(numbers)
            try:
                orders[number] = _place(exchange, symbol, terms)
            except ApiError as error:
                if error.code != -2022:  # a market order has closed it at once
                    raise
                continue
            done.append(("place", symbol, number, terms))
            if terms["type"] == "MARKET" and not terms["opens"]:
                held[symbol, terms["side"]] -= terms["qty"]
        exchange.advance_bars(1)
    return actions, orders


def _random_order(rng, book, held, size, market_share, hold):
    side = rng.choice(("LONG", "SHORT"))
    market, price = book.market, book.price
    leg = held[book.symbol, side]
    opens = leg <= 0.0 or rng.random() < 0.6 or rng.random() < hold
    is_buy = (side == "LONG") == opens
    kind = "MARKET" if rng.random() < market_share else rng.choice(("LIMIT", "LIMIT", "STOP_MARKET", "STOP"))
    qty = size / price * rng.uniform(0.2, 1.0) if opens else leg * rng.choice((0.3, 0.5, 1.0))
    qty = max(round_down(qty, market.step), market.min_qty)
    away = rng.uniform(0.002, 0.02)
    below = round(round_down(price * (1 - away), market.tick), 8)
    above = round(round_down(price * (1 + away), market.tick), 8)
    terms = {"side": side, "opens": opens, "is_buy": is_buy, "type": kind, "qty": round(qty, 8)}
    terms |= {"price": 0.0, "trigger": 0.0}
    if kind == "LIMIT":
        terms["price"] = below if is_buy else above
    elif kind != "MARKET":
        terms["trigger"] = above if is_buy else below
        if kind == "STOP":
            slip = rng.choice((0.998, 1.0, 1.002))
            terms["price"] = round(round_down(terms["trigger"] * slip, market.tick), 8)
    return terms


def _place(exchange, symbol, terms):
    side = "BUY" if terms["is_buy"] else "SELL"
    common = (symbol, side, terms["side"], terms["type"], terms["qty"], terms["price"])
    if terms["type"] in ("LIMIT", "MARKET"):
        return "order", exchange.place(*common, "GTC", False, "")
    return "algo", exchange.place_algo(*common, terms["trigger"], "GTC", "CONTRACT_PRICE", False, False, "")


def backtest(feeds, rules, config, cash, actions):
    cerebro = bt.Cerebro(stdstats=False)
    exchange = {name: getattr(config, name) for name, _ in HedgeBroker.params._getitems() if hasattr(config, name)}
    cerebro.setbroker(HedgeBroker(cash=cash, markets=rules, **exchange))
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.addstrategy(Replaying, actions=actions)
    [strategy] = cerebro.run()
    return strategy


def assert_same(exchange, orders, strategy):
    """The same fills in the same order, the same funding and wallet after every bar, to the last bit.

    The owner sees another ledger, at average entries: its equity is the same to 1e-9.
    """
    ids = {(record.id if kind == "order" else record.actual_order): number for number, (kind, record) in orders.items()}
    theirs = _merge(
        (time, number, abs(size), price) for time, number, size, price in strategy.fills if time in exchange.wallets
    )
    ours = _merge(
        (trade.time // QUARTER * QUARTER, ids.get(trade.order_id, "liquidation"), trade.qty, trade.price)
        for trade in exchange.ledger.trades
    )
    assert ours == theirs
    wallets = {time: strategy.wallets[time] for time in exchange.wallets}
    assert exchange.wallets == wallets
    seen = exchange.ledger.wallet + sum(
        exchange.ledger.unrealized(book.symbol, leg.side, book.price)
        for book in exchange.books.values()
        for leg in book.legs
    )
    assert seen == pytest.approx(exchange.margins.equity, rel=1e-9, abs=1e-7)
    expired = {number for number, (_, record) in orders.items() if record.status == "EXPIRED"}
    assert {number for number, reason in strategy.ends.items() if reason.startswith("-2022")} <= expired
    assert all(reason.startswith("-2022") for reason in strategy.ends.values()), strategy.ends


def _merge(fills):
    """Join the parts of one order at one time and price; their sum is decimal again."""
    merged = []
    for time, number, qty, price in fills:
        if merged and merged[-1][:2] == (time, number) and merged[-1][3] == price:
            merged[-1] = (time, number, merged[-1][2] + qty, price)
        else:
            merged.append((time, number, qty, price))
    return [(time, number, round(qty, 9), price) for time, number, qty, price in merged]


def feed_of(name, frame, funding=None, detail=None):
    return CandleFeed(dataname=frame, name=name, funding=funding, detail=detail)


def both(make_feeds, rules, config, cash, seed, bars, size, first_ms, **choices):
    exchange = Recorded(make_feeds(), rules, config, cash, first_ms)
    actions, orders = trade_at_random(exchange, seed, bars, size, **choices)
    strategy = backtest(make_feeds(), rules, config, cash, actions)
    return exchange, orders, strategy


def invented(seed, bars, price=40_000.0, sigma=0.006):
    """Candles whose open is the close before, some without volume."""
    rng = np.random.default_rng(seed)
    flat = rng.random(bars) < 0.05
    moves = np.where(flat, 0.0, rng.normal(0, sigma, bars))
    close = np.round(price * np.exp(np.cumsum(moves)), 1)
    open_ = np.concatenate(([price], close[:-1]))
    spread = np.where(flat, 0.0, np.round(rng.exponential(0.003, (2, bars)) * open_, 1))
    high, low = np.maximum(open_, close) + spread[0], np.minimum(open_, close) - spread[1]
    volume = np.where(flat, 0.0, 100.0)
    time = pd.date_range("2024-01-01", periods=bars, freq="15min", tz="UTC")
    return pd.DataFrame(
        {"time": time, "open": open_, "high": high.round(1), "low": low.round(1), "close": close, "volume": volume}
    )


@pytest.mark.parametrize("seed", range(6))
def test_random_orders_of_two_symbols(seed):
    bars = 160
    frames = {"BTCUSDT": invented(seed, bars), "ETHUSDT": invented(seed + 100, bars, 2_500.0)}
    rules = {name: load_market_history(name) for name in frames}

    def feeds():
        return [feed_of(name, frame) for name, frame in frames.items()]

    first = int(frames["BTCUSDT"]["time"].iloc[1].timestamp() * 1000)
    exchange, orders, strategy = both(feeds, rules, busy(), 50_000.0, seed, bars - 2, 8_000.0, first)
    assert_same(exchange, orders, strategy)
    assert len(exchange.ledger.trades) > 40 and exchange.account.funding != 0.0


@pytest.mark.parametrize("intrabar", ["pessimistic", "path"])
@pytest.mark.parametrize(("symbol", "seed", "liquidations"), [("BTCUSDT", 4, 0), ("SOLUSDT", 4, 1)])
def test_random_orders_in_the_week_of_a_crash(shared_data, symbol, seed, liquidations, intrabar):
    pytest.importorskip("pyarrow")
    candles = pd.read_parquet(shared_data / "candles" / f"{symbol}-15m.parquet")
    funding = pd.read_parquet(shared_data / "funding" / f"{symbol}-funding.parquet")
    begin = pd.Timestamp("2022-11-07", tz="UTC")
    week = (candles["time"] >= begin) & (candles["time"] < begin + pd.Timedelta(days=7))
    candles = candles[week].reset_index(drop=True)
    rules = {symbol: load_market_history(symbol)}
    config = busy(intrabar=intrabar, leverage=10.0)

    def feeds():
        return [feed_of(symbol, candles, funding)]

    start = int(candles["time"].iloc[1].timestamp() * 1000)
    exchange, orders, strategy = both(
        feeds, rules, config, 20_000.0, seed, len(candles) - 2, 40_000.0, start, market_share=0.5, hold=0.6
    )
    assert_same(exchange, orders, strategy)
    assert len(exchange.ledger.trades) > 50 and exchange.account.funding != 0.0
    assert exchange.account.liquidations == liquidations


def test_random_orders_matched_by_the_minutes_inside_the_bars():
    market = sample_market(days=3)
    rules = {"BTCUSDT": load_market_history("BTCUSDT")}

    def feeds():
        return [feed_of("BTCUSDT", market.candles, market.funding, market.minutes)]

    first = int(market.candles["time"].iloc[1].timestamp() * 1000)
    exchange, orders, strategy = both(
        feeds, rules, busy(intrabar="detail"), 50_000.0, 3, len(market.candles) - 2, 8_000.0, first
    )
    assert_same(exchange, orders, strategy)
    assert len(exchange.ledger.trades) > 40
