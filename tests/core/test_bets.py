"""Fills a day apart are bets of their own."""

from gridv4_bt.core.bets import begins_bet, count_bets
from gridv4_bt.core.time import DAY_MS

START = 19_000 * DAY_MS


def test_a_fill_a_day_after_the_last_bet_began_begins_another():
    assert begins_bet(START + DAY_MS, START)
    assert not begins_bet(START + DAY_MS - 1, START)


def test_fills_within_a_day_of_the_first_one_are_one_bet():
    hours = [0, 10, 20, 30, 40, 70, 71]  # bets begin at 0, 30 and 70
    assert count_bets(START + hour * 3_600_000 for hour in reversed(hours)) == 3
    assert count_bets([]) == 0
    assert count_bets([START, START]) == 1
