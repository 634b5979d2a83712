"""The account as Binance shows it: positions at their average entry, trades, and the wallet as the sum of income.

The engine keeps single fills; Binance has one average entry price for each positionSide. PnL is realised against it, so
wallet and unrealised PnL differ from those of the engine's account, but the equity is the same.
"""

from collections.abc import Iterable

from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.records import IncomeRecord, OrderRecord, PositionRecord, TradeRecord


class Ledger:
    """Positions, trades and income of one account, oldest first."""

    def __init__(self) -> None:
        self.wallet = 0.0  #: quote; moved by every income
        self.positions: dict[tuple[str, PositionSide], PositionRecord] = {}
        self.trades: list[TradeRecord] = []
        self.incomes: list[IncomeRecord] = []

    def position(self, symbol: str, side: PositionSide) -> PositionRecord:
        """Return a positionSide's position, empty if nothing is held."""
        return self.positions.setdefault((symbol, side), PositionRecord())

    def unrealized(self, symbol: str, side: PositionSide, price: float) -> float:
        """Return the unrealised PnL of a position at a price, quote."""
        position = self.position(symbol, side)
        return int(side) * (price - position.entry) * position.qty

    def earn(
        self, type: str, amount: float, time: int, symbol: str = "", info: str = "", trade_id: int = 0
    ) -> IncomeRecord:
        """Book a movement of the wallet."""
        income = IncomeRecord(len(self.incomes) + 1, type, symbol, amount, info, trade_id, time)
        self.incomes.append(income)
        self.wallet += amount
        return income

    def execute(
        self,
        order: OrderRecord,
        side: PositionSide,
        opens: bool,
        qty: float,
        price: float,
        fee: float,
        maker: bool,
        time: int,
        fee_type: str = "COMMISSION",
    ) -> TradeRecord:
        """Book one execution of an order and return the trade.

        Parameters
        ----------
        side : the positionSide that it opens or closes.
        fee_type : income type of the fee; only a COMMISSION is shown in the trade.
        """
        position = self.position(order.symbol, side)
        realized = 0.0
        if opens:
            position.entry = (position.entry * position.qty + price * qty) / (position.qty + qty)
            position.qty += qty
        else:
            realized = int(side) * (price - position.entry) * qty
            position.qty -= qty
            if position.qty <= LOT_NOISE * qty:
                position.qty = position.entry = 0.0
        position.updated = time
        commission = fee if fee_type == "COMMISSION" else 0.0
        trade = TradeRecord(
            len(self.trades) + 1, order.id, order.symbol, order.side, order.position_side,
            price, qty, realized, commission, maker, time,
        )  # fmt: skip
        self.trades.append(trade)
        if realized:
            self.earn("REALIZED_PNL", realized, time, order.symbol, str(trade.id), trade.id)
        if fee:
            self.earn(fee_type, -fee, time, order.symbol, str(trade.id), trade.id)
        return trade

    def restore(
        self,
        trades: Iterable[TradeRecord],
        incomes: Iterable[IncomeRecord],
        positions: dict[tuple[str, PositionSide], PositionRecord],
    ) -> None:
        """Load saved trades, income and positions."""
        self.trades[:] = trades
        self.incomes[:] = incomes
        self.positions = positions
        self.wallet = 0.0
        for income in self.incomes:
            self.wallet += income.amount
