"""HedgeBroker: a simulated exchange in hedge mode, in place of Backtrader's netting broker.

LONG and SHORT are separate lists of fills. The broker matches bar after bar by the rules of
`gridv4_bt.engine.matching`, charges fees and funding, and reports every execution to Backtrader with its own
``tradeid``, so that the built-in analyzers and observers see each fill as one trade.
"""

import datetime
import numbers
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import backtrader as bt

from brokers.base import SymbolState
from brokers.feed_book import FeedBook, TickBook
from brokers.ladder_orders import LadderOrders, hears_orders
from brokers.reporting import ExecutionReporter, PerpetualCommInfo
from brokers.settings import BrokerSettings
from brokers.standard_orders import StandardOrders
from brokers.targets import Targets
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine import margin
from gridv4_bt.engine.book import Book, Costs, Leg
from gridv4_bt.engine.delisting import is_delisted, settle_delisted
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import PLACED, Blocked
from gridv4_bt.engine.liquidation import is_safe, liquidation_range
from gridv4_bt.engine.market import Market, MarketHistory, load_market_history
from gridv4_bt.engine.matching import is_idle, order_close, order_matters
from gridv4_bt.engine.orders import Refusal
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.engine.venue import Venue, timeline
from gridv4_bt.errors import ConfigError, MarketError

#: The parameters of Backtrader's orders that ``buy`` and ``sell`` accept beside size and prices.
ORDER_PARAMS = (
    "exectype", "valid", "tradeid", "oco", "trailamount", "trailpercent", "parent", "transmit",
)  # fmt: skip


class HedgeBroker(BrokerSettings):
    """A simulated cross-margin account in hedge mode.

    Parameters
    ----------
    cash : wallet at the start, quote.
    commission : one fee for makers and takers in place of both, or a commission scheme; None for none.
    markets : `Market` or `MarketHistory` by symbol, in place of the packaged table.
    The others are those of `gridv4_bt.config`, section exchange.

    ``getcash()`` is the wallet, ``getvalue()`` the equity at the last closes, ``getvalue([data])`` the unrealised PnL
    of one symbol: wallet and all symbols add up to the equity.

    Raises
    ------
    ConfigError
        A parameter is unknown, of the wrong kind or out of bounds.
    """

    book_type = FeedBook
    orders_type: type[StandardOrders] = StandardOrders

    def open_account(self) -> None:
        """Begin with an account of `cash` that holds nothing."""
        super().open_account()
        self._books: dict[bt.AbstractDataBase, FeedBook] = {}
        self._all: tuple[FeedBook, ...] = ()
        self._notifications: deque[bt.Order] = deque()
        self._reporter = ExecutionReporter(self._notifications)
        self._schemes: dict[FeedBook, tuple[float, PerpetualCommInfo]] = {}  # with the lot that they were made for
        self._ladders: dict[FeedBook, LadderOrders] = {}  # of those whose owner wants to hear of each order
        self._standard = self.orders_type(self)
        self.targets = Targets(self)
        self._noted_singles = False
        self._venue = Venue(self.account, self._standard.singles, self.p.liquidation_fee, self._report)
        self._range_key: tuple[Market, float, int, int] | None = None
        self._range = (0.0, INFINITY)
        self._held_key = (0, 0)
        self._held: tuple[FeedBook, ...] = ()
        self.ambiguous_bars = 0  #: bars in which the order of prices inside decided what fills

    def stop(self) -> None:
        """End a run."""
        super().stop()
        self._standard.warn_of_more()

    # --- Backtrader's broker interface

    def getcommissioninfo(self, data: bt.AbstractDataBase) -> bt.CommInfoBase:
        """Return the commission scheme of a linear perpetual, with the lot, taker fee and leverage of the symbol."""
        if self._is_for_signals(data):
            return self._reporter.comminfo
        book = self._book(data)
        lot, scheme = self._schemes.get(book, (0.0, self._reporter.comminfo))
        if lot != book.market.step:
            lot = book.market.step
            scheme = PerpetualCommInfo(commission=book.costs.taker_fee, leverage=self.p.leverage, lot=lot)
            self._schemes[book] = lot, scheme
        return scheme

    def getcash(self) -> float:
        """Return the wallet, quote: start + realised PnL - fees - funding."""
        return self.account.wallet

    def getvalue(
        self, datas: Sequence[bt.AbstractDataBase] | None = None, mkt: bool = False, lever: bool = False
    ) -> float:
        """Return the equity, or the unrealised PnL of some feeds, quote; there are no other measures of value."""
        if mkt or lever:
            self.get_value_lever()
        if datas is None:
            return self.account.value
        books = (self._books[data] for data in datas if data in self._books)
        return plain_sum(book.unrealized(book.bar.close) for book in books)

    get_cash = getcash
    get_value = getvalue

    def getposition(self, data: bt.AbstractDataBase, side: PositionSide | str | None = None) -> bt.Position:
        """Return one leg as a Backtrader position (SHORT negative), or the net of both legs."""
        if data not in self._books and self._is_no_market(data):
            return bt.Position()
        book = self._book(data)
        long, short = book.long.tracker, book.short.tracker
        if side is None:
            net = long.qty - short.qty
            heavier = long if net > 0.0 else short
            return bt.Position(net, heavier.average if net else 0.0)
        leg = book.leg(_side_of(side)).tracker
        return bt.Position(int(leg.side) * leg.qty, leg.average if leg.qty else 0.0)

    @property
    def positions(self) -> dict[bt.AbstractDataBase, bt.Position]:
        """The net position of each feed ever traded; an empty one for any other feed."""
        return defaultdict(bt.Position, {data: self.getposition(data) for data in self._books})

    def get_notification(self) -> bt.Order | None:
        """Return the next order whose status has changed, or None."""
        return self._notifications.popleft() if self._notifications else None

    def buy(
        self,
        owner: bt.Strategy,
        data: bt.AbstractDataBase,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        **kwargs: Any,
    ) -> bt.Order:
        """Place a buy order; ``positionSide="LONG"`` opens, ``"SHORT"`` closes (see `StandardOrders`)."""
        return self._place(bt.BuyOrder, owner, data, size, price, plimit, kwargs)

    def sell(
        self,
        owner: bt.Strategy,
        data: bt.AbstractDataBase,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        **kwargs: Any,
    ) -> bt.Order:
        """Place a sell order; ``positionSide="SHORT"`` opens, ``"LONG"`` closes (see `StandardOrders`)."""
        return self._place(bt.SellOrder, owner, data, size, price, plimit, kwargs)

    def _place(
        self,
        kind: type[bt.Order],
        owner: bt.Strategy,
        data: bt.AbstractDataBase,
        size: float,
        price: float | None,
        plimit: float | None,
        kwargs: dict[str, Any],
    ) -> bt.Order:
        # Arguments that Backtrader's orders do not have, such as positionSide, go to order.info.
        params = {name: kwargs.pop(name) for name in ORDER_PARAMS if name in kwargs}
        if not isinstance(params.get("valid"), datetime.date | datetime.timedelta | numbers.Real | None):
            raise ConfigError(f"valid: {params['valid']!r}; a datetime, date, timedelta or date number is expected")
        if params.get("valid") == 0 and params["valid"] is not None:
            params["valid"] = bt.Order.DAY  # documented as the same; Backtrader's order would take it for no end
        if params.get("exectype") == bt.Order.StopTrailLimit and price is None:
            price = data.close[0]  # from which Backtrader's order counts plimit
        order = kind(owner=owner, data=data, size=size, price=price, pricelimit=plimit, **params)
        order.addinfo(**kwargs)
        return self.submit(order)

    def submit(self, order: bt.Order) -> bt.Order:
        """Accept an order that passes the exchange's checks, or reject it with the reason.

        Raises
        ------
        ConfigError
            The feed is a copy for signals, or the order could be filled by prices that are already known.
        """
        book = self._book(order.data)
        order.addcomminfo(self.getcommissioninfo(order.data))
        if book.is_behind():
            raise ConfigError(
                f"{book.symbol}: an order before the bar is matched, in next_open() or by a timer with cheat=True, "
                "sees the prices that fill it. Order in next(): it fills at the next open"
            )
        self._standard.submit(order, book)
        return order

    def refuse(self, order: bt.Order, refusal: Refusal) -> bt.Order:
        """Reject an order that was not placed, and return it."""
        order.addcomminfo(self.getcommissioninfo(order.data))
        order.submit(self)
        self.notify(order)
        self._standard.reject(order, refusal)
        return order

    def cancel(self, order: bt.Order) -> bool:
        """Cancel an open order and return whether it was still open."""
        return self._standard.cancel(order)

    def get_orders_open(self, safe: bool = False) -> list[bt.Order]:
        """Return the open orders of strategies, not those of a grid's ladder; `safe` returns copies."""
        orders = [single.reference for single in self._standard.alive]
        return [order.clone() for order in orders] if safe else orders

    def orderstatus(self, order: bt.Order) -> int:
        """Return the status of an order, of which `order` may be a copy."""
        return next(
            (single.reference.status for single in self._standard.alive if single.reference == order), order.status
        )

    def get_leverage(self) -> float:
        """Return the notional of both legs of all symbols by unit of equity, 0 where there is no equity."""
        return self.account.held_notional / self.account.value if self.account.value > 0.0 else 0.0

    def notify(self, order: bt.Order) -> None:
        """Queue a notification of an order's status for its owner."""
        self._notifications.append(order.clone())

    def next(self) -> None:
        """Match the new bars of all symbols phase by phase, because they share the wallet."""
        if self._deposits:
            self._pay_in()
        if self._ladders:
            for ladder in self._ladders.values():
                ladder.tell_changes(self)
        busy = bool(self._standard.alive)
        fresh = []
        for book in self._all:
            if book.next_bar():
                fresh.append(book)
                busy = busy or not is_idle(book)
        if 0 < len(fresh) < len(self._all):
            self._settle_delisted(max(book.bar.time for book in fresh))
        safe = is_safe(self.account, self.held)
        if busy or not safe:
            self.ambiguous_bars += (busy and not safe) or any(order_matters(book) for book in fresh)
            self._standard.expire()
            for moment in timeline(fresh):
                self._venue.open(moment)
                self._venue.trade(moment)
        margin.revalue(self.account, self.held)

    def _settle_delisted(self, latest_ms: int) -> None:
        """Settle the symbols whose data were over before the new bars."""
        for book in self._all:
            if not book.delisted and is_delisted(book.last_ms, latest_ms):
                book.delisted = True
                self._standard.singles.cancel(book)
                settle_delisted(book)
                self._report(book)

    # --- hedge-mode interface (see HedgeModeBroker)

    def state(self, data: bt.AbstractDataBase) -> SymbolState:
        return self._book(data)

    def leg(self, data: bt.AbstractDataBase, side: PositionSide) -> Leg:
        return self._book(data).leg(side)

    @property
    def books(self) -> Sequence[FeedBook]:
        return self._all

    @property
    def held(self) -> Sequence[FeedBook]:
        key = self.account.fills, len(self.account.closed)  # nothing is opened or closed without
        if key != self._held_key:
            self._held_key = key
            self._held = tuple(book for book in self._all if book.long.leg.fills or book.short.leg.fills)
        return self._held

    def sigma(self, book: Book, bars: int) -> float:
        return self._all[book.state.place].sigma(bars)

    def confirm(self, data: bt.AbstractDataBase, owner: bt.Strategy, regime: int) -> None:
        book = self._book(data)
        if book.owner is not None and book.owner is not owner:
            raise ConfigError(f"{book.symbol} is traded by two grid strategies; each symbol may have one")
        if book.owner is None and hears_orders(owner):
            self._ladders[book] = LadderOrders(book, self._reporter)
        book.owner = owner
        book.state.regime = regime

    def rest_entries(self, data: bt.AbstractDataBase) -> dict[int, Blocked]:
        book = self._book(data)
        self._note_single_orders()
        if not margin.refuse_entries(self.account, self._all, book, book.max_notional, self.p):
            return {}
        return {
            -leg.sign * (i + 1): Blocked(reason)
            for leg in book.legs
            for i in range(leg.levels)
            if (reason := margin.refusal_of(leg, i)) != PLACED
        }

    def cancel_entries(self, data: bt.AbstractDataBase, side: PositionSide) -> None:
        self._book(data).leg(side).cancel_entries()

    def set_exits(self, data: bt.AbstractDataBase, side: PositionSide, prices: Mapping[int, float]) -> None:
        book = self._book(data)
        book.leg(side).exits = dict(prices)
        book.orders_changed()

    def set_stop(self, data: bt.AbstractDataBase, side: PositionSide, price: float | None) -> None:
        self._book(data).leg(side).stop = price

    def close_fill(
        self, data: bt.AbstractDataBase, side: PositionSide, fill_id: int, qty: float, label: TradeLabel
    ) -> bool:
        book = self._book(data)
        leg = book.leg(side)
        return order_close(book, leg, leg.tracker.ids.index(fill_id), qty, label.number)

    def closed_trades(self) -> Sequence[ClosedTrade]:
        return self.account.closed

    def maintenance_margin(self) -> float:
        total = 0.0
        for book in self.held:
            total = margin.add_maintenance(total, book, book.bar.close)
        return total

    def liquidation_range(self, data: bt.AbstractDataBase) -> tuple[float, float]:
        book = self._book(data)
        if len(self._all) > 1:
            held = self.held if book in self.held else self._all
            return liquidation_range(self.account, held, held.index(book), worst=False)
        # A single symbol's range moves only when the rules, the book or the wallet do.
        key = (book.market, self.account.wallet, book.long.tracker.version, book.short.tracker.version)
        if key != self._range_key:
            self._range_key = key
            self._range = liquidation_range(self.account, self._all, 0, worst=False)
        return self._range

    def liquidations(self) -> int:
        return self.account.liquidations

    def available_margin(self) -> float:
        """Return the equity that is not initial margin of positions or opening orders, quote."""
        self._note_single_orders()
        return margin.free_margin(self.account, self._all, self.p.leverage)

    def position_capacity(self, book: FeedBook, leg: Leg) -> float:
        """Return the notional by which a leg and its opening orders may still grow at the leverage chosen, quote."""
        self._note_single_orders()
        return margin.capacity(book.max_notional, leg.leg, book.bar.close)

    def cap_room(self, book: FeedBook, leg: Leg) -> float:
        """Return the notional by which a leg may still grow until a cap is met, quote; infinity without caps."""
        self._note_single_orders()
        return margin.room(self.account, self._all, book, leg.sign, self.p) if margin.has_caps(self.p) else INFINITY

    # ---

    def _note_single_orders(self) -> None:
        """Note the notional of the single orders that open."""
        alive = bool(self._standard.alive)
        if alive or self._noted_singles:
            self._noted_singles = alive
            for book in self._all:
                for leg in book.legs:
                    leg.leg.ordered = self._standard.open_notional(book, leg.side)

    def _is_no_market(self, data: bt.AbstractDataBase) -> bool:
        """Return whether a feed is a copy for signals, or a second feed of a symbol that is traded."""
        taken = any(data._name == other._name for other in self._books)
        return self._is_for_signals(data) or not self._is_running or taken

    def _is_for_signals(self, data: bt.AbstractDataBase) -> bool:
        """Return whether a feed is a copy of another, or is resampled beside the feed of the same symbol."""
        feeds = self.cerebro.datas if data.resampling else ()
        return data._clone or any(other is not data and other._name == data._name for other in feeds)

    def book_of(self, data: bt.AbstractDataBase) -> FeedBook:
        """Return the book of a feed's symbol.

        Raises
        ------
        ConfigError
            The feed is a resampled or replayed copy of another one.
        """
        return self._book(data)

    def _book(self, data: bt.AbstractDataBase) -> FeedBook:
        book = self._books.get(data)
        if book is None:
            if self._is_for_signals(data):
                origin = data.p.dataname._name if data._clone else data._name
                raise ConfigError(
                    f"{data._name or 'a resampled feed'} is a copy for signals and no market of its own: "
                    f"trade the feed of {origin or 'the bars it is made of'}"
                )
            symbol = data._name or "DEFAULT"
            history = (self.p.markets or {}).get(symbol) or load_market_history(symbol)
            if isinstance(history, Market):
                history = MarketHistory(((0, history),))
            terms = self.terms(data)
            costs = Costs(terms["maker_fee"], terms["taker_fee"], self.p.slippage, self.p.fill_rule == "through")
            kind = TickBook if data.replaying else self.book_type
            book = kind(data, history, self.account, costs, self.p.funding_hours, self.p.intrabar, self.p.leverage)
            if any(other.symbol == book.symbol for other in self._all):
                raise MarketError(f"two feeds trade {book.symbol}; give each feed the name of its own symbol")
            if book.max_notional == 0.0:
                raise ConfigError(
                    f"leverage: -4028 {self.p.leverage:g} is not valid for {book.symbol}, which allows "
                    f"{max(book.market.max_leverages):g} at most"
                )
            self._books[data] = book
            self._all = tuple(sorted(self._books.values(), key=lambda one: one.data._id))  # in the order of the feeds
            for place, other in enumerate(self._all):
                other.state.place = place
            self._venue.books = self._all
        return book

    def _report(self, book: FeedBook) -> None:
        executions = self.account.executions
        if executions:
            own = [execution for execution in executions if execution.symbol == book.symbol]
            if ladder := self._ladders.get(book):
                ladder.tell_executions(own)
            else:
                for execution in own:
                    self._reporter.report(book, execution)
            executions[:] = [other for other in executions if other.symbol != book.symbol]


def _side_of(side: PositionSide | str) -> PositionSide:
    return PositionSide[side] if isinstance(side, str) else side
