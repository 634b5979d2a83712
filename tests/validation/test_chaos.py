"""Short storms: faults, commands and SIGKILL, then books and exchange must agree. `gridv4 chaos` runs long ones."""

import pytest

pytest.importorskip("aiohttp")

from gridv4_bt.validation.chaos import run_seed
from gridv4_bt.validation.laws import Law

NEW = {
    "empty_positions", "empty_assets", "clock_step", "escalating_ban", "error", "stale_not_found", "stop_vanishes",
    "partial_then_cancel",
}  # fmt: skip


def test_books_and_exchange_agree_after_every_storm(tmp_path):
    seeds = range(1, 5)
    results = [
        run_seed(seed, 26, tmp_path / str(seed), fault_rate=0.005, kills_per_bar=0.05, commands_per_bar=0.3)
        for seed in seeds
    ]
    assert [result.broken for result in results] == [[]] * 4
    assert [result.laws for result in results] == [[]] * 4
    assert all(result.bars >= 24 and result.checks for result in results)
    assert sum(result.kills for result in results) >= 1
    assert sum(result.faults.total() for result in results) > 40
    assert sum(result.commands.total() for result in results) > 8


def test_a_storm_of_all_faults_counts_what_happened_and_judges_it(tmp_path):
    results = [run_seed(seed, 26, tmp_path / str(seed), 0.01, 0.05, "all") for seed in (3, 4)]
    met = set().union(*(result.faults for result in results))
    assert met & NEW, "the new kinds of faults are drawn"
    for result in results:
        assert result.requests > 100
        assert result.cuts <= result.closes
        assert all(isinstance(one.law, Law) and one.text for one in result.laws)
