"""One account at the exchange: orders come in, time goes on, and both leave trades and income behind.

All matching, fees, funding, margin and liquidation are the engine's (`Venue`, `SingleOrders`, `Book`); this adds what
an exchange keeps beside them: order records and ids, position and margin modes, and the dead man's switch.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from feeds.candles import CandleFeed
from feeds.tables import iso
from gridv4_bt.config import GridConfig
from gridv4_bt.core.risk import liquidation_prices, maintenance_margin
from gridv4_bt.engine.account import Account, Execution
from gridv4_bt.engine.liquidation import excess
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.matching import INFINITY, Book, Leg
from gridv4_bt.engine.orders import (
    OrderType,
    Refusal,
    SingleOrder,
    SingleOrders,
    closing_refusal,
    filter_refusal,
    leg_of,
    opening_refusal,
    opens,
    order_price,
)
from gridv4_bt.engine.types import LOT_NOISE, PositionSide, TradeLabel
from gridv4_bt.engine.venue import Venue
from gridv4_bt.errors import DataError
from gridv4_bt.exchange import records
from gridv4_bt.exchange.errors import ApiError
from gridv4_bt.exchange.ledger import Ledger
from gridv4_bt.exchange.records import AlgoOrder, Order
from gridv4_bt.exchange.tape import Tape, TapeBook

MAX_OPEN_ORDERS = 200  #: of a symbol
MAX_OPEN_ALGOS = 100  #: of a symbol
MAX_LOTS = 1_000_000  #: of a limit order, in steps: 1,000 BTC
MAX_MARKET_LOTS = 120_000  #: of a market order, in steps: 120 BTC
PERCENT_PRICE = 0.05  #: how far a limit order may cross the market
CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
DAY_MS = 86_400_000
UNFILLED_KEPT = 3 * DAY_MS  #: how long an order that never traded can be queried
ORDERS_KEPT = 90 * DAY_MS


class Exchange:
    """A simulated USDⓈ-M futures account.

    Parameters
    ----------
    feeds : one for each symbol.
    rules : of each symbol, by its name.
    config : fees, slippage, fill rule, way to match and first leverage, as in a backtest.
    cash : first transfer into the wallet, USDT.
    start_ms : where trading begins, UTC; the bars before are history.
    participation : share of a bar's volume that resting orders get; infinity fills them whole.
    """

    def __init__(
        self,
        feeds: Sequence[CandleFeed],
        rules: Mapping[str, MarketHistory],
        config: GridConfig,
        cash: float = 10_000.0,
        start_ms: int = 0,
        participation: float = INFINITY,
    ) -> None:
        self.config = config
        self.account = Account(cash)
        self.singles = SingleOrders(self, participation)
        self.venue = Venue(self.account, self.singles, config.liquidation_fee, self._report)
        self.tape = Tape(feeds, rules, self.account, config, start_ms)
        self.books: dict[str, TapeBook] = self.tape.books
        self.venue.books = tuple(self.books.values())
        self.now = self.tape.time  #: ms UTC
        self._stamp = 0  #: time of what happens inside a bar, ms; 0 outside
        self.ledger = Ledger()
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, AlgoOrder] = {}
        self.hedge_mode = False
        self.isolated: set[str] = set()  #: symbols whose margin type is ISOLATED
        self.countdowns: dict[str, int] = {}  #: when all orders of a symbol are cancelled, ms
        self.changed: dict[tuple[str, int], Order | AlgoOrder] = {}  #: records to be stored anew
        self.ids = {"order": 0, "algo": 0, "turn": 0}  #: last given
        self._standing: dict[int, SingleOrder] = {}  # by order id
        self._waiting: dict[int, SingleOrder] = {}  # by algo id
        self._stops: dict[tuple[str, PositionSide], AlgoOrder] = {}  # those that close a whole leg
        self.ledger.earn("TRANSFER", cash, self.now)

    # --- time

    def advance(self, until: int) -> None:
        """Let the market go on up to a time, ms; it stands still after the last candle."""
        until = min(until, self.tape.end)
        while not self.tape.over:
            end = self.tape.moment_end
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
        """Let the market go on to the next open, `bars` times."""
        for _ in range(bars):
            if self.tape.over:
                raise DataError(f"the candles end at {iso(self.now)}; give the exchange more of them")
            self.advance(self.tape.time + self.tape.interval)

    def _step(self) -> None:
        tape = self.tape
        end = tape.moment_end
        self._stamp = end - 1
        self.venue.trade(tape.trading)
        self._stamp = 0
        self.now = end
        settled = {symbol: len(book.settled) for symbol, book in self.books.items()}
        tape.forward()
        for symbol, book in self.books.items():
            for settlement in book.settled[settled[symbol] :]:
                if settlement.paid:
                    self.ledger.earn("FUNDING_FEE", -settlement.paid, settlement.time, symbol, "FUNDING_FEE")
        if not tape.over:
            self.venue.open(tape.trading)
        self._tidy()

    def _tidy(self) -> None:
        """Expire the stops whose leg is gone, and forget what the engine tells of closed trades."""
        for key, algo in list(self._stops.items()):
            if self.books[key[0]].leg(key[1]).stop is None:
                self._end_algo(algo, records.EXPIRED)
        self.account.closed.clear()

    # --- what the account is worth

    def book(self, symbol: str) -> TapeBook:
        """Return a symbol's book; -1121 for an unknown one."""
        if symbol not in self.books:
            raise ApiError(-1121)
        return self.books[symbol]

    @property
    def equity(self) -> float:
        """Wallet and unrealised PnL at the last prices, quote."""
        return self.account.wallet + sum(book.unrealized(book.price) for book in self.books.values())

    def position_margin(self, book: TapeBook) -> float:
        """Return the initial margin of a symbol's positions, quote."""
        return (book.long.tracker.qty + book.short.tracker.qty) * book.price / book.leverage

    def order_margin(self, book: TapeBook) -> float:
        """Return the initial margin of a symbol's opening orders, quote."""
        return self.singles.open_notional(book, None, book.price) / book.leverage

    def maintenance(self, book: TapeBook) -> float:
        """Return the maintenance margin of a symbol, quote."""
        brackets = book.market.brackets
        return sum(maintenance_margin(leg.tracker.qty * book.price, brackets) for leg in book.legs if leg.tracker.ids)

    @property
    def free_margin(self) -> float:
        """Equity that neither positions nor opening orders bind, quote."""
        bound = sum(self.position_margin(book) + self.order_margin(book) for book in self.books.values())
        return self.equity - bound

    def liquidation_range(self, book: TapeBook) -> tuple[float | None, float | None]:
        """Return the prices (down, up) of a symbol at which the account is liquidated, all others as they stand."""
        others = sum(excess(other, other.price) for other in self.books.values() if other is not book)
        long, short = book.long.tracker, book.short.tracker
        return liquidation_prices(
            self.account.wallet + others,
            long.qty, long.average if long.ids else 0.0, short.qty, short.average if short.ids else 0.0,
            book.market.brackets,
        )  # fmt: skip

    # --- orders

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the standing orders in order of placement."""
        orders = [single.reference for single in self._standing.values()]
        return sorted((one for one in orders if symbol in (None, one.symbol)), key=lambda order: order.id)

    def open_algos(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Return the conditional orders that wait for their trigger."""
        waiting = [single.reference for single in self._waiting.values()] + list(self._stops.values())
        return sorted((one for one in waiting if symbol in (None, one.symbol)), key=lambda algo: algo.id)

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """Return an order as long as the exchange remembers it, of several with one client id the newest."""
        if order_id is not None:
            order = self.orders.get(order_id)
            found = [order] if order is not None else []
        else:
            found = [order for order in self.orders.values() if order.client_id == client_id]
        found = [order for order in found if order.symbol == symbol and self._remembers(order)]
        return found[-1] if found else None

    def _remembers(self, order: Order) -> bool:
        kept = UNFILLED_KEPT if order.executed == 0.0 else ORDERS_KEPT
        return order.is_open or self.now - order.updated <= kept

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
    ) -> Order:
        """Take an order or refuse it; execute at once what takes from the market.

        A MARKET order gets the last price, worse by the slippage; a limit that crosses it gets its limit price, as in
        a backtest. While a symbol does not trade, both wait.
        """
        book = self.book(symbol)
        if type not in ("LIMIT", "MARKET"):
            raise ApiError(-4120 if type in _CONDITIONAL else -1116)
        leg_side = self._leg_side(position_side, reduce_only)
        self._check_client_id(client_id, self.open_orders())
        if len(self.open_orders(symbol)) >= MAX_OPEN_ORDERS:
            raise ApiError(-2025)
        order_type = OrderType(type)
        single = SingleOrder(
            symbol, leg_side, side == "BUY", order_type, qty, price if type == "LIMIT" else 0.0,
            reduce_only=reduce_only,
        )  # fmt: skip
        self._check(single, book)
        if single.marketable and time_in_force == "GTX":
            raise ApiError(-5022)
        if time_in_force == "FOK" and not single.marketable:
            raise ApiError(-5021)
        order = self._record(
            symbol, side, position_side, type, time_in_force if type == "LIMIT" else "GTC", qty, single.price, client_id,
            reduce_only=reduce_only, marketable=single.marketable,
        )  # fmt: skip
        self._stand(order, single)
        if book in self.tape.trading:
            if order_type is OrderType.MARKET:
                self.singles.execute_at_market(single, book)
            elif single.marketable:
                self.singles.execute(single, book, single.price, single.remaining, maker=False)
        if time_in_force in ("IOC", "FOK") and order.is_open and type == "LIMIT":
            self._take_away(order, records.EXPIRED)
        self._tidy()
        return order

    def cancel(self, order: Order) -> None:
        """Cancel a standing order; -2011 if it does not stand any more."""
        if not order.is_open:
            raise ApiError(-2011)
        self._take_away(order, records.CANCELED)

    def cancel_all(self, symbol: str) -> None:
        """Cancel all standing orders of a symbol; conditional ones stay."""
        for order in self.open_orders(symbol):
            self.cancel(order)

    def amend(self, order: Order, side: str, qty: float, price: float) -> None:
        """Change quantity and price of a standing limit order, which loses its place in the queue.

        As at the exchange it is cancelled if it would be filled already, or if it is post-only and would cross.
        """
        if not order.is_open or order.type != "LIMIT":
            raise ApiError(-2013)
        if side != order.side:
            raise ApiError(-1117)
        if (qty, price) == (order.qty, order.price):
            raise ApiError(-5027)
        book = self.book(order.symbol)
        before = self._standing[order.id]
        single = SingleOrder(order.symbol, before.side, before.is_buy, OrderType.LIMIT, qty, price)
        single.reduce_only = order.reduce_only
        self.singles.alive.remove(before)  # it does not bind margin against itself
        try:
            self._check(single, book)
        finally:
            self.singles.alive.append(before)
        if qty <= order.executed * (1.0 + LOT_NOISE) or single.marketable and order.time_in_force == "GTX":
            self._take_away(order, records.CANCELED)
            return
        self.singles.alive.remove(before)
        single.remaining = qty - order.executed
        order.qty, order.price, order.updated, order.turn = qty, price, self.now, self._next("turn")
        order.marketable = single.marketable
        self._stand(order, single)
        if single.marketable and book in self.tape.trading:
            self.singles.execute(single, book, price, single.remaining, maker=False)
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
    ) -> AlgoOrder:
        """Let a stop wait for its trigger, or refuse it. With `close_position` it closes all that its leg then holds."""
        book = self.book(symbol)
        if type not in ("STOP_MARKET", "STOP"):
            raise ApiError(-1116, text=f"Invalid orderType: {type} is not simulated, STOP_MARKET and STOP are.")
        leg_side = self._leg_side(position_side, reduce_only)
        self._check_client_id(client_id, self.open_algos())
        if len(self.open_algos(symbol)) >= MAX_OPEN_ALGOS:
            raise ApiError(-4045)
        is_buy = side == "BUY"
        leg = None
        if close_position:
            closes = PositionSide.SHORT if is_buy else PositionSide.LONG
            if leg_side not in (None, closes) or type != "STOP_MARKET":
                raise ApiError(-1106, "closePosition")
            leg = book.leg(closes)
            if leg.stop is not None:
                raise ApiError(-4130)
        single = SingleOrder(
            symbol, leg_side, is_buy, OrderType(type), book.market.min_qty if close_position else qty, price, trigger,
            reduce_only=reduce_only,
        )  # fmt: skip
        self._check_shape(single, book)
        if not close_position:
            self._check_funds(single, book)
        algo = AlgoOrder(
            self._next("algo"), client_id or f"algo-{self.ids['algo']}", symbol, side, position_side, type,
            time_in_force, 0.0 if close_position else qty, price, trigger, working_type, self.now, self.now,
            self._next("turn"), reduce_only, close_position,
        )  # fmt: skip
        self.algos[algo.id] = algo
        self.wait(algo, single, leg)
        return algo

    def cancel_algo(self, algo: AlgoOrder) -> None:
        """Cancel a conditional order; -2011 if it does not wait any more."""
        if not algo.is_open:
            raise ApiError(-2011)
        stop = self._stops.get(_stop_key(algo))
        if stop is algo:
            self.book(algo.symbol).leg(_stop_key(algo)[1]).stop = None
        else:
            self.singles.alive.remove(self._waiting[algo.id])
        self._end_algo(algo, records.CANCELED)

    def find_algo(self, algo_id: int | None, client_id: str | None) -> AlgoOrder | None:
        """Return a conditional order, of several with one client id the newest."""
        if algo_id is not None:
            return self.algos.get(algo_id)
        return next((algo for algo in reversed(self.algos.values()) if algo.client_id == client_id), None)

    # --- modes

    def set_hedge_mode(self, wanted: bool) -> None:
        """Choose hedge or one-way mode; refused while anything is open."""
        if wanted == self.hedge_mode:
            raise ApiError(-4059)
        if self.open_orders() or self.open_algos():
            raise ApiError(-4067)
        if any(leg.tracker.ids for book in self.books.values() for leg in book.legs):
            raise ApiError(-4068)
        self.hedge_mode = wanted

    def set_margin_type(self, symbol: str, isolated: bool) -> None:
        """Choose cross or isolated margin; refused while anything of the symbol is open."""
        book = self.book(symbol)
        if isolated == (symbol in self.isolated):
            raise ApiError(-4046)
        if self.open_orders(symbol) or self.open_algos(symbol):
            raise ApiError(-4047)
        if any(leg.tracker.ids for leg in book.legs):
            raise ApiError(-4048)
        (self.isolated.add if isolated else self.isolated.remove)(symbol)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Choose the initial leverage; refused if what is open would not fit."""
        book = self.book(symbol)
        before = book.leverage
        if book.market.max_notional(leverage) == 0.0:
            raise ApiError(-4028, leverage)
        held = max(leg.tracker.qty * book.price for leg in book.legs)
        if held > book.market.max_notional(leverage):
            raise ApiError(-2027)
        book.leverage = float(leverage)
        if leverage < before and self.free_margin < 0.0:
            book.leverage = before
            raise ApiError(-2028)

    # --- what others do to the account

    def trade_by_hand(self, symbol: str, side: str, position_side: str, qty: float) -> Order:
        """Place a market order as the owner does on the exchange's web site."""
        client_id = f"web_{self.ids['order'] + 1:020d}"
        return self.place(symbol, side, position_side, "MARKET", qty, 0.0, "GTC", False, client_id)

    def liquidate_leg(self, symbol: str, side: PositionSide) -> Order | None:
        """Close one leg at the last price as the exchange's liquidation engine does; None if it holds nothing."""
        book = self.book(symbol)
        leg = book.leg(side)
        if not leg.tracker.ids:
            return None
        while leg.tracker.ids:
            self.account.close_fill(
                symbol, leg.tracker, 0, leg.tracker.qtys[0], book.price, book.bar.time, TradeLabel.LIQUIDATION,
                self.config.liquidation_fee, maker=False,
            )  # fmt: skip
        leg.stop = None
        self._report(book)
        self._tidy()
        return list(self.orders.values())[-1]

    def fill_part(self, order: Order, share: float) -> None:
        """Execute a share of a standing limit order, whole lots and less than all of it."""
        single, book = self._standing[order.id], self.book(order.symbol)
        lots = int(single.remaining / book.market.step * share)
        qty = lots * book.market.step
        held = leg_of(single, book).tracker.qty
        if 0.0 < qty < single.remaining and (opens(single, book) or held >= qty):
            self.singles.execute(single, book, single.price, qty, maker=True)
            self._tidy()

    # --- what the engine tells (see `gridv4_bt.engine.orders.Owner`)

    def executed(self, single: SingleOrder, book: Book) -> None:
        """Book the executions of a single order."""
        record = single.reference
        order = self._triggered_order(record, "MARKET") if isinstance(record, AlgoOrder) else record
        self._book_executions(order, book.account.executions)
        book.account.executions.clear()
        if single.remaining < LOT_NOISE * single.qty:
            order.status = records.FILLED
            self._standing.pop(order.id, None)
        else:
            order.status = records.PARTIALLY_FILLED

    def refused(self, single: SingleOrder, refusal: Refusal) -> None:
        """Let an order that its leg is too small for expire."""
        self._expire(single, records.EXPIRED)

    def cancelled(self, single: SingleOrder) -> None:
        """Let an order expire that a liquidation cancelled."""
        self._expire(single, records.EXPIRED)

    def triggered(self, single: SingleOrder) -> None:
        """Let a STOP be a limit order."""
        algo: AlgoOrder = single.reference
        order = self._triggered_order(algo, "LIMIT")
        order.marketable, order.triggered_at = single.marketable, single.triggered_at
        single.reference = order
        self._standing[order.id] = single

    def _report(self, book: Book) -> None:
        """Book the executions of stops that close a whole leg, and of liquidations."""
        executions = [one for one in self.account.executions if one.symbol == book.symbol]
        if not executions:
            return
        self.account.executions[:] = [one for one in self.account.executions if one.symbol != book.symbol]
        for (side, label), group in groupby(executions, key=lambda one: (one.side, one.label)):
            found = list(group)
            if label is TradeLabel.STOP2:
                order = self._triggered_order(self._stops[book.symbol, side], "MARKET")
                self._book_executions(order, found)
            else:
                order = self._record(
                    book.symbol, "SELL" if side > 0 else "BUY", side.name if self.hedge_mode else "BOTH", "LIMIT",
                    "IOC", 0.0, found[0].price, f"autoclose-{self._time}-{self.ids['order'] + 1}",
                )  # fmt: skip
                self._book_executions(order, found, "INSURANCE_CLEAR")
            order.qty = order.executed
            order.status = records.FILLED

    # ---

    @property
    def _time(self) -> int:
        return self._stamp or self.now

    def _next(self, what: str) -> int:
        self.ids[what] += 1
        return self.ids[what]

    def _record(
        self, symbol: str, side: str, position_side: str, type: str, time_in_force: str, qty: float, price: float,
        client_id: str, **more: object,
    ) -> Order:  # fmt: skip
        number = self._next("order")
        order = Order(
            number, client_id or f"gv4-{number}", symbol, side, position_side, type, time_in_force, qty, price,
            self._time, self._time, self._next("turn"), **{"original_type": type} | more,
        )  # fmt: skip
        self.orders[order.id] = order
        self.changed["orders", order.id] = order
        return order

    def _triggered_order(self, algo: AlgoOrder, type: str) -> Order:
        order = self._record(
            algo.symbol, algo.side, algo.position_side, type, algo.time_in_force, algo.qty, algo.price,
            f"{algo.client_id}"[:36], original_type=algo.type, stop_price=algo.trigger, reduce_only=algo.reduce_only,
            close_position=algo.close_position,
        )  # fmt: skip
        algo.actual_order = order.id
        self._end_algo(algo, records.FINISHED)
        return order

    def stand(self, order: Order, single: SingleOrder) -> None:
        """Let a single order stand for an order record."""
        single.reference = order
        self._standing[order.id] = single
        self.singles.alive.append(single)

    def _stand(self, order: Order, single: SingleOrder) -> None:
        self.stand(order, single)
        self.changed["orders", order.id] = order

    def wait(self, algo: AlgoOrder, single: SingleOrder, leg: Leg | None) -> None:
        """Let a single order, or the stop of a whole leg, stand for a conditional order."""
        if leg is not None:
            leg.stop = algo.trigger
            self._stops[algo.symbol, leg.side] = algo
        else:
            single.reference = algo
            self._waiting[algo.id] = single
            self.singles.alive.append(single)
        self.changed["algos", algo.id] = algo

    def _take_away(self, order: Order, status: str) -> None:
        self.singles.alive.remove(self._standing.pop(order.id))
        order.status, order.updated = status, self._time
        self.changed["orders", order.id] = order

    def _expire(self, single: SingleOrder, status: str) -> None:
        record = single.reference
        if isinstance(record, AlgoOrder):
            self._end_algo(record, status)
            return
        self._standing.pop(record.id, None)
        record.status, record.updated = status, self._time
        self.changed["orders", record.id] = record

    def _end_algo(self, algo: AlgoOrder, status: str) -> None:
        algo.status, algo.updated = status, self._time
        self._waiting.pop(algo.id, None)
        if self._stops.get(_stop_key(algo)) is algo:
            del self._stops[_stop_key(algo)]
        self.changed["algos", algo.id] = algo

    def _book_executions(self, order: Order, executions: Sequence[Execution], fee_type: str = "COMMISSION") -> None:
        """Book what was executed of an order, one trade for each leg and price."""
        for (side, is_opening, price), group in groupby(executions, key=lambda one: (one.side, one.opens, one.price)):
            found = list(group)
            qty = sum(one.qty for one in found)
            fee = sum(one.fee for one in found)
            self.ledger.execute(order, side, is_opening, qty, price, fee, found[0].maker, self._time, fee_type)
            order.executed += qty
            order.quote += qty * price
        order.updated = self._time
        self.changed["orders", order.id] = order

    def _leg_side(self, position_side: str, reduce_only: bool) -> PositionSide | None:
        if (position_side == "BOTH") == self.hedge_mode:
            raise ApiError(-4061)
        if self.hedge_mode and reduce_only:
            raise ApiError(-1106, "reduceonly")
        return None if position_side == "BOTH" else PositionSide[position_side]

    def _check_client_id(self, client_id: str, standing: Sequence[Order | AlgoOrder]) -> None:
        if client_id and not CLIENT_ID.match(client_id):
            raise ApiError(-4015)
        if client_id and any(one.client_id == client_id for one in standing):
            raise ApiError(-4116)

    def _check(self, single: SingleOrder, book: TapeBook) -> None:
        self._check_shape(single, book)
        self._check_funds(single, book)

    def _check_shape(self, single: SingleOrder, book: TapeBook) -> None:
        """Refuse what the symbol's filters do not allow."""
        market = book.market
        if single.symbol in self.isolated:
            raise ApiError(-1130, text="Isolated margin is not simulated; set the margin type to CROSSED.")
        if not single.qty > 0.0:
            raise ApiError(-4003)
        if single.qty > market.step * (MAX_MARKET_LOTS if single.type is OrderType.MARKET else MAX_LOTS):
            raise ApiError(-4005)
        _raise(filter_refusal(single, market, book.price))
        if single.type is OrderType.LIMIT:
            highest, lowest = book.price * (1.0 + PERCENT_PRICE), book.price * (1.0 - PERCENT_PRICE)
            if single.is_buy and single.price > highest:
                raise ApiError(-4016, f"{highest:g}")
            if not single.is_buy and single.price < lowest:
                raise ApiError(-4024, f"{lowest:g}")

    def _check_funds(self, single: SingleOrder, book: TapeBook) -> None:
        """Refuse what the account cannot open or close."""
        leg = leg_of(single, book)
        qty = single.qty
        if not opens(single, book):
            _raise(closing_refusal(single, book))
            qty -= leg.tracker.qty
            if single.side is not None or single.reduce_only or qty <= 0.0:
                return
            leg = book.long if single.is_buy else book.short
        bound = leg.tracker.qty * book.price + self.singles.open_notional(book, leg.side, book.price)
        notional = qty * order_price(single, book.price)
        _raise(opening_refusal(notional, book.market, book.max_notional - bound, self.free_margin, book.leverage))


_CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")


def _stop_key(algo: AlgoOrder) -> tuple[str, PositionSide]:
    return algo.symbol, PositionSide.SHORT if algo.side == "BUY" else PositionSide.LONG


def _raise(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise ApiError(refusal.code, text=refusal.text)
