"""The first stop of a leg: placed between two candles, not only at the next candle's close.

The strategy decides on a stop at the first candle that finds the leg open. Until then, up to 15 minutes, only the size
of the entries would limit the loss in a crash.
"""

from gridv4_bt.engine.guards import stop2_price
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.connection import Log, Refused, Unreachable
from gridv4_bt.live.reconciliation import Reconciler


class FirstStop:
    """Places the first stop of every leg that was opened since the last candle.

    Parameters
    ----------
    stop2_atr : distance of the stage 2 stop from the average entry, ATR.
    log : ``log(kind, **fields)``.
    """

    def __init__(self, reconciler: Reconciler, stop2_atr: float, log: Log) -> None:
        self._reconciler = reconciler
        self._stop2_atr = stop2_atr
        self._log = log
        self._atr: dict[str, float] = {}  # at the last decision, by symbol

    def decided(self, symbol: str, atr: float) -> None:
        """Set the ATR, quote, of the bar that was decided last."""
        self._atr[symbol] = atr

    def check(self) -> None:
        """Place a stop for every leg that was opened since the last candle.

        Raises
        ------
        LiveError
            A person is needed.
        """
        for symbol, atr in self._atr.items():
            sides = [side for side in PositionSide if atr > 0.0 and self._reconciler.may_lack_stop(symbol, side)]
            if sides:
                try:
                    self._protect(symbol, sides, atr)
                except (Refused, Unreachable) as failure:
                    self._log("alert", what="unwatched", symbol=symbol, text=str(failure))

    def _protect(self, symbol: str, sides: list[PositionSide], atr: float) -> None:
        executor = self._reconciler.executor
        positions = executor.positions(symbol)
        for side in sides:
            position = positions[side]
            if position.qty > 0.0:
                tick = executor.markets[symbol].tick
                price = stop2_price(int(side), position.entry, atr, self._stop2_atr, tick)
                self._reconciler.order_sync.rest_stop(symbol, side, price)
                self._log("first_stop", symbol=symbol, side=side.name, qty=position.qty, price=price)
