"""The five parts of the profit against the account that the exchange keeps: fills, funding, deposit and restarts."""

import json

import numpy as np
import pytest
from live_market import Market, rows

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk import bot_overview, held
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.exchange.payloads import account_payload
from gridv4_bt.exchange.server import ServerThread

DEPOSIT = 500.0


def parts(bot):
    found = held.profit(bot)
    return plain_sum(found[name] for name in ("realized_grid", "fees", "funding", "unrealized")), found


def at_exchange(scene):
    """Return what the exchange says the account has made: its margin balance less everything that was paid in."""
    paid_in = plain_sum(one.amount for one in scene.exchange.ledger.incomes if one.type == "TRANSFER")
    return float(account_payload(scene.exchange)["totalMarginBalance"]) - paid_in


@pytest.fixture(scope="module")
def restarted(tmp_path_factory):
    """A bot that has traded in three sessions, with a deposit while it was away; what the parts were after each."""
    scene = Market(tmp_path_factory.mktemp("bots") / "paid", bars=40)
    seen = []
    with ServerThread(scene.api) as server:
        for number, until in enumerate((14, 12, None)):
            if number == 1:
                server.call(lambda: scene.exchange.ledger.earn("TRANSFER", DEPOSIT, scene.exchange.now))
            with scene.session(server.url, until) as session:
                session.run()
            bot = StateDirs([scene.folder]).bots()["paid"]
            seen.append((*parts(bot), at_exchange(scene)))
    return scene, bot, seen


def test_the_parts_sum_to_the_change_of_the_exchanges_equity_net_of_transfers(restarted):
    scene, bot, seen = restarted
    kinds = {one.type for one in scene.exchange.ledger.incomes}
    assert {"TRANSFER", "REALIZED_PNL", "COMMISSION", "FUNDING_FEE"} <= kinds
    for total, found, theirs in seen:
        assert total == pytest.approx(theirs, abs=0.005)
        assert found["total"] == total and abs(found["difference"]) < 0.005
    assert seen[-1][1]["funding"] != 0.0 and seen[-1][1]["start"] == pytest.approx(10_000.0 + DEPOSIT, abs=0.005)


def test_each_part_is_that_of_the_exchanges_income(restarted):
    """Fees and funding by the exchange's rows; what is left of them is realised or open."""
    scene, bot, seen = restarted
    found = seen[-1][1]
    for part, kind in (("fees", "COMMISSION"), ("funding", "FUNDING_FEE")):
        income = plain_sum(one.amount for one in scene.exchange.ledger.incomes if one.type == kind)
        assert found[part] == pytest.approx(income, abs=0.005)


def test_the_curve_goes_on_without_a_jump_over_restarts_and_the_deposit_is_named(restarted):
    scene, bot, _ = restarted
    curve = bot_overview.equity_curve(bot)
    assert np.diff(curve["time"]).tolist() == [900_000] * (curve["bars"] - 1)  # every bar once
    assert curve["equity"] == [float(row["equity"]) for row in rows(scene.folder / "equity.csv")]
    [(time, amount)] = curve["transfers"]
    assert amount == pytest.approx(DEPOSIT, abs=0.005)
    steps = dict(zip(curve["time"][1:], np.diff(curve["equity"]).tolist(), strict=True))
    assert steps.pop(time) == pytest.approx(DEPOSIT, abs=20.0)  # and what the bar has made
    assert max(map(abs, steps.values())) < 40.0


def test_a_deposit_is_no_profit_and_a_withdrawal_no_drawdown(restarted):
    scene, bot, seen = restarted
    line = bot_overview.overview("paid", bot)
    assert line["profit"] == seen[-1][0] < DEPOSIT / 5
    equity = np.array([float(row["equity"]) for row in rows(scene.folder / "equity.csv")])
    [(time, amount)] = bot_overview.equity_curve(bot)["transfers"]
    times = np.array(bot_overview.equity_curve(bot)["time"])
    net = equity - np.where(times >= time, amount, 0.0)
    assert line["drawdown"] == pytest.approx(1.0 - net[-1] / net.max())


def test_the_rows_by_day_symbol_and_side_sum_to_it(restarted):
    _, bot, seen = restarted
    for by in ("day", "symbol", "side"):
        assert plain_sum(row["total"] for row in held.profit_by(bot, by)) == pytest.approx(seen[-1][0], abs=0.005)
    json.dumps(held.profit_by(bot, "day"), allow_nan=False)
