"""A small exchange made by hand, and a way to ask it without a socket."""

import hashlib
import hmac
import json
from urllib.parse import urlencode

import pandas as pd
from busy import busy
from scripted import OTHER, START, TEST, candle_frame

from feeds.candles import CandleFeed
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.exchange.api import KEY, SECRET
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import make_faults
from gridv4_bt.exchange.messages import Request

START_MS = 1_704_067_200_000
QUARTER = 900_000
STILL = (100.0, 100.0, 100.0, 100.0, 1000.0)
RULES = {market.symbol: MarketHistory(((0, market),)) for market in (TEST, OTHER)}


def funding_frame(settlements):
    """Settlements from (number of the bar counted from 0, rate)."""
    times = [START + pd.Timedelta(minutes=15 * number) for number, _ in settlements]
    return pd.DataFrame({"time": times, "rate": [rate for _, rate in settlements]})


def make_exchange(bars=None, symbols=("TESTUSDT",), funding=((0, 0.0),), cash=10_000.0, first=1, rules=None, **options):
    """An exchange at the open of bar number `first`, counted from 0; by default nothing ever moves.

    `bars` are those of all symbols, or a list for each.
    """
    bars = [STILL] * 200 if bars is None else bars
    each = bars if isinstance(bars[0], list) else [bars] * len(symbols)
    rules = rules or {name: history(name) for name in symbols}
    feeds = [
        CandleFeed(dataname=candle_frame(some), name=name, funding=funding_frame(funding) if funding else None)
        for name, some in zip(symbols, each, strict=True)
    ]
    participation = options.pop("participation", float("inf"))
    config = busy(**{"slippage": 0.0002, "maker_fee": 0.0002, "taker_fee": 0.0005, "leverage": 5.0} | options)
    return Exchange(feeds, rules, config, cash, START_MS + first * QUARTER, participation)


def history(name):
    """Least quantity 0.001, least notional 5, tick 0.01, maintenance 1 %, leverage 50 at most, at any time."""
    return MarketHistory(((0, TEST.__class__(**{field: getattr(TEST, field) for field in FIELDS} | {"symbol": name})),))


FIELDS = ("symbol", "tick", "step", "min_qty", "min_notional", "brackets", "max_leverages", "as_of")


class Rest:
    """Sends signed requests to an API; errors are returned like all other responses."""

    def __init__(self, api, key=KEY, secret=SECRET):
        self.api, self.key, self.secret = api, key, secret
        self.skew = 0
        self.headers = {}
        self.status = 0

    @property
    def exchange(self):
        return self.api.exchange

    def ask(self, method, path, version="v1", **params):
        """Return the answer of a path of `/fapi`."""
        values = {"timestamp": self.exchange.now + self.skew} | {
            name: json.dumps(value) if isinstance(value, list) else value for name, value in params.items()
        }
        text = urlencode(values)
        text += "&signature=" + hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        query, body = (text, "") if method in ("GET", "DELETE") else ("", text)
        request = Request(method, f"/fapi/{version}/{path}", query, body, {"X-MBX-APIKEY": self.key})
        response = self.api.respond(request)
        self.status, self.headers, self.response = response.status, response.headers, response
        return json.loads(response.body) if response.share == 1.0 and response.body[:1] in b"[{" else response.body

    def get(self, path, version="v1", **params):
        return self.ask("GET", path, version, **params)

    def post(self, path, version="v1", **params):
        return self.ask("POST", path, version, **params)

    def put(self, path, version="v1", **params):
        return self.ask("PUT", path, version, **params)

    def delete(self, path, version="v1", **params):
        return self.ask("DELETE", path, version, **params)

    def limit(self, side, position_side, qty, price, tif="GTC", **more):
        return self.post(
            "order",
            symbol="TESTUSDT",
            side=side,
            positionSide=position_side,
            type="LIMIT",
            quantity=qty,
            price=price,
            timeInForce=tif,
            **more,
        )

    def market(self, side, position_side, qty, **more):
        return self.post(
            "order", symbol="TESTUSDT", side=side, positionSide=position_side, type="MARKET", quantity=qty, **more
        )

    def stop(self, side, position_side, trigger, qty=None, type="STOP_MARKET", **more):
        size = {"closePosition": "true"} if qty is None else {"quantity": qty}
        return self.post(
            "algoOrder",
            algoType="CONDITIONAL",
            symbol="TESTUSDT",
            side=side,
            positionSide=position_side,
            type=type,
            triggerPrice=trigger,
            **size,
            **more,
        )

    def advance(self, bars=1):
        self.exchange.advance_bars(bars)

    def faults(self, *rules, seed=0):
        self.api.faults = make_faults({"seed": seed, "fault": rules})
