"""Risk arithmetic of a cross-margined hedge-mode account: tiered margin, liquidation prices, value at risk.

Money is in quote, quantities in base units, prices in quote per base. All functions take and return plain floats;
`maintenance_margin`, `safe_interval`, `portfolio_var` and their helpers compile under numba.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Bracket(NamedTuple):
    """One row of the exchange's table of notional brackets, for notionals in [floor, cap)."""

    floor: float  #: lowest notional of the row, quote
    cap: float  #: first notional of the next row, quote
    rate: float  #: maintenance margin rate, fraction of notional
    amount: float  #: maintenance amount ("cum"), quote, subtracted so that the margin is continuous at the floor


def maintenance_margin(notional: float, brackets: Sequence[Bracket]) -> float:
    """Return the maintenance margin of one leg, quote: `abs(notional)*rate - amount` of the notional's bracket.

    This is Binance's formula. Each positionSide has the bracket of its own notional; above the last cap it is the last
    bracket.
    """
    size = abs(notional)
    rate, amount = _rate_and_amount(size, brackets)
    return size * rate - amount


def liquidation_prices(
    wallet: float, long_qty: float, long_entry: float, short_qty: float, short_entry: float, brackets: Sequence[Bracket]
) -> tuple[float | None, float | None]:
    """Return the prices (down, up) of one symbol at which equity equals the maintenance margin of both its legs.

    The account is liquidated at price p exactly when `p <= down` or `p >= up`; None means that no positive price on
    that side liquidates. The current price is not needed (see `safe_interval`). A book that every price liquidates
    gives the price of the smallest deficit twice, or (None, 0.0) if that price is 0. A book without a position gives
    (None, None) whatever the wallet.

    Parameters
    ----------
    wallet : balance, quote. With other symbols in the same wallet add their unrealised PnL minus their maintenance
        margin, both constant.
    long_qty, short_qty : base units, both >= 0
    long_entry, short_entry : average entry price of each leg, ignored when its quantity is 0
    brackets : a table that passed `gridv4_bt.engine.market.check_brackets`
    """
    down, up = safe_interval(wallet, long_qty, long_entry, short_qty, short_entry, brackets)
    return (None if down == 0.0 else down), (None if up == math.inf else up)


def safe_interval(
    wallet: float, long_qty: float, long_entry: float, short_qty: float, short_entry: float, brackets: Sequence[Bracket]
) -> tuple[float, float]:
    """Return the open interval of prices (down, up) at which the account is not liquidated; 0.0 and inf are no limit.

    Parameters as in `liquidation_prices`. An empty interval (down == up) is a book that is liquidated at every price;
    it lies at the price of the smallest deficit.

    There is only one interval: the margin of a leg is the highest of its bracket lines (rates never decrease, amounts
    are continuous), so it is convex in the notional, which like equity is linear in the price. The excess
    `f(p) = equity - margin` is thus concave and piecewise linear, and `f > 0` holds on one open interval.

    The search is exact and ends: it solves the line of a pair of brackets for its root, takes the brackets at that
    root, and repeats until price and brackets agree (Newton's method). Every line lies on or above f, so the roots
    approach from outside and never cross; each step leaves a bracket for good, at most 2*len(brackets) times.
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
    """Return (rate, amount) of the bracket of a notional >= 0."""
    for row in brackets:
        if notional < row.cap:
            return row.rate, row.amount
    last = brackets[-1]
    return last.rate, last.amount


def _line(
    price: float, base: float, long_qty: float, short_qty: float, brackets: Sequence[Bracket]
) -> tuple[float, float]:
    """Return (excess at price 0, slope) of the piece of equity - margin at a price."""
    long_rate, long_amount = _rate_and_amount(long_qty * price, brackets)
    short_rate, short_amount = _rate_and_amount(short_qty * price, brackets)
    return base + long_amount + short_amount, long_qty * (1.0 - long_rate) - short_qty * (1.0 + short_rate)


def _smallest_deficit(base: float, long_qty: float, short_qty: float, brackets: Sequence[Bracket]) -> float:
    """Return the price at which equity - margin, concave and piecewise linear, is highest: a bracket's floor, or 0."""
    best, best_price = base, 0.0
    for row in brackets:
        for qty in (long_qty, short_qty):
            if qty > 0.0:
                price = row.floor / qty
                excess, slope = _line(price, base, long_qty, short_qty, brackets)
                if excess + slope * price > best:
                    best, best_price = excess + slope * price, price
    return best_price
