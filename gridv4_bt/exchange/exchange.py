"""One account at the exchange: it takes orders, advances in time, and books trades and income.

Matching, fees, funding, margin and liquidation are the engine's (`Venue`, `SingleOrders`, `Book`); this adds order
records, position and margin modes, and the dead man's switch.
"""

from collections.abc import Mapping, Sequence

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import DAY_MS, iso
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.orders import OrderType, SingleOrder, SingleOrders, leg_of, opens
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.trailing import trailing_trigger
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.venue import Venue
from gridv4_bt.errors import DataError
from gridv4_bt.exchange import records
from gridv4_bt.exchange.account_margin import Margins
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.executions import Booking
from gridv4_bt.exchange.ledger import Ledger
from gridv4_bt.exchange.order_checks import (
    MAX_OPEN_ALGOS,
    MAX_OPEN_ORDERS,
    check_client_id,
    check_funds,
    check_shape,
    leg_side,
)
from gridv4_bt.exchange.order_records import TRAILING, OrderRecords, engine_type, stop_key, trail_of
from gridv4_bt.exchange.recording import Recording
from gridv4_bt.exchange.records import AlgoRecord, OrderRecord
from gridv4_bt.exchange.replay import Replay, ReplayBook


class Exchange:
    """A simulated USDⓈ-M futures account.

    Parameters
    ----------
    feeds : the candles of each symbol, read once, or their recordings.
    rules : of each symbol, by its name.
    config : fees, slippage, fill rule, way to match and first leverage, as in a backtest.
    cash : first transfer into the wallet, USDT.
    start_ms : where trading begins, UTC; the bars before are history.
    participation : share of a bar's volume that resting orders get; infinity fills them whole.
    """

    def __init__(
        self,
        feeds: Sequence[CandleFeed | Recording],
        rules: Mapping[str, MarketHistory],
        config: GridConfig,
        cash: float = 10_000.0,
        start_ms: int = 0,
        participation: float = INFINITY,
    ) -> None:
        recordings = [feed if isinstance(feed, Recording) else Recording(feed) for feed in feeds]
        self._given = (recordings, rules, config, cash, start_ms, participation)
        self.config = config
        self.account = Account(cash)
        self.ledger = Ledger()
        self.order_records = OrderRecords()
        self._booking = Booking(
            self.account, self.order_records, self.ledger, lambda: self._time, lambda: self.hedge_mode
        )
        self.singles = SingleOrders(self._booking, participation)
        self.order_records.singles = self.singles
        self.venue = Venue(self.account, self.singles, config.liquidation_fee, self._booking.report)
        self.replay = Replay(recordings, rules, self.account, config, start_ms)
        self.books: dict[str, ReplayBook] = self.replay.books
        self.venue.books = tuple(self.books.values())
        self.margins = Margins(self.account, self.singles, self.books)
        self.now = self.replay.time  #: ms UTC
        self._stamp = 0  # time of what happens inside a bar, ms; 0 outside
        self.hedge_mode = False
        self.isolated: set[str] = set()  #: symbols whose margin type is ISOLATED
        self.countdowns: dict[str, int] = {}  #: time at which all orders of a symbol are cancelled, ms
        self.ledger.earn("TRANSFER", cash, self.now)

    def anew(self) -> "Exchange":
        """Return a new exchange of the same account and market, at its start."""
        return Exchange(*self._given)

    def book(self, symbol: str) -> ReplayBook:
        """Return a symbol's book; -1121 for an unknown one."""
        if symbol not in self.books:
            raise ApiError(-1121)
        return self.books[symbol]

    # --- time

    def advance(self, until: int) -> None:
        """Advance the market to a time, ms; after the last candle its prices no longer change."""
        until = min(until, self.replay.end)
        while not self.replay.over:
            end = self.replay.moment_end
            symbol = min(self.countdowns, key=self.countdowns.__getitem__, default=None)
            if symbol is not None and self.countdowns[symbol] <= min(until, end - 1):
                self.now = self.countdowns.pop(symbol)
                self.cancel_all(symbol)
            elif end <= until:
                self._step()
            else:
                break
        self.now = max(self.now, until)

    def advance_bars(self, bars: int) -> None:
        """Advance the market to the next open, `bars` times."""
        for _ in range(bars):
            if self.replay.over:
                raise DataError(f"the candles end at {iso(self.now)}; give the exchange more of them")
            self.advance(self.replay.time + self.replay.interval)

    def _step(self) -> None:
        replay = self.replay
        end = replay.moment_end
        self._stamp = end - 1
        self.venue.trade(replay.trading)
        self._stamp = 0
        if end // DAY_MS > self.now // DAY_MS:
            self.order_records.forget(end)
        self.now = max(self.now, end)
        settled = {symbol: len(book.settled) for symbol, book in self.books.items()}
        replay.forward()
        for symbol, book in self.books.items():
            for settlement in book.settled[settled[symbol] :]:
                if settlement.paid:
                    self.ledger.earn("FUNDING_FEE", -settlement.paid, settlement.time, symbol, "FUNDING_FEE")
        if not replay.over:
            self.venue.open(replay.trading)
        self._tidy()

    def _tidy(self) -> None:
        """Expire the stops whose leg is closed, and clear the list of closed trades, which is not used here."""
        for (symbol, side), algo in list(self.order_records.stops.items()):
            if self.books[symbol].leg(side).stop is None:
                self.order_records.end(algo, records.EXPIRED, self._time)
        self.account.closed.clear()

    # --- orders

    def place(
        self,
        symbol: str,
        side: str,
        position_side: str,
        type: str,
        qty: float,
        price: float,
        time_in_force: str,
        reduce_only: bool,
        client_id: str,
    ) -> OrderRecord:
        """Place an order, or raise `ApiError`; a MARKET order and a limit that crosses the market execute at once.

        A MARKET order gets the bar's open, worse by the slippage; a limit that crosses gets its limit price, as in a
        backtest. While the symbol does not trade (a bar without volume), both wait.
        """
        book = self.book(symbol)
        if type not in ("LIMIT", "MARKET"):
            raise ApiError(-1116)
        single = SingleOrder(
            symbol,
            leg_side(position_side, reduce_only, self.hedge_mode),
            side == "BUY",
            OrderType(type),
            qty,
            price if type == "LIMIT" else 0.0,
            reduce_only=reduce_only,
        )
        check_client_id(client_id, self.order_records.open_orders())
        if len(self.order_records.open_orders(symbol)) >= MAX_OPEN_ORDERS:
            raise ApiError(-2025)
        self._check(single, book)
        if single.marketable and time_in_force == "GTX":
            raise ApiError(-5022)
        if time_in_force == "FOK" and not single.marketable:
            raise ApiError(-5021)
        order = self.order_records.add(
            symbol, side, position_side, type, time_in_force, qty, single.price, client_id, self.now,
            reduce_only=reduce_only, marketable=single.marketable,
        )  # fmt: skip
        self.order_records.rest(order, single)
        self._take(single, book)
        if time_in_force in ("IOC", "FOK") and order.is_open:
            self.order_records.withdraw(order, records.EXPIRED, self.now)
        return order

    def cancel(self, order: OrderRecord) -> None:
        """Cancel an open order; -2011 if it is no longer open."""
        if not order.is_open:
            raise ApiError(-2011)
        self.order_records.withdraw(order, records.CANCELED, self.now)

    def cancel_all(self, symbol: str) -> None:
        """Cancel all open orders of a symbol, but not conditional ones."""
        for order in self.order_records.open_orders(symbol):
            self.cancel(order)

    def amend(self, order: OrderRecord, side: str, qty: float, price: float) -> None:
        """Change quantity and price of an open limit order, which goes to the end of the queue.

        As at Binance it is cancelled if its executed quantity reaches the new one, or if it is post-only and would
        cross.
        """
        if not order.is_open or order.type != "LIMIT":
            raise ApiError(-2013)
        if side != order.side:
            raise ApiError(-1117)
        if (qty, price) == (order.qty, order.price):
            raise ApiError(-5027)
        book = self.book(order.symbol)
        before = self.order_records.single(order)
        single = SingleOrder(
            order.symbol, before.side, before.is_buy, OrderType.LIMIT, qty, price, reduce_only=order.reduce_only
        )
        place = self.singles.alive.index(before)
        self.singles.alive.remove(before)  # its own margin is free for its new terms
        try:
            self._check(single, book)
        finally:
            self.singles.alive.insert(place, before)
        if qty <= order.executed * (1.0 + LOT_NOISE) or (single.marketable and order.time_in_force == "GTX"):
            self.order_records.withdraw(order, records.CANCELED, self.now)
            return
        self.singles.alive.remove(before)
        single.remaining = qty - order.executed
        order.qty, order.price, order.updated, order.turn = qty, price, self.now, self.order_records.next("turns")
        order.marketable = single.marketable
        self.order_records.rest(order, single)
        self._take(single, book)

    def _take(self, single: SingleOrder, book: ReplayBook) -> None:
        """Execute a MARKET order, or a limit that crosses the market, if the symbol trades."""
        if book in self.replay.trading:
            if single.type is OrderType.MARKET:
                self.singles.execute_at_market(single, book)
            elif single.marketable:
                self.singles.execute(single, book, single.price, single.remaining, maker=False)
            self._tidy()

    def place_algo(
        self,
        symbol: str,
        side: str,
        position_side: str,
        type: str,
        qty: float,
        price: float,
        trigger: float,
        time_in_force: str,
        working_type: str,
        reduce_only: bool,
        close_position: bool,
        client_id: str,
        callback_rate: float = 0.0,
    ) -> AlgoRecord:
        """Place a stop, or raise `ApiError`; with `close_position` it closes all that its leg holds when triggered.

        Like the stop of a backtest such a stop expires when other orders close its leg. A trailing stop follows the
        price from now on, `callback_rate` percent behind it.
        """
        book = self.book(symbol)
        if type not in ("STOP_MARKET", "STOP", TRAILING):
            simulated = "STOP_MARKET, STOP and TRAILING_STOP_MARKET are"
            raise ApiError(-1116, text=f"Invalid orderType: {type} is not simulated, {simulated}.")
        trail = trail_of(callback_rate)
        if trail is not None:
            trigger = trailing_trigger(trail, side == "BUY", book.price, book.market.tick)
        single = SingleOrder(
            symbol,
            leg_side(position_side, reduce_only, self.hedge_mode),
            side == "BUY",
            engine_type(type),
            book.market.min_qty if close_position else qty,
            price,
            trigger,
            reduce_only=reduce_only,
            trail=trail,
        )
        check_client_id(client_id, self.order_records.open_algos())
        if len(self.order_records.open_algos(symbol)) >= MAX_OPEN_ALGOS:
            raise ApiError(-4045)
        leg = None
        if close_position:
            leg = book.leg(PositionSide.SHORT if single.is_buy else PositionSide.LONG)
            if single.side not in (None, leg.side) or type != "STOP_MARKET":
                raise ApiError(-1106, "closePosition")
            if leg.stop is not None:
                raise ApiError(-4130)
            check_shape(single, book)
        else:
            self._check(single, book)
        number = self.order_records.next("algos")
        algo = AlgoRecord(
            number, client_id or f"gv4-algo-{number}", symbol, side, position_side, type, time_in_force,
            0.0 if close_position else qty, price, trigger, working_type, self.now, self.now,
            self.order_records.next("turns"), reduce_only, close_position, callback_rate=callback_rate,
        )  # fmt: skip
        self.order_records.wait(algo, single, leg)
        return algo

    def cancel_algo(self, algo: AlgoRecord) -> None:
        """Cancel a conditional order; -2011 if it is no longer open."""
        if not algo.is_open:
            raise ApiError(-2011)
        symbol, side = stop_key(algo)
        self.order_records.withdraw_algo(algo, self.book(symbol).leg(side), records.CANCELED, self.now)

    def expire_algo(self, algo: AlgoRecord) -> None:
        """End an open conditional order untriggered, as the exchange does on its own account."""
        symbol, side = stop_key(algo)
        self.order_records.withdraw_algo(algo, self.book(symbol).leg(side), records.EXPIRED, self.now)

    def _check(self, single: SingleOrder, book: ReplayBook) -> None:
        if single.symbol in self.isolated:
            raise ApiError(-1130, text="Isolated margin is not simulated; set the margin type to CROSSED.")
        check_shape(single, book)
        check_funds(single, book, self.margins)

    # --- modes

    def set_hedge_mode(self, wanted: bool) -> None:
        """Set hedge or one-way mode; an error while any order or position is open."""
        if wanted == self.hedge_mode:
            raise ApiError(-4059)
        if self.order_records.open_orders() or self.order_records.open_algos():
            raise ApiError(-4067)
        if any(leg.tracker.ids for book in self.books.values() for leg in book.legs):
            raise ApiError(-4068)
        self.hedge_mode = wanted

    def set_margin_type(self, symbol: str, isolated: bool) -> None:
        """Set cross or isolated margin; an error while any order or position of the symbol is open."""
        book = self.book(symbol)
        if isolated == (symbol in self.isolated):
            raise ApiError(-4046)
        if self.order_records.open_orders(symbol) or self.order_records.open_algos(symbol):
            raise ApiError(-4047)
        if any(leg.tracker.ids for leg in book.legs):
            raise ApiError(-4048)
        (self.isolated.add if isolated else self.isolated.remove)(symbol)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set the initial leverage; an error if open positions and orders exceed its limits."""
        book = self.book(symbol)
        before = book.leverage
        if book.market.max_notional(leverage) == 0.0:
            raise ApiError(-4028, leverage)
        held = max(leg.tracker.qty * book.price for leg in book.legs)
        if held > book.market.max_notional(leverage):
            raise ApiError(-2027)
        book.leverage = float(leverage)
        if leverage < before and self.margins.free < 0.0:
            book.leverage = before
            raise ApiError(-2028)

    # --- what others than the bot do to the account

    def trade_by_hand(self, symbol: str, side: str, position_side: str, qty: float) -> OrderRecord:
        """Place a market order as the user does on the web site."""
        client_id = f"web_{self.order_records.ids['orders'] + 1:020d}"
        return self.place(symbol, side, position_side, "MARKET", qty, 0.0, "GTC", False, client_id)

    def liquidate_leg(self, symbol: str, side: PositionSide) -> OrderRecord | None:
        """Liquidate one leg at the last price; None if it holds nothing."""
        book = self.book(symbol)
        leg = book.leg(side)
        if not leg.tracker.ids:
            return None
        while leg.tracker.ids:
            self.account.close_fill(
                symbol,
                leg.tracker,
                0,
                leg.tracker.qtys[0],
                book.price,
                book.bar.time,
                TradeLabel.LIQUIDATION,
                self.config.liquidation_fee,
                maker=False,
            )
        leg.stop = None
        self._booking.report(book)
        self._tidy()
        return self.order_records.orders[self.order_records.ids["orders"]]

    def fill_part(self, order: OrderRecord, share: float) -> None:
        """Execute a share of an open limit order, in whole lots and never all of it."""
        if self.can_fill_part(order, share):
            single, book = self.order_records.single(order), self.book(order.symbol)
            self.singles.execute(single, book, single.price, _part(single, book, share), maker=True)
            self._tidy()

    def can_fill_part(self, order: OrderRecord, share: float) -> bool:
        """Return whether a share of an open order can be executed in whole lots."""
        single, book = self.order_records.single(order), self.book(order.symbol)
        qty = _part(single, book, share)
        enough = opens(single, book) or leg_of(single, book).tracker.qty >= qty
        return 0.0 < qty < single.remaining and single.type is OrderType.LIMIT and enough

    @property
    def _time(self) -> int:
        """Time of the present event: inside a bar its last millisecond."""
        return self._stamp or self.now


def _part(single: SingleOrder, book: ReplayBook, share: float) -> float:
    """Return a share of what is left of an order, in whole lots."""
    return int(single.remaining / book.market.step * share) * book.market.step
