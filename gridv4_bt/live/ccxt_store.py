"""CCXTStore: the interface of ccxtbt's store over the project's own connection.

For programs written for ccxtbt: the same constructor and calls, but a request is repeated only where that is safe.
"""

import threading
from collections.abc import Mapping
from typing import Any

import backtrader as bt
import ccxt

from feeds.live import CandleSource, LiveFeed
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.clock import Clock, WallClock
from gridv4_bt.live.connection import CandleQueries, Connection


class CCXTStore:
    """A Backtrader store with the interface of ccxtbt's `CCXTStore`.

    Parameters
    ----------
    exchange : name of a ccxt exchange, or a client.
    currency : whose balance `get_balance` reads.
    config : of the ccxt client.
    retries, debug : for compatibility only; the connection decides what may be repeated.
    sandbox : use the exchange's test environment.
    """

    def __init__(
        self,
        exchange: str | ccxt.Exchange,
        currency: str,
        config: Mapping[str, Any] | None = None,
        retries: int = 5,
        debug: bool = False,
        sandbox: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(exchange, str):
            if exchange not in ccxt.exchanges:
                raise ConfigError(f"exchange {exchange!r} is unknown to ccxt")
            exchange = getattr(ccxt, exchange)(dict(config or {}))
        self.exchange = exchange
        self.currency = currency
        self.retries = retries
        self.debug = debug
        if sandbox:
            exchange.set_sandbox_mode(True)
        self.clock = clock or WallClock(threading.Event())
        self.connection = Connection(exchange, self.clock, lambda kind, **fields: None)
        self._cash = self._value = 0.0
        self._broker: bt.BrokerBase | None = None

    def getdata(self, dataname: str, name: str | None = None, **params: Any) -> LiveFeed:
        """Return a live feed of the closed 15m candles of ccxt's symbol `dataname`."""
        self.connection.call(self.exchange.load_markets)
        market = self.exchange.market(dataname)
        connection = self.connection
        source = CandleSource(CandleQueries(connection), dataname, self.clock, connection.log, connection.server_time)
        own: dict[str, Any] = {"source": source, "name": name or market["id"]}
        return LiveFeed(**own, **params)

    def getbroker(self, broker: bt.BrokerBase | None = None) -> bt.BrokerBase:
        """Return the broker that was given before, such as the `LiveHedgeBroker` of a session."""
        if broker is not None:
            self._broker = broker
        if self._broker is None:
            raise ConfigError("the broker belongs to a session: see gridv4_bt.live.runner.Session")
        return self._broker

    def get_balance(self) -> tuple[float, float]:
        """Read and return cash and value of the currency, also as `_cash` and `_value`."""
        balance = self.connection.call(self.exchange.fetch_balance)
        self._cash = float(balance["free"].get(self.currency) or 0.0)
        self._value = float(balance["total"].get(self.currency) or 0.0)
        return self._cash, self._value

    def get_wallet_balance(self, currency: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return ccxt's balance."""
        balance: dict[str, Any] = self.connection.call(lambda: self.exchange.fetch_balance(dict(params or {})))
        return balance

    def fetch_ohlcv(
        self, symbol: str, timeframe: str, since: int | None, limit: int, params: Mapping[str, Any] | None = None
    ) -> list[list[float]]:
        """Return candles; the last row may be the current bar, which is still open."""
        return self.connection.call(
            lambda: self.exchange.fetch_ohlcv(symbol, timeframe, since, limit, dict(params or {}))
        )

    def fetch_order(self, oid: str, symbol: str) -> dict[str, Any]:
        """Return an order."""
        return self.connection.call(lambda: self.exchange.fetch_order(oid, symbol))

    def fetch_open_orders(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Return the open orders, without conditional ones."""
        return self.connection.call(lambda: self.exchange.fetch_open_orders(symbol))

    def fetch_trades(self, symbol: str) -> list[dict[str, Any]]:
        """Return the latest public trades of a symbol."""
        return self.connection.call(lambda: self.exchange.fetch_trades(symbol))

    def create_order(
        self, symbol: str, order_type: str, side: str, amount: float, price: float | None, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Send an order once; if its outcome is unknown, an error is raised and it is not sent again."""
        return self.connection.call_once(
            lambda: self.exchange.create_order(symbol, order_type, side, amount, price, dict(params))
        )

    def cancel_order(self, order_id: str, symbol: str) -> dict[str, Any]:
        """Cancel an order."""
        return self.connection.call(lambda: self.exchange.cancel_order(order_id, symbol))

    def private_end_point(self, type: str, endpoint: str, params: Mapping[str, Any]) -> Any:
        """Call a private path as ccxt names it: ``private_end_point("Get", "/account/config", {})``."""
        path = endpoint.replace("/", "_").replace("{", "").replace("}", "")
        method = getattr(self.exchange, f"private_{type.lower()}{path.lower()}")
        return self.connection.call(lambda: method(params))


def ccxtbt_client(currency: str, config: Mapping[str, Any], demo: bool = False) -> ccxt.Exchange:
    """Return the client of the real ccxtbt package's store; its own retries are not used.

    Parameters
    ----------
    currency, config : as of the store; keys and demo mode are set after its construction, because the store requests
        the balance at once, from the real exchange.

    Raises
    ------
    ConfigError
        ccxtbt is not installed.
    """
    try:
        from ccxtbt import CCXTStore as Store
    except ImportError:
        raise ConfigError("--store ccxtbt needs the ccxtbt package, which is not on the package index") from None
    keys = {name: config[name] for name in ("apiKey", "secret") if name in config}
    rest = {name: value for name, value in config.items() if name not in keys}
    try:
        client = Store(exchange="binanceusdm", currency=currency, config=rest, retries=1).exchange
    except ccxt.BaseError as error:
        raise ConfigError(f"--store ccxtbt: the package makes no client ({type(error).__name__}); use own") from None
    for name, value in keys.items():
        setattr(client, name, value)
    if demo:
        client.enable_demo_trading(True)
    return client
