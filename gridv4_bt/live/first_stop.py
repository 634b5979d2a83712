"""Between two candles: a leg that has just been opened gets its stop at once, not only when the candle closes.

A stop for a whole leg rests from the first decision on that finds the leg held. Until then, up to a candle long, only
the size of the entries would bound what a crash costs.
"""

from gridv4_bt.engine.guards import stop2_price
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.connection import Log, Refused, Unreachable
from gridv4_bt.live.reconciliation import Reconciler


class Guard:
    """Rests the first stop of a leg.

    Parameters
    ----------
    stop2_atr : distance of stage 2 from the average entry, in ATR.
    log : ``log(kind, **fields)``.
    """

    def __init__(self, reconciler: Reconciler, stop2_atr: float, log: Log) -> None:
        self._reconciler = reconciler
        self._stop2_atr = stop2_atr
        self._log = log
        self._atr: dict[str, float] = {}  # of the last decision, by symbol

    def decided(self, symbol: str, atr: float) -> None:
        """Note the ATR of the bar that was decided last, quote."""
        self._atr[symbol] = atr

    def look(self) -> None:
        """Rest a stop for every leg that was opened since the last candle.

        Raises
        ------
        LiveError
            Nothing can be done without a person.
        """
        for symbol, atr in self._atr.items():
            sides = [side for side in PositionSide if atr > 0.0 and self._reconciler.may_be_bare(symbol, side)]
            if sides:
                try:
                    self._protect(symbol, sides, atr)
                except (Refused, Unreachable) as failure:
                    self._log("alert", what="unwatched", symbol=symbol, text=str(failure))

    def _protect(self, symbol: str, sides: list[PositionSide], atr: float) -> None:
        executor = self._reconciler.executor
        held = executor.holdings(symbol)
        for side in sides:
            if held[side].qty > 0.0:
                tick = executor.markets[symbol].tick
                price = stop2_price(int(side), held[side].entry, atr, self._stop2_atr, tick)
                self._reconciler.order_sync.rest_stop(symbol, side, price)
                self._log("first_stop", symbol=symbol, side=side.name, qty=held[side].qty, price=price)
