"""How many independent bets the fills of a run are: those of one move of the market win or lose together.

They are as many as the fills that can be chosen so that each lies a day or more after the one before.
"""

from collections.abc import Iterable

from gridv4_bt.core.time import DAY_MS


def begins_bet(time_ms: int, begun_ms: int) -> bool:
    """Return whether a fill begins another bet: the account's last one, of any symbol, has begun a day ago or more."""
    return time_ms - begun_ms >= DAY_MS


def count_bets(times_ms: Iterable[int]) -> int:
    """Return the number of bets that the fills of an account are, given when they filled, in any order."""
    bets = begun = 0
    for time in sorted(times_ms):
        if begins_bet(time, begun):
            bets, begun = bets + 1, time
    return bets
