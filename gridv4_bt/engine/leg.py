"""What the fills of a leg come to, on the records of `gridv4_bt.engine.state`."""

from gridv4_bt.engine.position import sum_fills, unrealized_pnl
from gridv4_bt.engine.state import FillColumns, LegState


def sum_up(leg: LegState, fills: FillColumns) -> None:
    """Sum the fills of a leg anew."""
    leg.qty, leg.cost = sum_fills(fills.qty, fills.price, leg.fills)
    leg.changed = 1


def average_price(leg: LegState) -> float:
    """Return the average entry price of a leg, 0 when nothing is held."""
    return leg.cost / leg.qty if leg.fills else 0.0


def unrealized(leg: LegState, price: float) -> float:
    """Return the unrealised PnL of a leg at a price, before the cost of closing, quote."""
    return unrealized_pnl(leg.sign, leg.qty, leg.cost, price)
