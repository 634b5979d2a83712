"""Prices on the tick and quantities on the step, as the decimal text of a request.

ccxt rounds prices half up: a buy could end a tick above the wanted price.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

# A float this near to a multiple (as a share of the step) is that multiple: 0.1 + 0.2 is not above 0.3.
_NOISE = Decimal("1e-6")


def price_text(price: float, tick: float, is_buy: bool) -> str:
    """Return a price on the tick, a buy's rounded down and a sell's up."""
    return _on_grid(price, tick, ROUND_FLOOR if is_buy else ROUND_CEILING)


def quantity_text(qty: float, step: float) -> str:
    """Return a quantity on the step, rounded down."""
    return _on_grid(qty, step, ROUND_FLOOR)


def _on_grid(value: float, step: float, rounding: str) -> str:
    unit = Decimal(str(step))
    count = Decimal(str(value)) / unit
    nearest = count.to_integral_value()
    whole = nearest if abs(count - nearest) <= _NOISE else count.to_integral_value(rounding)
    return f"{(whole * unit).normalize():f}"
