"""The arithmetic of a leg's fills, on plain numbers and flat arrays.

`PositionTracker`, `Account` and the compiled sweep all book by these functions and so give the same bits.
"""

from collections.abc import MutableSequence, Sequence

#: Lots are decimal, floats are not: 0.013 - 0.007 - 0.006 leaves 1.7e-18. Quantities that differ by less than this
#: share are equal, and no rest that small stays open.
LOT_NOISE = 1e-9


def sum_fills(qtys: Sequence[float], prices: Sequence[float], count: int) -> tuple[float, float]:
    """Return the quantity (base units) and cost (quote) of the first `count` fills."""
    qty = cost = 0.0
    for index in range(count):
        qty += qtys[index]
        cost += qtys[index] * prices[index]
    return qty, cost


def unrealized_pnl(side_sign: int, qty: float, cost: float, price: float) -> float:
    """Return the unrealised PnL of a leg at a price, before the cost of closing, quote."""
    return side_sign * (qty * price - cost)


def realized_pnl(side_sign: int, qty: float, entry: float, price: float) -> float:
    """Return the PnL of closing `qty` at a price, before fees and funding, quote."""
    return side_sign * (price - entry) * qty


def net_pnl(gross: float, fees: float, funding: float) -> float:
    """Return the PnL of a closed trade after fees and funding, quote."""
    return gross - fees - funding


def fee_of(qty: float, price: float, rate: float) -> float:
    """Return the fee of an execution, quote."""
    return qty * price * rate


def settle_fills(
    side_sign: int, mark: float, rate: float, qtys: Sequence[float], fundings: MutableSequence[float], count: int
) -> float:
    """Charge a funding settlement of ``side_sign*qty*mark*rate`` to each fill and return the sum paid, quote."""
    unit = side_sign * mark * rate
    total = 0.0
    for index in range(count):
        paid = unit * qtys[index]
        fundings[index] += paid
        total += paid
    return total


def part_of(amount: float, qty: float, open_qty: float) -> float:
    """Return the share of a fill's fee or funding that belongs to `qty` of the `open_qty`, quote."""
    return amount * (qty / open_qty)


def add_part(closed_qty: float, closed_net: float, qty: float, net: float) -> tuple[float, float]:
    """Return the quantity (base units) and net (quote) of a fill's closed parts, one more part included.

    With the last part they are those of the trade: Kelly and the summary count a fill closed in parts once.
    """
    return closed_qty + qty, closed_net + net


def takes_all(qty: float, open_qty: float) -> bool:
    """Return whether closing `qty` of a fill closes all of it, up to `LOT_NOISE`."""
    return qty >= open_qty * (1.0 - LOT_NOISE)
