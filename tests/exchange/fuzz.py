"""Random calls on a local exchange, and the laws that hold after each of them.

python tests/exchange/fuzz.py --seeds 40 --calls 500
"""

import argparse
import hashlib
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds the helpers of the tests

from paper_exchange import Rest, make_exchange

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.database import snapshot
from gridv4_bt.exchange.limits import Limits

SYMBOLS = ("TESTUSDT", "OTHERUSDT")
TOLERANCE = 1e-9


def random_bars(rng, count):
    """Candles of 15 minutes in ticks of 0.01, some wild, some without volume."""
    price, bars = 100.0, []
    for _ in range(count):
        if rng.random() < 0.05:
            bars.append((price, price, price, price, 0.0))
            continue
        scale = 0.05 if rng.random() < 0.03 else 0.006
        close = round(price * float(np.exp(rng.gauss(0, scale))), 2)
        high = round(max(price, close) * (1 + rng.expovariate(1 / (scale / 2))), 2)
        low = round(min(price, close) * (1 - min(rng.expovariate(1 / (scale / 2)), 0.5)), 2)
        bars.append((price, high, low, close, round(rng.uniform(5, 500), 3)))
        price = close
    return bars


class Fuzz:
    """One account under random calls; the same seed makes the same calls."""

    def __init__(self, seed, restarts=False):
        rng = random.Random(seed)
        bars = [random_bars(rng, 700) for _ in SYMBOLS]
        funding = [(number, rng.gauss(0, 0.001)) for number in range(0, 700, 8)]
        participation = rng.choice((float("inf"), 0.02))
        exchange = make_exchange(
            bars,
            SYMBOLS,
            funding,
            first=2,
            leverage=25.0,
            participation=participation,
            cash=rng.choice((300.0, 1_000.0, 10_000.0)),
            intrabar=rng.choice(("pessimistic", "path")),
        )
        none = float("inf")
        self.rest = Rest(Api(exchange, limits=Limits(none, none, none)))
        self.rng = rng
        self.restarts = random.Random(-seed) if restarts else None
        self.codes = Counter()
        if rng.random() < 0.7:
            self.rest.post("positionSide/dual", dualSidePosition="true")

    def run(self, calls):
        for _ in range(calls):
            self.call()
        return self

    def call(self):
        """Make one random call and check the laws."""
        action = self.rng.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
        before = self._state()
        answer = getattr(self, action)()
        if isinstance(answer, dict) and answer.get("code", 200) not in (200, "200"):
            self.codes[answer["code"]] += 1
            assert self._state() == before, "a refused request changes nothing"
        else:
            self.codes[action] += 1
        self.check()
        if self.restarts is not None and self.restarts.random() < 0.05:
            self.rest.api.restart()
            self.check()

    # --- calls

    def order(self):
        rng, symbol = self.rng, self.rng.choice(SYMBOLS)
        kind = rng.choice(("LIMIT", "LIMIT", "MARKET"))
        terms = self._terms(symbol) | {"type": kind, "quantity": self._qty()}
        if rng.random() < 0.2:
            terms["newClientOrderId"] = rng.choice("abcdefgh")
        if kind == "LIMIT":
            terms |= {"price": self._price(symbol), "timeInForce": rng.choice(("GTC", "GTX", "IOC", "FOK"))}
        return self.rest.post("order", **terms)

    def algo(self):
        rng, symbol = self.rng, self.rng.choice(SYMBOLS)
        kind = rng.choice(("STOP_MARKET", "STOP_MARKET", "STOP"))
        terms = self._terms(symbol) | {"type": kind, "triggerPrice": self._price(symbol), "algoType": "CONDITIONAL"}
        if kind == "STOP":
            terms |= {"price": self._price(symbol), "quantity": self._qty()}
        else:
            terms |= rng.choice(({"closePosition": "true"}, {"quantity": self._qty()}))
        return self.rest.post("algoOrder", **terms)

    def cancel(self):
        return self.rest.delete("order", **self._some_order())

    def amend(self):
        some = self._some_order()
        order = self.rest.exchange.order_records.orders.get(some["orderId"])
        side = order.side if order is not None and self.rng.random() < 0.9 else "BUY"
        return self.rest.put("order", side=side, quantity=self._qty(), price=self._price(some["symbol"]), **some)

    def cancel_algo(self):
        return self.rest.delete("algoOrder", symbol=SYMBOLS[0], algoId=self.rng.randrange(1, 60))

    def cancel_all(self):
        return self.rest.delete("allOpenOrders", symbol=self.rng.choice(SYMBOLS))

    def batch(self):
        symbol = self.rng.choice(SYMBOLS)
        orders = [
            self._terms(symbol)
            | {"type": "LIMIT", "quantity": self._qty(), "price": self._price(symbol), "timeInForce": "GTC"}
            for _ in range(self.rng.randrange(1, 6))
        ]
        return self.rest.post("batchOrders", batchOrders=[{k: str(v) for k, v in one.items()} for one in orders])

    def leverage(self):
        return self.rest.post("leverage", symbol=self.rng.choice(SYMBOLS), leverage=self.rng.choice((1, 5, 10, 50, 60)))

    def mode(self):
        return self.rest.post("positionSide/dual", dualSidePosition=self.rng.choice(("true", "false")))

    def countdown(self):
        wait = self.rng.choice((0, 60_000, 1_000_000))
        return self.rest.post("countdownCancelAll", symbol=self.rng.choice(SYMBOLS), countdownTime=wait)

    def fill_part(self):
        orders = self.rest.exchange.order_records.open_orders()
        if orders:
            self.rest.exchange.fill_part(self.rng.choice(orders), self.rng.random())

    def liquidate(self):
        self.rest.exchange.liquidate_leg(self.rng.choice(SYMBOLS), self.rng.choice(list(_SIDES)))

    def step(self):
        if not self.rest.exchange.replay.over:
            self.rest.exchange.advance(self.rest.exchange.now + self.rng.choice((60_000, 900_000, 900_000, 3_600_000)))

    def read(self):
        rest, symbol = self.rest, self.rng.choice(SYMBOLS)
        path, version, more = self.rng.choice(
            (
                ("openOrders", "v1", {}),
                ("account", "v3", {}),
                ("positionRisk", "v3", {}),
                ("balance", "v3", {}),
                ("userTrades", "v1", {"symbol": symbol}),
                ("income", "v1", {}),
                ("premiumIndex", "v1", {}),
                ("klines", "v1", {"symbol": symbol, "interval": "1h", "limit": 5}),
                ("openAlgoOrders", "v1", {}),
            )
        )
        assert rest.get(path, version, **more) is not None and rest.status == 200

    # --- laws

    def check(self):
        """Money and positions are conserved, and both ledgers agree."""
        exchange = self.rest.exchange
        ledger, trades = exchange.ledger, exchange.ledger.trades
        scale = 1.0 + sum(abs(one.amount) for one in ledger.incomes)
        assert abs(ledger.wallet - sum(one.amount for one in ledger.incomes)) <= TOLERANCE * scale
        equity = ledger.wallet
        for symbol, book in exchange.books.items():
            for leg in book.legs:
                position = ledger.position(symbol, leg.side)
                assert position.qty >= 0.0
                assert abs(position.qty - leg.tracker.qty) <= TOLERANCE * (1.0 + leg.tracker.qty)
                equity += ledger.unrealized(symbol, leg.side, book.price)
            net = sum(one.qty if one.side == "BUY" else -one.qty for one in trades if one.symbol == symbol)
            assert abs(net - (book.long.tracker.qty - book.short.tracker.qty)) <= 1e-6
            if exchange.hedge_mode:
                rows = {row["positionSide"]: float(row["positionAmt"]) for row in self.positions(symbol)}
                assert rows.get("LONG", 0.0) >= 0.0 >= rows.get("SHORT", 0.0)
        assert abs(equity - exchange.margins.equity) <= TOLERANCE * scale
        executed = Counter()
        for trade in trades:
            executed[trade.order_id] += trade.qty
        for order in exchange.order_records.orders.values():
            assert abs(executed[order.id] - order.executed) <= 1e-9 * (1.0 + order.executed)
            assert order.executed <= order.qty * (1.0 + 1e-9)
            assert (order.status == "FILLED") <= (order.executed > 0.0)
        open_ids = [single.reference.id for single in exchange.singles.alive if hasattr(single.reference, "client_id")]
        assert len(open_ids) == len(exchange.singles.alive)
        assert len(exchange.order_records.open_orders()) == sum(
            one.is_open for one in exchange.order_records.orders.values()
        )
        assert len(exchange.order_records.open_algos()) == sum(
            one.is_open for one in exchange.order_records.algos.values()
        )

    def positions(self, symbol):
        return self.rest.get("positionRisk", "v3", symbol=symbol)

    def digest(self):
        """Hash of all orders, trades and income."""
        exchange = self.rest.exchange
        parts = (exchange.order_records.orders.values(), exchange.order_records.algos.values(), exchange.ledger.trades)
        rows = [asdict(one) for part in (*parts, exchange.ledger.incomes) for one in part]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    # ---

    def _state(self):
        return json.dumps(snapshot(self.rest.exchange)) + str(len(self.rest.exchange.ledger.trades))

    def _terms(self, symbol):
        exchange = self.rest.exchange
        side = self.rng.choice(("BUY", "SELL"))
        leg = self.rng.choice(("LONG", "SHORT")) if exchange.hedge_mode else "BOTH"
        terms = {"symbol": symbol, "side": side, "positionSide": leg}
        if not exchange.hedge_mode and self.rng.random() < 0.3:
            terms["reduceOnly"] = "true"
        return terms

    def _qty(self):
        return self.rng.choice((0.05, 0.2, 1.0, 3.0, 10.0, 40.0, 0.0005, round(self.rng.uniform(0.1, 20.0), 3)))

    def _price(self, symbol):
        return round(self.rest.exchange.books[symbol].price * self.rng.uniform(0.975, 1.025), 2)

    def _some_order(self):
        records = self.rest.exchange.order_records
        orders = records.open_orders() if self.rng.random() < 0.7 else list(records.orders.values())
        if not orders:
            return {"symbol": SYMBOLS[0], "orderId": 1}
        order = self.rng.choice(orders[-30:])
        return {"symbol": order.symbol, "orderId": order.id}


_SIDES = (PositionSide.LONG, PositionSide.SHORT)
_ACTIONS = {
    "order": 30, "algo": 6, "cancel": 6, "amend": 5, "cancel_algo": 2, "cancel_all": 1, "batch": 3, "leverage": 1,
    "mode": 1, "countdown": 1, "fill_part": 3, "liquidate": 1, "step": 25, "read": 8,
}  # fmt: skip


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=40)
    options.add_argument("--calls", type=int, default=500)
    given = options.parse_args()
    began, codes, trades, liquidations = time.perf_counter(), Counter(), 0, 0
    for seed in range(given.seeds):
        first = Fuzz(seed).run(given.calls)
        again = Fuzz(seed, restarts=True).run(given.calls)
        assert first.digest() == again.digest(), f"seed {seed}: not the same ledger"
        codes += first.codes
        trades += len(first.rest.exchange.ledger.trades)
        liquidations += first.rest.exchange.account.liquidations
    print(f"{given.seeds} seeds x {given.calls} calls, each twice: {time.perf_counter() - began:.1f} s")
    print(f"{trades} trades, {liquidations} liquidations of the account, no law broken, same seed same ledger")
    print(dict(sorted(codes.items(), key=lambda item: str(item[0]))))


if __name__ == "__main__":
    main()
