"""The interface of a hedge-mode broker, simulated or live.

LONG and SHORT are separate legs (Binance's ``positionSide``), each a list of fills. The strategy gives the broker the
orders it wants; the broker changes only what differs. Fills come back in `Leg` and `closed_trades`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import backtrader as bt

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Leg
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.orders import OrderType, Refusal
from gridv4_bt.engine.types import ClosedTrade, PositionSide


class SymbolState(Protocol):
    """The market data and rules of one symbol; kept up to date by the broker, read only."""

    bar: Bar  #: the latest bar
    market: Market  #: filters and notional brackets in force
    funding_rate: float  #: of the latest settlement, NaN before the first
    settlements: int  #: number of funding settlements so far


class OwnOrder(NamedTuple):
    """An order of a strategy of the user's own at the exchange."""

    symbol: str
    side: PositionSide  #: the leg
    is_buy: bool
    type: OrderType
    qty: float  #: base units
    price: float  #: limit price, 0 for none
    trigger: float  #: stop price, 0 for none
    post_only: bool
    owner: int  #: place of the strategy in its Cerebro
    valid: float  #: Backtrader's date number after which it is cancelled, 0 for never
    bar: int  #: open time of the bar at which it was ordered, ms
    trail: float = 0.0  #: fraction of the best price that a trailing stop stays behind it; 0 for other orders
    parent: str = ""  #: id of the order whose execution it waits for
    group: str = ""  #: id of the first order of its OCO group, where that is another one
    waits: bool = False  #: it is not at the exchange yet
    is_woken: bool = False  #: it waits only to be sent: its parent was executed
    leaves: bool = False  #: it is to be cancelled


class LiveBooks(Protocol):
    """The exchange's side of a live session, as `brokers.live.LiveHedgeBroker` needs it."""

    def log(self, kind: str, **fields: Any) -> None:
        """Log an event."""

    def poll(self, symbols: Sequence[str]) -> int | None:
        """Query the state of all orders; return the exchange's time, ms, or None if it does not answer."""

    def settled(self, symbol: str, time: int, paid: float) -> None:
        """Record the funding, quote, that the books paid in a settlement."""

    def take_in(
        self,
        account: Account,
        books: Sequence[Book],
        fresh: Sequence[Book],
        compare: bool,
        tell: Callable[[str, Book], None],
    ) -> None:
        """Book the executions up to the close of the new bars; if `compare`, then adopt the exchange's positions.

        ``tell(order_id, book)`` is called after each strategy's own order that was booked; its executions are the
        account's.
        """

    def carry_out(self, book: Book) -> None:
        """Place and cancel orders until the exchange has those wanted of a symbol."""

    def place(self, order: OwnOrder, number: int, may_repeat: bool) -> tuple[str, Refusal | None]:
        """Send a strategy's own order, and return its id and why it was refused, or None if it may be open.

        Parameters
        ----------
        number : how many orders like this one the bar has had.
        may_repeat : whether it may have been sent before; then the exchange is asked first.
        """

    def id_of(self, order: OwnOrder, number: int) -> str:
        """Return the id under which an order is sent."""

    def keep(self, order: OwnOrder, number: int) -> str:
        """Write down an order that is sent when its parent is executed, and return its id."""

    def wake(self, order_id: str) -> None:
        """Note that the parent of an order was executed."""

    def send(self, order_id: str, qty: float) -> tuple[str, Refusal | None] | None:
        """Send a kept order for a quantity, base units; return as `place` does, None if it could not be asked for.

        A stop that the price has passed already closes at market, under an id of its own.
        """

    def cancel(self, order_id: str) -> None:
        """Cancel a strategy's own order; `is_over` tells whether it is."""

    def is_over(self, order_id: str) -> bool:
        """Return whether an order is not open any more and all that it has executed is booked."""

    def own_orders(self) -> dict[str, OwnOrder]:
        """Return the strategies' own orders that are not over, with what is left of them, by id."""

    def to_json(self) -> dict[str, Any]:
        """Return the state of orders and trades that a restart needs, as JSON values."""


class Decisions(Protocol):
    """When a grid strategy decides in a live session, and what happens with its decisions."""

    def may_decide(self) -> bool:
        """Return whether the strategy decides at the new bar."""

    def decided(self) -> None:
        """Save the decision at the new bar and place its orders."""

    def ended(self) -> None:
        """Take note of the end of the run."""


class HedgeModeBroker(bt.BrokerBase):
    """Abstract base of the hedge-mode brokers, beyond Backtrader's own interface."""

    def attend(self, strategy: bt.Strategy) -> Decisions | None:
        """Take over when a grid strategy that has started decides; None: at every bar, as in a backtest."""
        return None

    @abstractmethod
    def state(self, data: bt.AbstractDataBase) -> SymbolState:
        """Return the state of a feed's symbol; the same object all through a run."""

    @abstractmethod
    def terms(self, data: bt.AbstractDataBase) -> dict[str, Any]:
        """Return the exchange's parameters in force for a feed's symbol (`gridv4_bt.config`), fees first of all."""

    @abstractmethod
    def leg(self, data: bt.AbstractDataBase, side: PositionSide) -> Leg:
        """Return a leg with its open fills and open orders, to be read only."""

    @property
    @abstractmethod
    def books(self) -> Sequence[Book]:
        """The books of all symbols of the account in the order of their feeds, to be read only."""

    @property
    @abstractmethod
    def held(self) -> Sequence[Book]:
        """Those of `books` that hold anything, and maybe others."""

    @abstractmethod
    def sigma(self, book: Book, bars: int) -> float:
        """Return the volatility of a symbol over its last closes, per bar, as `RollingVolatility` finds it."""

    @abstractmethod
    def confirm(self, data: bt.AbstractDataBase, owner: bt.Strategy, regime: int) -> None:
        """Set the strategy that is notified of executions and the `Regime` code of new fills."""

    @abstractmethod
    def rest_entries(self, data: bt.AbstractDataBase) -> dict[int, Blocked]:
        """Place the entries in both legs' `orders`, and return the reason for each level that is refused.

        The legs' `actions` hold what has changed at each level. A refused level is empty afterwards.
        """

    @abstractmethod
    def cancel_entries(self, data: bt.AbstractDataBase, side: PositionSide) -> None:
        """Cancel all entries of a leg."""

    @abstractmethod
    def set_exits(self, data: bt.AbstractDataBase, side: PositionSide, prices: Mapping[int, float]) -> None:
        """Replace a leg's exits: a post-only order for the whole fill at each price, by fill id."""

    @abstractmethod
    def set_stop(self, data: bt.AbstractDataBase, side: PositionSide, price: float | None) -> None:
        """Set the stop price of a whole leg; None removes the stop."""

    @abstractmethod
    def close_fill(
        self, data: bt.AbstractDataBase, side: PositionSide, fill_id: int, qty: float, label: TradeLabel
    ) -> bool:
        """Close part of a fill at market; return False if the whole fill is being closed already."""

    @abstractmethod
    def closed_trades(self) -> Sequence[ClosedTrade]:
        """Return all closed trades of the account, oldest first; the same list all through a run."""

    @abstractmethod
    def maintenance_margin(self) -> float:
        """Return the maintenance margin of the whole account at the last closes, quote."""

    @abstractmethod
    def liquidation_range(self, data: bt.AbstractDataBase) -> tuple[float, float]:
        """Return the prices (down, up) of a symbol at which the account is liquidated; 0 and infinity for none."""

    @abstractmethod
    def liquidations(self) -> int:
        """Return the number of liquidations so far."""
