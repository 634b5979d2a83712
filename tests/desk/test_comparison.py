"""A bot beside its backtest, as its daily audit has written it down."""

import json
import shutil

from gridv4_bt.audit.audit import audit
from gridv4_bt.audit.difference_file import write_audit
from gridv4_bt.desk.comparison import audit_of_the_day, comparison
from gridv4_bt.desk.state_dirs import StateDirs


def test_a_bot_without_an_audit_has_none(bot):
    assert comparison(bot) is None and audit_of_the_day(bot) is None


def test_a_bot_that_is_audited_has_both_equities_and_its_drift(traded, tmp_path):
    folder = tmp_path / "audited"
    shutil.copytree(traded.folder, folder)
    found = audit(folder)
    write_audit(found, 1_704_067_200_000, folder / "audit.json")
    bot = StateDirs([folder]).bots()["audited"]
    said = comparison(bot)
    assert said["live"] == found.live.tolist() and said["backtest"] == found.backtest.tolist()
    assert said["differences"] == [] and said["clock"] == "2024-01-01T00:00:00Z"
    day = audit_of_the_day(bot)
    assert day["matched"] == len(found.matched) > 0 and "live" not in day


def test_a_long_comparison_keeps_where_the_two_are_farthest_apart(traded, tmp_path):
    folder = tmp_path / "long"
    shutil.copytree(traded.folder, folder)
    live = [10_000.0 + number % 7 for number in range(20_000)]
    backtest = [*live]
    backtest[12_345] -= 50.0
    content = {"times": [*range(20_000)], "live": live, "backtest": backtest, "differences": []}
    (folder / "audit.json").write_text(json.dumps(content))
    said = comparison(StateDirs([folder]).bots()["long"])
    assert 12_345 in said["times"] and len(said["times"]) < 1_000
