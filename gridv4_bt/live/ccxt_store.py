"""CCXTStore: a Backtrader store with the interface of ccxtbt's, over the project's own connection.

It gives a Cerebro the feeds and the broker of a live session. A program written for ccxtbt makes the same calls and
gets the same answers, but a request is repeated only where that is safe.
"""

import atexit
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import backtrader as bt
import ccxt

from brokers.live import LiveHedgeBroker
from feeds.exchange import PAGE_ROWS
from feeds.live import CandleSource, CandleSteps, LiveFeed
from gridv4_bt.config import GridConfig, backtrader_params, make_config
from gridv4_bt.core.time import BAR_MS, DAY_MS, MINUTE_MS
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.engine.warm_up import with_live_history
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.ccxt_client import OPTIONS
from gridv4_bt.live.clock import Clock, WallClock
from gridv4_bt.live.connection import CandleQueries, Refused, Unreachable
from gridv4_bt.live.dead_man import DEFAULT_S
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.gateway import Gateway, SessionPlan
from gridv4_bt.live.keys import KEY, SECRET, read_settings
from gridv4_bt.live.live_session import LiveSession
from gridv4_bt.live.monitor import NOTIFY, notifier
from gridv4_bt.live.strangers import CHOICES, REFUSE
from strategies.grid_v4 import GridStrategyV4

T = TypeVar("T")

_LENGTHS = {
    bt.TimeFrame.Minutes: ("m", (1, 3, 5, 15, 30)),
    bt.TimeFrame.Days: ("d", (1, 3)),
    bt.TimeFrame.Weeks: ("w", (1, 2)),
    bt.TimeFrame.Months: ("M", (1, 3, 6)),
    bt.TimeFrame.Years: ("y", (1,)),
}
_HOURS = {60: "1h", 90: "90m", 120: "2h", 180: "3h", 240: "4h", 360: "6h", 480: "8h", 720: "12h"}
_UNIT_MS = {bt.TimeFrame.Minutes: MINUTE_MS, bt.TimeFrame.Days: DAY_MS}
#: What Binance's futures take for each kind of Backtrader's orders, as ccxtbt's programs write it.
_ORDER_TYPES = {
    bt.Order.Market: {"market"},
    bt.Order.Limit: {"limit"},
    bt.Order.Stop: {"stop", "stop_market", "stop_loss"},
    bt.Order.StopLimit: {"stop", "stop_limit", "stop_loss_limit"},
}
_ANSWERS = {"closed_order", "canceled_order"}


class StoreBroker(LiveHedgeBroker):
    """The broker of a store, with what ccxtbt's broker has beside Backtrader's."""

    store: "CCXTStore"  #: set by its `getbroker`

    @property
    def currency(self) -> str:
        """Return the currency of the store."""
        return self.store.currency

    def get_balance(self) -> tuple[float, float]:
        """Read and return cash and value of the account, as `CCXTStore.get_balance`."""
        return self.store.get_balance()

    def get_wallet_balance(self, currency: str, params: Mapping[str, Any] | None = None) -> tuple[float, float]:
        """Read and return what is free of a currency, and all there is of it; 0 if there was never any."""
        balance = self.store.get_wallet_balance(currency, params)
        return _amount(balance, "free", currency), _amount(balance, "total", currency)

    def private_end_point(self, type: str, endpoint: str, params: Mapping[str, Any], prefix: str = "") -> Any:
        """Return the raw answer of a private path, as `CCXTStore.private_end_point`."""
        return self.store.private_end_point(type, endpoint, params, prefix)


class CCXTStore:
    """A Backtrader store of one account at one exchange; another store is another account.

    Parameters
    ----------
    exchange : name of a ccxt exchange, or a client.
    currency : whose balance `get_balance` reads.
    config : of the ccxt client. Without ``apiKey`` the key is that of the environment or of a file .env.
    retries : how often a request that changes nothing is sent, at most; an order is sent once.
    debug : print what the connection has to tell.
    sandbox : use the exchange's test environment.
    clock, stop : the exchange's clock, and what ends its waits; for a market that does not run by this machine's clock.

    Raises
    ------
    ConfigError
        A value is wrong.
    """

    DataCls = LiveFeed
    BrokerCls = StoreBroker

    def __init__(
        self,
        exchange: str | ccxt.Exchange,
        currency: str,
        config: Mapping[str, Any] | None = None,
        retries: int = 6,
        debug: bool = False,
        sandbox: bool = False,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        if not isinstance(currency, str):
            raise ConfigError("currency: a name such as USDT, as in CCXTStore(exchange, currency, config, retries)")
        if not isinstance(retries, int) or retries < 1:
            raise ConfigError(f"retries: 1 or more, got {retries!r}")
        client = _new_client(exchange, config or {}) if isinstance(exchange, str) else exchange
        if sandbox:
            client.set_sandbox_mode(True)
        stop = stop or threading.Event()
        name = "binance" if client.id == "binanceusdm" and not sandbox else f"{client.id}{'-sandbox' * sandbox}"
        self._take(Gateway(name, client, clock or WallClock(stop), stop), currency)
        self.connection.attempts = retries
        self.retries = retries
        self.debug = debug
        if debug:
            self.connection.log = _print_event

    @classmethod
    def at(cls, gateway: Gateway, currency: str = "USDT") -> Self:
        """Return the store of a gateway."""
        store = cls.__new__(cls)
        store._take(gateway, currency)
        store.retries, store.debug = gateway.connection.attempts, False
        return store

    @classmethod
    def get_store(cls, exchange: str, config: Mapping[str, Any], retries: int, currency: str = "USDT") -> Self:
        """Return a new store, as older programs ask for one."""
        return cls(exchange, currency, config, retries)

    def _take(self, gateway: Gateway, currency: str) -> None:
        self.gateway = gateway
        self.exchange = gateway.client
        self.currency = currency
        self.clock = gateway.clock
        self.connection = gateway.connection
        self._balance: tuple[float, float] | None = None
        self._steps = CandleSteps()
        self._live_bar_ms = 0  # length of the candles of its live feeds
        self._session: LiveSession | None = None  # made by its own broker
        self._resources = ExitStack()

    # --- Backtrader's store

    def start(self, data: bt.AbstractDataBase | None = None, broker: bt.BrokerBase | None = None) -> None:
        """Do nothing: broker and feeds start by themselves."""

    def stop(self) -> None:
        """End the session of the store's broker safely if it has not ended: entries are taken back, stops stay."""
        try:
            if self._session is not None:
                self._session.abandon()
        finally:
            self._release()

    def _release(self) -> None:
        """Let another bot into the state directory of a session that has ended."""
        atexit.unregister(self.stop)
        self._session = None
        self._resources.close()

    def get_notifications(self) -> list[Any]:
        """Return nothing: what there is to tell is in the session's logs and alerts."""
        return []

    # --- feeds

    def getdata(
        self,
        dataname: str,
        name: str | None = None,
        timeframe: int = bt.TimeFrame.Minutes,
        compression: int = 15,
        fromdate: datetime | None = None,
        historical: bool = False,
        ohlcv_limit: int = 20,
        drop_newest: bool = True,
        backfill_start: bool = False,
        fetch_ohlcv_params: Mapping[str, Any] | None = None,
        debug: bool = False,
        **params: Any,
    ) -> LiveFeed:
        """Return a feed of the closed candles of ccxt's symbol `dataname`: history first, then each as it closes.

        Parameters
        ----------
        name : default the exchange's name of the symbol, by which the broker knows it.
        timeframe, compression : length of the candles; 15 minutes is what GridStrategyV4 trades.
        fromdate : UTC; the first candle is the one that opens then or next.
        historical : end after the history.
        ohlcv_limit : candles of history without `fromdate`; a grid strategy asks for more if its indicators need them.
        drop_newest : the candle that is still forming is never delivered.
        backfill_start : as much history as one request may have, without `fromdate`.
        params : those of Backtrader's feeds.

        Raises
        ------
        ConfigError
            A value is wrong or cannot be honoured; the message names another way.
        """
        if not drop_newest:
            raise ConfigError("drop_newest: a candle that is still forming is never delivered; leave it out")
        if fetch_ohlcv_params:
            raise ConfigError("fetch_ohlcv_params: none is needed, closed candles come alone; or store.fetch_ohlcv")
        if not isinstance(ohlcv_limit, int) or ohlcv_limit < 1:
            raise ConfigError(f"ohlcv_limit: 1 or more, got {ohlcv_limit!r}")
        unknown = set(params) - _feed_params() | set(params) & _OWN_PARAMS
        if unknown:
            raise ConfigError(f"getdata has no {', '.join(sorted(unknown))}")
        pages = PAGE_ROWS.get(self.exchange.id)
        if pages is None:
            raise ConfigError(f"{self.exchange.id}: feeds come from {', '.join(PAGE_ROWS)}")
        bar_ms = self._bar_ms(timeframe, compression)
        if not historical:
            if self._live_bar_ms not in (0, bar_ms):
                raise ConfigError(
                    "timeframe: live feeds of one store have candles of one length, because a longer one would hold up "
                    "the shorter; take the shorter one and cerebro.resampledata(data, timeframe=..., compression=...)"
                )
            self._live_bar_ms = bar_ms
        connection = self.connection
        source = CandleSource(
            CandleQueries(connection), dataname, self.clock, self._log, connection.server_time, bar_ms
        )
        own: dict[str, Any] = {
            "dataname": dataname,
            "name": name or exchange_symbol(dataname),
            "timeframe": timeframe,
            "compression": compression,
            "source": source,
            "since": -(-_ms(fromdate) // bar_ms) * bar_ms if fromdate is not None else 0,
            "steps": CandleSteps() if historical else self._steps,
            "historical": historical,
        }
        feed = LiveFeed(**own, **params)
        feed.warm_up_bars = pages["candles"] if backfill_start else ohlcv_limit
        return feed

    def get_granularity(self, timeframe: int, compression: int) -> str:
        """Return ccxt's name of a candle length, such as 15m.

        Raises
        ------
        ConfigError
            There is none, or the exchange has no such candles.
        """
        unit, lengths = _LENGTHS.get(timeframe, ("", ()))
        name = f"{compression}{unit}" if compression in lengths else ""
        if timeframe == bt.TimeFrame.Minutes:
            name = _HOURS.get(compression, name)
        known = self.exchange.timeframes or {name: name}
        if not name or name not in known:
            what = f"{compression} {_timeframe_name(timeframe)}"
            raise ConfigError(f"{self.exchange.id} has no candles of {what}; it has {', '.join(known)}")
        return name

    def _bar_ms(self, timeframe: int, compression: int) -> int:
        name = self.get_granularity(timeframe, compression)
        bar_ms = _UNIT_MS.get(timeframe, 0) * compression
        if not bar_ms or DAY_MS % bar_ms:
            raise ConfigError(f"timeframe: a feed has candles of a day at most, not {name}; use cerebro.resampledata")
        return bar_ms

    def _log(self, kind: str, **fields: Any) -> None:
        self.connection.log(kind, **fields)

    # --- the broker

    def getbroker(
        self,
        state_dir: str | Path = Path("data") / "live_state",
        bot: str = "",
        *,
        broker_mapping: Mapping[str, Any] | None = None,
        dead_man: int = DEFAULT_S,
        foreign_orders: str = REFUSE,
        bare_stop: float = SessionPlan.bare_stop,
        notify: Callable[[str, str], None] | None = None,
        session: LiveSession | None = None,
        debug: bool = False,
        **params: Any,
    ) -> StoreBroker:
        """Return the broker of a live session, which begins when Cerebro runs and ends with it.

        The session locks the state directory, keeps journal and state in it, looks after the stops every 20 s, and ends
        safely: entries are taken back, exits and stops stay.

        Parameters
        ----------
        state_dir : one bot works in it; the next session there goes on where this one has ended.
        bot : name of a new bot in client order ids, 1 to 6 of a-z and 0-9; empty: one at random.
        broker_mapping : as ccxtbt's; orders are those of Binance's futures, whatever it says.
        dead_man : seconds without a sign of life until the exchange cancels entries and exits; 0: never.
        foreign_orders : what to do about open orders of other bots of this product: refuse, adopt or cancel.
        bare_stop : distance from the price of the stop that a leg gets to which its strategy has given none, fraction.
        notify : called with title and text of each alert; default: the addresses of GRIDV4_NOTIFY, and the log.
        session : one that is prepared, and ended by its owner.
        debug : for compatibility; the session's events are in its state directory.
        params : those of `brokers.hedge.HedgeBroker`, without wallet and markets, which are the exchange's.

        Raises
        ------
        ConfigError
            A value is wrong or cannot be honoured.
        """
        _check_mapping(broker_mapping or {})
        allowed = [name for name, _ in backtrader_params("exchange")]
        if unknown := sorted(set(params) - set(allowed)):
            raise ConfigError(f"getbroker has no {', '.join(unknown)}; it has {', '.join(allowed)}")
        if foreign_orders not in CHOICES:
            raise ConfigError(f"foreign_orders: {foreign_orders!r} is none of {', '.join(CHOICES)}")
        if bot and not re.fullmatch("[a-z0-9]{1,6}", bot):
            raise ConfigError(f"bot: {bot!r}: 1 to 6 of a-z and 0-9, for client order ids")
        if dead_man and not 15 <= dead_man <= 3600:
            raise ConfigError(f"dead_man: {dead_man}: 15 to 3600 seconds, or 0 for none")
        if not 0.0 < bare_stop < 1.0:
            raise ConfigError(f"bare_stop: {bare_stop}: more than 0 and less than 1, a fraction of the price")
        if session is not None:
            return self._broker(lambda cerebro: session, params)
        exchange = make_config(params)

        def begin(cerebro: bt.Cerebro) -> LiveSession:
            config, symbols, grid = _trades(cerebro, {name: getattr(exchange, name) for name in allowed})
            plan = SessionPlan(
                symbols, config, Path(state_dir), bot=bot, foreign_orders=foreign_orders, bare_stop=bare_stop, grid=grid
            )
            return self._begin(plan, dead_man, notify)

        return self._broker(begin, params)

    def _broker(self, session: Callable[[bt.Cerebro], LiveSession], params: Mapping[str, Any]) -> StoreBroker:
        broker = StoreBroker(session=session, **params)
        broker.store = self
        return broker

    def _begin(self, plan: SessionPlan, dead_man: int, notify: Callable[[str, str], None] | None) -> LiveSession:
        """Return a session that has begun; `stop` ends it, at the end of the program at the latest."""
        if self.exchange.id != "binanceusdm":
            raise ConfigError(f"{self.exchange.id}: the broker trades at binanceusdm")
        if self._session is not None:
            raise ConfigError("a session of this store is at work; make another store for another account")
        with ExitStack() as undo:
            if notify is None:
                notify = undo.enter_context(notifier(*read_settings(Path.cwd(), NOTIFY)))
            session = LiveSession(plan, self.gateway, notify, on_end=self._release)
            undo.callback(session.close)
            session.prepare()
            if dead_man:
                session.arm_dead_man_switch(dead_man)
            self._resources = undo.pop_all()
        self._session = session
        atexit.register(self.stop)
        return session

    # --- requests

    def _ask(self, request: Callable[[], T], is_public: bool = False) -> T:
        with _errors_of_ccxt():
            return self.connection.call(request, is_public)

    def _ask_once(self, request: Callable[[], T]) -> T:
        with _errors_of_ccxt():
            return self.connection.call_once(request)

    @property
    def _cash(self) -> float:
        return (self._balance or self.get_balance())[0]

    @property
    def _value(self) -> float:
        return (self._balance or self.get_balance())[1]

    def getcash(self, currency: str | None = None) -> float:
        """Return what is free of a currency; without a name, as `get_balance` has read it last."""
        return self._cash if currency is None else _amount(self.get_wallet_balance(currency), "free", currency)

    def getvalue(self, currency: str | None = None) -> float:
        """Return all there is of a currency; without a name, as `get_balance` has read it last."""
        return self._value if currency is None else _amount(self.get_wallet_balance(currency), "total", currency)

    def getposition(self, currency: str | None = None) -> float:
        """Return what `getvalue` does, as ccxtbt."""
        return self.getvalue(currency)

    def get_balance(self) -> tuple[float, float]:
        """Read and return cash and value of the currency, also as `_cash` and `_value`."""
        balance = self.get_wallet_balance(self.currency)
        self._balance = _amount(balance, "free", self.currency), _amount(balance, "total", self.currency)
        return self._balance

    def get_wallet_balance(self, currency: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return ccxt's balance."""
        balance: dict[str, Any] = self._ask(lambda: self.exchange.fetch_balance(dict(params or {})))
        return balance

    def fetch_ohlcv(
        self,
        symbol: str,
        timeframe: str,
        since: int | None = None,
        limit: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[list[float]]:
        """Return candles; the last row may be the current bar, which is still open."""
        return self._ask(
            lambda: self.exchange.fetch_ohlcv(symbol, timeframe, since, limit, dict(params or {})), is_public=True
        )

    def fetch_order(self, oid: str, symbol: str) -> dict[str, Any]:
        """Return an order."""
        return self._ask(lambda: self.exchange.fetch_order(oid, symbol))

    def fetch_open_orders(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Return the open orders, without conditional ones."""
        return self._ask(lambda: self.exchange.fetch_open_orders(symbol))

    def fetch_trades(self, symbol: str) -> list[dict[str, Any]]:
        """Return the latest public trades of a symbol."""
        return self._ask(lambda: self.exchange.fetch_trades(symbol), is_public=True)

    def create_order(
        self,
        symbol: str,
        order_type: str,
        side: str,
        amount: float,
        price: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send an order once; if its outcome is unknown, an error is raised and it is not sent again."""
        return self._ask_once(
            lambda: self.exchange.create_order(symbol, order_type, side, amount, price, dict(params or {}))
        )

    def cancel_order(self, order_id: str, symbol: str) -> dict[str, Any]:
        """Cancel an order."""
        return self._ask(lambda: self.exchange.cancel_order(order_id, symbol))

    def private_end_point(self, type: str, endpoint: str, params: Mapping[str, Any], prefix: str = "") -> Any:
        """Return the raw answer of a private path.

        Parameters
        ----------
        type : Get, Post, Put or Delete.
        endpoint : the name of ccxt's method, ``fapiPrivateV3GetAccount``; or a path of ccxt's ``private`` interface,
            ``/account/config``.
        prefix : of ccxt's interface where it is not ``private`` alone: ``fapi``.

        Raises
        ------
        ConfigError
            ccxt has no such method.
        """
        path = re.sub(r"[{}]", "", endpoint.replace("/", "_"))
        kind, path = type.lower(), path.lower().lstrip("_")
        names = (endpoint, f"{prefix}_private_{kind}_{path}".lstrip("_"), f"{prefix}private_{kind}_{path}")
        method = next((found for name in names if (found := getattr(self.exchange, name, None)) is not None), None)
        if method is None:
            raise ConfigError(f"private_end_point: {self.exchange.id} has none of {', '.join(names)}")
        request = dict(params)
        if kind == "get":
            return self._ask(lambda: method(request))
        return self._ask_once(lambda: method(request))  # it may be an order


#: Parameters of the feed that the store sets.
_OWN_PARAMS = {"source", "since", "known", "steps", "on_candle"}


@contextmanager
def _errors_of_ccxt() -> Iterator[None]:
    """Raise ccxt's own exception where a request fails, which a program written for ccxtbt catches."""
    try:
        yield
    except (Refused, Unreachable) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ccxt.BaseError):
            cause = cause.__cause__
        # Without one, nothing was sent because the exchange wants silence, or the answer was no JSON.
        is_silence = isinstance(error, Refused) and error.failure.reaction is Reaction.WAIT
        raise cause or (ccxt.RateLimitExceeded if is_silence else ccxt.BadResponse)(str(error)) from error


def _new_client(name: str, config: Mapping[str, Any]) -> ccxt.Exchange:
    if name not in ccxt.exchanges:
        raise ConfigError(f"exchange {name!r} is unknown to ccxt")
    settings: dict[str, Any] = {"timeout": 10_000, "enableRateLimit": True} | dict(config)
    options = OPTIONS if name == "binanceusdm" else {}
    # ccxt must not repeat an order by itself.
    settings["options"] = {**options, **settings.get("options", {}), "maxRetriesOnFailure": 0}
    if "apiKey" not in settings and name == "binanceusdm":
        settings["apiKey"], settings["secret"] = read_settings(Path.cwd(), KEY, SECRET)
    return getattr(ccxt, name)(settings)


def _trades(cerebro: bt.Cerebro, exchange: Mapping[str, Any]) -> tuple[GridConfig, list[str], bool]:
    """Return the config of a Cerebro's grid strategies, the symbols that are traded, and whether there is a grid.

    Strategies of other kinds may trade every live feed.

    Raises
    ------
    ConfigError
        There is no feed of ours, the strategies differ in their parameters, or the candles are of another length.
    """
    feeds = [data for data in cerebro.datas if isinstance(data, LiveFeed)]
    if not feeds:
        raise ConfigError("the broker has no live feed: cerebro.adddata(store.getdata(...)) before the run")
    configs: list[GridConfig] = []
    symbols: list[str] = []
    has_others = False
    for kind, _, given in (one for group in cerebro.strats for one in group):
        if not issubclass(kind, GridStrategyV4):
            has_others = True
            continue
        defaults = dict(kind.params._getitems())
        values = {name: given.get(name, defaults[name]) for name, _ in backtrader_params()}
        configs.append(with_live_history(make_config({**values, **exchange})))
        symbols.append(given.get("symbol") or feeds[0]._name)
    if has_others:
        symbols += [feed._name for feed in feeds if not feed.p.historical and feed._name not in symbols]
    if not symbols:
        raise ConfigError("no strategy and no live feed: cerebro.addstrategy(...), and a feed that is not historical")
    if {feed.bar_ms for feed in feeds if feed._name in symbols} - {BAR_MS}:
        raise ConfigError(
            "live trading goes by candles of 15 minutes: timeframe=bt.TimeFrame.Minutes, compression=15; "
            "cerebro.resampledata(data, ...) makes longer ones of them for signals"
        )
    return _together(symbols, configs) if configs else make_config(exchange), symbols, bool(configs)


def _together(symbols: Sequence[str], configs: Sequence[GridConfig]) -> GridConfig:
    """Return the parameters of strategies that trade a symbol each, those of the first one as those of all."""
    common = configs[0].model_dump()
    longest = {"warm_up": max(config.warm_up for config in configs)}
    own = {
        f"{symbol}.{name}": value
        for symbol, config in zip(symbols, configs, strict=False)
        for name, value in config.model_dump().items()
        if value != common[name] and name not in longest
    }
    return make_config(common | longest | own)


def _check_mapping(mapping: Mapping[str, Any]) -> None:
    """Check that ccxtbt's broker_mapping asks for nothing but what the broker does.

    Raises
    ------
    ConfigError
        It does not.
    """
    for kind, wanted in mapping.get("order_types", {}).items():
        accepted = _ORDER_TYPES.get(kind, set())
        if re.sub(r"[ -]", "_", str(wanted).lower()) not in accepted:
            name = _kind_name(kind)
            cure = f"{' or '.join(sorted(accepted))}, or leave it out" if accepted else "leave it out"
            raise ConfigError(f"broker_mapping: {name} orders cannot be sent as {wanted!r}: {cure}")
    unknown = set(mapping) - {"order_types", "mappings"} | set(mapping.get("mappings", {})) - _ANSWERS
    if unknown:
        raise ConfigError(f"broker_mapping has no {', '.join(sorted(map(str, unknown)))}")


def _amount(balance: Mapping[str, Any], part: str, currency: str) -> float:
    return float(balance[part].get(currency) or 0.0)


def _feed_params() -> set[str]:
    keys: Any = LiveFeed.params
    return set(keys._getkeys())


def _timeframe_name(timeframe: int) -> str:
    names: Any = bt.TimeFrame
    return str(names.getname(timeframe, 1)) if timeframe in range(len(names.Names)) else repr(timeframe)


def _kind_name(kind: Any) -> str:
    names: Any = bt.Order.ExecTypes  # type: ignore[attr-defined]
    return str(names[kind]) if kind in range(len(names)) else repr(kind)


def _ms(moment: datetime) -> int:
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _print_event(kind: str, **fields: Any) -> None:
    print(kind, *(f"{name}={value}" for name, value in fields.items()))
