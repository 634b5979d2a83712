"""Risk arithmetic of a cross-margined hedge-mode account: tiered margin, liquidation prices, value at risk.

Money is in the quote currency, quantity in the base, price in quote per base. Everything takes and returns plain
floats; `maintenance_margin`, `safe_interval`, `portfolio_var` and their helpers compile under numba as they are.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Bracket(NamedTuple):
    """One row of the exchange's leverage table, valid for notionals in [floor, cap)."""

    floor: float  #: lowest notional of the row, quote
    cap: float  #: first notional of the next row, quote
    rate: float  #: maintenance margin rate, fraction of notional
    amount: float  #: maintenance amount ("cum"), quote, subtracted so that the margin is continuous at the floor


def maintenance_margin(notional: float, brackets: Sequence[Bracket]) -> float:
    """Return the maintenance margin of one leg: `abs(notional)*rate - amount` of the bracket the notional is in.

    The formula is Binance's. Each positionSide is looked up by its own notional; a notional above the last cap uses
    the last bracket.
    """
    size = abs(notional)
    rate, amount = _rate_and_amount(size, brackets)
    return size * rate - amount


def liquidation_prices(
    wallet: float, long_qty: float, long_entry: float, short_qty: float, short_entry: float, brackets: Sequence[Bracket]
) -> tuple[float | None, float | None]:
    """Return the prices (down, up) of one symbol at which equity equals the maintenance margin of both its legs.

    The account is liquidated at price p exactly when `p <= down` or `p >= up`; None stands for a side on which no
    positive price liquidates. The current price is not needed, see `safe_interval` for the reason. A book that is
    under water at every price gives the price of the smallest deficit twice, or (None, 0.0) if that is zero, so the
    rule above still calls every price a liquidation. A book without position gives (None, None) at any wallet.

    Parameters
    ----------
    wallet : balance in quote. With other symbols in the same wallet add their unrealised profit less their maintenance
        margin, held constant.
    long_qty, short_qty : base units, both >= 0
    long_entry, short_entry : average entry price of each leg, ignored when its quantity is 0
    brackets : a table that passed `gridv4_bt.engine.market.check_brackets`
    """
    down, up = safe_interval(wallet, long_qty, long_entry, short_qty, short_entry, brackets)
    return (None if down == 0.0 else down), (None if up == math.inf else up)


def safe_interval(
    wallet: float, long_qty: float, long_entry: float, short_qty: float, short_entry: float, brackets: Sequence[Bracket]
) -> tuple[float, float]:
    """Return the open interval of prices (down, up) that keep the account alive; 0.0 and inf are no limit.

    Parameters as in `liquidation_prices`. An empty interval (down == up) is a book that no price can save; it sits at
    the price of the smallest deficit.

    Why there is one interval: the margin of a leg is the highest of its bracket lines (rates never decrease, amounts
    are continuous), so convex in the notional, which like equity is linear in the price. The excess
    `f(p) = equity - margin` is thus concave and piecewise linear, and `f > 0` holds on one open interval.

    Why the search is exact and ends: it solves the line of a bracket pair for its root, takes the brackets at that
    root, and repeats until price and brackets agree (Newton's method). Every line lies on or above f, so roots close in
    from outside and never cross; each step leaves a bracket for good, which happens at most 2*len(brackets) times.
    """
    if long_qty == 0.0 and short_qty == 0.0:
        return 0.0, math.inf
    base = wallet - long_qty * long_entry + short_qty * short_entry

    down = 0.0
    excess, slope = _line(down, base, long_qty, short_qty, brackets)
    while slope > 0.0 and -excess / slope > down:
        down = -excess / slope
        excess, slope = _line(down, base, long_qty, short_qty, brackets)
    if slope <= 0.0 and excess + slope * down <= 0.0:
        peak = _smallest_deficit(base, long_qty, short_qty, brackets)
        return peak, peak

    up = math.inf
    for row in brackets:
        slope = long_qty * (1.0 - row.rate) - short_qty * (1.0 + row.rate)
        if slope < 0.0:
            bound = -(base + 2.0 * row.amount) / slope
            if bound > up:  # bounds fall towards the root, then rise again
                break
            up = bound
    price = math.inf
    while up < price:
        price = up
        excess, slope = _line(price, base, long_qty, short_qty, brackets)
        if slope < 0.0:
            up = -excess / slope
    return down, up


def portfolio_var(net_notional: float, sigma: float, periods: float = 96, z: float = 1.65) -> float:
    """Return the one-sided value at risk `abs(net_notional)*z*sigma*sqrt(periods)` in quote.

    sigma is the standard deviation of one period's log return; z = 1.65 is the 95 % quantile of a normal law.
    """
    return abs(net_notional) * z * sigma * math.sqrt(periods)


def _rate_and_amount(notional: float, brackets: Sequence[Bracket]) -> tuple[float, float]:
    """Return the (rate, amount) of the bracket that holds a notional >= 0."""
    for row in brackets:
        if notional < row.cap:
            return row.rate, row.amount
    last = brackets[-1]
    return last.rate, last.amount


def _line(
    price: float, base: float, long_qty: float, short_qty: float, brackets: Sequence[Bracket]
) -> tuple[float, float]:
    """Return (excess at price 0, slope) of the straight piece of equity - margin that holds `price`."""
    long_rate, long_amount = _rate_and_amount(long_qty * price, brackets)
    short_rate, short_amount = _rate_and_amount(short_qty * price, brackets)
    return base + long_amount + short_amount, long_qty * (1.0 - long_rate) - short_qty * (1.0 + short_rate)


def _smallest_deficit(base: float, long_qty: float, short_qty: float, brackets: Sequence[Bracket]) -> float:
    """Return the price at which equity - margin is highest: a concave function of straight pieces peaks at a kink."""
    best, best_price = base, 0.0
    for row in brackets:
        for qty in (long_qty, short_qty):
            if qty > 0.0:
                price = row.floor / qty
                excess, slope = _line(price, base, long_qty, short_qty, brackets)
                if excess + slope * price > best:
                    best, best_price = excess + slope * price, price
    return best_price
