"""The session of `run_live.py`: GridStrategyV4 on each symbol, or a strategy of the user's own, in one Cerebro."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

import backtrader as bt

from gridv4_bt.config import backtrader_params
from gridv4_bt.errors import LiveError
from gridv4_bt.live.ccxt_store import CCXTStore
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.gateway import Gateway, SessionPlan
from gridv4_bt.live.live_session import LiveSession
from strategies.grid_v4 import GridStrategyV4


class Store(Protocol):
    """What a session needs of a store with ccxtbt's interface."""

    def getdata(self, *args: Any, **params: Any) -> bt.AbstractDataBase:
        """Return a feed of the closed candles of a symbol."""

    def getbroker(self, *args: Any, **params: Any) -> bt.BrokerBase:
        """Return the broker that trades in a session."""


class Session(LiveSession):
    """A session with a Cerebro of its own, made by `prepare`.

    Parameters
    ----------
    store : gives the feeds and the broker; None: the project's own. The others are those of `LiveSession`.
    """

    def __init__(
        self,
        plan: SessionPlan,
        gateway: Gateway,
        notify: Callable[[str, str], None],
        on_bar: Callable[[str], None] = lambda symbol: None,
        store: Store | None = None,
    ) -> None:
        super().__init__(plan, gateway, notify, on_bar)
        self._store = store or CCXTStore.at(gateway)

    def prepare(self) -> None:
        """Connect, verify the account, restore the state, and make the Cerebro; raises as `LiveSession.prepare`."""
        super().prepare()
        config, own = self.plan.config, self.plan.own
        exchange = {name: getattr(config, name) for name, _ in backtrader_params("exchange")}
        self._cerebro = bt.Cerebro(stdstats=False)
        self._cerebro.setbroker(self._store.getbroker(session=self, **exchange))
        for symbol in sorted(self.plan.symbols):  # as in a backtest, see `make_feeds`
            name = self.reconciler.executor.unified_symbol(symbol)
            if own is None:
                self._cerebro.adddata(self._store.getdata(name, name=symbol))
                self._cerebro.addstrategy(GridStrategyV4, symbol=symbol, **config.of(symbol).model_dump())
            else:
                self._cerebro.adddata(self._store.getdata(name, name=symbol, ohlcv_limit=config.warm_up + 1))
        if own is not None:
            self._cerebro.addstrategy(own.kind, **own.params)

    def run(self) -> None:
        """Trade until the session is asked to stop or the market ends.

        Raises
        ------
        LiveError
            A person is needed.
        StrategyError
            The user's own strategy has failed.
        """
        own = self.plan.own
        failures = nullcontext() if own is None else own.failures(LiveError, Unreachable, Refused, OSError)
        with self.safe_end(), failures:
            self._cerebro.run()
