"""Fractional Kelly sizing from the trades closed so far.

Source: J. L. Kelly, "A New Interpretation of Information Rate", 1956, in its form for
unequal average win and loss: ``K = W/L - (1 - W)/A``.
"""

from collections.abc import Sequence


def kelly_fraction(win_rate: float, avg_win: float, avg_loss: float) -> float:
    """Return the full Kelly fraction ``win_rate/avg_loss - (1 - win_rate)/avg_win``.

    `avg_win` and `avg_loss` are positive returns on the entry notional.
    """
    return win_rate / avg_loss - (1.0 - win_rate) / avg_win


def kelly_multiplier(
    returns: Sequence[float],
    fraction: float = 0.25,
    window: int = 50,
    min_trades: int = 20,
    floor: float = 0.25,
    cap: float = 2.0,
) -> float:
    """Return the size multiplier earned by the last `window` trades.

    Parameters
    ----------
    returns : net PnL divided by entry notional of each closed trade, oldest first.
    fraction : share of the full Kelly bet.
    window, min_trades : how many trades count, and how few say nothing yet (the result is 1).
    floor, cap : bounds of the result. Without losses the cap holds, without wins the floor.

    A trade that made exactly nothing counts as a loss of 0.
    """
    total = len(returns)
    if total < min_trades:
        return 1.0
    first = max(total - window, 0)
    wins = 0
    won = 0.0
    lost = 0.0
    for index in range(first, total):
        value = returns[index]
        if value > 0.0:
            wins += 1
            won += value
        else:
            lost -= value
    count = total - first
    if lost == 0.0:
        return cap if wins > 0 else floor
    if wins == 0:
        return floor
    bet = fraction * kelly_fraction(wins / count, won / wins, lost / (count - wins))
    return max(floor, min(cap, bet))
