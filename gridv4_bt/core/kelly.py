"""Fractional Kelly sizing from closed trades.

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
    """Return the size multiplier that follows from the last `window` trades.

    Parameters
    ----------
    returns : net PnL divided by entry notional of each closed trade, oldest first.
    fraction : share of the full Kelly bet.
    window : number of trades that count.
    min_trades : with fewer trades the result is 1.
    floor, cap : bounds of the result; without losses it is the cap, without wins the floor.

    A trade with a return of 0 is a loss of 0.
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
