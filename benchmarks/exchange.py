"""How many requests a second the local exchange answers: `python benchmarks/exchange.py [--seconds N] [--clients N]`.

Every client places a post-only order, lists its open orders, asks for the order by its client id and cancels it, over
and over, in a process of its own: with signed requests on a plain connection (what the server can do), and with ccxt
(what a bot gets), each with the account in memory and in a database.
"""

import argparse
import hashlib
import hmac
import http.client
import multiprocessing
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import GridConfig
from gridv4_bt.exchange.api import KEY, SECRET, open_api
from gridv4_bt.exchange.client import sync_client
from gridv4_bt.exchange.limits import Limits
from gridv4_bt.exchange.server import ServerThread

SYMBOL, UNIFIED = "BTCUSDT", "BTC/USDT:USDT"
NONE = float("inf")


def plain(url: str, now: int, price: float, number: int, seconds: float) -> int:
    """Ask on a plain connection; return how many requests were answered."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))

    def ask(method: str, path: str, **params: object) -> None:
        text = urlencode({"symbol": SYMBOL} | params | {"timestamp": now})
        text += "&signature=" + hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        address, body = (path, text) if method == "POST" else (f"{path}?{text}", None)
        connection.request(method, address, body, {"X-MBX-APIKEY": KEY})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(content)

    asked, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        name = f"c{number}-{asked}"
        ask(
            "POST",
            "/fapi/v1/order",
            side="BUY",
            positionSide="LONG",
            type="LIMIT",
            timeInForce="GTX",
            quantity=0.01,
            price=price,
            newClientOrderId=name,
        )
        ask("GET", "/fapi/v1/openOrders")
        ask("GET", "/fapi/v1/order", origClientOrderId=name)
        ask("DELETE", "/fapi/v1/order", origClientOrderId=name)
        asked += 4
    return asked


def unified(url: str, now: int, price: float, number: int, seconds: float) -> int:
    """Ask with ccxt; return how many requests were answered."""
    client = sync_client(url, lambda: now)
    client.load_markets()
    asked, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        params = {"positionSide": "LONG", "timeInForce": "GTX", "newClientOrderId": f"c{number}-{asked}"}
        order = client.create_order(UNIFIED, "limit", "buy", 0.01, price, params)
        client.fetch_open_orders(UNIFIED)
        client.fetch_order(order["id"], UNIFIED)
        client.cancel_order(order["id"], UNIFIED)
        asked += 4
    return asked


def measure(ask, clients: int, seconds: float, database: Path | None) -> float:
    """Return how many requests a second some clients together get answered."""
    market = sample_market(days=30)
    feeds = make_feeds([SymbolData(SYMBOL, market.candles, market.funding)])
    api = open_api(feeds, GridConfig(), limits=Limits(NONE, NONE, NONE), database=database)
    api.exchange.set_hedge_mode(True)
    now, price = api.exchange.now, round(api.exchange.books[SYMBOL].price * 0.9, 1)
    with ServerThread(api) as server, multiprocessing.get_context("spawn").Pool(clients) as pool:
        terms = [(server.url, now, price, number, seconds) for number in range(clients)]
        pool.starmap(ask, [(*one[:-1], 0.1) for one in terms])  # imports and connections are not counted
        asked = sum(pool.starmap(ask, terms))
    api.close()
    return asked / seconds


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--clients", type=int, default=4)
    given = options.parse_args()
    print(f"{given.clients} clients, requests a second")
    for ask in (plain, unified):
        with tempfile.TemporaryDirectory() as folder:
            for database in (None, Path(folder) / "account.sqlite"):
                found = measure(ask, given.clients, given.seconds, database)
                print(f"{ask.__name__:8} {'memory' if database is None else 'database':8} {found:8,.0f}")


if __name__ == "__main__":
    main()
