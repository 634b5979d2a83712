"""Protection: every leg that the exchange holds has a stop, whatever the books say.

The books learn of an execution at the next candle; until then, up to 15 minutes, a leg that was opened or whose stop
has gone would be bare. So the exchange's positions and stops are looked at between the candles.
"""

from collections.abc import Callable, Sequence

from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.account_queries import Position, RawAnswer
from gridv4_bt.live.connection import Log, Refused, Unreachable
from gridv4_bt.live.executor import SURELY_LATE_MS
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.own_orders import OrderStatus, closes_all
from gridv4_bt.live.reconciliation import Reconciler

WATCH_S = 20.0  #: seconds between two looks
#: After the close of a candle, ms, its decision is at work, which places stops first.
_CANDLE_MS = 10_000
#: Conditional orders that limit a loss.
_STOP_TYPES = ("STOP", "STOP_MARKET", "TRAILING_STOP_MARKET")

#: ``price(symbol, side, position)`` returns where the stop of a leg belongs.
StopPrice = Callable[[str, PositionSide, Position], float]


class Protection:
    """Places the stop of every leg that is held without one.

    Parameters
    ----------
    symbols : those of the session.
    nearest_liquidation : distance of the mark price from the exchange's liquidation price, fraction, below which a
        person is told.
    log : ``log(kind, **fields)``.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        symbols: Sequence[str],
        stop_price: StopPrice,
        nearest_liquidation: float,
        log: Log,
    ) -> None:
        self._reconciler = reconciler
        self._executor = reconciler.executor
        self._orders = reconciler.orders
        self._symbols = symbols
        self._stop_price = stop_price
        self._nearest = nearest_liquidation
        self._log = log
        self._held: dict[tuple[str, PositionSide], Position] = {}  # at the last look

    def check(self) -> None:
        """Look at all positions in one request, and at the stops of the symbols in which anything is held or ordered.

        Raises
        ------
        LiveError
            A person is needed.
        """
        connection = self._executor.connection
        if not connection.gate.is_open or connection.clock.now() % BAR_MS < _CANDLE_MS:
            return
        try:
            self._held = self._positions()
        except (Refused, Unreachable) as failure:
            self._log("alert", what="unwatched", text=str(failure))
            return
        for symbol in self._symbols:
            sides = [side for side in PositionSide if (symbol, side) in self._held]
            if not sides and not self._reconciler.has_open_orders(symbol):
                continue
            try:
                self._check_symbol(symbol, sides)
            except (Refused, Unreachable) as failure:
                self._log("alert", what="unwatched", symbol=symbol, text=str(failure))

    def _positions(self) -> dict[tuple[str, PositionSide], Position]:
        """Return what is held. A leg that was held at the last look is flat only if a second endpoint agrees."""
        held = {leg: position for leg, position in self._executor.all_positions().items() if position.qty > 0.0}
        gone = {leg: position for leg, position in self._held.items() if leg not in held}
        if not gone:
            return held
        try:
            second = self._executor.quantities()
        except (Refused, Unreachable) as failure:  # the other legs are looked after all the same
            self._log("alert", what="unwatched", text=str(failure))
            return held | gone
        agreed = {leg: position._replace(qty=second.get(leg, 0.0)) for leg, position in gone.items()}
        return held | {leg: position for leg, position in agreed.items() if position.qty > 0.0}

    def _check_symbol(self, symbol: str, sides: Sequence[PositionSide]) -> None:
        rows = self._executor.conditional_orders(symbol)
        for row in rows:
            self._reconciler.see_conditional(symbol, row)
        for side in sides:
            position = self._held[symbol, side]
            self._warn_of_liquidation(symbol, side, position)
            needed = position.qty * (1.0 - LOT_NOISE)
            if _covered(rows, side) < needed and self._is_bare(symbol, side):
                self._protect(symbol, side, position)
            elif _covered([row for row in rows if self._is_a_strategys(row)], side) >= needed:
                self._give_way(symbol, side)

    def _is_bare(self, symbol: str, side: PositionSide) -> bool:
        """Return whether none of the leg's own stops is open, after asking for those that the list does not show."""
        for stop in self._orders.of(symbol, side, Purpose.STOP):
            if stop.status is OrderStatus.DONE:
                continue
            was = stop.status
            self._executor.refresh(stop)
            age = self._executor.connection.clock.now() - stop.sent
            if stop.status is OrderStatus.OPEN or (stop.status is OrderStatus.UNKNOWN and age <= SURELY_LATE_MS):
                return False
            if was is OrderStatus.OPEN and stop.triggered_id is None:
                self._log("alert", what="stop_lost", symbol=symbol, side=side.name, id=stop.id)
        return True

    def _protect(self, symbol: str, side: PositionSide, position: Position) -> None:
        price = self._stop_price(symbol, side, position)
        if self._reconciler.order_sync.rest_stop(symbol, side, price):
            self._log("first_stop", symbol=symbol, side=side.name, qty=position.qty, price=price)

    def _is_a_strategys(self, row: RawAnswer) -> bool:
        name = self._reconciler.own_name(str(row["clientAlgoId"]))
        return name is not None and name.purpose is Purpose.REDUCE

    def _give_way(self, symbol: str, side: PositionSide) -> None:
        """Cancel the stop that was placed while the leg was bare: the strategy's own cover it."""
        stops = [stop for stop in self._orders.of(symbol, side, Purpose.STOP) if stop.status is OrderStatus.OPEN]
        if stops:
            self._reconciler.order_sync.cancel(stops)

    def _warn_of_liquidation(self, symbol: str, side: PositionSide, position: Position) -> None:
        if position.mark <= 0.0 or position.liquidation <= 0.0:
            return
        distance = abs(position.mark - position.liquidation) / position.mark
        if distance < self._nearest:
            self._log(
                "alert", what="liquidation_near", symbol=symbol, side=side.name, distance=f"{distance:.1%}",
                price=position.liquidation, mark=position.mark,
            )  # fmt: skip


def _covered(rows: Sequence[RawAnswer], side: PositionSide) -> float:
    """Return the quantity of a leg that open stops would close, the bot's or others', base units."""
    covered = 0.0
    for row in rows:
        is_stop = row["orderType"] in _STOP_TYPES and row["positionSide"] == side.name
        if is_stop and (row["side"] == "BUY") != (side is PositionSide.LONG):
            covered += float("inf") if closes_all(row) else float(row.get("quantity") or 0.0)
    return covered
