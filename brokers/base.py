"""What a strategy may ask of a hedge-mode broker, simulated or live.

LONG and SHORT are separate legs (Binance's ``positionSide``); a leg is a list of single fills. The
strategy hands over the orders it wants; the broker changes only what differs and fills come back
through `Leg` and `closed_trades`.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import backtrader as bt

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import Bar, Book, Leg
from gridv4_bt.engine.types import ClosedTrade, PositionSide, TradeLabel


class SymbolState(Protocol):
    """What the exchange says of one symbol; kept up to date, to be read only."""

    bar: Bar  #: the latest
    market: Market  #: filters and notional brackets as they are now
    funding_rate: float  #: latest settled, NaN before the first
    settlements: int  #: how many there were


class LiveBooks(Protocol):
    """What `brokers.live.LiveHedgeBroker` asks of a live session: the exchange's side of its books."""

    def log(self, kind: str, **fields: Any) -> None:
        """Note what happened."""

    def poll(self, symbols: Sequence[str]) -> int | None:
        """Ask what has become of every order; return the exchange's time, ms, or None if it does not answer."""

    def settled(self, symbol: str, time: int, paid: float) -> None:
        """Note what a settlement of funding has cost in the books."""

    def take_in(self, account: Account, books: Sequence[Book], fresh: Sequence[Book], compare: bool) -> None:
        """Book what was executed until the close of the new bars; `compare`: then adopt what the exchange holds."""

    def carry_out(self, book: Book) -> None:
        """Bring the exchange in line with what is wanted of a symbol."""

    def to_json(self) -> dict[str, Any]:
        """Return what must survive of orders and trades, as JSON can hold it."""


class HedgeModeBroker(bt.BrokerBase):
    """Interface of `HedgeBroker` and of the live broker beyond Backtrader's own."""

    @abstractmethod
    def state(self, data: bt.AbstractDataBase) -> SymbolState:
        """Return what is known of a feed's symbol; it is the same object all through a run."""

    @abstractmethod
    def leg(self, data: bt.AbstractDataBase, side: PositionSide) -> Leg:
        """Return a leg with its open fills and resting orders, to be read only."""

    @abstractmethod
    def confirm(self, data: bt.AbstractDataBase, owner: bt.Strategy, regime: int) -> None:
        """Name the strategy that is told of executions and the regime new fills will carry."""

    @abstractmethod
    def rest_entries(self, data: bt.AbstractDataBase) -> dict[int, Blocked]:
        """Make the entries stand that both legs' `orders` hold, and return why levels were refused, by level.

        The legs' `actions` say for each level what has changed. A refused level is empty afterwards.
        """

    @abstractmethod
    def cancel_entries(self, data: bt.AbstractDataBase, side: PositionSide) -> None:
        """Cancel all resting entries of a leg."""

    @abstractmethod
    def set_exits(self, data: bt.AbstractDataBase, side: PositionSide, prices: Mapping[int, float]) -> None:
        """Make one post-only exit stand for each given fill id, at that price, for all of the fill."""

    @abstractmethod
    def set_stop(self, data: bt.AbstractDataBase, side: PositionSide, price: float | None) -> None:
        """Let a stop that closes the whole leg stand at a price, or none."""

    @abstractmethod
    def close_fill(
        self, data: bt.AbstractDataBase, side: PositionSide, fill_id: int, qty: float, label: TradeLabel
    ) -> bool:
        """Close part of a fill at market; False if so much of it is being closed already."""

    @abstractmethod
    def closed_trades(self) -> Sequence[ClosedTrade]:
        """Return the list of all trades closed in the account, oldest first; it is the same object, growing."""

    @abstractmethod
    def maintenance_margin(self) -> float:
        """Return what the whole account must keep as equity at the last closes, quote."""

    @abstractmethod
    def liquidation_range(self, data: bt.AbstractDataBase) -> tuple[float, float]:
        """Return the symbol's prices (down, up) at which the account is liquidated; 0 and infinity for none."""

    @abstractmethod
    def liquidations(self) -> int:
        """Return how often the account has been liquidated so far."""
