"""Avellaneda-Stoikov market making: the centre of the quotes and their distance, given the inventory.

Source: M. Avellaneda, S. Stoikov, "High-frequency trading in a limit order book",
Quantitative Finance 8(3), 2008, equations 29 and 30.
"""

from math import log1p


def normalized_inventory(position: float, max_inventory: float) -> float:
    """Return the inventory ``position/max_inventory`` clamped to [-1, 1].

    Parameters
    ----------
    position : long qty minus short qty, base units.
    max_inventory : largest position allowed, base units. At 0 or below no position is allowed, and the result is the
        sign of the position.
    """
    if max_inventory <= 0.0:
        return float((position > 0.0) - (position < 0.0))
    return max(-1.0, min(1.0, position / max_inventory))


def reservation_price(mid: float, q: float, gamma: float, sigma: float, horizon: float) -> float:
    """Return the reservation price: the mid price, shifted against the inventory held.

    ``r = mid - q*gamma*sigma**2*horizon`` with `q` the normalized inventory, `gamma` the risk
    aversion per unit of price, `sigma` the absolute volatility (price units per sqrt(bar)) and
    `horizon` in bars.
    """
    return mid - q * gamma * sigma * sigma * horizon


def fill_decay(sigma: float, kappa: float, spread_sigmas: float) -> float:
    """Return the decay of the fill rate with distance, dimensionless: `kappa`, or what keeps it constant in sigmas.

    With ``kappa = 1/(spread_sigmas*sigma)`` half the spread of a small gamma is `spread_sigmas` times the volatility of
    a bar, `sigma` (dimensionless): one value fits calm markets and wild ones. At `spread_sigmas` 0, and where prices do
    not move at all, it is `kappa`.
    """
    if spread_sigmas > 0.0 and sigma > 0.0:
        return 1.0 / (spread_sigmas * sigma)
    return kappa


def optimal_spread(gamma: float, sigma: float, horizon: float, kappa: float) -> float:
    """Return the full distance between the best buy and the best sell, price units.

    ``gamma*sigma**2*horizon + (2/gamma)*ln(1 + gamma/kappa)``; `kappa` is the decay of the fill rate per unit of price.
    At gamma 0 (no risk aversion) the second term is its limit ``2/kappa``.
    """
    risk = gamma * sigma * sigma * horizon
    if gamma < 1e-16 * kappa:  # the limit of the logarithm to the last bit; 2/gamma may be infinite here
        return risk + 2.0 / kappa
    return risk + 2.0 / gamma * log1p(gamma / kappa)
