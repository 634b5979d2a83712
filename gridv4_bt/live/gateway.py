"""Where a session trades, and its settings."""

import threading
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ccxt

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.live.clock import Clock
from gridv4_bt.live.connection import Connection
from gridv4_bt.live.monitor import Limits
from gridv4_bt.live.protection import WATCH_S
from gridv4_bt.live.strangers import REFUSE
from gridv4_bt.own_strategy import OwnStrategy


@dataclass
class Gateway:
    """The way to the exchange where a session trades."""

    name: str  #: such as ``paper`` or a host; the state of another gateway is foreign
    client: ccxt.Exchange
    clock: Clock
    stop: threading.Event
    watch: float = WATCH_S  #: seconds between looks at positions and stops; 0: at candles only

    @cached_property
    def connection(self) -> Connection:
        """The connection that feeds, broker and session share, so that a ban of one silences all."""
        return Connection(self.client, self.clock, _silent)


@dataclass(frozen=True)
class SessionPlan:
    """The settings of a session."""

    symbols: Sequence[str]  #: the exchange's names
    config: GridConfig
    folder: Path  #: state directory
    _: KW_ONLY
    grid: bool = True  #: a grid trades there; else only strategies of the user's own
    own: OwnStrategy | None = None  #: the one that `run_live.py` trades in the grid's place
    once: bool = False  #: stop after one decision and leave all orders open
    foreign_orders: str = REFUSE  #: what to do about open orders of other bots of this product at the start
    limits: Limits = field(default_factory=Limits)
    #: Distance from the price of the stop that a leg gets to which neither strategy nor ATR give one, fraction.
    bare_stop: float = 0.05
    bot: str = ""  #: name of a new bot in client order ids, 1 to 6 of a-z and 0-9; empty: one at random


def exchange_symbols(symbols: Sequence[str]) -> list[str]:
    """Return the exchange's names of symbols, without repetitions.

    Raises
    ------
    MarketError
        A symbol is not a linear perpetual.
    """
    return list(dict.fromkeys(map(exchange_symbol, symbols)))


def _silent(kind: str, **fields: Any) -> None:
    """Log nothing: there is no session yet."""
